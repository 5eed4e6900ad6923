package snapshot

import (
	"context"
	"fmt"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
)

// An UPDATE that keeps the key of a row may move it to a place that has been read, if the table is read in the order of ctid: then the row is read by its key later,
// unless a record of the stream has all of its values. In the order of a key it stays where it is.
func TestRowsThatAreDisplaced(t *testing.T) {
	relation := &pgoutput.Relation{OID: 7, Schema: "public", Name: "t", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Key: true}, {Name: "big"}}}
	for order, want := range map[string]string{
		"ctid 1": "[[1]] [[2]] [[2] [3]] [[2]]",
		"id":     "[] [] [] []",
	} {
		c := testCopier(Config{Open: func() TableReader { return nil }})
		c.Identity = func(context.Context, *pgoutput.Relation, record.Place) (record.Identity, error) {
			return record.LoggedIdentity(relation), nil
		}
		c.request(Copy{ID: "a", Working: []TableCopy{{OID: 7, Root: 7}}})
		c.reader, c.reached, c.latest = idleReader{}, map[uint32][][]byte{}, &outbox.Visible{Xmin: 90, Xmax: 90}
		c.overlay.reset()
		pass := &tablePass{table: 7, visible: c.latest}
		c.passes = []*tablePass{pass}
		update := func(xid outbox.XID, id byte, whole bool) {
			row := pgoutput.Tuple{0, 2, pgoutput.Text, 0, 0, 0, 1, id}
			if whole {
				row = append(row, pgoutput.Text, 0, 0, 0, 1, 'x')
			} else {
				row = append(row, pgoutput.Unchanged)
			}
			tx := &outbox.Transaction{XID: xid, Changes: []outbox.Change{{Op: outbox.Update, Relation: relation, New: row}}}
			if err := c.Observe(t.Context(), tx); err != nil {
				t.Fatal(err)
			}
		}
		var listed []string
		look := func() {
			keys := fmt.Sprintf("%s", c.Current().Working[0].Moved.Keys)
			listed = append(listed, keys)
		}
		update(95, '0', false) // the pass sees it, as will all others
		update(101, '1', false)
		c.hold(pass, &outbox.Chunk{Table: 7, Relation: relation, Visible: outbox.Visible{Xmin: 100, Xmax: 100}, Last: [][]byte{[]byte(order), []byte("(5,0)")}})
		look()
		update(102, '2', false)
		update(103, '1', true)
		look()
		update(104, '3', false)
		look()
		c.Current().Working[0].Read = true
		update(105, '3', true)
		update(106, '4', false) // all of it is in the topic
		look()
		if got := fmt.Sprint(listed); got != "["+want+"]" {
			t.Errorf("in the order of %s: %s, want %s", order, got, want)
		}
	}
}
