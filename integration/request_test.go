package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

const requestSchema = `CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);
CREATE TABLE orders (id int PRIMARY KEY, state text NOT NULL);
INSERT INTO orders SELECT id, CASE WHEN id % 10 = 0 THEN 'it''s new' ELSE 'old' END FROM generate_series(1, 2000) AS id;
CREATE TABLE changing (gone text, id int PRIMARY KEY, v text);
INSERT INTO changing SELECT 'g', id, repeat('v', 2000) FROM generate_series(1, 3000) AS id;` // several chunks

// An operator asks for a copy of some rows and waits for it, and hears why if there is none.
func TestRequestedSnapshot(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Exec(requestSchema)
	r.Setup()
	r.StartPublisher()
	ask := func(args ...string) (string, int) {
		return r.Pgtee(append([]string{"snapshot", args[0], "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot}, args[1:]...)...)
	}
	expect := func(code int, text string, args ...string) {
		t.Helper()
		if out, got := ask(args...); got != code || !strings.Contains(out, text) {
			t.Errorf("pgtee snapshot %q exits with %d, want %d and %q:\n%s", args, got, code, text, out)
		}
	}
	expect(0, "snapshot some finished: 200 rows of 1 tables", "start", "--table", "public.ord*", "--where", "state = 'it''s new' AND id > 0", "--id", "some", "--wait")
	if got := len(r.copiedRows(r.Topic("public.orders"), "r")); got != 200 {
		t.Errorf("%d rows copied, want 200", got)
	}
	expect(2, "nothing of that name is published", "start", "--table", "public.misspelt")
	expect(2, "--where", "start", "--table", "public.orders", "--where", "pg_sleep(1)")
	expect(1, `there is no column nosuch`, "start", "--table", "public.orders", "--where", "nosuch = 1", "--wait")
	expect(2, "no snapshot other is under way", "pause", "other")
	expect(2, "no snapshot is under way", "cancel", "*")
	r.Exec(`INSERT INTO pgtee.signal VALUES ('none', 'execute-snapshot', '{"data-collections": ["public.misspelt*"]}')`,
		`INSERT INTO pgtee.signal VALUES ('half', 'execute-snapshot', '{"data-collections": ["public.orders", "public.misspelt"]}')`)
	r.AwaitSnapshots("half")
	expect(0, "none  stopped: no published table matches public.misspelt*", "status")
	expect(0, "half  finished: 2,000 rows of 1 tables; no published table matches public.misspelt", "status")
	expect(2, "missing flags: --table", "start")
	r.Exec("INSERT INTO pgtee.signal VALUES ('bad', 'execute-snapshot', '{\"data-collections\": [\"public.orders\"], \"additional-conditions\": [{\"data-collection\": \"public.orders\", \"filter\": \"lo_unlink(1) = 1\"}]}')")
	r.Drain()
	expect(0, "bad  stopped: ", "status")
	if out, code := r.Pgtee("status", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot); code != 0 || !strings.Contains(out, "some  finished: 200 rows") {
		t.Errorf("status exits with %d:\n%s", code, out)
	}
}

// A copy can be paused; a table whose columns change meanwhile is copied as it is then.
func TestSnapshotOfChangingTable(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Exec(requestSchema)
	r.Setup()
	r.publisher = r.process("publish", append(r.publishArgs(), "--snapshot-rows-per-second", "500")...)
	r.Exec("SELECT pgtee.snapshot(ARRAY['changing'], NULL, 'c')")
	r.must(harness.Eventually(time.Minute, func(context.Context) error {
		if n := len(r.Topic("public.changing")); n == 0 || n > 2500 {
			return fmt.Errorf("%d rows are copied", n)
		}
		return nil
	}))
	r.Exec("SELECT pgtee.snapshot_pause('c')")
	r.Drain()
	paused := len(r.Topic("public.changing"))
	r.Exec("ALTER TABLE changing DROP COLUMN gone, ADD COLUMN late int DEFAULT 5", "UPDATE changing SET v = 'w', late = 6 WHERE id % 100 = 0")
	r.Drain()
	if got := len(r.copiedRows(r.Topic("public.changing"), "r")); got != paused || got == 3000 {
		t.Errorf("%d rows were copied before and while it was paused, %d after", paused, got)
	}
	r.Exec("SELECT pgtee.snapshot_resume()")
	r.AwaitSnapshots("c")
	events := r.Events("public.changing")
	last := events[len(events)-1]
	if len(r.copiedRows(r.Topic("public.changing"), "r")) != 3000 || last.Op != "r" || last.After["late"] == nil || last.After["gone"] != nil {
		t.Errorf("the last of %d events is %s %v", len(events), last.Op, last.After)
	}
}
