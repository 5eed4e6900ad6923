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
			actors := r.writeAsActors(conn, bare+2)
			r.Drain()
			events, fingerprints := r.Events("work.item"), map[string]int{}
			if len(events) != len(want)+len(actors) {
				t.Fatalf("%d events, want %d", len(events), len(want)+len(actors))
			}
			for i, e := range events[len(want):] {
				if s := e.Pgtee.Session; s.Actor != actors[i] || s.Application != "shop" || s.User != "ann" || !e.Pgtee.Verified {
					t.Errorf("actor %q of row %d is %q: %.600v", actors[i], i, s.Actor, fmt.Sprintf("%+v", e.Pgtee))
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
		})
	}
}

// writeAsActors inserts rows with ids after last into work.item while pgtee.actor is set in different ways; it returns the actor that each row should have.
func (r *runner) writeAsActors(conn *pgx.Conn, last int) (actors []string) {
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
			_, err := conn.Exec(r.ctx, fmt.Sprintf("INSERT INTO work.item VALUES (%d, 'x', 0)", last)+step.comment, mode)
			r.must(err)
			if step.reset != "" {
				r.must(runSQL(r, conn, step.reset))
			}
			actors = append(actors, step.actor)
		}
	}
	last++
	r.must(runSQL(r, conn, fmt.Sprintf("SET pgtee.actor = 'dora'; SELECT 1; INSERT INTO work.item VALUES (%d, 'x', 0)", last)))
	return append(actors, "dora")
}
