package integration

import (
	"fmt"
	"strings"
	"testing"
)

const messageRoles = `
CREATE PROCEDURE work.nothing(int) LANGUAGE plpgsql AS 'BEGIN END';
DO $$ BEGIN
	CREATE ROLE """Z""oë" LOGIN; CREATE ROLE "a
b"; GRANT "a
b" TO """Z""oë";
EXCEPTION WHEN duplicate_object THEN
END $$;`

// Notes that are logical messages say who wrote, whatever the names are, and whether our function writes them or not: those
// of prepared statements go past it, until that is forbidden.
func TestMessageNotes(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
			r.Start(workSchema+messageRoles, workTables...)
			conn := r.dial(r.ProxyURL(`"Z"oë`, "before\nafter") + "&client_encoding=LATIN1")
			defer conn.Close(r.ctx)
			write := func(id int) error {
				_, err := conn.Exec(r.ctx, "INSERT INTO work.item VALUES ($1, 'stmt', 0)", id)
				return err
			}
			r.must(runSQL(r, conn, "SET ROLE \"a\nb\""))
			r.must(write(1))
			r.must(runSQL(r, conn, "BEGIN READ ONLY"))
			_, err := conn.Exec(r.ctx, "CALL work.nothing($1)", 1)
			r.must(err)
			var unassigned bool
			r.must(conn.QueryRow(r.ctx, "SELECT pg_current_xact_id_if_assigned() IS NULL").Scan(&unassigned))
			if r.must(runSQL(r, conn, "COMMIT")); !unassigned {
				t.Error("a transaction that only reads has a transaction id")
			}
			early := r.dial(r.ProxyURL("ann", "early")) // the notes of a user with another name than an ASCII one never go past our function
			defer early.Close(r.ctx)
			r.Exec("REVOKE EXECUTE ON FUNCTION " + r.Query("SELECT oid::regprocedure::text FROM pg_proc WHERE proname = 'pg_logical_emit_message' AND prosrc ~ 'bytea'") + " FROM PUBLIC")
			const insert = "INSERT INTO work.item VALUES ($1, 'stmt', 0)"
			r.must(runSQL(r, early, "BEGIN"))
			_, err = early.Exec(r.ctx, insert, 2) // its note is written by pgtee.sign()
			r.must(err)
			_, err = early.Exec(r.ctx, "INSERT INTO work.item VALUES ($1, 'another', 0)", 5)
			r.must(refused(err, "42501"))
			r.must(runSQL(r, early, "ROLLBACK"))
			r.must(write(3))
			later := r.dial(r.ProxyURL("ann", "later"))
			defer later.Close(r.ctx)
			_, err = later.Exec(r.ctx, insert, 4)
			r.must(err)
			r.Drain()
			for i, e := range r.Events("work.item") {
				role := "a\nb"
				if i == 2 {
					role = "ann"
				}
				s := e.Pgtee.Session
				if !e.Pgtee.Verified || s.Role != role || !strings.HasPrefix(e.Pgtee.Statement.Text, "INSERT") || i == 2 && s.User != "ann" {
					t.Errorf("event %d says %+v", i, e.Pgtee)
				}
			}
			if n := len(r.Events("work.item")); n != 3 {
				t.Errorf("%d events, want 3", n)
			}
		})
	}
}
