package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

// elsewhere makes a target on another server than that of the source.
func (r *runner) elsewhere(name, schema string) *applied {
	r.t.Helper()
	other := *r
	other.server, other.database = must(r.t, sharedPostgres[18]), r.database+"_"+name
	a := &applied{runner: &other, target: other.database}
	admin := r.dial(other.server.URL("postgres"))
	defer admin.Close(r.ctx)
	_, err := admin.Exec(r.ctx, "CREATE DATABASE "+a.target)
	r.must(err)
	r.t.Cleanup(other.dropDatabase)
	a.ExecTarget(schema)
	return a
}

// A copy of the data folder takes the place of the server, and a repair sets the stream back. A target that holds nothing of what was lost goes on, one
// that does halts; one that is made afterwards, from the topics or from an archive, is as the source is.
func TestApplyAfterARepair(t *testing.T) {
	server := must(t, func() (*embedded.Postgres, error) { return world.StartPostgres(18, nil) })
	r := newRunner(t, must(t, sharedBinary), server, "table")
	r.Exec(restoredSchema)
	r.Setup()
	r.StartPublisher()
	behind, ahead, later, restored := r.elsewhere("behind", restoredSchema), r.elsewhere("ahead", restoredSchema), r.elsewhere("later", restoredSchema), r.elsewhere("restored", restoredSchema)
	once := func(a *applied) {
		t.Helper()
		if out, code := a.Pgtee(a.applyArgs("--once")...); code != 0 {
			t.Fatalf("apply exits with %d:\n%s", code, out)
		}
	}
	r.Exec("INSERT INTO quiet VALUES (1, 'a')")
	r.write("INSERT INTO item VALUES (%d, 'shared')", 1, 90)
	r.Drain()
	once(behind)
	back := r.copyData()
	r.write("INSERT INTO item VALUES (%d, 'lost')", 91, 100)
	r.Exec("DELETE FROM item WHERE id = 5", "UPDATE item SET v = 'lost' WHERE id = 6")
	r.Drain()
	applier := ahead.process("apply", ahead.applyArgs()...)
	ahead.awaitInTarget("SELECT EXISTS (SELECT FROM item WHERE id = 6 AND v = 'lost')::text")
	r.Kill(r.publisher)
	back()
	r.Exec("UPDATE item SET v = 'new' WHERE id < 20", "INSERT INTO item SELECT g, repeat('new', 100) FROM generate_series(96, 3000) AS g")
	r.StartPublisher()
	if fault := r.expectHalt("restored, or rolled back", "pgtee repair --accept-divergence"); fault != "" {
		t.Fatal(fault)
	}
	r.cure(r.publisher.Tail(1))
	r.StartPublisher()
	r.write("INSERT INTO item VALUES (%d, 'later')", 3001, 3010)
	r.Drain()
	r.awaitProgress(`"finished":[{"id":"repair-`)

	if code, err := applier.Wait(30 * time.Second); err != nil || code != 3 || !strings.Contains(applier.Tail(1), "`pgtee repair` cut the stream at") {
		t.Errorf("an applier of what was lost exits with %d (%v): %s", code, err, applier.Tail(3))
	}
	once(behind)
	once(later)
	dir := filepath.Join(t.TempDir(), "files")
	if out, code := r.Pgtee("archive", "--kafka", r.broker.Address, "--prefix", r.prefix, "--out", dir, "--once"); code != 0 {
		t.Fatalf("archive exits with %d:\n%s", code, out)
	}
	if out, code := restored.Pgtee(restored.restoreArgs(dir)...); code != 0 {
		t.Fatalf("apply --from exits with %d:\n%s", code, out)
	}
	for _, table := range []string{"item", "quiet"} {
		want := later.rows(r.URL(), table)
		for name, a := range map[string]*applied{"behind": behind, "later": later, "restored": restored} {
			if got := a.rows(a.targetURL(), table); got != want {
				t.Errorf("%s, %s is\n%.1000s\nand the source has\n%.1000s", name, table, got, want)
			}
		}
	}
	r.Stop(r.publisher)
}

// Another slot publishes with the same prefix: what it says of its position is not taken for that of the first.
func TestApplyHaltsAtAnotherSlot(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, v text);")
	a.Write("INSERT INTO t VALUES (1, 'one')")
	a.Drain()
	applier := a.process("apply", a.applyArgs()...)
	a.awaitMark()
	a.Stop(a.publisher)
	a.Write("INSERT INTO t VALUES (2, 'between')")
	if out, code := a.Pgtee("teardown", "--postgres", a.URL(), "--slot", a.slot); code != 0 {
		t.Fatalf("teardown exits with %d:\n%s", code, out)
	}
	first := a.slot
	a.slot += "_second"
	a.Setup()
	a.cure("`pgtee repair --accept-divergence --resync none`")
	a.StartPublisher()
	a.Exec("INSERT INTO t VALUES (3, 'second')")
	a.must(harness.Eventually(20*time.Second, func(context.Context) error {
		if applier.Running() {
			return fmt.Errorf("the applier says %s", applier.Tail(1))
		}
		return nil
	}))
	if code, err := applier.Wait(time.Second); err != nil || code != 3 || !strings.Contains(applier.Tail(1), "several slots: "+first+" and "+a.slot) {
		t.Errorf("exits with %d (%v): %s", code, err, applier.Tail(3))
	}
	if out, code := a.Pgtee(a.applyArgs("--once", "--slot", a.slot)...); code != 3 || !strings.Contains(out, "now comes from slot "+a.slot+", but the target was made from slot "+first) {
		t.Errorf("with the slot that is not the target's: exits with %d:\n%s", code, out)
	}
}
