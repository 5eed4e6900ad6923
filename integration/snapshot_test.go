package integration

import (
	"fmt"
	"maps"
	"testing"

	"github.com/pgtee/pgtee/integration/verdict"
)

const snapshotSchema = `CREATE TABLE wide (id int PRIMARY KEY, big text, n int NOT NULL DEFAULT 0);
ALTER TABLE wide ALTER big SET STORAGE EXTERNAL;
INSERT INTO wide SELECT g, repeat(md5(g::text), 200) FROM generate_series(1, 500) AS g;
CREATE TABLE pair (a text, b int, v int, PRIMARY KEY (b, a, v));
INSERT INTO pair (a, b, v) SELECT 'a' || g % 7, g / 7, g FROM generate_series(1, 30000) AS g;
CREATE TABLE parts (id int, r text, v text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (r text NOT NULL, v text, id int NOT NULL); ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
INSERT INTO parts SELECT g, CASE WHEN g % 2 = 0 THEN 'a' ELSE 'b' END, 'v' || g FROM generate_series(1, 3000) AS g;
CREATE TABLE bare (a text, b int);
INSERT INTO bare SELECT 'x' || g, g FROM generate_series(1, 3000) AS g;
CREATE TABLE none (id int PRIMARY KEY);`

// The copy at the start brings every row, with Debezium's marks, and an end of the publisher if that was all that was wanted.
func TestInitialSnapshot(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec(snapshotSchema)
			r.Setup()
			if out, code := r.Pgtee(append(r.publishArgs(), "--snapshot", "only")...); code != 0 {
				t.Fatalf("publish --snapshot only exits with %d:\n%s", code, out)
			}
			for table, key := range map[string][]string{"wide": {"id"}, "pair": {"a", "b", "v"}, "parts": {"id", "r"}, "bare": {"a", "b"}, "none": {"id"}} {
				r.ExpectFolded(table, key)
			}
			marks := map[string]int{}
			for _, table := range []string{"wide", "pair", "parts", "bare"} {
				for _, e := range r.Events("public." + table) {
					marks[e.Op+" "+e.Source.Snapshot]++
				}
			}
			marks["r last_in_data_collection"] += marks["r last"] // if the empty table is not read last
			delete(marks, "r last")
			if want := map[string]int{"r first": 1, "r first_in_data_collection": 4, "r true": 36490, "r last_in_data_collection": 5}; !maps.Equal(marks, want) {
				t.Errorf("marks %v, want %v", marks, want)
			}
		})
	}
}

// ExpectFolded fails the test unless a table is what its topic folds to.
func (r *runner) ExpectFolded(table string, key []string) *verdict.Fold {
	r.t.Helper()
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	rows, err := verdict.LoadRows(r.ctx, conn, table, key)
	r.must(err)
	fold, err := verdict.FoldTopic(table, key, r.Topic("public."+table))
	r.must(err)
	wrong := append(fold.Compare(rows), fold.Repeated...)
	for _, line := range wrong[:min(5, len(wrong))] {
		r.t.Error(line)
	}
	return fold
}
