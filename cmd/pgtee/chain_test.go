package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
)

// chain is a server, a broker and a key: what the commands work on.
type chain struct {
	t        *testing.T
	postgres *embedded.Postgres
	broker   *embedded.Broker
	key      string
}

func newChain(t *testing.T, settings map[string]string) *chain {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	server, err := embedded.NewPostgres(ctx, embedded.PostgresConfig{Password: secret, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Remove() })
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	broker, err := embedded.StartBroker(embedded.BrokerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	return &chain{t, server, broker, file(t, "key", strings.Repeat("5a", 32))}
}

func (c *chain) exec(url, sql string) {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), url)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close(c.t.Context())
	if _, err := conn.Exec(c.t.Context(), sql); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
}

func (c *chain) count(url, sql string) (n int) {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), url)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close(c.t.Context())
	if err := conn.QueryRow(c.t.Context(), sql).Scan(&n); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// through is the server's URL by way of the proxy.
func (c *chain) through(address, database string) string {
	return strings.Replace(c.postgres.URL(database), c.postgres.Address(), address, 1)
}

// service is a command that runs until stop.
type service struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan int
	stdout lockedBuffer
	stderr lockedBuffer
}

func start(t *testing.T, args ...string) *service {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &service{t: t, cancel: cancel, done: make(chan int, 1)}
	go func() { s.done <- run(ctx, args, &s.stdout, &s.stderr) }()
	t.Cleanup(func() { cancel() })
	return s
}

// stop ends the command as a signal does.
func (s *service) stop() outcome {
	s.cancel()
	return s.wait()
}

func (s *service) wait() outcome {
	s.t.Helper()
	select {
	case code := <-s.done:
		return outcome{code, s.stdout.String(), s.stderr.String()}
	case <-time.After(time.Minute):
		s.t.Fatalf("the command does not end; it said %s", s.stderr.String())
		return outcome{}
	}
}

// eventually waits until check is content.
func (s *service) eventually(what string, check func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !check() {
		select {
		case code := <-s.done:
			s.t.Fatalf("waiting for %s, it ended with %d: %s", what, code, s.stderr.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waiting for %s: stdout %s stderr %s", what, s.stdout.String(), s.stderr.String())
		}
	}
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestChain writes through `pgtee run` and reads back with `pgtee subscribe`.
func TestChain(t *testing.T) {
	t.Parallel()
	c := newChain(t, nil)
	url := c.postgres.URL("postgres")
	if got := pgtee(t, "check", "--postgres", url); got.code != exitUsage || !strings.Contains(got.stdout, "run `pgtee setup`") || got.stderr != "" {
		t.Errorf("check before setup: %+v", got)
	}
	if got := pgtee(t, "setup", "--postgres", url); got.code != exitOK || !strings.Contains(got.stdout, "ok       postgres: slot pgtee") {
		t.Fatalf("setup: %+v", got)
	}
	listen, metrics := freeAddress(t), freeAddress(t)
	running := start(t, "run", "--postgres", url, "--kafka", c.broker.Address(), "--listen", listen, "--key", c.key, "--metrics", metrics, "--log-format", "json")
	running.eventually("readiness", func() bool { return httpStatus("http://"+metrics+"/readyz") == http.StatusOK })
	running.eventually("the slot", func() bool { return strings.Contains(httpText(t, "http://"+metrics+"/readyz"), "publishing") }) // clients do not wait for it
	c.exec(c.through(listen, "postgres")+"&application_name=till", "CREATE TABLE orders (id int PRIMARY KEY, note text)")
	c.exec(c.through(listen, "postgres")+"&application_name=till", "INSERT INTO orders VALUES (1, 'first')")

	pgtee(t, "teardown", "--postgres", url).expectError(t, exitUsage, "slot pgtee is in use by server process")
	pgtee(t, "publish", "--postgres", url, "--kafka", c.broker.Address(), "--key", c.key).expectError(t, exitUsage, "slot pgtee is in use by server process")

	rows := start(t, "subscribe", "--kafka", c.broker.Address(), "--tables", "orders", "--from", "beginning", "--json")
	rows.eventually("the row", func() bool { return strings.Contains(rows.stdout.String(), "\n") })
	expectRow(t, rows.stop())
	audit := start(t, "subscribe", "--kafka", c.broker.Address(), "--from", "10m")
	audit.eventually("the insert", func() bool { return strings.Contains(audit.stdout.String(), "INSERT INTO orders VALUES ($1, $2)") })
	if got := audit.stop(); got.code != exitOK || !strings.Contains(got.stdout, "till") {
		t.Errorf("subscribe: %+v", got)
	}
	if text := httpText(t, "http://"+metrics+"/metrics"); !strings.Contains(text, "pgtee_notes_total 2") || !strings.Contains(text, `pgtee_published_transactions_total{database="postgres",prefix="pgtee",slot="pgtee"} 2`) {
		t.Errorf("metrics: %s", text)
	}
	c.exec(url, "SELECT pgtee.snapshot(ARRAY['orders'])")
	running.eventually("the snapshot", func() bool {
		text := httpText(t, "http://"+metrics+"/metrics")
		return strings.Contains(text, `pgtee_snapshot_rows_total{database="postgres",prefix="pgtee",slot="pgtee"} 1`) && strings.Contains(text, `pgtee_snapshot_tables_total{database="postgres",prefix="pgtee",slot="pgtee"} 1`) &&
			strings.Contains(text, `pgtee_snapshot_state{database="postgres",prefix="pgtee",slot="pgtee",state="copying"} 0`)
	})
	expectStatus(t, pgtee(t, "status", "--postgres", url, "--kafka", c.broker.Address(), "--json"), true)
	expectDocumentedMetrics(t, httpText(t, "http://"+metrics+"/metrics"))
	if got := running.stop(); got.code != exitOK || strings.Contains(got.stderr, secret) || strings.Contains(got.stderr, "first") {
		t.Errorf("run: %+v", got)
	}
	expectStatus(t, pgtee(t, "status", "--postgres", url, "--kafka", c.broker.Address(), "--json"), false)
	if got := pgtee(t, "teardown", "--postgres", url); got.code != exitOK {
		t.Errorf("teardown: %+v", got)
	}
	pgtee(t, "publish", "--postgres", url, "--kafka", c.broker.Address(), "--key", c.key).expectError(t, exitUsage, "schema pgtee does not exist")
}

func expectStatus(t *testing.T, got outcome, running bool) {
	t.Helper()
	var report statusReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		t.Fatalf("status: %+v: %v", got, err)
	}
	if report.Acked == 0 || report.Acked > report.Published || report.Published > report.Server || report.LastCommit == nil ||
		report.WALStatus != "reserved" || (report.PID != 0) != running || running && report.Published > report.Received {
		t.Errorf("status: %s", got.stdout)
	}
}

func expectRow(t *testing.T, got outcome) {
	t.Helper()
	var event struct {
		Topic string
		Value struct {
			After map[string]any
			Pgtee struct {
				Via      string
				Verified bool
				Session  struct{ Application string }
			}
		}
	}
	line, _, _ := strings.Cut(got.stdout, "\n")
	if err := json.Unmarshal([]byte(line), &event); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if got.code != exitOK || event.Topic != "pgtee.public.orders" || fmt.Sprint(event.Value.After) != "map[id:1 note:first]" {
		t.Errorf("exit code %d, event %+v", got.code, event)
	}
	if who := event.Value.Pgtee; who.Via != "proxy" || !who.Verified || who.Session.Application != "till" {
		t.Errorf("the event is of %+v", who)
	}
}

func httpStatus(url string) int {
	response, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}

func httpText(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTwoDatabases: one process, a slot and topics for each.
func TestTwoDatabases(t *testing.T) {
	t.Parallel()
	c := newChain(t, nil)
	url := c.postgres.URL("postgres")
	both := []string{"--database", "north", "--database", "south"}
	for _, database := range []string{"north", "south"} {
		c.exec(url, "CREATE DATABASE "+database)
		c.exec(c.postgres.URL(database), "CREATE TABLE t (id int PRIMARY KEY)")
	}
	if got := pgtee(t, append([]string{"setup", "--postgres", url}, both...)...); got.code != exitOK {
		t.Fatalf("setup: %+v", got)
	}
	listen := freeAddress(t)
	running := start(t, append([]string{"run", "--postgres", url, "--kafka", c.broker.Address(), "--listen", listen, "--key", c.key}, both...)...)
	running.eventually("the proxy", func() bool { return strings.Contains(running.stderr.String(), "the proxy listens") })
	for _, database := range []string{"north", "south"} {
		c.exec(c.through(listen, database), "INSERT INTO t VALUES (1)")
		rows := start(t, "subscribe", "--kafka", c.broker.Address(), "--prefix", "pgtee."+database, "--tables", "t", "--from", "beginning", "--json")
		rows.eventually("the row", func() bool { return strings.Contains(rows.stdout.String(), `"db":"`+database+`"`) })
		rows.stop()
	}
	if got := running.stop(); got.code != exitOK {
		t.Errorf("run: %+v", got)
	}

	// Without the slot of one database, the publisher goes on with the other one, and says what is wrong.
	c.exec(url, "SELECT pg_drop_replication_slot('pgtee_north')")
	metrics := freeAddress(t)
	publishing := start(t, append([]string{"publish", "--postgres", url, "--kafka", c.broker.Address(), "--key", c.key, "--metrics", metrics}, both...)...)
	publishing.eventually("the halt", func() bool {
		return strings.Contains(publishing.stderr.String(), "publishing has halted until an operator acts, and then resumes by itself; the other databases are published meanwhile")
	})
	c.exec(c.postgres.URL("south"), "INSERT INTO t VALUES (2)")
	rows := start(t, "subscribe", "--kafka", c.broker.Address(), "--prefix", "pgtee.south", "--tables", "t", "--from", "beginning", "--json")
	rows.eventually("the second row", func() bool { return strings.Contains(rows.stdout.String(), `"id":2`) })
	rows.stop()
	if got := httpText(t, "http://"+metrics+"/readyz"); !strings.Contains(got, "publisher of north: halted\n") || !strings.Contains(got, "publisher of south: publishing\n") {
		t.Errorf("/readyz: %s", got)
	}
	if got := httpText(t, "http://"+metrics+"/metrics"); !strings.Contains(got, `pgtee_publisher_halted{database="north",prefix="pgtee.north",slot="pgtee_north"} 1`) {
		t.Errorf("the metrics show no halt")
	}
	publishing.stop().expectError(t, exitHalted, "slot pgtee_north no longer exists")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := newChain(t, map[string]string{"wal_level": "replica", "max_slot_wal_keep_size": "-1"})
	url := c.postgres.URL("postgres")
	wrong := strings.Replace(url, secret, "wrong", 1)
	pgtee(t, "setup", "--postgres", wrong).expectError(t, exitUsage, "refused the login: check user and password")
	pgtee(t, "setup", "--postgres", url).expectError(t, exitUsage, "ALTER SYSTEM SET wal_level = 'logical' and restart")

	c.postgres.Set("wal_level", "logical")
	if err := c.postgres.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := pgtee(t, "setup", "--postgres", url); got.code != exitOK || !strings.Contains(got.stdout, "warning  postgres: max_slot_wal_keep_size is -1") {
		t.Fatalf("setup: %+v", got)
	}
	publish := []string{"publish", "--postgres", url, "--kafka", c.broker.Address(), "--key", c.key}
	pgtee(t, publish...).expectError(t, exitUsage, "give --max-retained-wal SIZE:warn|drop_slot")

	bounded := append(publish, "--max-retained-wal", "1GB:warn")
	first := start(t, bounded...)
	first.eventually("the publisher", func() bool { return strings.Contains(first.stderr.String(), "publishing") })
	c.exec(url, "CREATE TABLE t (id int PRIMARY KEY)")
	rows := start(t, "subscribe", "--kafka", c.broker.Address(), "--from", "beginning")
	rows.eventually("the event", func() bool { return strings.Contains(rows.stdout.String(), "\n") })
	rows.stop()
	if got := first.stop(); got.code != exitOK {
		t.Fatalf("publish: %+v", got)
	}

	// Another cluster, with the topics of the first one.
	other := newChain(t, nil)
	if got := pgtee(t, "setup", "--postgres", other.postgres.URL("postgres")); got.code != exitOK {
		t.Fatalf("setup: %+v", got)
	}
	pgtee(t, "publish", "--postgres", other.postgres.URL("postgres"), "--kafka", c.broker.Address(), "--key", c.key).
		expectError(t, exitHalted, "the progress record belongs to another server")
}

// A publisher that is to drop its slot keeps running without Kafka, which is when the slot retains WAL.
func TestPublishGuardsTheSlotWithoutKafka(t *testing.T) {
	running := start(t, "publish", "--postgres", "postgres://u@127.0.0.1:1/x", "--kafka", "127.0.0.1:1", "--key", file(t, "key", strings.Repeat("ab", 32)), "--max-retained-wal", "1GB:drop_slot")
	for _, text := range []string{"cannot reach Kafka", "cannot reach PostgreSQL"} {
		running.eventually(text, func() bool { return strings.Contains(running.stderr.String(), text) })
	}
	select {
	case code := <-running.done:
		t.Errorf("it exits with %d: %s", code, running.stderr.String())
	default:
	}
	running.stop()
}
