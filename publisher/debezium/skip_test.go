package debezium

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/shape"
)

func TestParseOperations(t *testing.T) {
	for text, want := range map[string]Operations{"none": 0, "t": SkipTruncate, "c, U": SkipCreate | SkipUpdate, "d,t": SkipDelete | SkipTruncate} {
		if got, err := ParseOperations(strings.Split(text, ",")); err != nil || got != want {
			t.Errorf("%s: %b, %v, want %b", text, got, err, want)
		}
	}
	for _, text := range []string{"", "r", "none,t", "create"} {
		if _, err := ParseOperations(strings.Split(text, ",")); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

// What settings leave out has no record, and is not counted in the transaction.
func TestSkippedRecords(t *testing.T) {
	relation := &pgoutput.Relation{OID: 16401, Schema: "public", Name: "t", Identity: 'f', Columns: []pgoutput.Column{
		{Name: "id", Type: oidInt4, TypeMod: -1, Key: true}, {Name: "v", Type: oidText, TypeMod: -1, Key: true},
	}}
	full := func(id, v string) outbox.Change {
		return outbox.Change{Op: outbox.Update, Relation: relation, OldKind: 'O', Old: tuple("1", "a"), New: tuple(id, v)}
	}
	changes := []outbox.Change{
		{Op: outbox.Insert, Relation: relation, New: tuple("1", "a")},
		full("1", "a"), full("1", "b"),
		{Op: outbox.Update, Relation: relation, New: tuple("1", "a")}, // the log has no old row
		{Op: outbox.Delete, Relation: relation, OldKind: 'O', Old: tuple("1", "a")},
		{Op: outbox.Truncate, Relation: relation},
	}
	for i := range changes {
		changes[i].Ordinal, changes[i].Note = i, -1
	}
	for _, test := range []struct {
		name   string
		config Config
		want   string
	}{
		{"nothing", Config{}, "c u u u d - t"},
		{"unchanged", Config{SkipUnchanged: true}, "c u u d - t"},
		{"updates", Config{Skip: SkipUpdate}, "c d - t"},
		{"deletes", Config{Skip: SkipDelete | SkipTruncate}, "c u u u"},
		{"inserts", Config{Skip: SkipCreate}, "u u u d - t"},
	} {
		test.config.TransactionMetadata = true
		encoder := New(test.config)
		batch := testBatch()
		if err := encodeAll(t.Context(), encoder, &batch, &outbox.Transaction{XID: 731, CommitTime: time.UnixMicro(1), Changes: changes}); err != nil {
			t.Fatal(err)
		}
		var got []string
		counted := ""
		for _, r := range batch.Records() {
			value, err := parseJSON(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			if count := value.at("event_count"); count != nil {
				counted = count.scalar
			}
			if strings.HasSuffix(r.Topic, ".transaction") {
				continue
			}
			if op := value.at("op"); op != nil {
				got = append(got, strings.Trim(op.scalar, `"`))
			} else {
				got = append(got, "-")
			}
		}
		if text := strings.Join(got, " "); text != test.want {
			t.Errorf("%s: %s, want %s", test.name, text, test.want)
		}
		events := slices.DeleteFunc(got, func(op string) bool { return op == "-" })
		if counted != string(appendInt(nil, int64(len(events)))) {
			t.Errorf("%s: %s events counted of %v", test.name, counted, events)
		}
	}
}

// TestLeftOutMayHaveChanged: a row whose large value is left out of both tuples, because its record would be too large, still has a record.
func TestLeftOutMayHaveChanged(t *testing.T) {
	lacking := append(tuple("1"), pgoutput.Unchanged, pgoutput.Text, 0, 0, 0, 1, 'r')
	lacking[1] = 3
	change := outbox.Change{Op: outbox.Update, Relation: members, OldKind: 'O', Old: lacking, New: lacking}
	for _, hidden := range []bool{false, true} {
		form := shape.Config{}
		if hidden {
			form.Tables = []shape.TableConfig{{Match: "*.*", ExcludeColumns: []string{"email"}}}
		}
		got := summaryOf(t, shaped(t, Config{Catalog: memberKeys, SkipUnchanged: true}, form), change)
		if (got == "") != hidden {
			t.Errorf("the column is excluded: %t; record %q", hidden, got)
		}
	}
}

// TestPartOfOldRow: an old row that the WAL has only in part may differ where it has nothing, whatever is printed there.
func TestPartOfOldRow(t *testing.T) {
	relation := &pgoutput.Relation{OID: 2, Schema: "public", Name: "a", Identity: 'd', Columns: []pgoutput.Column{
		{Name: "id", Type: oidInt4, TypeMod: -1, Key: true}, {Name: "tenant", Type: oidText, TypeMod: -1, Key: true}, {Name: "active", Type: oidBool, TypeMod: -1},
	}}
	catalog := &fixedCatalog{Tables: map[uint32]Table{2: {
		NotNull: []string{"id", "tenant", "active"}, Keys: [][]string{{"id", "tenant"}}, Primary: true, Defaults: map[string]string{"active": "true"},
	}}}
	e := shaped(t, Config{Catalog: catalog, SkipUnchanged: true}, shape.Config{Tables: []shape.TableConfig{{Match: "public.a", Key: []string{"id"}, ExcludeColumns: []string{"tenant"}}}})
	got := summaryOf(t, e, outbox.Change{Op: outbox.Update, Relation: relation, OldKind: 'K', Old: tuple("1", "x", isNull), New: tuple("1", "y", "t")})
	if !strings.HasPrefix(got, `"u" {"id":1}`) {
		t.Errorf("the record is %q", got)
	}
}
