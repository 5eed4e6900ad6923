package outbox

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

var update = flag.Bool("update", false, "rewrite the golden files")

type walMessage struct {
	lsn  LSN
	data []byte
}

// recordedMessages returns what PostgreSQL 15 sent for one workload.
func recordedMessages(t testing.TB) []walMessage {
	t.Helper()
	file, err := os.Open("pgoutput/testdata/text.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var messages []walMessage
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 {
			continue
		}
		lsn, err := pgoutput.ParseLSN(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, walMessage{lsn, data})
	}
	return messages
}

func TestAssembleGolden(t *testing.T) {
	a := NewAssembler(0, DefaultPartBytes, nil)
	var whole []*Transaction
	var scratch []byte // each message overwrites the one before, as on a connection
	for _, m := range recordedMessages(t) {
		scratch = append(scratch[:0], m.data...)
		transaction, err := a.Message(m.lsn, scratch)
		if err != nil {
			t.Fatal(err)
		}
		if transaction != nil {
			whole = append(whole, transaction)
		}
	}
	var got bytes.Buffer
	for _, transaction := range whole {
		describe(&got, transaction)
	}
	const golden = "testdata/transactions.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s differs; see the change with go test -update and git diff", golden)
	}
}

func describe(w *bytes.Buffer, t *Transaction) {
	fmt.Fprintf(w, "transaction %d %s..%s %s\n", t.XID, t.CommitLSN, t.EndLSN, t.CommitTime.Format(time.RFC3339Nano))
	for _, c := range t.Changes {
		fmt.Fprintf(w, "  %d %c %s note=%d", c.Ordinal, c.Op, c.LSN, c.Note)
		if c.Relation != nil {
			fmt.Fprintf(w, " %s.%s", c.Relation.Schema, c.Relation.Name)
		}
		if c.OldKind != 0 {
			fmt.Fprintf(w, " %c(%s)", c.OldKind, tupleText(c.Old))
		}
		if c.New != nil {
			fmt.Fprintf(w, " (%s)", tupleText(c.New))
		}
		if c.Op == Message {
			fmt.Fprintf(w, " %q %q", c.Prefix, c.Content)
		}
		w.WriteByte('\n')
	}
}

func tupleText(t pgoutput.Tuple) string {
	var values []string
	for c := t.Columns(); c.Next(); {
		value := string(c.Kind())
		if c.Kind() == pgoutput.Text {
			value = fmt.Sprintf("%q", c.Value())
		}
		values = append(values, value)
	}
	return strings.Join(values, " ")
}

func TestAssembleNamesTypesThatAreNotBuiltIn(t *testing.T) {
	named := map[string]bool{}
	a := NewAssembler(0, DefaultPartBytes, nil)
	for _, m := range recordedMessages(t) {
		transaction, err := a.Message(m.lsn, m.data)
		if err != nil {
			t.Fatal(err)
		}
		if transaction == nil {
			continue
		}
		for _, change := range transaction.Changes {
			if change.Relation == nil {
				continue
			}
			for _, column := range change.Relation.Columns {
				if builtIn := column.Type < 16384; builtIn != (column.TypeName == "") {
					t.Errorf("%s.%s: type %d is called %q", change.Relation.Name, column.Name, column.Type, column.TypeName)
				}
				named[column.TypeSchema+"."+column.TypeName] = true
			}
		}
	}
	if len(named) < 2 {
		t.Error("the recording names no type")
	}
}

func TestAssembleCountsOnlyWhatMatters(t *testing.T) {
	w := &wal{t: t}
	w.begin(10).relation(1, "public", "orders", "id").relation(2, Schema, "meta", "slot").relation(3, Schema, "outbox_2", outboxColumns...)
	w.insert(1, "1").message("app", "one").insert(2, "s").update(2, "s")
	w.update(3, outboxRow('n', "", "u", "r", 1, nil)...)
	w.truncate(3, 1, 2).insert(1, "2")
	got := w.commit()
	want := []struct {
		op      Op
		ordinal int
	}{{Insert, 0}, {Message, 1}, {Truncate, 2}, {Insert, 3}}
	if len(got.Changes) != len(want) || len(got.Notes) != 0 {
		t.Fatalf("%d changes and %d notes, want %d and 0", len(got.Changes), len(got.Notes), len(want))
	}
	for i, c := range got.Changes {
		if c.Op != want[i].op || c.Ordinal != want[i].ordinal {
			t.Errorf("change %d: %c with ordinal %d, want %c with %d", i, c.Op, c.Ordinal, want[i].op, want[i].ordinal)
		}
		if c.Relation != nil && c.Relation.Schema == Schema {
			t.Errorf("change %d is of schema %s", i, Schema)
		}
	}
}

func TestAssembleMakesANewRelationForEachDescription(t *testing.T) {
	w := &wal{t: t}
	first := w.begin(1).relation(1, "public", "t", "a").insert(1, "x").commit()
	second := w.begin(2).insert(1, "y").relation(1, "public", "t", "a", "b").insert(1, "z", "2").commit()
	before, after := first.Changes[0].Relation, second.Changes[1].Relation
	if second.Changes[0].Relation != before || before == after || len(before.Columns) != 1 || len(after.Columns) != 2 {
		t.Errorf("relations %p (%d columns), %p, %p (%d columns)", before, len(before.Columns), second.Changes[0].Relation, after, len(after.Columns))
	}
}

// What is kept does not grow with the tables that are created and dropped, whether their OIDs are used again or not.
func TestAssembleForgetsDroppedTables(t *testing.T) {
	w := &wal{t: t}
	w.begin(6).relation(1, "public", "kept", "a").insert(1, "x").commit()
	for _, oid := range []uint32{2, 3, 2} {
		w.begin(7).relation(oid, "public", "staging", "a").insert(oid, "x")
		drop := fmt.Sprintf(`{"command": "DROP TABLE", "objects": [{"type": "index", "oid": 1, "dropped": true}, {"type": "table", "oid": %d, "dropped": true}]}`, oid)
		w.message(note.MessagePrefix, string(sign(emittedVersion, testWitnessKey, "d", "4294967303", "ann", "\x00\x00\x00\x07", "psql", drop, "")))
		if tx := w.insert(1, "y").commit(); len(tx.Changes) != 3 || len(w.assembler.tables) != 1 {
			t.Fatalf("%d changes, %d tables", len(tx.Changes), len(w.assembler.tables))
		}
	}
}

func TestAssembleRefuses(t *testing.T) {
	tests := []struct {
		name, want string
		write      func(w *wal)
	}{
		{"begin in a transaction", "begins inside", func(w *wal) { w.begin(1).begin(2) }},
		{"row outside of a transaction", "outside", func(w *wal) { w.relation(1, "public", "t", "a").insert(1, "x") }},
		{"truncate outside of a transaction", "outside", func(w *wal) { w.relation(1, "public", "t", "a").truncate(1) }},
		{"message outside of a transaction", "outside", func(w *wal) { w.message("app", "x") }},
		{"unknown relation", "not described", func(w *wal) { w.begin(1).insert(1, "x") }},
		{"row with another number of columns", "row of 2 columns", func(w *wal) { w.begin(1).relation(1, "public", "t", "a").insert(1, "x", "y") }},
		{"commit without a begin", "without a begin", func(w *wal) { w.end(100, 108) }},
		{"commit of another transaction", "began with", func(w *wal) { w.begin(1).end(1, 2) }},
		{"end that does not rise", "not after", func(w *wal) {
			w.begin(1).commit()
			w.begin(2).end(w.at, w.last)
		}},
		{"unknown message", "unknown kind", func(w *wal) { w.send([]byte("S")) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := &wal{t: t, tolerant: true}
			test.write(w)
			if w.err == nil || !strings.Contains(w.err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", w.err, test.want)
			}
		})
	}
}

func TestAssembleProgress(t *testing.T) {
	w := &wal{t: t}
	w.begin(1)
	if got := w.assembler.Progress(1<<40, true); got != nil {
		t.Errorf("progress inside a transaction: %+v", got)
	}
	end := w.commit().EndLSN
	if got := w.assembler.Progress(end, false); got != nil {
		t.Errorf("progress to where we are: %+v", got)
	}
	if got := w.assembler.Progress(end, true); got == nil || got.EndLSN != end || !got.Urgent {
		t.Errorf("an urgent request at where we are: %+v", got)
	}
	got := w.assembler.Progress(end+1, false)
	if got == nil || got.EndLSN != end+1 || !got.IsMarker() {
		t.Errorf("got %+v, want a marker at %s", got, end+1)
	}
}

// A message that is not transactional arrives between transactions, at any LSN.
func TestAssembleIgnoresMessagesWithoutTransaction(t *testing.T) {
	w := &wal{t: t}
	w.begin(1).commit()
	w.send([]byte("M\x00\x00\x00\x00\x00\x00\x00\x00\x01pgtee\x00\x00\x00\x00\x01x"))
	if got := w.begin(2).message("app", "x").commit(); len(got.Changes) != 1 {
		t.Errorf("got %d changes, want 1", len(got.Changes))
	}
}

// Every change keeps its own bytes however chunks and slabs are shared, and appending to one tuple
// does not write into the next.
func TestAssembleKeepsRowsApart(t *testing.T) {
	w := &wal{t: t}
	w.begin(1).relation(1, "public", "t", "a").commit()
	var all []*Transaction
	row := 0
	for xid := range 50 {
		w.begin(XID(xid))
		for range 1 + xid*xid {
			w.insert(1, wideValue(row))
			row++
		}
		all = append(all, w.commit())
	}
	row = 0
	for _, transaction := range all {
		for i, change := range transaction.Changes {
			if change.Ordinal != i {
				t.Fatalf("change %d has ordinal %d", i, change.Ordinal)
			}
			columns := change.New.Columns()
			columns.Next()
			if got := string(columns.Value()); got != wideValue(row) {
				t.Fatalf("row %d holds %.30q, want %.30q", row, got, wideValue(row))
			}
			_ = append(change.New, "overwritten"...)
			row++
		}
	}
	if row < 40_000 {
		t.Errorf("only %d rows", row)
	}
}

// wideValue is a value that tells its row: short, longer than a quarter of a chunk, or between.
func wideValue(row int) string {
	length := row % 40
	switch row % 1000 {
	case 500:
		length = chunkBytes / 3
	case 900:
		length = chunkBytes / 5
	}
	return fmt.Sprintf("%d %s", row, strings.Repeat("x", length))
}

func TestAssembleRowAllocatesNothing(t *testing.T) {
	const rows = 1000
	w := &wal{t: t}
	w.begin(1).relation(1, "public", "t", "a", "b").commit()
	insert := insertMessage(1, "1001", "hello")
	got := testing.AllocsPerRun(20, func() {
		w.begin(2)
		for range rows {
			w.send(insert)
		}
		w.commit()
	})
	if got > 0.02*rows {
		t.Errorf("%v allocations for %d rows", got, rows)
	}
}

func BenchmarkAssemble(b *testing.B) {
	w := &wal{t: b}
	w.begin(1).relation(1, "public", "t", "id", "n", "at", "gone", "text").commit()
	insert := insertMessage(1, "1001", "12", "2026-01-02 03:04:05.678901+00", "", "hello")
	b.SetBytes(int64(len(insert)))
	b.ReportAllocs()
	w.begin(2)
	rows := 0
	for b.Loop() {
		if _, err := w.assembler.Message(1, insert); err != nil {
			b.Fatal(err)
		}
		if rows++; rows%1000 == 0 {
			w.commit()
			w.begin(2)
		}
	}
}
