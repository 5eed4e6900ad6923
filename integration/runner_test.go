package integration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

// runner is one scenario: a database with its slot, topic prefix, proxy and publisher. Its methods are
// verbs; the first that fails ends the test, and the logs of the processes are printed.
type runner struct {
	t        *testing.T
	ctx      context.Context
	binary   string
	server   *embedded.Postgres
	broker   *harness.Kafka
	database string
	prefix   string
	slot     string
	outbox   string   // table or message
	start    string   // log position from which on the truth is compared
	dir      string   // of logs and of the key
	login    []string // flags by which the publisher reaches Kafka; nil: the address of the broker

	patience     time.Duration // with a publisher that has to end by itself
	proxyAddress string
	metrics      string // address of `pgtee run`
	proxy        *harness.Process
	publisher    *harness.Process
	marker       int
	aborted      int // records of aborted Kafka transactions, as the last look at all topics saw
}

var scenarios atomic.Int32

// newRunner makes an empty database on server. Nothing of pgtee runs yet.
func newRunner(t *testing.T, binary string, server *embedded.Postgres, outbox string) *runner {
	t.Helper()
	name := fmt.Sprintf("t%d", scenarios.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	t.Cleanup(cancel)
	r := &runner{t: t, ctx: ctx, binary: binary, server: server, broker: must(t, sharedBroker),
		database: name, prefix: name, slot: name, outbox: outbox, patience: 30 * time.Second}
	r.dir = must(t, func() (string, error) { return world.Sub(name) })
	key := make([]byte, 32)
	rand.Read(key)
	r.must(os.WriteFile(r.keyFile(), fmt.Appendf(nil, "%x\n", key), 0o600))
	admin := r.dial(server.URL("postgres"))
	defer admin.Close(r.ctx)
	_, err := admin.Exec(r.ctx, "CREATE DATABASE "+name)
	r.must(err)
	t.Cleanup(func() { r.dropDatabase() })
	return r
}

func (r *runner) keyFile() string { return filepath.Join(r.dir, "key") }

// dropDatabase frees the slot, which would hold the log of the shared server.
func (r *runner) dropDatabase() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	admin, err := pgx.Connect(ctx, r.server.URL("postgres"))
	if err != nil {
		return // a server of the test's own may be gone by now
	}
	defer admin.Close(ctx)
	err = harness.Eventually(10*time.Second, func(ctx context.Context) error {
		_, err := admin.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1", r.database)
		if err != nil {
			return err
		}
		_, err = admin.Exec(ctx, "DROP DATABASE IF EXISTS "+r.database+" WITH (FORCE)")
		return err
	})
	if err != nil {
		r.t.Errorf("drop database %s: %v", r.database, err)
	}
}

// must ends the test with err.
func (r *runner) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// URL is the superuser's, straight to the server.
func (r *runner) URL() string { return r.server.URL(r.database) }

// ProxyURL leads through the proxy as user, with application_name application; DirectURL past it.
func (r *runner) ProxyURL(user, application string) string {
	return r.urlAt(r.proxyAddress, user, application)
}

func (r *runner) DirectURL(user, application string) string {
	return r.urlAt(r.server.Address(), user, application)
}

func (r *runner) urlAt(address, user, application string) string {
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: address, Path: "/" + r.database,
		RawQuery: url.Values{"sslmode": {"disable"}, "application_name": {application}}.Encode()}
	return u.String()
}

func (r *runner) dial(url string) *pgx.Conn {
	r.t.Helper()
	conn, err := pgx.Connect(r.ctx, url)
	r.must(err)
	return conn
}

// Exec runs SQL straight on the server, each text as one simple Query.
func (r *runner) Exec(texts ...string) {
	r.t.Helper()
	conn := r.dial(r.URL() + "&application_name=" + verdict.Direct)
	defer conn.Close(r.ctx)
	for _, sql := range texts {
		if _, err := conn.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			r.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// Query returns the one value that sql selects, as text.
func (r *runner) Query(sql string, args ...any) string {
	r.t.Helper()
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	var value string
	if err := conn.QueryRow(r.ctx, sql, args...).Scan(&value); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// Watch makes the schema, then the history triggers on tables.
func (r *runner) Watch(schema string, tables ...string) {
	r.t.Helper()
	r.Exec(schema)
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	r.must(verdict.Watch(r.ctx, conn, tables...))
}

// Pgtee runs the binary to its end.
func (r *runner) Pgtee(args ...string) (output string, code int) {
	r.t.Helper()
	p := r.process("pgtee-"+args[0], args...)
	code, err := p.Wait(60 * time.Second)
	r.must(err)
	return p.Log(), code
}

// Setup runs pgtee setup. From here on committed rows have to appear in Kafka.
func (r *runner) Setup() {
	r.t.Helper()
	r.start = r.Query("SELECT pg_current_wal_insert_lsn()::text")
	out, code := r.Pgtee("setup", "--postgres", r.URL(), "--slot", r.slot)
	if code != 0 {
		r.t.Fatalf("setup exits with %d:\n%s", code, out)
	}
}

// StartProxy starts the proxy, with more flags, and waits until a session through it works.
func (r *runner) StartProxy(flags ...string) {
	r.t.Helper()
	r.startProxyOf(r.URL(), flags...)
}

// startProxyOf starts the proxy of the server at this URL.
func (r *runner) startProxyOf(server string, flags ...string) {
	r.t.Helper()
	address, err := harness.FreeAddress()
	r.must(err)
	r.proxyAddress = address
	r.proxy = r.process("proxy", append([]string{"proxy", "--listen", address, "--postgres", server, "--key", r.keyFile(), "--outbox", r.outbox}, flags...)...)
	r.must(harness.Eventually(20*time.Second, func(ctx context.Context) error {
		if !r.proxy.Running() {
			r.t.Fatal("the proxy ended")
		}
		conn, err := pgx.Connect(ctx, r.ProxyURL("postgres", "probe"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}))
}

// StartPublisher starts the publisher. It does not wait: whether it works is seen in the topics.
func (r *runner) StartPublisher() {
	r.t.Helper()
	r.publisher = r.process("publish", r.publishArgs()...)
}

func (r *runner) publishArgs() []string {
	kafka := r.login
	if kafka == nil {
		kafka = []string{"--kafka", r.broker.Address}
	}
	return append([]string{"publish", "--postgres", r.URL(), "--prefix", r.prefix, "--slot", r.slot,
		"--key", r.keyFile(), "--max-retained-wal", "8GB:warn", "--sql-text", "full"}, kafka...)
}

// process starts the binary; it is killed at the end of the test, its log printed if the test failed.
func (r *runner) process(name string, args ...string) *harness.Process {
	r.t.Helper()
	p, err := harness.Start(r.dir, harness.Command{Name: name, Args: append([]string{r.binary}, args...)})
	r.must(err)
	r.t.Cleanup(func() {
		p.Kill()
		if r.t.Failed() {
			r.t.Logf("log of %s:\n%s", name, p.Tail(40))
		}
	})
	return p
}

// Start sets everything up on tables of schema and starts proxy and publisher.
func (r *runner) Start(schema string, tables ...string) {
	r.t.Helper()
	r.Watch(schema+"\nCREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);", append(tables, "mark.mark")...)
	r.Setup()
	r.StartProxy()
	r.StartPublisher()
}

// Kill ends the publisher with SIGKILL.
func (r *runner) Kill(p *harness.Process) {
	r.t.Helper()
	if !p.Running() {
		r.t.Fatalf("%s had ended by itself", p.Name)
	}
	p.Kill()
}

// Stop asks a process to end and expects exit code 0.
func (r *runner) Stop(p *harness.Process) {
	r.t.Helper()
	r.must(p.Stop(syscall.SIGTERM, 30*time.Second))
	if code, err := p.Wait(time.Second); err != nil || code != 0 {
		r.t.Fatalf("%s exits with %d after SIGTERM (%v)", p.Name, code, err)
	}
}

// Drain commits a mark and waits until it is in its topic: commit order is promised, so all that
// committed before is published by then.
func (r *runner) Drain() {
	r.t.Helper()
	r.marker++
	r.Exec(fmt.Sprintf("INSERT INTO mark.mark VALUES (%d)", r.marker))
	want := fmt.Sprintf(`{"id":%d}`, r.marker)
	r.must(harness.Eventually(90*time.Second, func(context.Context) error {
		if r.publisher != nil && !r.publisher.Running() {
			r.t.Fatal("the publisher ended while it was waited for")
		}
		for _, record := range r.Topic("mark.mark") {
			if strings.Contains(string(record.Key), want) { // its schema may stand before it
				return nil
			}
		}
		return fmt.Errorf("mark %s is not in topic %s.mark.mark", want, r.prefix)
	}))
}

// Topics returns the committed records of every topic of the scenario, by what follows the prefix. It waits until every transaction is decided.
func (r *runner) Topics() (topics map[string][]verdict.Record) {
	r.t.Helper()
	r.must(harness.Eventually(30*time.Second, func(context.Context) (err error) {
		topics, r.aborted, err = verdict.ReadDecided(r.broker.Address, verdict.Under(r.prefix))
		return err
	}))
	return topics
}

// Topic returns the committed records of one topic, named without the prefix; none if there is no
// such topic yet. It waits like Topics.
func (r *runner) Topic(name string) []verdict.Record {
	r.t.Helper()
	topic := r.prefix + "." + name
	var topics map[string][]verdict.Record
	r.must(harness.Eventually(30*time.Second, func(context.Context) (err error) {
		topics, _, err = verdict.ReadDecided(r.broker.Address, verdict.Only(topic))
		return err
	}))
	return topics[topic]
}

// Events returns the events of a table, in the order of the topic.
func (r *runner) Events(table string) []verdict.Event {
	r.t.Helper()
	var events []verdict.Event
	for _, record := range r.Topic(table) {
		e, err := verdict.ParseEvent(record)
		r.must(err)
		events = append(events, e)
	}
	return events
}

// Verdict drains and compares the topics of the watched tables, and the audit topic, with the truth.
func (r *runner) Verdict() *verdict.Verdict {
	r.t.Helper()
	r.Drain()
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	truth, err := verdict.LoadTruth(r.ctx, conn, r.start)
	r.must(err)
	topics := r.Topics()
	audit := topics["audit"]
	for name := range topics {
		if !strings.Contains(name, ".") { // audit, ddl, progress
			delete(topics, name)
		}
	}
	v, err := verdict.Check(truth, topics)
	r.must(err)
	r.must(v.CheckAudit(truth, audit))
	return v
}

// ExpectClean fails the test unless the topics are what the database says.
func (r *runner) ExpectClean() *verdict.Verdict {
	r.t.Helper()
	v := r.Verdict()
	if !v.Clean() {
		r.t.Errorf("the topics are not what the database says: %s", v)
	}
	return v
}

// refused is an error unless err came from the server with that SQLSTATE.
func refused(err error, code string) error {
	var answer interface{ SQLState() string }
	if errors.As(err, &answer) && answer.SQLState() == code {
		return nil
	}
	return fmt.Errorf("want an error with SQLSTATE %s, got %v", code, err)
}
