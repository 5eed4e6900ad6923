package publisher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/parser"
	"github.com/pgtee/pgtee/publisher/record"
)

// ddlRecord is a record of <prefix>.ddl: one DDL command with the objects that it created, changed or dropped. Its key is schema.table of the first
// table, else the first object, else the command. All records are in partition 0, and so in one order.
//
// The statement is the text of the whole Query. Definitions keep their literals, which are defaults, constraints and views; other statements keep
// theirs only with SQL text full. Credentials are redacted, and for commands on hidden and masked columns all literals are. A long text is cut. With
// SQL text off, the text is empty and no default is published.
type ddlRecord struct {
	Version    int        `json:"v"`
	Database   string     `json:"database"`
	Timeline   int32      `json:"timeline"`
	XID        outbox.XID `json:"xid"`
	CommitLSN  outbox.LSN `json:"commit_lsn"`
	CommitTime time.Time  `json:"commit_time"`
	outbox.DDLRecord
	Objects []ddlObject     `json:"objects"` // replaces the field of DDLRecord
	Pgtee   json.RawMessage `json:"pgtee"`   // same form as in data records
}

// ddlObject is an object and, for a table that was altered or dropped, its columns before the command as known from the stream: null if the stream
// has not described the table since the publisher started, or if the object is not such a table. Columns that a table gained through its parent, or
// lost with a dropped type, have no record of their own.
type ddlObject struct {
	outbox.DDLObject
	ColumnsBefore []columnBefore `json:"columns_before"`
}

// maxDDLRecordBytes keeps a record below Kafka's default maximum of one megabyte. The statement, cut to maxAuditTextBytes, may be six times as long
// in JSON.
const maxDDLRecordBytes = 768 << 10

func (p *Publisher) appendDDL(tx *outbox.Transaction, i int) error {
	b, c := p.batch, &tx.Changes[i]
	ddl, hides := p.redactedDDL(*c.DDL)
	record := ddlRecord{
		Version: 1, Database: p.cfg.Database, Timeline: p.source.System().Timeline,
		XID: tx.XID, CommitLSN: tx.CommitLSN, CommitTime: tx.CommitTime.UTC(),
		DDLRecord: ddl, Objects: make([]ddlObject, len(ddl.Objects)), Pgtee: b.AppendPgtee(nil, tx, i),
	}
	for i, o := range ddl.Objects {
		record.Objects[i] = ddlObject{o, p.composer.columns.before(o)}
	}
	p.composer.columns.ddl(&ddl)
	for _, oid := range ddl.Drops() {
		p.forget(oid)
	}
	if record.Command == "" && c.Note >= 0 { // only a note reports the command
		record.Command = p.composer.notes.facts[c.Note].command
	}
	record.Statement = p.ddlStatement(ddl.Statement, hides)
	if err := addDDL(b, p.topics.DDL, ddlKey(&record.DDLRecord), record); err != nil {
		return fmt.Errorf("DDL record of %s: %w", c.DDL.Command, err)
	}
	return nil
}

// forget releases what is remembered of a table that was dropped.
func (p *Publisher) forget(table uint32) {
	p.composer.columns.drop(table)
	p.cfg.Keys.Forget(table)
	if format, remembers := p.format.(record.Forgetter); remembers {
		format.Forget(table)
	}
}

// addDDL appends a command with very many objects (DROP SCHEMA ... CASCADE) as several records with the same key, each with some of the objects. An
// object whose columns do not fit a record is published without them.
func addDDL(b *record.Batch, topic, key string, record ddlRecord) error {
	var value bytes.Buffer
	encoder := json.NewEncoder(&value)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(record); err != nil {
		return err
	}
	objects := record.Objects
	switch n := len(objects); {
	case value.Len() <= maxDDLRecordBytes:
	case n > 1:
		record.Objects = objects[:n/2]
		if err := addDDL(b, topic, key, record); err != nil {
			return err
		}
		record.Objects = objects[n/2:]
		return addDDL(b, topic, key, record)
	case n == 1 && (objects[0].Columns != nil || objects[0].ColumnsBefore != nil):
		bare := objects[0]
		bare.Columns, bare.ColumnsBefore = nil, nil
		record.Objects = []ddlObject{bare}
		return addDDL(b, topic, key, record)
	}
	start := len(b.Buf)
	b.Buf = append(b.Buf, key...)
	end := len(b.Buf)
	b.Buf = append(b.Buf, bytes.TrimSuffix(value.Bytes(), []byte("\n"))...)
	b.Add(topic, start, end)
	b.First() // a later command may need an earlier one of another table
	return nil
}

// ddlStatement returns the text to publish. For a command on columns that readers must not see, it has no literals.
func (p *Publisher) ddlStatement(sql string, hides bool) string {
	if p.cfg.SQLText == Off {
		return ""
	}
	text := redact(nil, []byte(sql))
	switch {
	case p.cfg.SQLText == Normalised && hides:
		text = parser.Normalize(nil, text, plain)
	case p.cfg.SQLText == Normalised:
		text = withoutValues(text)
	}
	return string(record.Cut(text, maxAuditTextBytes))
}

// withoutValues removes the literals of statements that are not definitions: one Query may contain CREATE TABLE and the INSERT of its first rows, and
// CREATE TABLE AS combines the two.
func withoutValues(sql []byte) []byte {
	statements, readable := parser.Split(nil, sql, plain)
	if !readable {
		return parser.Normalize(nil, sql, plain)
	}
	var text []byte
	at := 0
	for _, s := range statements {
		if defines(s.Verb) {
			continue
		}
		text = append(text, sql[at:s.Start]...)
		text = parser.Normalize(text, sql[s.Start:s.End], plain)
		at = s.End
	}
	return append(text, sql[at:]...)
}

// defines reports whether a statement only creates or changes definitions, and writes no rows.
func defines(verb string) bool {
	command, _, _ := strings.Cut(verb, " ")
	switch command {
	case "CREATE":
		return verb != "CREATE TABLE AS"
	case "ALTER", "DROP", "COMMENT", "GRANT", "REVOKE", "SECURITY", "IMPORT":
		return true
	}
	return false
}

// ddlKey returns the name of the first table of the command, else of its first object.
func ddlKey(d *outbox.DDLRecord) string {
	for _, o := range d.Objects {
		if o.Type == "table" {
			return o.Name
		}
	}
	if len(d.Objects) > 0 {
		return d.Objects[0].Name
	}
	return d.Command
}

// redactedDDL returns a DDL record that may be published: without credentials, without the defaults of columns that readers must not see and, with
// SQL text off, without any default. hides reports whether one of its tables has such columns.
func (p *Publisher) redactedDDL(d outbox.DDLRecord) (clean outbox.DDLRecord, hides bool) {
	d.Objects = slices.Clone(d.Objects)
	for i := range d.Objects {
		o := &d.Objects[i]
		o.Columns = slices.Clone(o.Columns)
		for _, name := range tablesOf(o) {
			parts := outbox.IdentityParts(name)
			if len(parts) < 2 {
				continue
			}
			for j := range o.Columns {
				if c := &o.Columns[j]; p.cfg.Shape.Hides(parts[0], parts[1], c.Name) {
					c.Default = ""
				}
			}
			hides = hides || p.cfg.Shape.HidesAny(parts[0], parts[1])
		}
		for j := range o.Columns {
			o.Columns[j].Default = p.redactedDefault(&o.Columns[j])
		}
	}
	return d, hides
}

// tablesOf returns the names of the tables whose settings are those of an object: its table and, since the rows of a partition are published as those of
// its root, that root. The name of a trigger, policy, rule or constraint ends with its table; the name of an index does not contain its table.
func tablesOf(o *outbox.DDLObject) (names []string) {
	if o.Type == "table" || o.Type == "table column" {
		return []string{o.Name, o.Root}
	}
	for rest, found := o.Name, true; found; {
		if _, rest, found = strings.Cut(rest, " on "); found {
			names = append(names, rest)
		}
	}
	return names
}

func (p *Publisher) redactedDefault(c *outbox.DDLColumn) string {
	switch {
	case c.Default == "" || p.cfg.SQLText == Off:
		return ""
	case parser.IsSecretName([]byte(c.Name)):
		return "'<redacted>'"
	}
	return string(redact(nil, []byte(c.Default)))
}
