package integration

import (
	"fmt"
	"strings"
	"testing"
)

// Two databases apply each other's streams, and both are written to: they end equal, and each publishes only what was written
// to it first.
func TestApplyRing(t *testing.T) {
	const schema = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);"
	var ends [2]*applied
	for i := range ends {
		r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
		r.Exec(schema)
		r.Setup()
		r.StartProxy()
		r.publisher = r.process("publish", append(r.publishArgs(), "--skip-applied")...)
		ends[i] = &applied{runner: r, ring: true}
	}
	ends[0].target, ends[1].target = ends[1].database, ends[0].database
	ends[1].marker = 1_000_000 // the marks of one end are applied to the other
	for _, end := range ends {
		end.Drain() // its topics are there
		end.process("apply", end.applyArgs()...)
	}
	for round := range 10 {
		for i, end := range ends {
			id := 2*round + i
			end.Write(fmt.Sprintf("INSERT INTO t VALUES (%d, 'of %d')", id, i), fmt.Sprintf("UPDATE t SET v = v || '+' WHERE id = %d", id))
			if round%3 == 2 {
				end.Write(fmt.Sprintf("DELETE FROM t WHERE id = %d", id-2))
			}
		}
	}
	for _, end := range ends {
		end.Drain()
		end.awaitInTarget(fmt.Sprintf("SELECT EXISTS (SELECT FROM mark.mark WHERE id = %d)::text", end.marker))
	}
	ends[0].ExpectEqual("t", "mark.mark")
	for i, end := range ends {
		for _, e := range end.Events("public.t") {
			if !e.Tombstone && (e.Op == "c" || e.Op == "u") && !strings.Contains(e.After.Text(), fmt.Sprintf("of %d", i)) {
				t.Errorf("end %d publishes %s", i, e.After.Text())
			}
		}
		if got := len(end.Events("public.t")); got != 10+10+2*3 { // inserts, updates, deletes with their tombstones
			t.Errorf("end %d has published %d records", i, got)
		}
	}
}
