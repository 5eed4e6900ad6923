package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

// accident is what happens to `pgtee run` while clients write through it.
type accident struct {
	name   string
	happen func(r *runner)
	says   string // in status or /readyz, whatever the words around it
	alone  bool   // it mends itself
}

var accidents = []accident{
	{name: "slot dropped", says: "slot", happen: func(r *runner) { r.causes([]string{"SELECT pg_drop_replication_slot(current_database())"}) }},
	{name: "publication dropped", says: "pgtee_identity is missing", happen: func(r *runner) { r.Exec("DROP PUBLICATION pgtee_identity") }},
	{name: "publication made anew by hand", says: "publication", happen: func(r *runner) {
		r.Exec("DROP PUBLICATION pgtee_rows", "CREATE PUBLICATION pgtee_rows FOR ALL TABLES WITH (publish = 'insert, truncate')")
	}},
	{name: "publisher halted, log grows", says: "gone", happen: func(r *runner) {
		r.Exec("DROP PUBLICATION pgtee_identity_5")
		r.awaitReadyz("halted")
		for range 5 {
			r.Exec("SELECT pg_switch_wal()", "SELECT pg_logical_emit_message(false, 'x', 'x')")
		}
		r.must(harness.Eventually(60*time.Second, func(context.Context) error {
			if n := r.Query("SELECT count(*)::text FROM pg_replication_slots"); n != "0" {
				return fmt.Errorf("the guard has not dropped the slot")
			}
			return nil
		}))
	}},
	{name: "data folder restored", says: "Kafka", happen: func(r *runner) {
		back := r.copyData()
		r.write("INSERT INTO lost SELECT %d", 1, 20)
		r.must(harness.Eventually(60*time.Second, func(context.Context) error {
			if n := len(r.Topic("public.lost")); n < 20 {
				return fmt.Errorf("%d of what is to be lost are published", n)
			}
			return nil
		}))
		back()
	}},
	{name: "Kafka away for five seconds", says: "retrying", alone: true, happen: func(r *runner) {
		r.must(r.broker.Stop())
		r.awaitReadyz("retrying")
		time.Sleep(5 * time.Second) // that is the accident
		r.must(r.broker.Start())
	}},
	{name: "password for Kafka expired", alone: true, happen: func(r *runner) {
		password := r.login[len(r.login)-1]
		r.must(os.WriteFile(password, []byte("expired"), 0o600))
		r.must(r.broker.Stop()) // connections that are there stay logged in
		r.must(r.broker.Start())
		r.awaitReadyz("SASL_AUTHENTICATION_FAILED")
		r.must(os.WriteFile(password, []byte("pw"), 0o600))
	}},
}

// An operator's hour: each accident happens under load. What /readyz and `pgtee status` say is enough to act on: the operator
// of this test knows nothing else, and does it word for word. Meanwhile clients are served, and in the end the topics fold to
// the tables. OPERATOR_HOUR=all has all accidents happen, else one does.
func TestOperatorHour(t *testing.T) {
	all := os.Getenv("OPERATOR_HOUR") == "all"
	r := newRunner(t, must(t, sharedBinary), must(t, func() (*embedded.Postgres, error) { return world.StartPostgres(18, nil) }), "table")
	r.Exec("CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); CREATE TABLE lost (id int PRIMARY KEY); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);")
	list := accidents[:1]
	if all {
		list = accidents
		dir := t.TempDir()
		kafka, secure, ca := startSecureKafka(t, dir)
		password := filepath.Join(dir, "password")
		r.must(os.WriteFile(password, []byte("pw"), 0o600))
		r.broker = kafka
		r.login = []string{"--kafka", secure.Address, "--kafka-tls", "--kafka-ca", ca.file, "--kafka-sasl", "plain", "--kafka-user", "pgtee", "--kafka-password-file", password}
	}
	r.Setup()
	r.startRun("--max-retained-wal", "64MB:drop_slot")
	r.Drain()
	load := r.startLoad()
	report := []string{fmt.Sprintf("%-30s %10s %14s %10s %8s  %s", "accident", "told after", "publishing in", "committed", "refused", "what was done")}
	for _, a := range list {
		committed, refused, began := load.committed.Load(), load.refused.Load(), time.Now()
		a.happen(r)
		done, told := "nothing", "-"
		if !a.alone {
			r.awaitReadyz("halted")
			told = time.Since(began).Round(100 * time.Millisecond).String()
			said := r.problem(a.says)
			done = strings.Join(slices.Concat(advised.FindAllString(said, -1)), " ")
			r.cure(said)
		}
		r.awaitReadyz("publishing")
		r.Drain()
		report = append(report, fmt.Sprintf("%-30s %10s %14s %10d %8d  %s", a.name, told, time.Since(began).Round(100*time.Millisecond),
			load.committed.Load()-committed, load.refused.Load()-refused, done))
	}
	load.stop()
	r.Drain()
	r.must(harness.Eventually(60*time.Second, func(context.Context) error {
		if s := r.status(); s.Snapshots != nil && len(s.Snapshots.Copies) > 0 {
			return fmt.Errorf("tables are still published afresh")
		}
		return nil
	}))
	for _, table := range []string{"item", "lost"} {
		r.ExpectFolded(table, []string{"id"})
	}
	r.Stop(r.publisher)
	t.Logf("\n%s", strings.Join(report, "\n"))
}

// operatorStatus is what the test reads of `pgtee status --json`.
type operatorStatus struct {
	Problems  []string
	Snapshots *struct{ Copies []any }
}

func (r *runner) status() (s operatorStatus) {
	r.t.Helper()
	out, code := r.Pgtee("status", "--json", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot)
	r.must(json.Unmarshal([]byte(out), &s))
	if code == 0 && len(s.Problems) > 0 {
		r.t.Fatalf("status exits with 0: %s", out)
	}
	return s
}

// problem waits until status, or else /readyz, names what is wrong.
func (r *runner) problem(words string) (said string) {
	r.t.Helper()
	r.must(harness.Eventually(60*time.Second, func(context.Context) error {
		for _, text := range append(r.status().Problems, r.readyz()) {
			if strings.Contains(text, words) && advised.MatchString(text) {
				said = text
				return nil
			}
		}
		return fmt.Errorf("neither status nor /readyz says %q and what to do: %s", words, r.readyz())
	}))
	return said
}

// load writes through the proxy until it is stopped.
type load struct {
	committed, refused atomic.Int64
	stop               func()
}

func (r *runner) startLoad() *load {
	r.t.Helper()
	l := &load{}
	ctx, cancel := context.WithCancel(r.ctx)
	var running sync.WaitGroup
	l.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	r.t.Cleanup(l.stop)
	for range 2 {
		running.Go(func() {
			for ctx.Err() == nil {
				l.session(ctx, r.ProxyURL("postgres", "load"))
			}
		})
	}
	return l
}

// session writes until the connection fails.
func (l *load) session(ctx context.Context, url string) {
	conn, err := pgx.Connect(ctx, url)
	if err == nil {
		defer conn.Close(context.WithoutCancel(ctx))
		for err == nil {
			if _, err = conn.Exec(ctx, "INSERT INTO item (v) VALUES ('load')"); err == nil {
				l.committed.Add(1)
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond): // a rate, not a wait
			}
		}
	}
	if ctx.Err() == nil {
		l.refused.Add(1)
		time.Sleep(20 * time.Millisecond)
	}
}
