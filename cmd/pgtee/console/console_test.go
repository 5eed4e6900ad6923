package console

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/proxy"
	"github.com/pgtee/pgtee/publisher"
	published "github.com/pgtee/pgtee/publisher/record"
)

// fixture is a console over a broker of the test's own.
type fixture struct {
	*testing.T
	*Console
	server *httptest.Server
	broker *embedded.Broker
	client *kgo.Client
	logged *observer.ObservedLogs
	lsn    int
}

const prefix = "shop"

func newFixture(t *testing.T, alter func(*Config)) *fixture {
	t.Helper()
	broker, err := embedded.StartBroker(embedded.BrokerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	core, logged := observer.New(zapcore.InfoLevel)
	cfg := Config{Open: reader, Brokers: []string{broker.Address()}, Streams: []Stream{streamOf(prefix)}, Log: zap.New(core), Settings: map[string]string{"prefix": prefix}}
	if alter != nil {
		alter(&cfg)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := newConsole(listener, cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{T: t, Console: c, broker: broker, logged: logged}
	f.server = httptest.NewUnstartedServer(c.handler())
	f.server.Listener = listener
	f.server.Start()
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
		c.close()
	})
	if f.client, err = kgo.NewClient(kgo.SeedBrokers(broker.Address()), kgo.DefaultProduceTopic("none"), kgo.TransactionalID("test")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	return f
}

// streamOf is a stream whose publisher does nothing.
func streamOf(prefix string) Stream {
	return Stream{
		Prefix: prefix, Database: prefix, Slot: "pgtee",
		Stats: func() publisher.Stats { return publisher.Stats{State: "publishing", Events: 12, Batches: 3} },
		Lag:   func() (int64, time.Duration, bool) { return 4096, 2 * time.Second, true },
		Retained: func() (outbox.SlotStatus, int64) {
			return outbox.SlotStatus{Retained: 1 << 20, WAL: "reserved"}, 1 << 30
		},
		Check: func(context.Context) (outbox.Report, error) {
			return outbox.Report{Findings: []outbox.Finding{{Text: "wal_level is logical"}}}, nil
		},
		Tables: func(context.Context) ([]outbox.Table, error) {
			return []outbox.Table{{OID: 1, Schema: "public", Name: "orders"}}, nil
		},
		Uncaptured: func(context.Context) ([]outbox.Capture, error) { return nil, nil },
	}
}

func (f *fixture) make(topic string, partitions int32) {
	f.Helper()
	if _, err := kadm.NewClient(f.client).CreateTopic(f.Context(), partitions, 1, nil, topic); err != nil {
		f.Fatal(err)
	}
}

// commit publishes records in one Kafka transaction, as the publisher does.
func (f *fixture) commit(records ...*kgo.Record) {
	f.Helper()
	if err := f.client.BeginTransaction(); err != nil {
		f.Fatal(err)
	}
	if err := f.client.ProduceSync(f.Context(), records...).FirstErr(); err != nil {
		f.Fatal(err)
	}
	if err := f.client.EndTransaction(f.Context(), kgo.TryCommit); err != nil {
		f.Fatal(err)
	}
}

// who is a person of the test.
type who struct{ user, application, client string }

func quoted(text string) string {
	raw, _ := json.Marshal(text)
	return string(raw)
}

func (w who) session() string {
	return fmt.Sprintf(`{"id":"652f","user":%s,"role":"clerk","application":%s,"client":%s,"pid":4711,"start":"2025-01-31T12:00:00.000000Z","proxy":3,"actor":null}`,
		quoted(w.user), quoted(w.application), quoted(w.client))
}

var ann = who{"ann", "till", "10.0.0.9:51000"}

// write commits one row of a table and its audit record, and returns the transaction's id. before and after are JSON.
func (f *fixture) write(by who, command, sql, table, key, before, after string) (id string) {
	f.Helper()
	f.lsn++
	id = fmt.Sprintf("7300/pgtee/1/0/%X", 0x1000+f.lsn*64)
	op := map[string]string{"INSERT": "c", "UPDATE": "u", "DELETE": "d"}[command]
	counts := map[string][3]int{"INSERT": {1, 0, 0}, "UPDATE": {0, 1, 0}, "DELETE": {0, 0, 1}}[command]
	statement := fmt.Sprintf(`{"number":1,"command":%q,"fingerprint":"feed","text":%s,"text_cut":false,"rows":1`, command, quoted(sql))
	schema, name, _ := strings.Cut(table, ".")
	row := fmt.Sprintf(`{"before":%s,"after":%s,"source":{"ts_ms":1738324800000,"schema":%s,"table":%s,"txId":77},"op":%q,"pgtee":{"session":%s,"statement":%s},"via":"proxy","verified":true}}`,
		before, after, quoted(schema), quoted(name), op, by.session(), statement)
	audit := fmt.Sprintf(`{"v":1,"database":"shop","timeline":1,"xid":77,"commit_lsn":"0/%X","end_lsn":"0/2","commit_time":%q,"via":"proxy","verified":true,"session":%s,
		"statements":[%s,"tables":[%s]}],"statements_omitted":0,"tables":[{"table":%s,"inserted":%d,"updated":%d,"deleted":%d,"truncated":0}],"tables_omitted":0,"direct_rows":0,"ddl":0}`,
		0x1000+f.lsn*64, time.Now().UTC().Format(time.RFC3339Nano), by.session(), statement, quoted(table), quoted(table), counts[0], counts[1], counts[2])
	f.commit(
		record(published.TopicName(prefix, table), key, row, id+"/0"),
		record(prefix+".audit", "652f", audit, id+"/audit"))
	return id
}

func record(topic, key, value, id string) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: published.EventIDHeader, Value: []byte(id)}}}
}

// get asks for a page.
func (f *fixture) get(path string, change ...func(*http.Request)) (status int, body string, header http.Header) {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), "GET", f.server.URL+path, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		f.Fatal(err)
	}
	return answer.StatusCode, string(text), answer.Header
}

// page is a page that must be there.
func (f *fixture) page(path string) string {
	f.Helper()
	status, body, _ := f.get(path)
	if status != http.StatusOK {
		f.Fatalf("%s: status %d: %s", path, status, body)
	}
	return body
}

func (f *fixture) expect(body string, wants ...string) {
	f.Helper()
	for _, want := range wants {
		if !strings.Contains(body, want) {
			f.Errorf("the page lacks %q:\n%s", want, body[max(0, strings.Index(body, "<main")):])
		}
	}
}

// TestEveryPageWithoutAnything: nothing is published yet, and each page says what to do next.
func TestEveryPageWithoutAnything(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Sessions = noSessions{} })
	for path, want := range map[string]string{
		"/live": "Write a row through the proxy", "/row": "Name a table", "/streams": "publishing", "/tables": "nothing published yet",
		"/sessions": "Nobody is connected", "/groups": "No consumer group", "/ddl": "No DDL was published", "/dead-letters": "Everything fitted",
		"/check": "All is well", "/configuration": "shop",
	} {
		f.expect(f.page(path), want, "<h1>")
	}
	for _, path := range []string{"/transaction?id=x", "/transaction", "/record?topic=other.audit&partition=0&offset=0", "/record?topic=shop.audit", "/row?table=nope", "/live?stream=other", "/session"} {
		if status, body, _ := f.get(path); status < 400 || status >= 500 || !strings.Contains(body, "role=\"alert\"") {
			t.Errorf("%s: status %d", path, status)
		}
	}
}

type noSessions struct{}

func (noSessions) Sessions() []proxy.SessionInfo { return nil }
func (noSessions) Terminate(id string) bool      { return id == "7" }

// TestLooksAreLogged: who looked at what, without values of rows.
func TestLooksAreLogged(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.public.orders", 1)
	f.get("/row?table=public.orders&key=topsecretkey")
	entries := f.logged.FilterMessage("console: looked at").All()
	if len(entries) != 1 {
		t.Fatalf("%d entries", len(entries))
	}
	fields := entries[0].ContextMap()
	if fields["page"] != "/row" || fields["table"] != "public.orders" || fields["role"] != "reader" || fields["key_sha256"] == nil {
		t.Errorf("the log says %v", fields)
	}
	if strings.Contains(fmt.Sprint(fields), "topsecretkey") {
		t.Error("the log has the key of a row")
	}
	f.make("shop.audit", 1)
	f.write(ann, "INSERT", "INSERT", "public.orders", `{"id":7}`, "null", `{"id":7}`)
	f.logged.TakeAll()
	for _, key := range []string{`{"id":7}`, `{"id": 7}`, "7", " id = 7 "} {
		f.page("/row?table=public.orders&key=" + url.QueryEscape(key))
	}
	for _, entry := range f.logged.FilterMessage("console: looked at").All() { // printf %s '{"id":7}' | sha256sum
		if sum := entry.ContextMap()["key_sha256"]; sum != fmt.Sprintf("%x", sha256.Sum256([]byte(`{"id":7}`))) {
			t.Errorf("the log has another hash: %v", sum)
		}
	}
}
