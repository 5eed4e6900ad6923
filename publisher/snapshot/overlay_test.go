package snapshot

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
)

// A chunk leaves a row to the stream once one record has all of its values. What only several records have together, a reader without the row does not
// get from them.
func TestMergeNeedsOneWholeRecord(t *testing.T) {
	relation := &pgoutput.Relation{OID: 7, Schema: "public", Name: "t", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Key: true}, {Name: "a"}, {Name: "b"}}}
	tuple := func(values ...string) pgoutput.Tuple { // "": unchanged
		row := pgoutput.Tuple{0, byte(len(values))}
		for _, v := range values {
			if v == "" {
				row = append(row, pgoutput.Unchanged)
				continue
			}
			row = append(binary.BigEndian.AppendUint32(append(row, pgoutput.Text), uint32(len(v))), v...)
		}
		return row
	}
	for _, c := range []struct {
		name    string
		updates []pgoutput.Tuple
		want    pgoutput.Tuple // nil: it is left to the stream
	}{
		{"not changed", nil, tuple("1", "a0", "b0")},
		{"a part", []pgoutput.Tuple{tuple("1", "a1", "")}, tuple("1", "a1", "b0")},
		{"all", []pgoutput.Tuple{tuple("1", "a1", "b1")}, nil},
		{"all, then a part", []pgoutput.Tuple{tuple("1", "a1", "b1"), tuple("1", "", "b2")}, nil},
		{"a part, then all", []pgoutput.Tuple{tuple("1", "a1", ""), tuple("1", "a2", "b2")}, nil},
		{"two parts", []pgoutput.Tuple{tuple("1", "a1", ""), tuple("1", "", "b2")}, tuple("1", "a1", "b2")},
	} {
		var o overlay
		o.reset()
		for i, row := range c.updates {
			o.record(&outbox.Change{Op: outbox.Update, Relation: relation, New: row}, outbox.XID(101+i), record.LoggedIdentity(relation))
		}
		chunk := &outbox.Chunk{Table: 7, Relation: relation, Visible: outbox.Visible{Xmin: 100, Xmax: 100}}
		chunk.Add(tuple("1", "a0", "b0"))
		var got pgoutput.Tuple
		err := o.merge(chunk, relation, func(_ int, row pgoutput.Tuple) error {
			got = row
			return nil
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q (%v)", c.name, got, c.want, err)
		}
	}
}

// In a table without a key, rows may be equal. What the stream adds or removes concerns only as many copies of a row.
func TestMergeCountsCopies(t *testing.T) {
	relation := &pgoutput.Relation{OID: 7, Schema: "public", Name: "clicks", Identity: 'f', Columns: []pgoutput.Column{{Name: "page", Key: true}}}
	tuple := func(v string) pgoutput.Tuple {
		return append(binary.BigEndian.AppendUint32(pgoutput.Tuple{0, 1, pgoutput.Text}, uint32(len(v))), v...)
	}
	insert := func(page string) outbox.Change { return outbox.Change{Op: outbox.Insert, New: tuple(page)} }
	remove := func(page string) outbox.Change {
		return outbox.Change{Op: outbox.Delete, OldKind: 'O', Old: tuple(page)}
	}
	update := func(from, to string) outbox.Change {
		return outbox.Change{Op: outbox.Update, OldKind: 'O', Old: tuple(from), New: tuple(to)}
	}
	for _, c := range []struct {
		name    string
		changes []outbox.Change // each of a transaction of its own: 101, 102, ...
		sees    uint64          // the chunks see lower ids
		chunks  []string        // a letter is a row
		want    []string
	}{
		{"an insert", []outbox.Change{insert("a")}, 100, []string{"aab"}, []string{"aab"}},
		{"a delete", []outbox.Change{remove("a")}, 100, []string{"aaab"}, []string{"aab"}},
		{"of the last copy", []outbox.Change{remove("a")}, 100, []string{"ab"}, []string{"b"}},
		{"of a copy added before", []outbox.Change{insert("a"), remove("a")}, 100, []string{"aab"}, []string{"aab"}},
		{"of a copy that the chunk has", []outbox.Change{insert("a"), remove("a")}, 102, []string{"aab"}, []string{"ab"}},
		{"which the chunk sees", []outbox.Change{remove("a")}, 102, []string{"aab"}, []string{"aab"}},
		{"and one added later", []outbox.Change{remove("a"), insert("a")}, 100, []string{"aab"}, []string{"ab"}},
		{"an update", []outbox.Change{update("a", "b")}, 100, []string{"aabb"}, []string{"abb"}},
		{"an update of nothing", []outbox.Change{update("a", "a")}, 100, []string{"aab"}, []string{"ab"}},
		{"one delete, two chunks", []outbox.Change{remove("a")}, 100, []string{"aab", "aa"}, []string{"ab", "aa"}},
		{"two deletes, two chunks", []outbox.Change{remove("a"), remove("a")}, 100, []string{"ab", "aa"}, []string{"b", "a"}},
	} {
		var o overlay
		o.reset()
		for i, change := range c.changes {
			change.Relation = relation
			o.record(&change, outbox.XID(101+i), record.LoggedIdentity(relation))
		}
		for i, rows := range c.chunks {
			chunk := &outbox.Chunk{Table: 7, Relation: relation, Visible: outbox.Visible{Xmin: c.sees, Xmax: c.sees}}
			for _, row := range rows {
				chunk.Add(tuple(string(row)))
			}
			got := ""
			err := o.merge(chunk, relation, func(_ int, row pgoutput.Tuple) error {
				columns := row.Columns()
				columns.Next()
				got += string(columns.Value())
				return nil
			})
			if err != nil || got != c.want[i] {
				t.Errorf("%s: chunk %d: %q, want %q (%v)", c.name, i, got, c.want[i], err)
			}
		}
		if o.prune(func(outbox.XID) bool { return true }); o.bytes != 0 || len(o.tables) != 0 {
			t.Errorf("%s: %d bytes and %d tables remain", c.name, o.bytes, len(o.tables))
		}
	}
}

// A DELETE consumes a copy that a chunk has published before it, if the stream shows that there was one.
func TestMergeCountsCopiesPublished(t *testing.T) {
	c := copies{}.add(101, 1).add(read, 2).add(102, -3)
	unseeing := &outbox.Visible{Xmin: 100, Xmax: 100}
	if n := c.removed(unseeing); n != 0 {
		t.Errorf("%d copies are left out: the reader has all three", n)
	}
	if n := c.add(103, -1).removed(unseeing); n != 1 {
		t.Errorf("%d copies are left out, want the fourth", n)
	}
	// published, changed to and fro, then deleted: the chunk has the row in another place
	c = copies{}.add(read, 1).add(101, -1).add(102, 1).add(103, -1)
	if n := c.removed(&outbox.Visible{Xmin: 103, Xmax: 103}); n != 1 {
		t.Errorf("%d copies are left out, want the one that was deleted", n)
	}
	o := overlay{tables: map[uint32]*overtakenTable{7: {copies: map[string]copies{"a": copies{}.add(read, 1), "b": copies{}.add(read, 1).add(101, -1)}}}}
	if o.forgetRead(); len(o.tables[7].copies) != 1 || o.tables[7].copies["b"].removed(unseeing) != 1 {
		t.Errorf("after a copy: %v", o.tables[7].copies)
	}
}

// If the stream does not tell which row has changed, or what identifies rows is something else from then on, chunks read before are read again.
func TestJudgeReadsAgainWhatIsNotRecorded(t *testing.T) {
	relation := &pgoutput.Relation{OID: 7, Schema: "public", Name: "t", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Key: true}, {Name: "a"}}}
	partial := pgoutput.Tuple{0, 2, pgoutput.Null, pgoutput.Null}
	again := *relation // sent anew because of the DDL
	for name, change := range map[string]func(o *overlay){
		"a row that nothing identifies": func(o *overlay) {
			o.record(&outbox.Change{Op: outbox.Delete, OldKind: 'K', Old: partial, Relation: relation}, 101, record.LoggedIdentity(relation))
		},
		"another identity": func(o *overlay) {
			o.record(&outbox.Change{Op: outbox.Delete, OldKind: 'O', Old: partial, Relation: relation}, 101, record.Identity{Columns: []int{0, 1}, Whole: true})
			o.record(&outbox.Change{Op: outbox.Delete, OldKind: 'O', Old: partial, Relation: &again}, 101, record.Identity{Columns: []int{0}, Whole: true})
		},
	} {
		var o overlay
		o.reset()
		change(&o)
		for sees, want := range map[uint64]Verdict{100: ReadAgain, 102: Publish} {
			if got, _ := o.judge(&outbox.Chunk{Relation: relation, Visible: outbox.Visible{Xmin: sees, Xmax: sees}}); got != want {
				t.Errorf("%s: verdict %d on a chunk that sees ids below %d, want %d", name, got, sees, want)
			}
		}
	}
}
