package integration

import (
	"context"
	"fmt"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/verdict"
)

// The central promise: named sessions and pgbench write through the proxy while the publisher is
// killed again and again; afterwards the topics hold what the database says, no more and no less.
func TestWorkloadUnderKill(t *testing.T) {
	for _, c := range []struct {
		major  int
		outbox string
	}{{15, "table"}, {18, "message"}} {
		t.Run(fmt.Sprintf("PostgreSQL %d, outbox %s", c.major, c.outbox), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[c.major]), c.outbox)
			r.Pgbench("-i", "-s", "1", "-q", r.database)
			r.Start(workSchema, append(workTables, "pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history")...)
			kills := r.workWhileKilling(time.Now().UnixNano(), 6*time.Second)
			v := r.ExpectClean()
			t.Logf("kills=%d aborted=%d %s", kills, r.aborted, v)
			r.Stop(r.publisher)
			r.Stop(r.proxy)
		})
	}
}

// workWhileKilling runs the whole workload, pgbench for the given time in each protocol, and kills the
// publisher at random moments, at least five times.
func (r *runner) workWhileKilling(seed int64, each time.Duration) (kills int) {
	r.t.Helper()
	r.t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	var work sync.WaitGroup
	failures := make(chan error, 16)
	do := func(f func() error) { // each is waited for before this function returns
		work.Go(func() {
			if err := f(); err != nil {
				failures <- err
			}
		})
	}
	for i, user := range []string{"ann", "bob", "eve"} {
		for _, past := range []bool{false, true} {
			s := &session{ctx: ctx, name: fmt.Sprintf("%s%d", user, i), base: (2*i + 1) * 1_000_000, random: rand.New(rand.NewSource(random.Int63()))}
			s.url = r.ProxyURL(user, s.name)
			if past {
				s.base += 1_000_000
				s.name = verdict.Direct + s.name
				s.url = r.DirectURL(user, s.name)
			}
			do(func() error { return s.run(3) })
		}
	}
	do(func() error { return r.unattributable(ctx) })
	do(func() error {
		for _, protocol := range []string{"simple", "extended", "prepared"} {
			if err := r.pgbench(ctx, "-n", "-c", "8", "-T", fmt.Sprint(int(each.Seconds())), "-M", protocol, r.database); err != nil {
				return err
			}
		}
		return nil
	})
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }() // waited for below
	for working := true; working || kills < 5; {
		select {
		case err := <-failures:
			cancel()
			work.Wait()
			r.t.Fatal(err)
		case <-done:
			working = false
			done = nil
		case <-time.After(time.Duration(300+random.Intn(2200)) * time.Millisecond):
			r.Kill(r.publisher)
			r.StartPublisher()
			kills++
		}
	}
	close(failures)
	r.must(<-failures) // nil if there is none
	return kills
}

// unattributable writes through the proxy what no note can be for: what a DO writes before its own COMMIT. It is published, and
// marked direct.
func (r *runner) unattributable(ctx context.Context) error {
	s := &session{ctx: ctx, name: verdict.Direct + "-do", base: 90_000_000}
	conn, err := pgx.Connect(ctx, r.ProxyURL("ann", s.name))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	s.conn = conn
	return s.simple("DO $$ BEGIN " + s.insert() + "; COMMIT; END $$")
}

// Pgbench runs pgbench as the superuser straight on the server, before anything is watched.
func (r *runner) Pgbench(args ...string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.ctx, "pgbench", append([]string{"-h", "127.0.0.1", "-p", fmt.Sprint(r.server.Port()), "-U", "postgres"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("pgbench: %v: %s", err, out)
	}
}

// pgbench runs it through the proxy.
func (r *runner) pgbench(ctx context.Context, args ...string) error {
	host, port, err := net.SplitHostPort(r.proxyAddress)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "pgbench", append([]string{"-h", host, "-p", port, "-U", "postgres"}, args...)...)
	cmd.Env = append(os.Environ(), "PGAPPNAME=pgbench", "PGSSLMODE=disable")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return nil
}
