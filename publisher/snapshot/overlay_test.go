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
