package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// Run serves clients whatever keeps its publisher from starting, or stops it. It says why where operators look, and begins by
// itself once somebody has done what it says.
func TestRunServesWhileThePublisherIsHalted(t *testing.T) {
	for name, c := range map[string]struct {
		cause []string // SQL
		setup bool     // has been run before
		says  string
	}{
		"not set up":          {nil, false, "schema pgtee does not exist"},
		"slot dropped":        {[]string{"SELECT pg_drop_replication_slot(current_database())"}, true, "no longer exists"},
		"publication missing": {[]string{"DROP PUBLICATION pgtee_rows"}, true, "publication pgtee_rows is missing"},
	} {
		for _, running := range []bool{false, true} {
			if running && !c.setup {
				continue
			}
			t.Run(fmt.Sprintf("%s, it runs already: %t", name, running), func(t *testing.T) {
				r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
				r.Exec(stopSchema)
				if c.setup {
					r.Setup()
				}
				if running {
					r.startRun()
					r.Drain()
					r.endWalsender()
					r.causes(c.cause)
				} else {
					r.Exec(c.cause...)
					r.startRun()
				}
				r.awaitReadyz("halted")
				conn := r.dial(r.ProxyURL("postgres", "client"))
				if _, err := conn.Exec(r.ctx, "INSERT INTO item VALUES (1, 'a')"); err != nil {
					t.Errorf("a client is not served: %v", err)
				}
				conn.Close(r.ctx)
				r.awaitReadyz("pgtee setup")
				if !strings.Contains(r.publisher.Log(), "publishing has halted until an operator acts") || !running && !strings.Contains(r.publisher.Log(), c.says) {
					t.Errorf("the log does not say %q:\n%s", c.says, r.publisher.Log())
				}
				if c.setup {
					r.cure("`pgtee setup`, then `pgtee repair --accept-divergence`")
				} else {
					r.cure("`pgtee setup`")
				}
				r.awaitReadyz("publishing")
				r.Drain()
				if running { // else nothing was published yet
					r.awaitResync()
					r.ExpectFolded("item", []string{"id"})
				}
				r.Stop(r.publisher)
			})
		}
	}
}

// A slot that is in use cannot be dropped: its walsender ends first.
func (r *runner) endWalsender() {
	r.t.Helper()
	r.Exec("SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = current_database()")
}

// causes does what stops a publisher that runs, which may take its slot again meanwhile.
func (r *runner) causes(sql []string) {
	r.t.Helper()
	r.must(harness.Eventually(20*time.Second, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, r.URL())
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		// The function's own wait looks every tenth of a second, and by then the publisher may have the slot again.
		_, err = conn.Exec(ctx, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = current_database(); SELECT pg_sleep(0.01 + 0.04 * random());"+strings.Join(sql, ";"), pgx.QueryExecModeSimpleProtocol)
		return err
	}))
}

// startRun starts `pgtee run`.
func (r *runner) startRun(flags ...string) {
	r.t.Helper()
	for _, address := range []*string{&r.proxyAddress, &r.metrics} {
		free, err := harness.FreeAddress()
		r.must(err)
		*address = free
	}
	args := append([]string{"run", "--listen", r.proxyAddress, "--metrics", r.metrics}, r.publishArgs()[1:]...)
	r.publisher = r.process("run", append(args, flags...)...)
	r.must(harness.Eventually(20*time.Second, func(ctx context.Context) error {
		if err := r.publisher.Alive(); err != nil {
			return err
		}
		conn, err := pgx.Connect(ctx, r.ProxyURL("postgres", "probe"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}))
}

// awaitReadyz waits until what /readyz says has these words.
func (r *runner) awaitReadyz(words string) {
	r.t.Helper()
	r.must(harness.Eventually(90*time.Second, func(context.Context) error {
		if text := r.readyz(); !strings.Contains(text, words) {
			return fmt.Errorf("/readyz does not say %q: %s", words, text)
		}
		return nil
	}))
}

// readyz is what /readyz says, or why it says nothing.
func (r *runner) readyz() string {
	answer, err := http.Get("http://" + r.metrics + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// The guard of --max-retained-wal drops the slot also if the publisher has halted.
func TestGuardOutlivesTheHalt(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Exec(stopSchema)
	r.Setup()
	r.publisher = r.process("publish", append(r.publishArgs(), "--max-retained-wal", "20MB:drop_slot")...)
	r.Drain()
	r.Exec("DROP PUBLICATION pgtee_identity", write)
	r.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if !strings.Contains(r.publisher.Log(), "publishing has halted until an operator acts") {
			return fmt.Errorf("it goes on: %s", r.publisher.Tail(3))
		}
		return nil
	}))
	for range 3 {
		r.Exec("SELECT pg_logical_emit_message(false, 'x', 'x')", "SELECT pg_switch_wal()")
	}
	r.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if n := r.Query("SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = $1", r.slot); n != "0" {
			return fmt.Errorf("the slot holds the log back")
		}
		return nil
	}))
	r.cure("`pgtee setup`, then `pgtee repair --accept-divergence`")
	r.Drain()
	r.awaitResync()
	r.ExpectFolded("item", []string{"id"})
	r.must(r.publisher.Signal(syscall.SIGTERM))
	if code, err := r.publisher.Wait(20 * time.Second); err != nil || code != 0 {
		t.Errorf("exit code %d (%v), want 0 of a publisher that has gone on", code, err)
	}
}
