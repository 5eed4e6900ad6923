package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

var update = flag.Bool("update", false, "write the golden files anew")

// composed returns the records of a transaction, in a publisher with that configuration.
func composed(t *testing.T, cfg Config, tx *outbox.Transaction) []record.Record {
	t.Helper()
	cfg.Prefix, cfg.Database, cfg.Slot = "shop", "orders", "pgtee"
	p := newPublisher(cfg.WithDefaults(), nil, nil, tableFormat{})
	p.source = &simSource{system: outbox.System{ID: "7300", Timeline: 2}}
	p.part = math.MaxInt
	p.batch = record.NewBatch("7300", "pgtee")
	p.batch.Authors = p.composer.notes
	if _, err := p.compose(t.Context(), []*outbox.Transaction{tx}, Position{}, Position{}); err != nil {
		t.Fatal(err)
	}
	return p.batch.Records()
}

// tableFormat writes the pgtee block to the topic of the table.
type tableFormat struct{}

func (tableFormat) Begin(context.Context, *record.Batch, *outbox.Transaction) error { return nil }
func (tableFormat) End(context.Context, *record.Batch, *outbox.Transaction) error   { return nil }

func (tableFormat) Identity(_ context.Context, r *pgoutput.Relation, _ record.Place) (record.Identity, error) {
	return record.LoggedIdentity(r), nil
}

func (tableFormat) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	topic := "shop.message"
	if r := tx.Changes[i].Relation; r != nil {
		topic = record.TopicName("shop", r.Schema, r.Name)
	}
	value := len(b.Buf)
	b.Buf = b.AppendPgtee(b.Buf, tx, i)
	b.Add(topic, record.Null, value)
	return nil
}

var (
	orders = &pgoutput.Relation{OID: 10, Schema: "public", Name: "orders"}
	lines  = &pgoutput.Relation{OID: 11, Schema: "public", Name: "lines"}
)

// sale is statements of Ann's session, two with rows and two with credentials, and before them the row of a trigger that no note precedes.
func sale() *outbox.Transaction {
	m := func(number uint32, sql string) note.Note {
		start := time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC)
		return note.Note{
			Payload: note.Payload{
				Session: note.NewSessionID(start, 7), Statement: number, ProxyID: 3, Fingerprint: 0xfeed,
				Client: netip.MustParseAddrPort("10.0.0.9:51000"),
			},
			User: []byte("ann"), Role: []byte("clerk"), PID: 4711, Application: []byte("till \"2\""), SQL: []byte(sql), Trust: note.Verified,
		}
	}
	change := func(op outbox.Op, note, ordinal int, r *pgoutput.Relation) outbox.Change {
		return outbox.Change{Op: op, Note: note, Ordinal: ordinal, Relation: r}
	}
	return &outbox.Transaction{
		XID: 77, CommitLSN: 0x16B3700, EndLSN: 0x16B3748, CommitTime: time.Date(2025, 1, 31, 12, 0, 1, 0, time.UTC),
		Notes: []note.Note{
			m(1, "insert into orders select 42, 'secret wish'"),
			m(2, "UPDATE lines SET amount = 3 WHERE id = 9"),
			m(3, "alter role ann password 'open sesame'"),
			m(4, "set app.secret to sesame"),
		},
		Changes: []outbox.Change{
			change(outbox.Insert, -1, 0, lines),
			change(outbox.Insert, 0, 1, orders), change(outbox.Insert, 0, 2, lines), change(outbox.Insert, 0, 3, orders),
			change(outbox.Update, 1, 4, lines), change(outbox.Delete, 1, 5, lines),
			change(outbox.Truncate, 1, 6, orders),
			{Op: outbox.DDL, Note: 2, Ordinal: 7, DDL: &outbox.DDLRecord{
				Command: "ALTER ROLE", Statement: "alter role ann password 'open sesame'", User: "ann", Role: "clerk", PID: 4711, Atomic: true,
			}},
		},
	}
}

func TestRecordsOfATransaction(t *testing.T) {
	for name, cfg := range map[string]Config{"normalised": {}, "full": {SQLText: Full}, "off": {SQLText: Off}} {
		var got bytes.Buffer
		for _, r := range composed(t, cfg, sale()) {
			if !json.Valid(r.Value) {
				t.Errorf("not JSON: %s", r.Value)
			}
			if strings.Contains(string(r.Value), "sesame") {
				t.Errorf("a password is published: %s", r.Value)
			}
			if name != "full" && strings.Contains(string(r.Value), "wish") {
				t.Errorf("a literal is published: %s", r.Value)
			}
			fmt.Fprintf(&got, "%s %s %s\n%s\n", r.Topic, r.Headers[0].Value, r.Key, r.Value)
		}
		golden(t, "testdata/sale-"+name+".txt", got.Bytes())
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update writes it anew); got\n%s", path, got)
	}
}

func TestDirectWriteIsAudited(t *testing.T) {
	tx := sale()
	tx.Notes, tx.Changes = nil, tx.Changes[:1]
	records := composed(t, Config{}, tx)
	audit := records[len(records)-1]
	if len(records) != 2 || audit.Key != nil || !strings.Contains(string(audit.Value), `"via":"direct","verified":null,"reason":"no note","session":null`) {
		t.Errorf("%+v", records)
	}
}

// Rows before the first note have the session of that note, but no role.
func TestAuditAfterRowsOfNoNote(t *testing.T) {
	tx := sale()
	tx.Changes = tx.Changes[:1]
	tx.Changes[0].Note = 0
	first := tx.Notes[0]
	first.Role, first.Application, first.Actor = []byte("clerk"), []byte("till"), []byte("eve")
	nobody := first
	nobody.Flags, nobody.SQL, nobody.Role, nobody.Application, nobody.Actor = note.FlagNameless, nil, nil, nil, nil
	tx.Notes = []note.Note{nobody, first}
	records := composed(t, Config{}, tx)
	if row := string(records[len(records)-2].Value); !strings.Contains(row, `"role":"","application":"","client"`) {
		t.Errorf("the row: %s", row)
	}
	if audit := string(records[len(records)-1].Value); !strings.Contains(audit, `"role":"clerk","application":"till"`) || !strings.Contains(audit, `"actor":"eve"`) {
		t.Errorf("the audit record: %s", audit)
	}
}

func TestNotesWithoutRows(t *testing.T) {
	tx := sale()
	tx.Changes = nil
	if records := composed(t, Config{}, tx); len(records) != 0 {
		t.Errorf("%+v", records)
	}
	if records := composed(t, Config{AuditEmpty: true}, tx); len(records) != 1 || records[0].Topic != "shop.audit" {
		t.Errorf("%+v", records)
	}
	tx.Notes[0].SQL = []byte("/* of a partition: the stream has no change */ truncate table only part_1")
	if records := composed(t, Config{}, tx); len(records) != 1 || records[0].Topic != "shop.audit" || !strings.Contains(string(records[0].Value), `"command":"TRUNCATE"`) {
		t.Errorf("%+v", records)
	}
}

func TestAuditOfManyStatementsIsBounded(t *testing.T) {
	tx := sale()
	first := tx.Notes[0]
	first.SQL = []byte("select '" + strings.Repeat("é", maxAuditTextBytes) + "'")
	tx.Notes = slices.Repeat([]note.Note{first}, 100)
	records := composed(t, Config{SQLText: Full}, tx)
	value := records[len(records)-1].Value
	var audit struct {
		Statements []struct {
			Text string `json:"text"`
			Cut  bool   `json:"text_cut"`
		} `json:"statements"`
		Omitted int `json:"statements_omitted"`
	}
	if err := json.Unmarshal(value, &audit); err != nil {
		t.Fatal(err)
	}
	if len(value) > maxAuditStatementBytes+maxAuditTextBytes+4096 || len(audit.Statements)+audit.Omitted != 100 || audit.Omitted == 0 {
		t.Errorf("%d bytes, %d statements, %d omitted", len(value), len(audit.Statements), audit.Omitted)
	}
	if s := audit.Statements[0]; !s.Cut || len(s.Text) > maxAuditTextBytes || strings.ContainsRune(s.Text, '\uFFFD') {
		t.Errorf("cut %v to %d bytes", s.Cut, len(s.Text))
	}
}

// Kafka takes a record of a megabyte by default; ordinary users must not be able to make a larger one.
const kafkaDefaultBytes = 1_000_000

func TestAuditOfManyTablesIsBounded(t *testing.T) {
	tx := sale()
	tx.Changes = nil
	for i := range 20_000 {
		relation := &pgoutput.Relation{OID: uint32(i), Schema: "public", Name: fmt.Sprintf("%s_%d", strings.Repeat("x", 50), i)}
		tx.Changes = append(tx.Changes, outbox.Change{Op: outbox.Truncate, Relation: relation, Ordinal: i})
	}
	tx.Notes = slices.Repeat([]note.Note{{SQL: []byte(strings.Repeat("\x01", 2*maxAuditTextBytes))}}, 9)
	records := composed(t, Config{SQLText: Full}, tx)
	value := records[len(records)-1].Value
	type tables struct {
		Tables  []any `json:"tables"`
		Omitted int   `json:"tables_omitted"`
	}
	var audit struct {
		tables
		Statements []tables `json:"statements"`
	}
	if err := json.Unmarshal(value, &audit); err != nil {
		t.Fatal(err)
	}
	if len(value) > kafkaDefaultBytes || len(audit.Tables)+audit.Omitted != 20_000 || audit.Omitted == 0 {
		t.Errorf("%d bytes, %d tables, %d omitted", len(value), len(audit.Tables), audit.Omitted)
	}
	if s := audit.Statements[0]; len(s.Tables) != maxStatementTables || len(s.Tables)+s.Omitted != 20_000 {
		t.Errorf("%d tables of the statement, %d omitted", len(s.Tables), s.Omitted)
	}
}

// DROP SCHEMA ... CASCADE may drop anything: several records of one key tell all of it.
func TestDDLOfManyObjectsIsParted(t *testing.T) {
	ddl := &outbox.DDLRecord{Command: "DROP SCHEMA", Statement: strings.Repeat("\x01", 10*maxAuditTextBytes)}
	for i := range 10_000 {
		ddl.Objects = append(ddl.Objects, outbox.DDLObject{Type: "table", Name: fmt.Sprintf("%s.%d", strings.Repeat("x", 60), i)})
	}
	ddl.Objects[777].Columns = []outbox.DDLColumn{{Name: "a", Default: strings.Repeat("y", 2*kafkaDefaultBytes)}}
	tx := &outbox.Transaction{XID: 1, EndLSN: 5, Changes: []outbox.Change{{Op: outbox.DDL, Note: -1, DDL: ddl}}}
	records := composed(t, Config{}, tx)
	var names, ids []string
	for _, r := range records[:len(records)-1] {
		var part ddlRecord
		if err := json.Unmarshal(r.Value, &part); err != nil {
			t.Fatal(err)
		}
		for _, o := range part.Objects {
			names = append(names, o.Name)
		}
		ids = append(ids, string(r.Headers[0].Value))
		if len(r.Value) > kafkaDefaultBytes || string(r.Key) != ddl.Objects[0].Name || part.Command != ddl.Command {
			t.Errorf("%d bytes, key %s, command %s", len(r.Value), r.Key, part.Command)
		}
	}
	inOrder := slices.EqualFunc(names, ddl.Objects, func(name string, o outbox.DDLObject) bool { return name == o.Name })
	slices.Sort(ids)
	if len(ids) < 2 || !inOrder || len(slices.Compact(ids)) != len(records)-1 {
		t.Errorf("%d objects in %d records, in order: %v", len(names), len(ids), inOrder)
	}
}

// sizesLog remembers how large the batches were.
type sizesLog struct {
	memoryLog
	largest int
}

func (l *sizesLog) Send(ctx context.Context, b *record.Batch) error {
	l.largest = max(l.largest, b.Bytes())
	return l.memoryLog.Send(ctx, b)
}

// The records of a transaction may take ten times its memory: it must not wait for all of them.
func TestGiantTransactionIsSentInParts(t *testing.T) {
	log := &sizesLog{}
	p := newPublisher(Config{Prefix: "shop"}.WithDefaults(), nil, log, tableFormat{})
	p.source, p.batch, p.part = &simSource{}, &record.Batch{Authors: p.composer.notes}, 10_000
	tx := sale()
	tx.Changes = slices.Repeat(tx.Changes[:1], 5000)
	if _, err := p.compose(t.Context(), []*outbox.Transaction{tx}, Position{}, Position{}); err != nil {
		t.Fatal(err)
	}
	if log.largest > p.part+1000 || p.since.sent != log.events || p.since.sent+p.batch.Len() != 5001 {
		t.Errorf("batches of %d bytes, %d records sent, %d left", log.largest, p.since.sent, p.batch.Len())
	}
}

func TestArrange(t *testing.T) {
	row := func(r *pgoutput.Relation) outbox.Change { return outbox.Change{Op: outbox.Insert, Relation: r} }
	ddl := func(command string, tables ...*pgoutput.Relation) outbox.Change {
		d := &outbox.DDLRecord{Command: command}
		for _, r := range tables {
			d.Objects = append(d.Objects, outbox.DDLObject{Type: "table", OID: r.OID})
		}
		return outbox.Change{Op: outbox.DDL, DDL: d}
	}
	for name, c := range map[string]struct {
		changes []outbox.Change
		want    []int
	}{
		"rows only":              {[]outbox.Change{row(orders), row(lines)}, []int{0, 1}},
		"create table as":        {[]outbox.Change{row(orders), row(orders), ddl("CREATE TABLE AS", orders)}, []int{2, 0, 1}},
		"select into":            {[]outbox.Change{row(lines), row(orders), ddl("SELECT INTO", orders)}, []int{0, 2, 1}},
		"two of them":            {[]outbox.Change{row(orders), ddl("CREATE TABLE AS", orders), row(lines), ddl("CREATE TABLE AS", lines), row(orders)}, []int{1, 0, 3, 2, 4}},
		"alter stays":            {[]outbox.Change{row(orders), ddl("ALTER TABLE", orders), row(orders)}, []int{0, 1, 2}},
		"create, then insert":    {[]outbox.Change{ddl("CREATE TABLE", orders), row(orders)}, []int{0, 1}},
		"create without a row":   {[]outbox.Change{row(lines), ddl("CREATE TABLE", orders), row(lines)}, []int{0, 1, 2}},
		"create another's index": {[]outbox.Change{row(orders), ddl("CREATE INDEX", orders)}, []int{0, 1}},
	} {
		if got := arrange(nil, &outbox.Transaction{Changes: c.changes}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestTopicNames(t *testing.T) {
	for want, parts := range map[string][]string{
		"shop.public.orders": {"shop", "public", "orders"},
		"shop.public.a_b_":   {"shop", "public", "a bä"},
	} {
		if got := record.TopicName(parts...); got != want {
			t.Errorf("%q: %s, want %s", parts, got, want)
		}
	}
}

// Two tables never meet under one key: the second has a topic of its own, from its first row on.
func TestTablesThatMapToOneTopic(t *testing.T) {
	form := shapeOf(t, shape.Config{Prefix: "shop"})
	p := newPublisher(Config{Prefix: "shop", Shape: form}.WithDefaults(), nil, nil, shapedFormat{shape: form})
	p.source, p.batch = &simSource{}, &record.Batch{Authors: p.composer.notes}
	tx := &outbox.Transaction{EndLSN: 1, Changes: []outbox.Change{
		{Op: outbox.Insert, Note: -1, Relation: &pgoutput.Relation{OID: 1, Schema: "public", Name: "a b"}},
		{Op: outbox.Insert, Note: -1, Relation: &pgoutput.Relation{OID: 1, Schema: "public", Name: "a b"}},
		{Op: outbox.Message, Note: -1, Prefix: "x"}, {Op: outbox.Message, Note: -1, Prefix: "y"},
	}}
	if _, err := p.compose(t.Context(), []*outbox.Transaction{tx}, Position{}, Position{}); err != nil {
		t.Fatal(err)
	}
	tx.Changes[1].Relation = &pgoutput.Relation{OID: 2, Schema: "public", Name: "a?b"}
	p.batch.Reset()
	if _, err := p.compose(t.Context(), []*outbox.Transaction{tx, tx}, Position{}, Position{}); err != nil {
		t.Fatal(err)
	}
	own := shape.OwnTopic("shop.public.a_b", "public.a?b", 1)
	var got []string
	for _, r := range p.batch.Records() {
		if strings.HasPrefix(r.Topic, "shop.public.") {
			got = append(got, r.Topic)
		}
	}
	if want := []string{"shop.public.a_b", own, "shop.public.a_b", own}; !slices.Equal(got, want) {
		t.Errorf("topics %q, want %q", got, want)
	}
	if p.Stats().OwnTopics != 1 {
		t.Errorf("%d topics of their own", p.Stats().OwnTopics)
	}
	tx.Changes[0].Relation = &pgoutput.Relation{OID: 1, Schema: "public", Name: "a_b"} // renamed: the same table
	p.batch.Reset()
	if _, err := p.compose(t.Context(), []*outbox.Transaction{tx}, Position{}, Position{}); err != nil || p.batch.Records()[0].Topic != "shop.public.a_b" {
		t.Errorf("a renamed table has topic %s, %v", p.batch.Records()[0].Topic, err)
	}
}

// shapedFormat has the topics of a shape.
type shapedFormat struct {
	tableFormat
	shape *shape.Shape
}

func (f shapedFormat) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	c := &tx.Changes[i]
	if c.Relation == nil {
		return f.tableFormat.Append(ctx, b, tx, i)
	}
	table, err := f.shape.Table(c.Relation)
	if err == nil {
		b.Add(table.Topic, record.Null, record.Null)
	}
	return err
}

type brokenFormat struct{ tableFormat }

func (brokenFormat) Append(context.Context, *record.Batch, *outbox.Transaction, int) error {
	return errors.New("no such type")
}

func TestChangeThatCannotBeEncodedHalts(t *testing.T) {
	source := &simSource{system: outbox.System{ID: "1", Timeline: 1}, queue: []*outbox.Transaction{sale()}, received: 0x16B3748}
	source.world = &world{holder: source, random: newWorld(1).random}
	p := newPublisher(testConfig(), func(context.Context) (Source, error) { return source, nil }, &memoryLog{}, brokenFormat{})
	if err := p.Run(t.Context()); !errors.Is(err, halt.ErrEncode) {
		t.Error(err)
	}
	if s := p.Stats(); s.Published != 0 || s.State != "halted" {
		t.Errorf("%+v", s)
	}
}

// outage is an error of the format's catalog that passes.
type outage struct{ error }

func (outage) Temporary() bool { return true }

type formatWithoutCatalog struct{ tableFormat }

func (formatWithoutCatalog) Append(context.Context, *record.Batch, *outbox.Transaction, int) error {
	return fmt.Errorf("type 4711: %w", outage{errors.New("connection refused")})
}

func TestCatalogThatCannotBeAskedIsRetried(t *testing.T) {
	p := newPublisher(Config{Prefix: "shop"}.WithDefaults(), nil, nil, formatWithoutCatalog{})
	p.source, p.batch = &simSource{}, &record.Batch{Authors: p.composer.notes}
	if _, err := p.compose(t.Context(), []*outbox.Transaction{sale()}, Position{}, Position{}); err == nil || halt.FateOf(err) != halt.Retry {
		t.Errorf("fate %d of %v, want a retry", halt.FateOf(err), err)
	}
}
