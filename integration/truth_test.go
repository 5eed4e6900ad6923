package integration

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/pgtee/pgtee/integration/verdict"
)

// The ground itself must be firm: the history, taken in the order of the commit records, folds to what
// stands in the tables.
func TestTruthFoldsToTheTables(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, "", must(t, sharedPostgres[major]), "")
			r.Watch(workSchema, workTables...)
			r.start = r.Query("SELECT pg_current_wal_insert_lsn()::text")
			s := &session{ctx: r.ctx, name: "s", url: r.DirectURL("ann", "s"), random: rand.New(rand.NewSource(1))}
			r.must(s.run(2))
			conn := r.dial(r.URL())
			defer conn.Close(r.ctx)
			truth, err := verdict.LoadTruth(r.ctx, conn, r.start)
			r.must(err)
			if len(truth.Commits) < 50 {
				t.Errorf("only %d commits", len(truth.Commits))
			}
			if got, want := fold(truth, "work.item"), r.tableRows("work.item"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the history folds to\n%v\nthe table holds\n%v", got, want)
			}
		})
	}
}

// fold applies the changes of a table one by one; the result is by key.
func fold(truth *verdict.Truth, table string) map[string]string {
	rows := map[string]string{}
	for _, commit := range truth.Commits {
		for _, change := range commit.Changes {
			if change.Table != table {
				continue
			}
			if change.Old != nil {
				delete(rows, change.Old.Key(truth.Keys[table]))
			}
			if change.New != nil {
				rows[change.New.Key(truth.Keys[table])] = change.New.Text()
			}
		}
	}
	return rows
}

// tableRows reads a table with the key id.
func (r *runner) tableRows(table string) map[string]string {
	r.t.Helper()
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	rows, err := verdict.LoadRows(r.ctx, conn, table, []string{"id"})
	r.must(err)
	texts := map[string]string{}
	for id, row := range rows {
		texts[id] = row.Text()
	}
	return texts
}
