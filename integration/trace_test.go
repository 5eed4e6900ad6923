package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What sqlcommenter puts into a comment arrives with each row, wherever the comment stands, by either protocol and with
// either kind of note; the comments change no error position and no fingerprint.
func TestTraceOfComments(t *testing.T) {
	for major, outbox := range map[int]string{15: "table", 18: "message"} {
		t.Run(fmt.Sprintf("PostgreSQL %d, outbox %s", major, outbox), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), outbox)
			r.Start(workSchema, workTables...)
			conn := r.dial(r.ProxyURL("ann", "shop"))
			defer conn.Close(r.ctx)
			var want []string // trace contexts of work.item's rows, by id
			comment := func() string {
				trace := fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01", len(want)+1)
				want = append(want, trace)
				return fmt.Sprintf("/*action='%%2Fbuy',actor='ann%%40shop',traceparent='%s',tracestate='a%%3D%d'*/", trace, len(want))
			}
			insert := func(id int) string { return fmt.Sprintf("INSERT INTO work.item VALUES (%d, 'x', 0)", id) }
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
					if _, err := conn.Exec(r.ctx, form(comment(), insert(len(want))), mode); err != nil {
						t.Fatalf("%v: %v", mode, err)
					}
				}
			}
			bare := len(want) + 1
			want = append(want, "") // a statement without one, between two
			a, b := comment(), comment()
			r.must(runSQL(r, conn, insert(bare)+"; "+insert(bare+1)+a+"; "+b+insert(bare+2)))
			for _, mode := range modes[:2] { // an error points where it did
				const sql = "/* comment */ INSERT INTO work.item VALUES (1, nothing, 0) /* comment */"
				_, err := conn.Exec(r.ctx, sql, mode)
				var refused *pgconn.PgError
				if at := strings.Index(sql, "nothing") + 1; !errors.As(err, &refused) || int(refused.Position) != at {
					t.Errorf("%v: %+v, want position %d", mode, err, at)
				}
			}
			r.Drain()
			events, fingerprints := r.Events("work.item"), map[string]int{}
			if len(events) != len(want) {
				t.Fatalf("%d events, want %d", len(events), len(want))
			}
			for i, e := range events {
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
		})
	}
}
