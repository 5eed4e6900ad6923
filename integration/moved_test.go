package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

const movedSchema = `CREATE TABLE moved (r text COLLATE "C", id int, big text, PRIMARY KEY (r, id));
ALTER TABLE moved ALTER big SET STORAGE EXTERNAL;
INSERT INTO moved SELECT 'o''\', g, repeat(md5(g::text), 200) FROM generate_series(1, 2000) AS g;`

// Rows whose keys change from what is not copied yet to what is, and whose large values the log does not repeat, are read by
// their keys, though the publisher is killed meanwhile.
func TestSnapshotOfMovedRows(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec(movedSchema)
			r.Setup()
			r.publisher = r.process("publish", append(r.publishArgs(), "--snapshot", "initial", "--snapshot-max-rows", "50")...)
			r.awaitProgress(`"last":`)
			r.Exec("UPDATE moved SET id = -id WHERE id > 1900", "UPDATE moved SET id = -3000 WHERE id = -1999", "DELETE FROM moved WHERE id = -1998")
			r.awaitProgress(`"moved":`)
			if records := r.Topic("progress"); strings.Contains(string(records[len(records)-1].Value), `"read":`) {
				t.Fatal("all was copied before the rows moved")
			}
			r.Kill(r.publisher)
			r.StartSnapshot()
			r.ExpectFolded("moved", []string{"r", "id"})
		})
	}
}

// awaitProgress waits until the progress record has a text.
func (r *runner) awaitProgress(text string) {
	r.t.Helper()
	r.must(harness.Eventually(time.Minute, func(context.Context) error {
		records := r.Topic("progress")
		if len(records) == 0 || !strings.Contains(string(records[len(records)-1].Value), text) {
			return fmt.Errorf("no %s in the progress record", text)
		}
		return nil
	}))
}
