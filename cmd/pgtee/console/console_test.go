package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
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

// oneSession is a proxy with one busy session.
type oneSession struct{ noSessions }

func (oneSession) Sessions() []proxy.SessionInfo {
	return []proxy.SessionInfo{{ID: "7", Session: "652f", User: "ann", Database: "shop", Client: "10.0.0.9:51000", State: "active", Queries: 1234, Notes: 56, NoteBytes: 2048, ClientBytes: 3 << 10, ServerBytes: 4 << 20}}
}

// TestSessions: who is busy, and what each has written; a reader may not end a session.
func TestSessions(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Sessions = oneSession{} })
	page := f.page("/sessions")
	f.expect(page, "ann", "active", "1\u202f234", "2.0 kB sent for them", "3.0 kB", "4.0 MB", `href="/live?session=652f"`, `href="/session?id=652f"`)
	if strings.Contains(page, "/sessions/terminate") {
		t.Error("a reader is offered to end a session")
	}
}

// TestTransactionAndRow follows a row from its transaction to its history: who, statement, diff, places, blame.
func TestTransactionAndRow(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 3)
	bea := who{"bea", "desk", "10.0.0.8:1"}
	f.write(ann, "INSERT", "insert into orders values ($1, $2)", "public.orders", `{"id":7}`, "null", `{"id":7,"state":"new","total":12}`)
	f.write(ann, "INSERT", "insert into orders values ($1, $2)", "public.orders", `{"id":8}`, "null", `{"id":8,"state":"new","total":3}`)
	id := f.write(bea, "UPDATE", "update orders set state = $1", "public.orders", `{"id":7}`, `{"id":7,"state":"new","total":12}`, `{"id":7,"state":"paid","total":12}`)

	live := f.page("/live")
	f.expect(live, "insert into orders", "bea", "10.0.0.8:1", `data-after="0:6"`)
	link := "/transaction?at=0.4&amp;id=" + strings.ReplaceAll(id, "/", "%2F")
	f.expect(live, link)

	for _, path := range []string{strings.ReplaceAll(link, "&amp;", "&"), "/transaction?id=" + id, "/transaction?at=0.0&id=" + id} {
		page := f.page(path)
		f.expect(page, "update orders set state = $1", "<b>bea</b>", `<td class="before">new</td><td class="after">paid</td>`, "offset 4", "verified", `1 column unchanged`)
		if strings.Contains(page, "Not all rows were found") {
			t.Errorf("%s: rows are missing:\n%s", path, page)
		}
	}
	for _, key := range []string{"7", `{"id":7}`, "id=7", `{ "id" : 7 }`} {
		page := f.page("/row?table=orders&key=" + strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22", " ", "%20", "=", "%3D").Replace(key))
		f.expect(page, "2 changes", "update orders set state = $1", "2025-01-31 12:00:00.000")
		blame := page[strings.Index(page, `class="blame`):strings.Index(page, "2 changes")]
		rows := strings.Split(blame, "<tr>")[2:]
		if len(rows) != 3 || !strings.Contains(rows[0], "<b>ann</b>") || !strings.Contains(rows[1], "<b>bea</b>") || !strings.Contains(rows[2], "<b>ann</b>") {
			t.Errorf("key %s: the blame is %s", key, blame)
		}
	}
	id = f.write(ann, "UPDATE", "update without its row before", "public.orders", `{"id":8}`, "null", `{"id":8,"state":"lost","total":3}`)
	f.expect(f.page("/transaction?id="+id), `<td class="before">new</td><td class="after">lost</td>`, "what the record before this one says")
	f.expect(f.page("/row?table=orders&key=8"), `<td class="before">new</td><td class="after">lost</td>`)
	f.write(ann, "DELETE", "delete from orders", "public.orders", `{"id":7}`, `{"id":7,"state":"paid","total":12}`, "null")
	f.expect(f.page("/row?table=orders&key=7"), "The row is gone", "3 changes")
	f.expect(f.page("/row?table=orders"), "Rows of public.orders that changed last", "2025-01-31 12:00:00.000")
	f.expect(f.page("/record?topic=shop.public.orders&partition=0&offset=0")+f.page("/streams"), "100.0 %")
	f.expect(f.page("/tables"), "shop.public.orders")
}

// giant publishes a transaction that became visible in two parts: rows of two tables, then its audit record.
func (f *fixture) giant(rows int, tables ...string) (id string) {
	f.Helper()
	f.lsn++
	id = fmt.Sprintf("7300/pgtee/1/0/%X", 0x1000+f.lsn*64)
	var counts []string
	ordinal := 0
	for _, table := range tables {
		schema, name, _ := strings.Cut(table, ".")
		var part []*kgo.Record
		for n := range rows {
			row := fmt.Sprintf(`{"before":null,"after":{"id":%d},"source":{"schema":%q,"table":%q,"txId":77},"op":"c","pgtee":{"session":%s,"statement":{"number":1,"command":"COPY"}}}`, n, schema, name, ann.session())
			part = append(part, record(published.TopicName(prefix, table), fmt.Sprintf(`{"id":%d}`, n), row, fmt.Sprintf("%s/%d", id, ordinal)))
			ordinal++
		}
		f.commit(part...)
		counts = append(counts, fmt.Sprintf(`{"table":%q,"inserted":%d}`, table, rows))
	}
	audit := fmt.Sprintf(`{"v":1,"database":"shop","xid":77,"commit_lsn":"0/%X","parts":2,"commit_time":"2025-01-31T12:00:00Z","verified":true,"session":%s,"statements":[{"number":1,"command":"COPY","rows":%d}],"tables":[%s]}`,
		0x1000+f.lsn*64, ann.session(), ordinal, strings.Join(counts, ","))
	f.commit(record(prefix+".audit", "652f", audit, id+"/audit"))
	return id
}

// TestGiant: page after page, each row of a large transaction is found once, however much its topic holds from before.
func TestGiant(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 3)
	f.make("shop.public.lines", 1)
	filler := strings.Repeat("x", 1<<19)
	for n := range maxReadBytes/len(filler) + 10 {
		f.commit(record("shop.public.orders", fmt.Sprint(n), filler, fmt.Sprintf("7300/pgtee/1/0/%X/0", n)))
	}
	const rows = 250
	id := f.giant(rows, "public.orders", "public.lines")
	f.write(ann, "INSERT", "a later one", "public.orders", `{"id":1}`, "null", `{"id":1}`)
	rowLink := regexp.MustCompile(`<h3>.*?href="(/row[^"]+)"`)
	moreLink := regexp.MustCompile(`<a href="([^"]+)">Look further back</a>`)
	seen, pages := map[string]bool{}, 0
	for path := "/transaction?id=" + id; path != ""; pages++ {
		page := f.page(path)
		for _, row := range rowLink.FindAllStringSubmatch(page, -1) {
			if seen[row[1]] {
				t.Fatalf("page %d shows %s again", pages, row[1])
			}
			seen[row[1]] = true
		}
		if strings.Contains(page, "were not found") {
			t.Errorf("page %d misses rows", pages)
		}
		path = ""
		if more := moreLink.FindStringSubmatch(page); more != nil {
			path = strings.ReplaceAll(more[1], "&amp;", "&")
		}
	}
	if len(seen) != 2*rows || pages > 5 {
		t.Errorf("%d pages show %d rows, want %d", pages, len(seen), 2*rows)
	}
}

// TestRowInAnotherPartition: the history of a row that was written before partitions were added is not claimed to be complete without the others.
func TestRowInAnotherPartition(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 4)
	const key = `{"id":7}`
	direct, err := kgo.NewClient(kgo.SeedBrokers(f.broker.Address()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	old := record("shop.public.orders", key, `{"before":null,"after":{"id":7,"state":"first"},"source":{"schema":"public","table":"orders"},"op":"c"}`, "7300/pgtee/1/0/10/0")
	old.Partition = (partitionOf("shop.public.orders", []byte(key), 4) + 1) % 4
	if err := direct.ProduceSync(t.Context(), old).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f.write(ann, "UPDATE", "a later one", "public.orders", key, `{"id":7,"state":"first"}`, `{"id":7,"state":"paid"}`)

	page := f.page("/row?table=orders&key=7")
	f.expect(page, "1 change", "where those of this row are written now", "a later one")
	if strings.Contains(page, "every change that topic") {
		t.Error("the page claims to be complete")
	}
	link := regexp.MustCompile(`href="([^"]+)">Look in the other partitions`).FindStringSubmatch(page)
	if link == nil {
		t.Fatal("there is no link to the other partitions")
	}
	older := f.page(strings.ReplaceAll(link[1], "&amp;", "&"))
	f.expect(older, "1 change", "older changes in topic", "first", "published <time") // its record has no time of commit
	if strings.Contains(older, "Look ") || strings.Contains(older, "a later one") || strings.Contains(older, "blame") {
		t.Errorf("the page of older changes is\n%s", older)
	}
}

// TestSearchGoesOn: a search that reaches its limit is continued where it was, and then finds the rest, each record once.
func TestSearchGoesOn(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.public.orders", 2)
	const records = 400
	var list []*kgo.Record
	for n := range records {
		list = append(list, record("shop.public.orders", fmt.Sprint(n), strings.Repeat("x", n), fmt.Sprint(n)))
	}
	f.commit(list...)
	starts, ends, err := f.topics.bounds(t.Context(), "shop.public.orders")
	if err != nil {
		t.Fatal(err)
	}
	for name, limit := range map[string]reading{"records": {bytes: maxReadBytes, records: 50}, "bytes": {bytes: 8 << 10, records: maxReadRecords}, "none": {bytes: maxReadBytes, records: maxReadRecords}} {
		seen, requests := map[string]bool{}, 0
		for before := ends; before != nil; requests++ {
			r := &reading{f.topics, maxReadTime, limit.bytes, limit.records}
			var found []*kgo.Record
			if found, before, err = r.find(t.Context(), search{topic: "shop.public.orders", starts: starts, before: before, want: 30, keep: func(r *kgo.Record) bool { return true }}); err != nil {
				t.Fatal(err)
			}
			for _, one := range found {
				if seen[string(one.Key)] {
					t.Fatalf("%s: record %s is found again", name, one.Key)
				}
				seen[string(one.Key)] = true
			}
			if read := limit.records - r.records; read > limit.records || len(found) > 30 {
				t.Errorf("%s: a request reads %d records and finds %d", name, read, len(found))
			}
			if requests > records {
				t.Fatalf("%s: no end", name)
			}
		}
		if len(seen) != records {
			t.Errorf("%s: %d records are found, want %d", name, len(seen), records)
		}
	}
}

// TestDeadLetterPages: each of the two lists has pages of its own, and the pieces of a letter take no place in them.
func TestDeadLetterPages(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.dead-letter", 1)
	f.make("shop.outbox.refused", 1)
	f.commit(record("shop.dead-letter", "", `{"source":"the oldest letter","reason":"too large"}`, "1"))
	f.commit(&kgo.Record{Topic: "shop.outbox.refused", Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: published.RefusedTopicHeader, Value: []byte("the oldest event")}}})
	var list []*kgo.Record
	for range shownRecords {
		piece := record("shop.dead-letter", "", "a piece", "2")
		piece.Headers = append(piece.Headers, kgo.RecordHeader{Key: published.PieceHeader, Value: []byte("1/1")})
		list = append(list, record("shop.dead-letter", "", `{"source":"a letter","reason":"too large"}`, "2"), piece,
			&kgo.Record{Topic: "shop.outbox.refused", Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: published.RefusedTopicHeader, Value: []byte("an event")}}})
	}
	f.commit(list...)
	older := func(page, name string) string {
		link := regexp.MustCompile(`href="([^"]+)">Older ` + name).FindStringSubmatch(page)
		if link == nil {
			t.Fatalf("there is no link to older %s", name)
		}
		return f.page(strings.ReplaceAll(link[1], "&amp;", "&"))
	}
	count := func(page string) string {
		return fmt.Sprint(strings.Count(page, ">a letter<"), strings.Count(page, ">the oldest letter<"), strings.Count(page, ">an event<"), strings.Count(page, ">the oldest event<"))
	}
	first := f.page("/dead-letters")
	events := older(first, "refused events")
	both := older(events, "dead letters")
	for page, want := range map[string]string{first: "100 0 100 0", events: "100 0 0 1", both: "0 1 0 1"} {
		if got := count(page); got != want {
			t.Errorf("a page has %s, want %s", got, want)
		}
	}
}

// TestPlayback: what a session has written, in the order of time, and nothing of others.
func TestPlayback(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	for n := range shownPlayed + 2 {
		f.write(ann, "INSERT", fmt.Sprintf("statement number %d.", n), "public.orders", fmt.Sprintf(`{"id":%d}`, n), "null", "{}")
	}
	f.commit(record("shop.audit", "", `{"v":1,"commit_time":"2025-01-31T12:00:00Z","session":{"id":"77","user":"bea"},"statements":[{"number":1,"command":"INSERT","text":"of another session","rows":1}]}`, "7300/pgtee/1/0/FFFF/audit"))
	page := f.page("/session?id=652f")
	f.expect(page, "<b>ann</b>", "10.0.0.9:51000", "of public.orders", "later")
	first, last := strings.Index(page, "statement number 2."), strings.Index(page, fmt.Sprintf("statement number %d.", shownPlayed+1))
	if first < 0 || last < first || strings.Contains(page, "statement number 1.") || strings.Contains(page, "of another session") {
		t.Errorf("the first statement is at %d, the last one at %d:\n%s", first, last, page)
	}
	link := regexp.MustCompile(`href="([^"]+)">Earlier`).FindStringSubmatch(page)
	if link == nil {
		t.Fatal("there is no link to what precedes")
	}
	earlier := f.page(strings.ReplaceAll(link[1], "&amp;", "&"))
	f.expect(earlier, "statement number 0.", "statement number 1.")
	if strings.Contains(earlier, "statement number 2.") || strings.Contains(earlier, "Earlier") {
		t.Error("the page before it goes on too far")
	}
	f.expect(f.page("/session?id=none"), "has nothing that this session has written")
}

// TestSnapshot: an admin sees how long the copy takes, and can pause, resume and cancel it.
func TestSnapshot(t *testing.T) {
	now := publisher.Stats{State: "publishing"}
	copying := &now.Snapshot
	copying.State, copying.ID, copying.Table, copying.TablesTotal, copying.RowsDone, copying.RowsEstimated = "copying", "4f2a", "public.orders", 2, 1000, 3000
	var asked []string
	f := newFixture(t, func(c *Config) {
		c.Logins = logins(t)
		s := &c.Streams[0]
		s.Stats = func() publisher.Stats { return now }
		s.Signal = func(_ context.Context, r *outbox.SignalRecord) error {
			asked = append(asked, r.Type+" "+r.Snapshot)
			return nil
		}
	})
	began := time.Now()
	f.series[prefix].add(sampleOf{at: began, copied: 500})
	f.series[prefix].add(sampleOf{at: began.Add(10 * time.Second), copied: 1000})
	with := func(secret string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) }
	}
	_, page, _ := f.get("/streams", with(adminSecret))
	f.expect(page, "4f2a", "public.orders", "of about 3\u202f000", "0 of 2", `<td data-label="to go">40 s</td>`, ">Pause<", ">Cancel<")
	copying.State, copying.TablesTotal = "paused", 0
	_, page, _ = f.get("/streams", with(adminSecret))
	f.expect(page, ">Resume<", ">Cancel<")
	_, page, _ = f.get("/streams", with(readerSecret))
	f.expect(page, "An admin can pause")
	post := func(kind string) func(*http.Request) {
		return func(r *http.Request) {
			r.Method, r.Body = "POST", io.NopCloser(strings.NewReader(url.Values{"type": {kind}, "id": {"4f2a"}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	}
	for _, test := range []struct {
		kind, secret string
		want         int
	}{
		{outbox.PauseSnapshot, adminSecret, http.StatusSeeOther}, {outbox.ResumeSnapshot, adminSecret, http.StatusSeeOther}, {outbox.StopSnapshot, adminSecret, http.StatusSeeOther},
		{outbox.Resync, adminSecret, http.StatusBadRequest}, {outbox.PauseSnapshot, readerSecret, http.StatusForbidden},
	} {
		if status, body, _ := f.get("/streams/snapshot", with(test.secret), post(test.kind)); status != test.want {
			t.Errorf("%s: status %d, want %d: %s", test.kind, status, test.want, body)
		}
	}
	if got := strings.Join(asked, ", "); got != "pause-snapshot 4f2a, resume-snapshot 4f2a, stop-snapshot 4f2a" {
		t.Errorf("asked of the publisher: %s", got)
	}
}

// TestFilters: each filter lets through what it names and nothing else.
func TestFilters(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	f.make("shop.sales.lines", 1)
	f.write(ann, "INSERT", "first text", "public.orders", `{"id":1}`, "null", `{"id":1}`)
	f.write(who{"bea", "desk", "10.0.0.8:1"}, "UPDATE", "second Text", "sales.lines", `{"id":1}`, `{"id":1}`, `{"id":1}`)
	f.commit(record("shop.audit", "", `{"v":1,"database":"shop","timeline":1,"xid":80,"commit_lsn":"0/9000","end_lsn":"0/9001","commit_time":"2025-01-31T12:00:00Z","via":"direct","verified":null,"reason":"no note","session":null,"statements":[],"statements_omitted":0,"tables":[{"table":"public.bypassed","inserted":1,"updated":0,"deleted":0,"truncated":0}],"tables_omitted":0,"direct_rows":1,"ddl":0}`, "7300/pgtee/1/0/9000/audit"))
	for query, want := range map[string]string{
		"": "first second bypassed", "user=ann": "first", "application=desk": "second", "client=10.0.0.8": "second", "client=10.0.0.9:51000": "first", "session=652f": "first second",
		"table=orders": "first", "table=sales.lines": "second", "table=public.lines": "", "command=update": "second", "text=TEXT": "first second",
		"unattributed=1": "bypassed", "unverified=1": "bypassed", "user=ann&command=UPDATE": "", "user=nobody": "",
	} {
		page := f.page("/live?" + query)
		_, list, _ := strings.Cut(page, `<ol id="events"`)
		var got []string
		for _, word := range []string{"first", "second", "bypassed"} {
			if strings.Contains(list, word) {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("/live?%s shows %v, want %q", query, got, want)
		}
	}
}

// events reads server-sent events until one of kind rows has come whose HTML has want; it returns all ids and rows seen,
// and how many of the rows were in the first frame.
func (f *fixture) events(path, lastID, want string) (ids []string, rows, first, skipped int) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 20*time.Second)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", f.server.URL+path, nil)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 4<<20)
	kind := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			kind = value
		case "id":
			ids = append(ids, value)
		case "data":
			var frame frameOfRows
			if kind != "rows" || json.Unmarshal([]byte(value), &frame) != nil {
				continue
			}
			if rows == 0 {
				first = frame.Rows
			}
			rows, skipped = rows+frame.Rows, skipped+frame.Skipped
			if strings.Contains(frame.HTML, want) {
				return ids, rows, first, skipped
			}
		}
	}
	f.Fatalf("no event has %q: %v; %d rows, ids %v", want, lines.Err(), rows, ids)
	return nil, 0, 0, 0
}

// TestResume: a browser that comes back gets each event behind its last id, once.
func TestResume(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	write := func(n int) {
		f.write(ann, "INSERT", fmt.Sprintf("statement number %d.", n), "public.orders", fmt.Sprintf(`{"id":%d}`, n), "null", "{}")
	}
	write(1)
	ids, rows, _, _ := f.events("/live/events?after=0:0", "", "number 1.")
	if rows != 1 || len(ids) == 0 {
		t.Fatalf("%d rows, ids %v", rows, ids)
	}
	for n := 2; n <= 90; n++ {
		write(n)
	}
	last, rows, first, skipped := f.events("/live/events?after=0:0", ids[len(ids)-1], "number 90.")
	if rows != 89 || skipped != 0 {
		t.Errorf("behind the first event come %d rows, %d skipped, want 89", rows, skipped)
	}
	_, rows, _, _ = f.events("/live/events", last[0], "number 90.") // the first frame's id is behind its own rows only
	if first > frameRows || rows != 89-first {                      // a frame ends early if no further row is there to be read
		t.Errorf("behind the first frame, of %d rows, come %d, want %d", first, rows, 89-first)
	}
	arrived := make(chan int)
	go func() {
		_, rows, _, _ := f.events("/live/events", last[len(last)-1], "number 91.")
		arrived <- rows
	}()
	write(91)
	if rows := <-arrived; rows != 1 {
		t.Errorf("%d rows at once, want 1", rows)
	}
}

// browser receives what a viewer writes.
type browser struct{ *httptest.ResponseRecorder }

func (browser) SetWriteDeadline(time.Time) error { return nil }

// viewer is a browser that watches the stream, and what it has received.
func (f *fixture) viewer() (*viewer, browser) {
	to := browser{httptest.NewRecorder()}
	return &viewer{c: f.Console, tail: f.tails[prefix], stream: &f.cfg.Streams[0], to: http.NewResponseController(to), w: to, admitted: func() bool { return true }}, to
}

// TestResumeCut: a browser that comes back while Kafka is away learns how much was not read.
func TestResumeCut(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	f.write(ann, "INSERT", "missed", "public.orders", `{"id":1}`, "null", "{}")
	v, _ := f.viewer()
	_, end, err := v.tail.join(f.Context())
	defer v.tail.leave()
	if err != nil || end[0] == 0 {
		t.Fatalf("the tail begins at %v: %v", end, err)
	}
	f.broker.Close()
	if err := v.resume(f.Context(), position{0: 0}, end); err != nil {
		t.Fatal(err)
	}
	if v.unread != end[0] || v.at[0] != end[0] {
		t.Errorf("of %d offsets %d are said to be unread; the viewer is at %v", end[0], v.unread, v.at)
	}
}

// TestResumeFails: after an error the browser keeps its id, and so asks again for what it lacks.
func TestResumeFails(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	f.write(ann, "INSERT", "missed", "public.orders", `{"id":1}`, "null", "{}")
	v, received := f.viewer()
	if _, _, err := v.tail.join(f.Context()); err != nil {
		t.Fatal(err)
	}
	defer v.tail.leave()
	v.c = &Console{topics: &topics{options: []kgo.Opt{kgo.SeedBrokers()}, turns: make(chan struct{}, 1)}} // no client can be made
	v.serve(f.Context(), position{0: 0})
	if text := received.Body.String(); !strings.Contains(text, "event: trouble\n") || strings.Contains(text, "id:") {
		t.Errorf("the browser receives %q", text)
	}
}

// TestQuietStream: a browser is connected at once, before anything is published.
func TestQuietStream(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	ctx, cancel := context.WithTimeout(t.Context(), aliveEvery/2)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", f.server.URL+"/live/events", nil)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
}

// TestAlive: a browser is told that the connection works by an event that scripts receive, which they do not a comment.
func TestAlive(t *testing.T) {
	f := newFixture(t, nil)
	v, received := f.viewer()
	v.at = position{0: 7}
	if err := v.sendAlive(); err != nil {
		t.Fatal(err)
	}
	if text := received.Body.String(); text != "event: alive\nid: 0:7\ndata: {}\n\n" {
		t.Errorf("the browser receives %q", text)
	}
}

// TestBacklog: what a viewer cannot be shown is counted.
func TestBacklog(t *testing.T) {
	v := &viewer{c: &Console{}, at: position{}}
	for i := range maxBacklog + 25 {
		v.take(&event{Offset: int64(i)})
	}
	if len(v.waiting) != maxBacklog || v.skipped != 25 || v.waiting[0].Offset != 25 || v.at[0] != maxBacklog+25 {
		t.Errorf("%d wait, %d skipped, first %d, at %v", len(v.waiting), v.skipped, v.waiting[0].Offset, v.at)
	}
}

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
}
