package publisher

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Columns before a command are what the stream told before: in the last DDL record, else before rows.
func TestColumnsBefore(t *testing.T) {
	table := func(command, kind string, oid uint32, columns ...outbox.DDLColumn) outbox.Change {
		return outbox.Change{Op: outbox.DDL, Note: -1, DDL: &outbox.DDLRecord{Command: command, Objects: []outbox.DDLObject{
			{Type: kind, Name: "s.t", OID: oid, Columns: columns, Dropped: strings.HasPrefix(command, "DROP")}}}}
	}
	row := func(oid uint32, names ...string) outbox.Change {
		r := &pgoutput.Relation{OID: oid, Schema: "s", Name: "t"}
		for _, name := range names {
			r.Columns = append(r.Columns, pgoutput.Column{Name: name, Type: 23})
		}
		return outbox.Change{Op: outbox.Truncate, Note: -1, Relation: r}
	}
	a := outbox.DDLColumn{Name: "a", Type: "integer", NotNull: true}
	b := outbox.DDLColumn{Name: "b", Type: "text", Default: "'x'"}
	const jsonA = `[{"name":"a","type":"integer","not_null":true}]`
	changes := []outbox.Change{
		table("CREATE TABLE", "table", 1, a),
		row(1, "a"),
		table("ALTER TABLE", "table", 1, a, b),
		table("CREATE INDEX", "index", 7),
		table("ALTER TABLE", "table column", 1, b),
		row(2, "old"), row(2, "new"),
		table("ALTER TABLE", "table", 2, a),
		table("DROP TABLE", "table", 2),
		table("DROP TABLE", "table", 3),
		table("DROP TABLE", "table", 2), // it is forgotten
		table("DROP TABLE", "table", 1),
	}
	want := []string{"null", jsonA, "null", `[{"name":"a","type":"integer","not_null":true},{"name":"b","type":"text","not_null":false,"default":"'x'"}]`,
		`[{"name":"new","type_oid":23}]`, jsonA, "null", "null", `[{"name":"b","type":"text","not_null":false,"default":"'x'"}]`}
	for i := range changes {
		changes[i].Ordinal = i
	}
	var got []string
	for _, r := range composed(t, Config{}, &outbox.Transaction{XID: 1, EndLSN: 5, Changes: changes}) {
		var record struct {
			Objects []struct {
				Before json.RawMessage `json:"columns_before"`
			}
		}
		if r.Topic != "shop.ddl" {
			continue
		}
		if err := json.Unmarshal(r.Value, &record); err != nil || len(record.Objects) != 1 {
			t.Fatalf("%v: %s", err, r.Value)
		}
		got = append(got, string(record.Objects[0].Before))
	}
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("record %d: %s, want %s", i, got[i], want[i])
		}
	}
}

func TestKnownColumnsAreBounded(t *testing.T) {
	var k knownColumns
	long := []outbox.DDLColumn{{Name: "a", Default: strings.Repeat("x", maxKnownBytes/4)}}
	for oid := range uint32(100) {
		k.set(oid, knownTable{columns: long})
		if k.bytes > maxKnownBytes || len(k.tables) > 4 || k.tables[oid].columns == nil {
			t.Fatalf("%d bytes of %d tables", k.bytes, len(k.tables))
		}
	}
	for oid := range uint32(100) {
		k.drop(oid)
	}
	k.set(1, knownTable{columns: []outbox.DDLColumn{{Default: strings.Repeat("x", maxKnownBytes)}}})
	if k.bytes != 0 || len(k.tables) != 0 {
		t.Errorf("%d bytes of %d tables, want none", k.bytes, len(k.tables))
	}
}
