package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// movedSchema has the ids times the sign %[1]d, the identity %[2]s, and room in its first blocks: what is updated gets there.
const movedSchema = `CREATE TABLE moved (r text COLLATE "C" NOT NULL, id int NOT NULL, n int, big text);
ALTER TABLE moved ALTER big SET STORAGE EXTERNAL;
INSERT INTO moved SELECT 'room', g FROM generate_series(1, 2000) AS g;
INSERT INTO moved SELECT 'o''\', %[1]d * g, 0, repeat(md5(g::text), 200) FROM generate_series(1, 2000) AS g;
DELETE FROM moved WHERE r = 'room';
%[2]s`

// Rows whose keys change from what is not copied yet to what is, and whose large values the log does not repeat, are read by
// their keys, though the publisher is killed meanwhile; those whose ctid changes so are read once. Both hold whatever the order
// of the identity's index.
func TestSnapshotOfMovedRows(t *testing.T) {
	const index = `CREATE UNIQUE INDEX key ON moved (%s); ALTER TABLE moved REPLICA IDENTITY USING INDEX key`
	for _, c := range []struct {
		name     string
		major    int
		sign     int // of the ids: 1 if the index is in their order
		identity string
	}{
		{"primary key", 15, 1, "ALTER TABLE moved ADD PRIMARY KEY (r, id)"},
		{"primary key, PostgreSQL 18", 18, 1, "ALTER TABLE moved ADD PRIMARY KEY (r, id)"},
		{"descending", 18, -1, fmt.Sprintf(index, "r DESC, id DESC")},
		{"one descending", 15, -1, fmt.Sprintf(index, "r, id DESC")},
		{"nulls first", 15, 1, fmt.Sprintf(index, "r NULLS FIRST, id NULLS FIRST")},
		{"another operator class", 15, 1, fmt.Sprintf(index, "r text_pattern_ops, id")},
		{"another collation", 15, -1, fmt.Sprintf(index, `r COLLATE "und-x-icu", id DESC`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[c.major]), "table")
			r.Exec(fmt.Sprintf(movedSchema, c.sign, c.identity), "VACUUM moved")
			r.Setup()
			r.publisher = r.process("publish", append(r.publishArgs(), "--snapshot", "initial", "--snapshot-rows-per-second", "50")...)
			r.awaitProgress(`"last":`)
			r.Exec(fmt.Sprintf("UPDATE moved SET id = -id WHERE %d * id > 1900", c.sign), fmt.Sprintf("UPDATE moved SET id = %d WHERE id = %d", -3000*c.sign, -1999*c.sign),
				fmt.Sprintf("DELETE FROM moved WHERE id = %d", -1998*c.sign), fmt.Sprintf("UPDATE moved SET n = 1 WHERE %d * id > 1800", c.sign))
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

// displacedSchema has no index in whose order it could be read, and room in its first blocks.
const displacedSchema = `CREATE TABLE displaced (id int4range, during daterange, n int, big text);
ALTER TABLE displaced ALTER big SET STORAGE EXTERNAL;
INSERT INTO displaced SELECT int4range(-g, -g, '[]'), 'empty', 0 FROM generate_series(1, 2000) AS g;
INSERT INTO displaced SELECT int4range(g, g, '[]'), '[2025-01-01,2026-01-01)', 0, repeat(md5(g::text), 200) FROM generate_series(1, 2000) AS g;
DELETE FROM displaced WHERE id < '[0,0]';
ALTER TABLE displaced ADD PRIMARY KEY (id, during WITHOUT OVERLAPS)`

// A row that keeps its key, and that an UPDATE puts into a block which has been read, is read by its key if the table is read block by block, though the
// publisher is killed meanwhile.
func TestSnapshotOfDisplacedRows(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Exec(displacedSchema, "VACUUM displaced")
	r.Setup()
	r.publisher = r.process("publish", append(r.publishArgs(), "--snapshot", "initial", "--snapshot-rows-per-second", "50")...)
	r.awaitProgress(`"last":`)
	r.Exec("UPDATE displaced SET n = 1 WHERE lower(id) > 1900")
	r.awaitProgress(`"moved":`)
	r.Kill(r.publisher)
	r.StartSnapshot()
	r.ExpectFolded("displaced", []string{"id", "during"})
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
