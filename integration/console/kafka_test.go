//go:build full

package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
)

// server is `pgtee run` over a real PostgreSQL and a real Kafka, with a console.
type server struct {
	*testing.T
	kafka   *harness.Kafka
	url     string // of the database, past the proxy
	listen  string
	console string
	logs    string
	args    []string
	process *harness.Process
}

const database = "shop"

// serve sets everything up.
func serve(t *testing.T, prefix string) *server {
	t.Helper()
	s := &server{T: t, listen: must(t, harness.FreeAddress), console: must(t, harness.FreeAddress)}
	binary := must(t, sharedBinary)
	postgres := must(t, sharedPostgres)
	s.kafka = must(t, sharedKafka)
	s.url = postgres.URL(database + prefix)
	s.logs = must(t, func() (string, error) { return world.Sub("run") })
	admin := s.connect(postgres.URL("postgres"))
	execute(t, admin, "CREATE DATABASE "+database+prefix)
	setup, err := harness.Start(s.logs, harness.Command{Name: "setup", Args: []string{binary, "setup", "--postgres", s.url, "--slot", prefix}})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := setup.Wait(time.Minute); code != 0 || err != nil {
		t.Fatalf("setup: %d, %v: %s", code, err, setup.Tail(5))
	}
	s.args = []string{binary, "run", "--postgres", s.url, "--kafka", s.kafka.Address, "--prefix", prefix, "--slot", prefix, "--listen", s.listen, "--key", s.logs + "/key", "--console", s.console,
		"--replication-factor", "1"}
	s.start()
	t.Cleanup(func() {
		s.process.Kill()
		if t.Failed() {
			t.Logf("log of run:\n%s", s.process.Tail(30))
		}
	})
	return s
}

var (
	sharedPostgres = sync.OnceValues(func() (postgres, error) { return world.StartPostgres(18, nil) })
	sharedKafka    = sync.OnceValues(func() (*harness.Kafka, error) { return world.StartKafka() })
)

type postgres interface{ URL(database string) string }

// start starts pgtee and waits for its console.
func (s *server) start() {
	s.Helper()
	var err error
	if s.process, err = harness.Start(s.logs, harness.Command{Name: "run", Args: s.args}); err != nil {
		s.Fatal(err)
	}
	err = harness.Eventually(time.Minute, func(ctx context.Context) error {
		if err := s.process.Alive(); err != nil {
			return err
		}
		answer, err := http.Get(s.URL() + "/live")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
}

// URL is that of the console.
func (s *server) URL() string { return "http://" + s.console }

func (s *server) connect(url string) *pgx.Conn {
	s.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		s.Fatal(err)
	}
	config.RuntimeParams["application_name"] = "test"
	conn, err := pgx.ConnectConfig(s.Context(), config)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close(context.WithoutCancel(s.Context())) })
	return conn
}

// client connects through the proxy.
func (s *server) client() *pgx.Conn {
	s.Helper()
	config, err := pgx.ParseConfig(s.url)
	if err != nil {
		s.Fatal(err)
	}
	return s.connect(fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", config.User, s.listen, config.Database))
}

// TestRestart: what is committed through the proxy is seen within a second; while pgtee is away the page says so, and goes on at the
// same event, with nothing lost and nothing twice.
func TestRestart(t *testing.T) {
	s := serve(t, "restart")
	conn := s.client()
	execute(t, conn, "CREATE TABLE t (id int PRIMARY KEY)")
	p := open(t, s.URL())
	p.visit("/live")
	p.follow()
	execute(t, conn, "INSERT INTO t VALUES (0)") // its topic is there from now on
	p.await("the first row", row("INSERT INTO t"))
	slowest := time.Duration(0)
	const perRun = 5
	for i := range perRun {
		before := eval[int](p, `document.querySelectorAll("#events .fresh").length`)
		execute(t, conn, "INSERT INTO t VALUES ($1)", i+1)
		slowest = max(slowest, p.await("the row", fmt.Sprintf(`document.querySelectorAll("#events .fresh").length === %d`, before+1)))
	}
	t.Logf("the slowest of %d commits is seen after %v", perRun, slowest)
	if slowest > time.Second {
		t.Errorf("a commit is seen after %v", slowest)
	}
	last := eval[string](p, `document.querySelector("#events .event").dataset.id`)
	p.allow(func(string) bool { return true }) // the connection breaks
	if err := s.process.StopWell(); err != nil {
		t.Fatal(err)
	}
	p.await("the page's word", `document.getElementById("state").textContent.startsWith("not connected")`)
	s.start()
	conn = s.client()
	for i := range perRun {
		execute(t, conn, "INSERT INTO t VALUES ($1)", 100+i)
	}
	const inserts = `[...document.querySelectorAll("#events .event")].filter(e => e.innerText.includes("INSERT INTO t"))`
	p.await("the rows behind the restart", fmt.Sprintf("%s.length === %d", inserts, 2*perRun+1))
	p.allow(func(string) bool { return false })
	time.Sleep(time.Second) // for what would come twice
	if ids := eval[[]string](p, inserts+".map(e => e.dataset.id)"); len(ids) != 2*perRun+1 || ids[perRun] != last || hasTwice(ids) {
		t.Errorf("the page shows %v; before the restart the newest was %s", ids, last)
	}
}

func hasTwice(ids []string) bool {
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			return true
		}
		seen[id] = true
	}
	return false
}

// TestHalt: a page that was opened when all was well says so when the publisher halts, and when the server is away.
func TestHalt(t *testing.T) {
	s := serve(t, "halt")
	execute(t, s.client(), "CREATE TABLE t (id int PRIMARY KEY)")
	p := open(t, s.URL())
	p.visit("/streams")
	p.await("the state", `document.querySelector(".stream h2").innerText.includes("publishing")`)
	p.await("the charts", `document.querySelectorAll(".charts canvas").length === 4`)
	admin := s.connect(s.url)
	err := harness.Eventually(time.Minute, func(ctx context.Context) error { // the publisher may take the slot again before it is dropped
		_, err := admin.Exec(ctx, "SELECT pg_terminate_backend(active_pid, 10000), pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'halt'")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.await("the halt", `document.querySelector(".stream h2").innerText.includes("halted")`)
	if why := eval[string](p, `document.querySelector(".stream [role=alert]")?.innerText ?? ""`); why == "" {
		t.Error("the page does not say why")
	}
	if charts := eval[int](p, `document.querySelectorAll(".charts canvas").length`); charts != 4 {
		t.Errorf("%d charts are left", charts)
	}
	p.allow(func(string) bool { return true }) // the connection breaks
	if err := s.process.StopWell(); err != nil {
		t.Log(err) // a publisher that has halted says so again
	}
	p.await("the page's word", `document.getElementById("stale").innerText.includes("has not answered")`)
}

// TestFlood: 5,000 transactions a second for a minute keep the page small and quick, and what is not shown is counted.
func TestFlood(t *testing.T) {
	s := serve(t, "flood")
	execute(t, s.client(), "CREATE TABLE t (id int PRIMARY KEY)")
	p := open(t, s.URL())
	p.visit("/live")
	p.follow()
	p.await("the DDL", row("CREATE TABLE t"))
	p.script(`window.slow = []; new PerformanceObserver(list => list.getEntries().forEach(e => slow.push(Math.round(e.duration)))).observe({entryTypes: ["longtask"]});
		window.told = 0; window.unread = 0;
		const number = (text, form) => { const found = form.exec(text); return found ? +found[1].replace(/\D/g, "") : 0; };
		new MutationObserver(list => { for (const m of list) for (const n of m.addedNodes) {
			if (n.className === "gap") { told += number(n.textContent, /([\d.,\s]+) transactions skipped/); unread += number(n.textContent, /about ([\d.,\s]+) not looked at/); }
			if (n.classList?.contains("event")) told++;
		} }).observe(document.getElementById("events"), {childList: true})`)
	idle := open(t, s.URL()) // what the machine itself is late by
	idle.visit("/configuration")
	idle.script(`window.late = 0; let last = performance.now(); setInterval(() => { const now = performance.now(); late = Math.max(late, now - last - 20); last = now; }, 20)`)
	const rate, seconds = 5000, 60
	sent := s.flood("flood.audit", rate, seconds)
	p.awaitFor(2*time.Minute, "the last one", fmt.Sprintf("told + unread >= %d", sent))
	slow := eval[[]int](p, "slow")
	memory := eval[float64](p, "performance.memory.usedJSHeapSize") / (1 << 20)
	rows := eval[int](p, `document.querySelectorAll("#events .event").length`)
	t.Logf("%d transactions, %d of them not even looked at; %d rows on the page, %.1f MB, long tasks %v ms", sent, eval[int](p, "unread"), rows, memory, slow)
	late := eval[int](idle, "Math.round(late)")
	t.Logf("a tab that does nothing was late by up to %d ms", late)
	for _, ms := range slow {
		if ms > 200+late {
			t.Errorf("a task of the page takes %d ms", ms)
		}
	}
	if memory > 150 || rows > 1000 {
		t.Errorf("the page holds %.1f MB and %d rows", memory, rows)
	}
	if told := eval[int](p, "told + unread"); told != sent {
		t.Errorf("shown, skipped and not looked at are %d, sent were %d", told, sent)
	}
	if state := eval[string](p, `document.getElementById("state").textContent`); state != "following" {
		t.Errorf("the page says %q", state)
	}
}

// flood writes audit records like the publisher's, at a rate.
func (s *server) flood(topic string, rate, seconds int) (sent int) {
	s.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.Address), kgo.DefaultProduceTopic(topic))
	if err != nil {
		s.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).Metadata(s.Context()); err != nil {
		s.Fatal(err)
	}
	sql, _ := json.Marshal("UPDATE orders SET status = $1, total_cents = (SELECT sum(price_cents) FROM order_lines WHERE order_id = $2) WHERE id = $2")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for sent < rate*seconds {
		<-tick.C
		for due := int(time.Since(began).Seconds() * float64(rate)); sent < min(due, rate*seconds); sent++ {
			value := fmt.Appendf(nil, `{"v":1,"database":"shop","timeline":1,"xid":%d,"commit_lsn":"1/%X","end_lsn":"1/%X","commit_time":%q,"via":"proxy","verified":true,"session":{"id":"652f0edc80000007","user":"user%d","role":"clerk","application":"webshop","client":"10.0.0.9:51000","pid":4711,"start":"2025-01-31T12:00:00.000000Z","proxy":3,"actor":null},"statements":[{"number":1,"command":"UPDATE","fingerprint":"000000000000feed","text":%s,"text_cut":false,"rows":1,"tables":["public.orders"]}],"statements_omitted":0,"tables":[{"table":"public.orders","inserted":0,"updated":1,"deleted":0,"truncated":0}],"tables_omitted":0,"direct_rows":0,"ddl":0}`,
				sent, sent*64, sent*64+8, time.Now().UTC().Format(time.RFC3339Nano), sent%10, sql)
			client.Produce(s.Context(), &kgo.Record{Value: value, Headers: []kgo.RecordHeader{{Key: "pgtee-event-id", Value: fmt.Appendf(nil, "7300/flood/1/1/%X/audit", sent*64)}}}, nil)
		}
	}
	if err := client.Flush(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.Logf("%d records in %v", sent, time.Since(began).Round(time.Second))
	return sent
}
