package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const signalSchema = `
CREATE TABLE orders (id int PRIMARY KEY);
CREATE SCHEMA "Odd.Name"; CREATE TABLE "Odd.Name"."täb""le" (id int);
CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts DEFAULT;
CREATE UNLOGGED TABLE scratch (id int); CREATE VIEW looks AS SELECT 1 AS one;
DO $$ BEGIN CREATE ROLE sam LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;
DO $$ BEGIN CREATE ROLE eve LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;
GRANT USAGE ON SCHEMA "Odd.Name" TO sam;`

// Only roles that were named may ask for snapshots, by any of the ways, and each way leaves the same signal in the log.
func TestSignalsAreGrantedByName(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec(signalSchema)
			r.Setup()
			r.Exec("DROP VIEW pgtee.signal", "DROP FUNCTION pgtee.snapshot(regclass[], text, text), pgtee.put_signal(text, text, jsonb)") // as before an upgrade
			if out, code := r.Pgtee("setup", "--postgres", r.URL(), "--slot", r.slot, "--grant-snapshot", "sam"); code != 0 || !strings.Contains(out, "granted to sam") {
				t.Fatalf("setup exits with %d:\n%s", code, out)
			}
			eve, sam := r.dial(r.DirectURL("eve", "x")), r.dial(r.DirectURL("sam", "x"))
			defer eve.Close(r.ctx)
			defer sam.Close(r.ctx)
			for _, call := range []string{"SELECT pgtee.snapshot(ARRAY['orders'])", "SELECT pgtee.snapshot_pause()", "SELECT pgtee.snapshot_resume()",
				"SELECT pgtee.snapshot_cancel()", "INSERT INTO pgtee.signal VALUES ('a', 'stop-snapshot', '{}')", "SELECT pgtee.put_signal('a', 'stop-snapshot', '{}')"} {
				r.must(refused(runSQL(r, eve, call), "42501"))
			}
			for call, code := range map[string]string{
				"SELECT pgtee.put_signal('a', 'stop-snapshot', '{}')":         "42501",
				"INSERT INTO pgtee.signal VALUES ('a', 'log', '{}')":          "22023",
				"INSERT INTO pgtee.signal VALUES ('a b', 'stop-snapshot')":    "22023",
				"SELECT pgtee.snapshot('{}')":                                 "22023",
				"SELECT pgtee.snapshot(ARRAY['orders', NULL])":                "22023",
				"SELECT pgtee.snapshot(ARRAY['scratch'])":                     "42809",
				"SELECT pgtee.snapshot(ARRAY['looks'])":                       "42809",
				"SELECT pgtee.snapshot(ARRAY['part'])":                        "42809",
				"SELECT pgtee.snapshot(ARRAY['gone'])":                        "42P01",
				"SELECT pgtee.snapshot(ARRAY['pgtee.outbox'])":                "42809",
				"SELECT pgtee.snapshot(ARRAY['orders'], repeat('x', 900000))": "54000",
			} {
				if err := refused(runSQL(r, sam, call), code); err != nil {
					t.Errorf("%.80s: %v", call, err)
				}
			}
			r.must(runSQL(r, sam, `SELECT pgtee.snapshot(ARRAY['orders', '"Odd.Name"."täb""le"'], 'id > 5', 'mine')`))
			r.must(runSQL(r, sam, "SELECT pgtee.snapshot('{orders}')"))
			r.must(runSQL(r, sam, "SELECT pgtee.snapshot_pause('mine'), pgtee.snapshot_resume(), pgtee.snapshot_cancel('mine')"))
			r.must(runSQL(r, sam, `INSERT INTO pgtee.signal (id, type, data) VALUES ('ad-hoc-1', 'execute-snapshot', '{"data-collections": ["public.orders"]}')`))
			r.must(runSQL(r, sam, "BEGIN; SELECT pgtee.snapshot(ARRAY['orders']); ROLLBACK"))
			var lines []string
			for _, e := range r.Emitted("s") {
				lines = append(lines, e.user+" "+regexp.MustCompile(`"[0-9a-f]{12}"`).ReplaceAllString(e.body, `"ID"`))
			}
			if got := strings.Join(lines, "\n"); got != wantedSignals {
				t.Errorf("in the log:\n%s\nwant\n%s", got, wantedSignals)
			}
			r.Exec("GRANT EXECUTE ON FUNCTION pgtee.snapshot_cancel(text) TO PUBLIC")
			if out, _ := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot); !strings.Contains(out, "PUBLIC may request snapshots") {
				t.Errorf("check says nothing of PUBLIC:\n%s", out)
			}
		})
	}
}

const wantedSignals = `sam {"id": "mine", "data": {"type": "INCREMENTAL", "data-collections": ["public.orders", "Odd.Name.täb\"le"], "additional-conditions": [{"filter": "id > 5", "data-collection": "public.orders"}, {"filter": "id > 5", "data-collection": "Odd.Name.täb\"le"}]}, "type": "execute-snapshot"}
sam {"id": "ID", "data": {"type": "INCREMENTAL", "data-collections": ["public.orders"], "additional-conditions": []}, "type": "execute-snapshot"}
sam {"id": "ID", "data": {"id": "mine"}, "type": "pause-snapshot"}
sam {"id": "ID", "data": {"id": null}, "type": "resume-snapshot"}
sam {"id": "ID", "data": {"id": "mine"}, "type": "stop-snapshot"}
sam {"id": "ad-hoc-1", "data": {"data-collections": ["public.orders"]}, "type": "execute-snapshot"}`
