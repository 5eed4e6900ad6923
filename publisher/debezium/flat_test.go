package debezium

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// flatConfig has the headers of a list, and the schema framing.
func flatConfig(t *testing.T, deletes DeleteMode, headers ...string) Config {
	t.Helper()
	added, err := ParseFlatFields(headers, flatFieldPrefix)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Prefix: "shop", Envelope: Flat, Catalog: memberKeys, Framing: &record.ConnectJSON{}, Flat: FlatConfig{Deletes: deletes, Headers: added}}
}

// TestFlatTombstoneHeaders: only a tombstone that is a record of its own has the operation twice, as ExtractNewRecordStateTest asserts.
func TestFlatTombstoneHeaders(t *testing.T) {
	for mode, want := range map[string]string{
		"tombstone": "op txId", "delete-to-tombstone": "op txId", "rewrite": "", "drop": "", "rewrite-with-tombstone": "op txId op",
	} {
		deletes, err := ParseDeleteMode(mode)
		if err != nil {
			t.Fatal(err)
		}
		batch := testBatch()
		tx := &outbox.Transaction{XID: 7, EndLSN: 9, Changes: []outbox.Change{{Op: outbox.Delete, Note: -1, Relation: guests, OldKind: 'K', Old: tuple("1", isNull, isNull)}}}
		batch.Begin(tx)
		batch.At(tx, 0)
		if err := New(flatConfig(t, deletes, "op", "source.txId:txId")).Append(t.Context(), &batch, tx, 0); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range batch.Records() {
			if r.Value != nil {
				continue
			}
			for _, h := range r.Headers {
				if name, added := strings.CutPrefix(h.Key, flatFieldPrefix); added {
					got = append(got, name)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: the tombstone has headers %q, want %q", mode, got, want)
		}
	}
}

// TestFlatWithoutTombstones: without Debezium's tombstones (tombstones.on.delete=false) a delete that is one itself stays.
func TestFlatWithoutTombstones(t *testing.T) {
	for deletes, want := range map[DeleteMode][2]string{
		DeleteTombstone: {"null", "null"}, DeleteDrop: {"", ""}, DeleteRewrite: {"value", "value"}, DeleteRewriteWithTombstone: {"value null", "value"},
	} {
		for i, without := range []bool{false, true} {
			config := flatConfig(t, deletes)
			config.NoTombstones = without
			batch := testBatch()
			tx := &outbox.Transaction{XID: 7, EndLSN: 9, Changes: []outbox.Change{{Op: outbox.Delete, Note: -1, Relation: guests, OldKind: 'K', Old: tuple("1", isNull, isNull)}}}
			if err := New(config).Append(t.Context(), &batch, tx, 0); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range batch.Records() {
				got = append(got, map[bool]string{true: "null", false: "value"}[r.Value == nil])
			}
			if strings.Join(got, " ") != want[i] {
				t.Errorf("mode %d, without tombstones %t: %q, want %q", deletes, without, got, want[i])
			}
		}
	}
}

// TestFlatUnchanged: a value that is not in the WAL, of a type without a placeholder, is null, also where the column is NOT NULL: Debezium's record has nothing
// there, or cannot be written. A value that is in the WAL and does not fit is an error, and so is one that would be a zero.
func TestFlatUnchanged(t *testing.T) {
	relation := &pgoutput.Relation{OID: 2, Schema: "public", Name: "e", Identity: 'd', Columns: []pgoutput.Column{
		{Name: "id", Type: oidInt4, TypeMod: -1, Key: true}, {Name: "emb", Type: 1022, TypeMod: -1}, {Name: "n", Type: oidNumeric, TypeMod: 4 + 2<<16},
	}}
	toasted := append(tuple("1"), pgoutput.Unchanged)
	toasted[1] = 3
	update := func(n string) outbox.Change {
		return outbox.Change{Op: outbox.Update, Note: -1, Relation: relation, New: append(toasted[:len(toasted):len(toasted)], tuple(n)[2:]...)}
	}
	batch := testBatch()
	tx := &outbox.Transaction{XID: 7, EndLSN: 9, Changes: []outbox.Change{update("1")}}
	if err := New(flatConfig(t, DeleteTombstone)).Append(t.Context(), &batch, tx, 0); err != nil {
		t.Fatal(err)
	}
	if value := string(batch.Records()[0].Value); !strings.HasSuffix(value, `"payload":{"id":1,"emb":null,"n":"AQ=="}}`) {
		t.Error(value)
	}
	tx.Changes[0] = update("NaN")
	if err := New(flatConfig(t, DeleteTombstone)).Append(t.Context(), &batch, tx, 0); err == nil || !strings.Contains(err.Error(), "add the field pgtee") {
		t.Errorf("NaN: %v", err)
	}
}

// TestUnchangedNotNull: no value stands for one that is not in the WAL, except in a type that is not stored out of line but in the rarest of rows.
func TestUnchangedNotNull(t *testing.T) {
	for column, want := range map[pgoutput.Column]string{
		{Type: 1022, TypeMod: -1}:                         `null`, // float8[]
		{Type: 1231, TypeMod: -1}:                         `null`, // numeric[]
		{Type: oidPath, TypeMod: -1}:                      `null`,
		{Type: oidVarbit, TypeMod: -1}:                    `null`,
		{Type: 90000, TypeMod: -1, TypeName: "vector"}:    `null`,
		{Type: 90000, TypeMod: -1, TypeName: "halfvec"}:   `null`,
		{Type: 90000, TypeMod: -1, TypeName: "sparsevec"}: `null`,
		{Type: 90000, TypeMod: -1, TypeName: "geography"}: `null`,
		{Type: oidText, TypeMod: -1}:                      `"__debezium_unavailable_value"`,
		{Type: oidNumeric, TypeMod: -1}:                   `add the field pgtee`,
	} {
		column.Name = "c"
		relation := &pgoutput.Relation{OID: 2, Schema: "public", Name: "e", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Type: oidInt4, TypeMod: -1, Key: true}, column}}
		config := flatConfig(t, DeleteTombstone)
		config.Catalog = &fixedCatalog{Tables: map[uint32]Table{2: {NotNull: []string{"id", "c"}, Keys: [][]string{{"id"}}, Primary: true}}}
		toasted := append(tuple("1"), pgoutput.Unchanged)
		toasted[1] = 2
		batch := testBatch()
		tx := &outbox.Transaction{XID: 7, EndLSN: 9, Changes: []outbox.Change{{Op: outbox.Update, Note: -1, Relation: relation, New: toasted}}}
		got := fmt.Sprint(New(config).Append(t.Context(), &batch, tx, 0))
		if batch.Len() > 0 {
			_, got, _ = strings.Cut(string(batch.Records()[0].Value), `"payload":`)
			got = strings.TrimSuffix(got, "}")
		}
		if got != `{"id":1,"c":`+want+`}` && (want[0] == '"' || want == "null" || !strings.Contains(got, want)) {
			t.Errorf("%+v: %s, want %s", column, got, want)
		}
	}
}

// TestFlatSchema: ExtractNewRecordState makes a schema that is not optional.
func TestFlatSchema(t *testing.T) {
	for _, deletes := range []DeleteMode{DeleteTombstone, DeleteRewrite} {
		e := New(flatConfig(t, deletes))
		plan, err := e.plan(t.Context(), guests, record.Place{})
		if err != nil {
			t.Fatal(err)
		}
		if s := e.describe(plan); s.value.Optional || !s.row.Optional {
			t.Errorf("mode %d: optional %t, of the row %t", deletes, s.value.Optional, s.row.Optional)
		}
	}
}
