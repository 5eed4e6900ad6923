package otlp

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	spans "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/proto"

	"github.com/pgtee/pgtee/publisher"
)

var (
	noon    = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
)

// statement returns a statement of the nth span of an application.
func statement(n int) *publisher.TracedStatement {
	return &publisher.TracedStatement{
		Traceparent: fmt.Sprintf("00-%s-%016x-01", traceID, n), Tracestate: "vendor=1",
		Began: noon, Committed: noon.Add(time.Second),
		Command: "INSERT", Schema: "public", Table: "orders", Rows: 3,
		EventID: "7300/pgtee/1/0/16B3748/1", XID: 77, Session: 0xabc, Number: 4, Fingerprint: 0xfeed,
	}
}

func transaction(statements ...*publisher.TracedStatement) publisher.KafkaTransaction {
	return publisher.KafkaTransaction{
		Began: noon.Add(1500 * time.Millisecond), Ended: noon.Add(2 * time.Second), First: 0x16B3700, Last: 0x16B3748,
		Transactions: 2, Records: 9, Bytes: 4096, Statements: statements,
	}
}

// standIn is a collector that keeps the spans that it accepts.
type standIn struct {
	mu       sync.Mutex
	spans    []*spans.Span
	resource []*common.KeyValue
	headers  http.Header
	path     string
	requests int
	answer   func(request int) (status int, rejected int64) // nil: everything is accepted
	err      error                                          // of the connection
	hangs    bool
}

func (c *standIn) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if c.err != nil {
		return nil, c.err
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Result(), nil
}

func (c *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	c.headers, c.path = r.Header, r.URL.Path
	body, _ := io.ReadAll(r.Body)
	status, rejected := http.StatusOK, int64(0)
	if c.answer != nil {
		status, rejected = c.answer(c.requests)
	}
	if status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, of := range request.GetResourceSpans() {
		c.resource = of.GetResource().GetAttributes()
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	reply, _ := proto.Marshal(&collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: rejected, ErrorMessage: "too many"}})
	_, _ = w.Write(reply)
}

// described returns a span on lines: name, kind, parent, status, seconds after noon, attributes and links.
func described(s *spans.Span) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s parent %x", s.GetName(), strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"), s.GetParentSpanId())
	fmt.Fprintf(&b, " state %q flags %x %v-%v\n", s.GetTraceState(), s.GetFlags(), time.Unix(0, int64(s.GetStartTimeUnixNano())).Sub(noon), time.Unix(0, int64(s.GetEndTimeUnixNano())).Sub(noon))
	for _, a := range s.GetAttributes() {
		if v, is := a.GetValue().GetValue().(*common.AnyValue_IntValue); is {
			fmt.Fprintf(&b, "  %s=%d\n", a.GetKey(), v.IntValue)
		} else {
			fmt.Fprintf(&b, "  %s=%s\n", a.GetKey(), a.GetValue().GetStringValue())
		}
	}
	for _, l := range s.GetLinks() {
		fmt.Fprintf(&b, "  -> %x %x %s %x\n", l.GetTraceId(), l.GetSpanId(), l.GetTraceState(), l.GetFlags())
	}
	if s.GetStatus() != nil {
		fmt.Fprintf(&b, "  %s %s\n", s.GetStatus().GetCode(), s.GetStatus().GetMessage())
	}
	return b.String()
}

// exporter returns an Exporter that reaches a collector without a network, and the log.
func exporter(t *testing.T, to *standIn) (*Exporter, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	e, err := New(Config{Endpoint: "http://collector:4318", Resource: map[string]string{"service.name": "pgtee"}, Version: "1", Database: "shop", Prefix: "pg", Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	e.client.Transport = to
	return e, logs
}

// run runs an Exporter until the function that it returns is called, which returns how long ending took.
func run(t *testing.T, e *Exporter) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return func() time.Duration {
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return time.Since(began)
	}
}

// What arrives at a collector, over a network.
func TestSpans(t *testing.T) {
	to := &standIn{}
	server := httptest.NewServer(to)
	defer server.Close()
	e, err := New(Config{Endpoint: server.URL + "/base/", Resource: map[string]string{"service.name": "pgtee"}, Version: "1", Database: "shop", Prefix: "pg", Log: zap.NewNop(),
		Headers: func() (http.Header, error) { return http.Header{"Api-Key": {"sesame"}}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	second := statement(2)
	second.Command, second.Schema, second.Table, second.EventID, second.Tracestate = "MERGE", "", "", "", ""
	e.Add(transaction(statement(1), second))
	run(t, e)()
	if len(to.spans) != 5 || e.Stats() != (Stats{Sent: 5}) {
		t.Fatalf("%d spans, %+v", len(to.spans), e.Stats())
	}
	if to.path != "/base/v1/traces" || to.headers.Get("Content-Type") != "application/x-protobuf" || to.headers.Get("Api-Key") != "sesame" || fmt.Sprint(to.resource) == "[]" {
		t.Errorf("%s with %v of %v", to.path, to.headers, to.resource)
	}
	publish, insert, delivered, merge, last := to.spans[0], to.spans[1], to.spans[2], to.spans[3], to.spans[4]
	common := "  messaging.system=kafka\n  messaging.operation.name=publish\n  messaging.operation.type=send\n  pgtee.topic_prefix=pg\n"
	link := fmt.Sprintf("  -> %x %x  1\n", publish.GetTraceId(), publish.GetSpanId())
	for i, want := range []string{
		"publish PRODUCER parent  state \"\" flags 1 1.5s-2s\n" + common +
			"  messaging.batch.message_count=9\n  db.system.name=postgresql\n  db.namespace=shop\n  pgtee.transactions=2\n  pgtee.bytes=4096\n  pgtee.first_lsn=0/16B3700\n  pgtee.last_lsn=0/16B3748\n" +
			"  -> " + traceID + " 0000000000000001 vendor=1 301\n  -> " + traceID + " 0000000000000002  301\n",
		"INSERT public.orders CLIENT parent 0000000000000001 state \"vendor=1\" flags 301 0s-1s\n" +
			"  db.system.name=postgresql\n  db.namespace=shop\n  pgtee.rows=3\n  pgtee.xid=77\n  pgtee.session_id=0000000000000abc\n  pgtee.statement_number=4\n  pgtee.fingerprint=000000000000feed\n" +
			"  db.operation.name=INSERT\n  db.collection.name=public.orders\n  db.query.summary=INSERT public.orders\n",
		fmt.Sprintf("publish PRODUCER parent %x state \"vendor=1\" flags 1 1s-2s\n", insert.GetSpanId()) + common + "  pgtee.event_id=7300/pgtee/1/0/16B3748/1\n" + link,
		"MERGE CLIENT parent 0000000000000002 state \"\" flags 301 0s-1s\n" +
			"  db.system.name=postgresql\n  db.namespace=shop\n  pgtee.rows=3\n  pgtee.xid=77\n  pgtee.session_id=0000000000000abc\n  pgtee.statement_number=4\n  pgtee.fingerprint=000000000000feed\n" +
			"  db.operation.name=MERGE\n  db.query.summary=MERGE\n",
		fmt.Sprintf("publish PRODUCER parent %x state \"\" flags 1 1s-2s\n", merge.GetSpanId()) + common + link,
	} {
		if got := described(to.spans[i]); got != want {
			t.Errorf("span %d\n got %s\nwant %s", i, got, want)
		}
	}
	ids := map[string]bool{}
	for _, s := range []*spans.Span{publish, insert, delivered, merge, last} {
		ids[string(s.GetSpanId())] = true
		if of := hex.EncodeToString(s.GetTraceId()); (of == traceID) == (s == publish) || len(s.GetTraceId()) != 16 || len(s.GetSpanId()) != 8 {
			t.Errorf("span %x of trace %s", s.GetSpanId(), of)
		}
	}
	if len(ids) != 5 {
		t.Errorf("%d different ids, want 5", len(ids))
	}
}

func TestSpanOfAnAbortedTransaction(t *testing.T) {
	k := transaction()
	k.First, k.Err = 0, errors.New("produce to pg.public.orders: \xff"+strings.Repeat("long", 1000))
	e, _ := exporter(t, &standIn{})
	got := described(e.cfg.appendSpans(nil, &k)[0])
	if !strings.Contains(got, "error.type=aborted\n  STATUS_CODE_ERROR produce to pg.public.orders: \uFFFDlong") || strings.Contains(got, "lsn") || len(got) > 1500 {
		t.Error(got)
	}
}

// The clocks of proxy, server and publisher differ.
func TestNoSpanEndsBeforeItBegins(t *testing.T) {
	s := statement(1)
	s.Began, s.Committed = noon.Add(time.Hour), noon.Add(time.Minute)
	k := transaction(s)
	e, _ := exporter(t, &standIn{})
	s.Schema, s.Command, s.Table = "", "", ""
	list := e.cfg.appendSpans(nil, &k)
	if len(list) != 3 {
		t.Errorf("%d spans, want 3", len(list))
	}
	for _, span := range list {
		if span.GetEndTimeUnixNano() < span.GetStartTimeUnixNano() || span.GetName() == "" {
			t.Error(described(span))
		}
	}
}

func TestLinksAreBounded(t *testing.T) {
	var list []*publisher.TracedStatement
	for i := range 200 {
		list = append(list, statement(i+1), statement(i+1))
	}
	k := transaction(list...)
	e, _ := exporter(t, &standIn{})
	if span := e.cfg.appendSpans(nil, &k)[0]; len(span.GetLinks()) != maxLinks || span.GetDroppedLinksCount() != 200-maxLinks {
		t.Errorf("%d links, %d dropped", len(span.GetLinks()), span.GetDroppedLinksCount())
	}
}

// Whatever the collector does, Add returns at once, what it does not take is counted, and the log says so once a minute.
func TestUnwillingCollectors(t *testing.T) {
	always := func(status int) func(int) (int, int64) { return func(int) (int, int64) { return status, 0 } }
	for name, c := range map[string]struct {
		to       *standIn
		sent     int64 // within a minute, of 4
		says     string
		requests int
	}{
		"away":          {&standIn{err: errors.New("connection refused")}, 0, "collector collector:4318: connection refused", 0},
		"hangs":         {&standIn{hangs: true}, 0, "collector collector:4318: context deadline exceeded", 0},
		"asks to wait":  {&standIn{answer: func(n int) (int, int64) { return []int{503, 429, 200}[min(n, 3)-1], 0 }}, 4, "503 Service Unavailable", 3},
		"rejects":       {&standIn{answer: func(int) (int, int64) { return 200, 3 }}, 1, `rejects 3 spans: "too many"`, 1},
		"refuses login": {&standIn{answer: always(401)}, 0, "check the credentials", 1},
		"is another":    {&standIn{answer: always(404)}, 0, "usually 4318", 1},
		"redirects":     {&standIn{answer: always(307)}, 0, "give the final URL", 1},
		"fails":         {&standIn{answer: always(500)}, 0, "see the log of the collector", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, logs := exporter(t, c.to)
				stop := run(t, e)
				began := time.Now()
				e.Add(transaction(statement(1)))
				e.Add(transaction())
				if time.Since(began) > 0 {
					t.Error("Add has waited")
				}
				time.Sleep(90 * time.Second)
				if s := e.Stats(); s.Sent != c.sent || s.Sent+s.Dropped != 4 {
					t.Errorf("%+v, want %d sent", s, c.sent)
				}
				if n := logs.Len(); n < 1 || n > 2 || !strings.Contains(fmt.Sprint(logs.All()[0].ContextMap()["error"]), c.says) {
					t.Errorf("%d lines: %v", n, logs.All())
				}
				if c.requests > 0 && c.to.requests != c.requests {
					t.Errorf("%d requests, want %d", c.to.requests, c.requests)
				}
				e.Add(transaction())
				if took := stop(); took > flushTime {
					t.Errorf("ending took %s", took)
				}
				if s := e.Stats(); s.Sent+s.Dropped != 5 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	to := &standIn{}
	e, _ := exporter(t, to)
	many := slices.Repeat([]*publisher.TracedStatement{statement(1)}, 500)
	for range 10 {
		k := transaction(many...)
		k.Omitted = 1
		e.Add(k)
	}
	if e.queued > maxQueued || len(e.queue) != 8 || e.Stats().Dropped != 2*1001+10*2 {
		t.Errorf("%d spans in %d transactions, %+v", e.queued, len(e.queue), e.Stats())
	}
	for range 600 {
		e.Add(transaction())
	}
	run(t, e)()
	if s := e.Stats(); s.Sent != 8*1001+184 || s.Dropped != 2022+416 || to.requests != 9 || e.queued != 0 {
		t.Errorf("%+v in %d requests", s, to.requests)
	}
}

func TestEndpoint(t *testing.T) {
	for text, want := range map[string]string{
		"http://h:4318":             "http://h:4318/v1/traces",
		"https://h/otlp/":           "https://h/otlp/v1/traces",
		"https://h/x/v1/traces?a=b": "https://h/x/v1/traces?a=b",
		"h:4318":                    "",
		"grpc://h:4317":             "",
		"http://":                   "",
		"http://u:sesame@h:port":    "",
	} {
		e, err := New(Config{Endpoint: text})
		if (err == nil) != (want != "") || err == nil && e.url != want {
			t.Errorf("%s: %+v, %v, want %s", text, e, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Error(err)
		}
	}
}

// A request's error has neither the URL's secrets nor the headers'.
func TestErrorsHoldNoSecret(t *testing.T) {
	e, logs := exporter(t, &standIn{err: errors.New("refused")})
	e.url = "http://u:sesame@h/v1/traces?key=sesame"
	e.cfg.Headers = func() (http.Header, error) { return http.Header{"Key": {"sesame"}}, nil }
	_, err := e.post(t.Context(), nil)
	e.warn(err)
	if err == nil || strings.Contains(err.Error(), "sesame") || strings.Contains(fmt.Sprint(logs.All()), "sesame") || !bytes.Contains([]byte(err.Error()), []byte("refused")) {
		t.Error(err)
	}
}

func TestNilExporter(t *testing.T) {
	if (*Exporter)(nil).Stats() != (Stats{}) {
		t.Error("it has sent something")
	}
}
