package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	collectorpb "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

// What sqlcommenter puts into a comment arrives with each row, wherever the comment stands, by either protocol and with
// either kind of note; the comments change no error position and no fingerprint. A collector gets the spans of the statements.
func TestTraceOfComments(t *testing.T) {
	for major, outbox := range map[int]string{15: "table", 18: "message"} {
		t.Run(fmt.Sprintf("PostgreSQL %d, outbox %s", major, outbox), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), outbox)
			r.Watch(workSchema+"\nCREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);", append(workTables, "mark.mark")...)
			r.Setup()
			r.StartProxy()
			spans, collector := newCollector(t)
			r.publisher = r.process("publish", append(r.publishArgs(), "--otlp-endpoint", collector)...)
			if outbox == "message" { // in front of another proxy, which alone writes notes
				r.startProxyOf(r.ProxyURL("postgres", "inner"))
				if log := r.proxy.Tail(5); !strings.Contains(log, "proxy-behind") {
					t.Errorf("the outer proxy does not tell: %s", log)
				}
			}
			conn := r.dial(r.ProxyURL("ann", "shop"))
			defer conn.Close(r.ctx)
			var want []string // trace contexts of work.item's rows, by id
			comment := func() string {
				trace := fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01", len(want)+1)
				want = append(want, trace)
				return fmt.Sprintf("/*action='%%2Fbuy',actor='ann%%40shop',traceparent='%s',tracestate='a%%3D%d'*/", trace, len(want))
			}
			const insert = "INSERT INTO work.item VALUES ($1, 'x', 0)" // with an argument: pgx sends a text without one as a Query, whatever the mode
			long := strings.Repeat(" ", 20<<10)
			modes := []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement}
			for _, mode := range modes {
				for _, form := range []func(string, string) string{
					func(c, sql string) string { return sql + " " + c },
					func(c, sql string) string { return c + " " + sql },
					func(c, sql string) string { return strings.Replace(sql, "VALUES", c+" VALUES", 1) },
					func(c, sql string) string { return sql + " " + c + ";" },
					func(c, sql string) string { return sql + "; " + c },
					func(c, sql string) string { return "/*+ SeqScan(t) */" + c + sql },
					func(c, sql string) string { return strings.Replace(sql, "VALUES", long+"VALUES", 1) + c },
				} {
					if _, err := conn.Exec(r.ctx, form(comment(), insert), mode, len(want)); err != nil {
						t.Fatalf("%v: %v", mode, err)
					}
				}
			}
			bare := len(want) + 1
			want = append(want, "") // a statement without one, between two
			a, b := comment(), comment()
			r.must(runSQL(r, conn, fmt.Sprintf("INSERT INTO work.item VALUES (%d, 'x', 0); INSERT INTO work.item VALUES (%d, 'x', 0)%s; %sINSERT INTO work.item VALUES (%d, 'x', 0)", bare, bare+1, a, b, bare+2)))
			for _, mode := range modes[:2] { // an error points where it did
				const sql = "/* comment */ INSERT INTO work.item VALUES (1, nothing, $1) /* comment */"
				_, err := conn.Exec(r.ctx, sql, mode, 0)
				var refused *pgconn.PgError
				if at := strings.Index(sql, "nothing") + 1; !errors.As(err, &refused) || int(refused.Position) != at {
					t.Errorf("%v: %+v, want position %d", mode, err, at)
				}
			}
			claims := append(r.writeAsActors(conn, bare+2), r.changeActors(conn)...)
			r.Drain()
			events, fingerprints := r.Events("work.item"), map[string]int{}
			if len(events) != len(want)+len(claims) {
				t.Fatalf("%d events, want %d", len(events), len(want)+len(claims))
			}
			for i, e := range events[len(want):] {
				if s := e.Pgtee.Session; s.Actor != claims[i].actor || s.Application != claims[i].application || s.User != "ann" || !e.Pgtee.Verified {
					t.Errorf("row %d is of actor %q, application %q, want %+v: %.600v", i, s.Actor, s.Application, claims[i], fmt.Sprintf("%+v", e.Pgtee))
				}
			}
			for i, e := range events[:len(want)] {
				state, actor, action := fmt.Sprintf("a=%d", i+1), "ann@shop", "/buy"
				if want[i] == "" {
					state, actor, action = "", "", ""
				}
				if e.Headers["traceparent"] != want[i] || e.Headers["tracestate"] != state || e.Pgtee.Session.Actor != actor || e.Pgtee.Context["action"] != action || !e.Pgtee.Verified {
					t.Errorf("row %d, headers %v, says %.600v", i+1, e.Headers, fmt.Sprintf("%+v", e.Pgtee))
				}
				fingerprints[e.Pgtee.Statement.Fingerprint]++
			}
			if len(fingerprints) != 1 {
				t.Errorf("fingerprints %v, want one", fingerprints)
			}
			spans.expect(r, events, want)
		})
	}
}

// collector is an OpenTelemetry collector that keeps spans.
type collector struct {
	mu    sync.Mutex
	spans []*otlp.Span
}

// newCollector starts a collector, which has the URL that it returns.
func newCollector(t *testing.T) (*collector, string) {
	c := &collector{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collectorpb.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &request) != nil || r.URL.Path != "/v1/traces" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, of := range request.GetResourceSpans() {
			for _, scope := range of.GetScopeSpans() {
				c.spans = append(c.spans, scope.GetSpans()...)
			}
		}
	}))
	t.Cleanup(server.Close)
	return c, server.URL
}

// expect waits until each statement with a trace context has its spans: one below that of the application, below it one that names the event in Kafka and
// links to the Kafka transaction.
func (c *collector) expect(r *runner, events []verdict.Event, traces []string) {
	r.t.Helper()
	r.must(harness.Eventually(r.patience, func(context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		children, byID, traced := map[string][]*otlp.Span{}, map[string]*otlp.Span{}, 0
		for _, s := range c.spans {
			parent := fmt.Sprintf("00-%x-%x-01", s.GetTraceId(), s.GetParentSpanId())
			children[parent] = append(children[parent], s)
			byID[string(s.GetSpanId())] = s
			if len(s.GetParentSpanId()) > 0 {
				traced++
			}
		}
		for i, trace := range traces {
			if trace == "" {
				traced += 2
				continue
			}
			if len(children[trace]) != 1 {
				return fmt.Errorf("%d spans below %s, that of row %d", len(children[trace]), trace, i+1)
			}
			statement := children[trace][0]
			below := children[fmt.Sprintf("00-%x-%x-01", statement.GetTraceId(), statement.GetSpanId())]
			if statement.GetName() != "INSERT work.item" || len(below) != 1 || len(below[0].GetLinks()) != 1 || !strings.Contains(fmt.Sprint(below[0].GetAttributes()), events[i].ID+"\"") {
				return fmt.Errorf("row %d has %v, and below it %v", i+1, statement, below)
			}
			if k := byID[string(below[0].GetLinks()[0].GetSpanId())]; k.GetName() != "publish" || !strings.Contains(fmt.Sprint(k.GetAttributes()), r.prefix) || len(k.GetLinks()) == 0 {
				return fmt.Errorf("row %d links to %v", i+1, k)
			}
			if statement.GetStartTimeUnixNano() > statement.GetEndTimeUnixNano() || below[0].GetStartTimeUnixNano() != statement.GetEndTimeUnixNano() {
				return fmt.Errorf("the times of row %d: %v, and below it %v", i+1, statement, below[0])
			}
		}
		if traced != 2*len(traces) {
			return fmt.Errorf("%d spans in traces of applications, want %d", traced, 2*len(traces))
		}
		return nil
	}))
}

// claim is what a client says about itself.
type claim struct{ actor, application string }

// writeAsActors inserts rows with ids after last into work.item while pgtee.actor is set in different ways; it returns the claim that each row should have.
func (r *runner) writeAsActors(conn *pgx.Conn, last int) (claims []claim) {
	for _, step := range []struct{ set, actor, comment, reset string }{
		{"SET pgtee.actor = 'bob'", "bob", "", ""},
		{"", "bob", "", ""}, // still the actor
		{"", "eve@shop", "/*actor='eve%40shop'*/", ""},
		{"SET pgtee.actor = E'Zo\u00eb\n7\nroot\nroot'", "Zo\u00eb\n7\nroot\nroot", "", ""},
		{"BEGIN; SET LOCAL pgtee.actor = 'carl'", "carl", "", "COMMIT"},
		{"", "Zo\u00eb\n7\nroot\nroot", "", ""}, // LOCAL has ended
		{"SELECT pg_catalog.set_config('pgtee.actor', repeat('\u00eb', 200), false)", strings.Repeat("\u00eb", 128), "", ""},
		{"RESET pgtee.actor", "", "", ""},
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
			if step.set != "" {
				r.must(runSQL(r, conn, step.set))
			}
			last++
			_, err := conn.Exec(r.ctx, "INSERT INTO work.item VALUES ($1, 'x', 0)"+step.comment, mode, last)
			r.must(err)
			if step.reset != "" {
				r.must(runSQL(r, conn, step.reset))
			}
			claims = append(claims, claim{step.actor, "shop"})
		}
	}
	for i := range 2 { // pgtee.put() looks for its comment among the last bytes before it, which may begin within a character
		last++
		r.must(runSQL(r, conn, fmt.Sprintf("SET pgtee.actor = 'dora'; SELECT '%s'; INSERT INTO work.item VALUES (%d, 'x', 0)", strings.Repeat("x", i)+strings.Repeat("\u00eb", 20<<10), last)))
		claims = append(claims, claim{"dora", "shop"})
	}
	return claims
}

// changeActors inserts rows by few texts, in transactions that change what the client claims between them; it returns the claim that each row should have.
func (r *runner) changeActors(conn *pgx.Conn) (claims []claim) {
	const again, other = "INSERT INTO work.item SELECT max(id) + 1, 'x', $1 FROM work.item", "INSERT INTO work.item SELECT 1 + max(id), 'x', $1 FROM work.item"
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
		for _, step := range []struct {
			before, write string
			claim
		}{
			{"BEGIN; SET LOCAL pgtee.actor = 'ann'", again, claim{"ann", "shop"}},
			{"", again, claim{"ann", "shop"}},
			{"SET LOCAL pgtee.actor = 'bob'", again, claim{"bob", "shop"}},
			{"", other, claim{"bob", "shop"}},
			{"SET LOCAL application_name = 'till'", other, claim{"bob", "till"}},
			{"SAVEPOINT s; SET LOCAL pgtee.actor = 'eve'", other, claim{"eve", "till"}},
			{"SAVEPOINT s; SET LOCAL pgtee.actor = 'mallory'; DELETE FROM work.item; ROLLBACK TO s", other, claim{"eve", "till"}},
			{"SELECT set_config('pgtee.actor', 'carl', true)", other, claim{"carl", "till"}},
			{"RESET application_name", other, claim{"carl", "shop"}},
			{"COMMIT", other, claim{"dora", "shop"}},
		} {
			if step.before != "" {
				r.must(runSQL(r, conn, step.before))
			}
			_, err := conn.Exec(r.ctx, step.write, mode, 0)
			r.must(err)
			claims = append(claims, step.claim)
		}
	}
	return claims
}
