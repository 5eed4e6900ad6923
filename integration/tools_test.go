package integration

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/proxy"
)

// TestToolsThroughTheProxy has PostgreSQL's own programs work through the proxy. What they print is that
// of a direct connection, and of a virgin database.
func TestToolsThroughTheProxy(t *testing.T) {
	for _, mode := range []proxy.Outbox{proxy.OutboxTable, proxy.OutboxMessage} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			server := must(t, sharedPostgres[15])
			x := &toolbox{t: t, tap: newTap(t, server.Address(), server.URL, mode), dir: t.TempDir()}
			x.admin(t, t.Context(), tapDatabase, toolsSchema)
			x.admin(t, t.Context(), virginDatabase, toolsSchema)
			t.Run("psql", func(t *testing.T) { x.on(t).psql() })
			t.Run("pgbench", func(t *testing.T) { x.on(t).pgbench() })
			t.Run("pg_dump and pg_restore", func(t *testing.T) { x.on(t).dumpAndRestore() })
			t.Run("maintenance", func(t *testing.T) { x.on(t).maintenance() })
			t.Run("databases and users", func(t *testing.T) { x.on(t).create() })
			t.Run("pg_basebackup", func(t *testing.T) { x.on(t).backup() })
			t.Run("pg_receivewal", func(t *testing.T) { x.on(t).receiveWAL() })
			t.Run("pg_recvlogical", func(t *testing.T) { x.on(t).receiveChanges() })
		})
	}
}

const toolsSchema = `
	DROP SCHEMA IF EXISTS shop CASCADE;
	CREATE SCHEMA shop;
	CREATE TABLE shop.item (id int PRIMARY KEY, name text, photo bytea);
	INSERT INTO shop.item SELECT g, 'item ' || g, decode(repeat(md5(g::text), g % 50), 'hex') FROM generate_series(1, 2000) AS g;
	CREATE TABLE shop.sale (id bigint GENERATED ALWAYS AS IDENTITY, item int REFERENCES shop.item, at timestamptz DEFAULT 'epoch');
	INSERT INTO shop.sale (item) SELECT 1 + g % 2000 FROM generate_series(1, 3000) AS g;
	CREATE INDEX sale_item ON shop.sale (item);
	CLUSTER shop.item USING item_pkey;
	CREATE VIEW shop.sold AS SELECT name, count(*) FROM shop.sale JOIN shop.item ON item.id = item GROUP BY name;`

// toolbox runs programs directly or through the proxy.
type toolbox struct {
	*tap
	t   *testing.T
	dir string
}

func (x *toolbox) on(t *testing.T) *toolbox { return &toolbox{x.tap, t, x.dir} }

// run runs a program with its connection at address and returns what it prints.
func (x *toolbox) run(address, input, program string, args ...string) string {
	x.t.Helper()
	return x.runIn(tapDatabase, address, input, program, args...)
}

func (x *toolbox) runIn(database, address, input, program string, args ...string) string {
	x.t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		x.t.Fatal(err)
	}
	cmd := exec.CommandContext(x.t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGUSER=postgres", "PGDATABASE="+database, "PGSSLMODE=disable", "PGOPTIONS=", "PGTZ=UTC")
	cmd.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		x.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out.Bytes())
	}
	return restricted.ReplaceAllString(out.String(), "")
}

// restricted are the lines with a random key that dumps have since the minor releases of August 2025.
var restricted = regexp.MustCompile(`(?m)^\\(un)?restrict .*\n`)

func (x *toolbox) through(program string, args ...string) string {
	x.t.Helper()
	return x.run(x.proxied, "", program, args...)
}

// same runs a program both ways and compares what it prints.
func (x *toolbox) same(input, program string, args ...string) {
	x.t.Helper()
	direct, proxied := x.run(x.server, input, program, args...), x.run(x.proxied, input, program, args...)
	if direct != proxied {
		x.t.Errorf("%s %s\ndirect:\n%s\nproxied:\n%s", program, strings.Join(args, " "), direct, proxied)
	}
}

// asInVirgin compares with a virgin database. psql's \d lists a table's publications.
func (x *toolbox) asInVirgin(input, program string, args ...string) {
	x.t.Helper()
	virgin, direct := x.runIn(virginDatabase, x.server, input, program, args...), x.run(x.server, input, program, args...)
	if direct = publications.ReplaceAllString(direct, ""); direct != virgin {
		x.t.Errorf("%s %s\nvirgin:\n%s\ndirect:\n%s", program, strings.Join(args, " "), virgin, direct)
	}
}

var publications = regexp.MustCompile(`(?m)^Publications:\n(    "pgtee_.*"\n)+`)

func (x *toolbox) psql() {
	const script = `
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO shop.item VALUES (-1, 'a');
INSERT INTO shop.item VALUES (-1, 'b');
INSERT INTO shop.item VALUES (-2, 'c') RETURNING id;
SELECT nosuch;
SELCT;
INSERT INTO shop.item VALUES (-3, 'd') \; SELECT 1 AS two \; SELECT count(*) FROM shop.item WHERE id < 0;
COMMIT;
SELECT id, name FROM shop.item WHERE id < 0 ORDER BY id;
SELECT id, name, 1.5 AS price FROM shop.item \gdesc
INSERT INTO shop.item VALUES (-4, 'e') RETURNING id, name \gdesc
SELECT 'INSERT INTO shop.item VALUES (' || g || ', ''made'')' FROM generate_series(-6, -5) AS g \gexec
SELECT count(*) AS made FROM shop.item WHERE id < 0 \gset
\echo :made
\set FETCH_COUNT 7
SELECT id FROM shop.item WHERE id > 0 ORDER BY id LIMIT 20;
DELETE FROM shop.item WHERE id < -4 RETURNING id;
\unset FETCH_COUNT
\copy shop.item FROM stdin
-7	seven	\\x07
\.
\copy (SELECT id, name FROM shop.item WHERE id < 0 ORDER BY id) TO stdout
\set AUTOCOMMIT off
DELETE FROM shop.item WHERE id < 0;
ROLLBACK;
\set AUTOCOMMIT on
LISTEN news;
DO $$ BEGIN RAISE NOTICE 'hello'; END $$;
VACUUM shop.item;
\d shop.item
DELETE FROM shop.item WHERE id < 0;
`
	args := []string{"-X", "-v", "VERBOSITY=verbose", "-v", "ECHO=queries", "-P", "pager=off"}
	x.same(script, "psql", args...)
	x.asInVirgin(script, "psql", args...)
}

// pgbench makes its tables and works in each of its ways; what the accounts hold at the end is what was moved.
func (x *toolbox) pgbench() {
	x.through("pgbench", "-i", "-q", "-s", "1", "-I", "dtGvpf")
	pipeline := filepath.Join(x.dir, "pipeline.sql")
	if err := os.WriteFile(pipeline, []byte(`\set aid random(1, 100000)
\startpipeline
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + 1 WHERE tid = 1;
UPDATE pgbench_branches SET bbalance = bbalance + 1 WHERE bid = 1;
INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (1, 1, :aid, 1);
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
COMMIT;
\endpipeline
`), 0o644); err != nil {
		x.t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-M", "simple"}, {"-M", "extended"}, {"-M", "prepared"}, {"-M", "prepared", "-S"}, {"-M", "simple", "-C"}, {"-M", "extended", "-N", "-C"},
		{"-M", "extended", "-f", pipeline}, {"-M", "prepared", "-f", pipeline},
	} {
		out := x.through("pgbench", append(args, "-n", "-c", "4", "-j", "2", "-t", "25")...)
		if !strings.Contains(out, "number of transactions actually processed: 100/100") {
			x.t.Errorf("pgbench %s\n%s", strings.Join(args, " "), out)
		}
	}
	x.same("", "psql", "-X", "-c", "SELECT sum(abalance) = (SELECT sum(delta) FROM pgbench_history) AS moved, (SELECT count(*) FROM pgbench_history) FROM pgbench_accounts")
	if out := x.through("psql", "-XAt", "-c", "SELECT sum(abalance) = (SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_history) FROM pgbench_accounts"); out != "t|700\n" {
		x.t.Errorf("the accounts and the history: %s", out)
	}
}

// dumpAndRestore copies a schema with four workers each; a dump of the copy is that of the original.
func (x *toolbox) dumpAndRestore() {
	dump := func(address, name string, args ...string) string {
		dir := filepath.Join(x.dir, name)
		x.run(address, "", "pg_dump", append([]string{"-Fd", "-j", "4", "-n", "shop", "-f", dir}, args...)...)
		return dir
	}
	text := func(dir string) string { return x.run(x.server, "", "pg_restore", "-f", "-", dir) }
	x.asInVirgin("", "pg_dump", "-n", "shop")
	direct, proxied := dump(x.server, "direct"), dump(x.proxied, "proxied")
	if text(direct) != text(proxied) {
		x.t.Error("the dumps differ")
	}
	if text(dump(x.proxied, "rows", "--inserts")) != text(dump(x.server, "rows direct", "--inserts")) {
		x.t.Error("the dumps as INSERTs differ")
	}
	for _, copied := range []string{proxied, filepath.Join(x.dir, "rows")} {
		x.admin(x.t, x.t.Context(), tapDatabase, "DROP SCHEMA shop CASCADE")
		x.through("pg_restore", "-j", "4", "-d", tapDatabase, copied)
		again := dump(x.server, "again "+filepath.Base(copied))
		if sorted(text(again)) != sorted(text(direct)) { // INSERTs fill pages in another order than COPY
			x.t.Errorf("what was restored from %s is not what was dumped", copied)
		}
	}
}

func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (x *toolbox) maintenance() {
	x.through("vacuumdb", "-j", "2", "-z")
	x.through("vacuumdb", "-f") // not in parallel: that may deadlock, as its documentation says
	x.through("vacuumdb", "--analyze-in-stages")
	x.through("reindexdb", "--concurrently")
	x.through("reindexdb", "-S", "shop", "-j", "2")
	x.through("clusterdb")
	x.through("vacuumlo", tapDatabase)
	if out := x.through("pg_isready"); !strings.Contains(out, "accepting connections") {
		x.t.Error(out)
	}
	if out := x.through("psql", "-XAt", "-c", "SELECT count(*) FROM pg_index WHERE NOT indisvalid"); out != "0\n" {
		x.t.Errorf("%s indexes are not valid", out)
	}
}

func (x *toolbox) create() {
	x.through("createuser", "--createdb", "maker")
	x.through("createdb", "-O", "maker", "-T", "template0", "made")
	x.same("", "psql", "-XAt", "-c", "SELECT datname, pg_get_userbyid(datdba) FROM pg_database ORDER BY 1")
	x.through("dropdb", "--force", "made")
	x.through("dropuser", "maker")
	x.same("", "pg_dumpall", "--globals-only")
}

// backup takes a copy of the whole server with the log that it needs, and looks whether a server's files have come.
func (x *toolbox) backup() {
	dir := filepath.Join(x.dir, "backup")
	x.through("pg_basebackup", "-D", dir, "-X", "stream", "-c", "fast", "--manifest-checksums=SHA256")
	for _, name := range []string{"PG_VERSION", "backup_manifest", "global/pg_control", "pg_wal"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			x.t.Error(err)
		}
	}
}

// position is the server's present end of the log.
func (x *toolbox) position() string {
	return strings.TrimSpace(x.run(x.server, "", "psql", "-XAt", "-c", "SELECT pg_current_wal_flush_lsn()"))
}

func (x *toolbox) receiveWAL() {
	dir := filepath.Join(x.dir, "wal")
	if err := os.Mkdir(dir, 0o755); err != nil {
		x.t.Fatal(err)
	}
	x.through("pg_receivewal", "--create-slot", "--slot", "wal_receiver")
	x.through("psql", "-X", "-c", "INSERT INTO shop.sale (item) VALUES (1)", "-c", "SELECT pg_switch_wal()")
	end := x.position()
	x.through("psql", "-X", "-c", "INSERT INTO shop.sale (item) VALUES (1)") // it ends when there is more
	x.through("pg_receivewal", "-D", dir, "--slot", "wal_receiver", "--synchronous", "--no-loop", "--endpos", end)
	x.through("pg_receivewal", "--drop-slot", "--slot", "wal_receiver")
	if found, _ := filepath.Glob(dir + "/0*"); len(found) == 0 {
		x.t.Error("no log has come")
	}
}

// receiveChanges reads the same changes from two slots, one of them through the proxy.
func (x *toolbox) receiveChanges() {
	addresses := map[string]string{"changes_direct": x.server, "changes_proxied": x.proxied}
	for slot, address := range addresses {
		x.run(address, "", "pg_recvlogical", "-d", tapDatabase, "--slot", slot, "--create-slot", "-P", "test_decoding")
	}
	x.through("psql", "-X", "-c", "UPDATE shop.item SET name = 'new' WHERE id < 300", "-c", "DELETE FROM shop.sale WHERE item < 10")
	end, changes := x.position(), map[string]string{}
	for slot, address := range addresses {
		changes[slot] = x.run(address, "", "pg_recvlogical", "-d", tapDatabase, "--slot", slot, "--start", "-o", "skip-empty-xacts=on", // autovacuum's, which may lie between the slots
			"-f", "-", "--no-loop", "--endpos", end)
		x.run(address, "", "pg_recvlogical", "-d", tapDatabase, "--slot", slot, "--drop-slot")
	}
	if direct, proxied := changes["changes_direct"], changes["changes_proxied"]; direct != proxied || strings.Count(direct, "table shop.item: UPDATE:") != 299 {
		x.t.Errorf("%d bytes directly, %d through the proxy", len(direct), len(proxied))
	}
}
