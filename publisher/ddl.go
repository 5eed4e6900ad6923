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

// ddlRecord is a record of <prefix>.ddl: one DDL command, with the objects that it made, changed or
// dropped. Its key is schema.table of its first table, else its first object, else the command.
//
// The statement is the text of the whole Query. Definitions keep their literals, which are defaults,
// constraints and views; what stands beside them keeps its own with SQL text full only. Credentials are
// redacted, and of commands on hidden and masked columns all literals. A long one is cut; with SQL text off it is empty, and no default
// is told.
type ddlRecord struct {
	Version    int        `json:"v"`
	Database   string     `json:"database"`
	Timeline   int32      `json:"timeline"`
	XID        outbox.XID `json:"xid"`
	CommitLSN  outbox.LSN `json:"commit_lsn"`
	CommitTime time.Time  `json:"commit_time"`
	outbox.DDLRecord
	Objects []ddlObject     `json:"objects"` // instead of the DDLRecord's
	Pgtee   json.RawMessage `json:"pgtee"`   // as in data records
}

// ddlObject is an object with, of a table that was altered or dropped, the columns before the command as the stream
// itself knew them: null if it had not told of the table since the publisher started, or if it is no such table.
// What a table got through its parent, or lost with a dropped type, is in no record of its own.
type ddlObject struct {
	outbox.DDLObject
	ColumnsBefore []columnBefore `json:"columns_before"`
}

// maxDDLRecordBytes keeps a record under the megabyte that Kafka takes by default. The statement, cut to
// maxAuditTextBytes, may be six times as long in JSON.
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
	p.cfg.Keys.DDL(&ddl)
	if record.Command == "" && c.Note >= 0 { // known from its note alone
		record.Command = p.composer.notes.facts[c.Note].command
	}
	record.Statement = p.ddlStatement(ddl.Statement, hides)
	if err := addDDL(b, p.topics.DDL, ddlKey(&record.DDLRecord), record); err != nil {
		return fmt.Errorf("DDL record of %s: %w", c.DDL.Command, err)
	}
	return nil
}

// addDDL adds a command of very many objects (DROP SCHEMA ... CASCADE) as several records of the same
// key, each with some of the objects. An object whose columns are too long for a record goes without.
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
	return nil
}

// ddlStatement is the text that is published; of a command on columns that readers may not see, without any literal.
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

// withoutValues removes the literals of the statements that define nothing: CREATE TABLE and the INSERT of its
// first rows may be one Query, and CREATE TABLE AS is both.
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

// defines reports whether a statement makes or changes definitions, and no rows.
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

// ddlKey is the identity of the first table of the command, else of its first object.
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

// redactedDDL is a DDL record as it may be published: without credentials, without the defaults of columns that readers may not see
// and, with SQL text off, without any default. hides says that it is of a table with such columns.
func (p *Publisher) redactedDDL(d outbox.DDLRecord) (clean outbox.DDLRecord, hides bool) {
	d.Objects = slices.Clone(d.Objects)
	for i := range d.Objects {
		o := &d.Objects[i]
		parts := identityParts(o.Name)
		if o.Type != "table" && o.Type != "table column" || len(parts) < 2 {
			continue
		}
		o.Columns = slices.Clone(o.Columns)
		for j := range o.Columns {
			c := &o.Columns[j]
			c.Default = p.redactedDefault(c, p.cfg.Shape.Hides(parts[0], parts[1], c.Name))
		}
		hides = hides || p.cfg.Shape.HidesAny(parts[0], parts[1])
	}
	return d, hides
}

func (p *Publisher) redactedDefault(c *outbox.DDLColumn, hidden bool) string {
	switch {
	case c.Default == "" || hidden || p.cfg.SQLText == Off:
		return ""
	case parser.IsSecretName([]byte(c.Name)):
		return "'<redacted>'"
	}
	return string(redact(nil, []byte(c.Default)))
}

// identityParts splits what pg_identify_object() prints: public."My table".column.
func identityParts(identity string) (parts []string) {
	for rest := identity; rest != ""; {
		part, quoted := strings.CutPrefix(rest, `"`)
		if !quoted {
			part, rest, _ = strings.Cut(rest, ".")
			parts = append(parts, part)
			continue
		}
		end := 0
		for end < len(part) && (part[end] != '"' || strings.HasPrefix(part[end+1:], `"`)) {
			if part[end] == '"' {
				end++
			}
			end++
		}
		if end >= len(part) {
			return nil // no end: nothing that PostgreSQL prints
		}
		parts = append(parts, strings.ReplaceAll(part[:end], `""`, `"`))
		rest = strings.TrimPrefix(part[end+1:], ".")
	}
	return parts
}
