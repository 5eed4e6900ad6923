package integration

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// A note that has been seen can be sent again. Each attack below has one of another session, or one of its own of a transaction that was rolled
// back, and writes rows of v = 'forged'. None of them may be verified as a statement that did not write them.

const borrowedTools = `
	CREATE FUNCTION via_message(payload text) RETURNS void LANGUAGE plpgsql AS $$BEGIN
		PERFORM pg_logical_emit_message(true, 'pgtee', record_send(ROW(payload, session_user, current_user::name, pg_backend_pid(), current_setting('application_name'), NULL::bytea)));
		INSERT INTO t (v) VALUES ('forged'); END$$;
	CREATE FUNCTION via_sign(payload text) RETURNS void LANGUAGE plpgsql AS $$BEGIN
		PERFORM pgtee.sign(payload, current_user::name); PERFORM pgtee.note(payload, current_user::name); INSERT INTO t (v) VALUES ('forged'); END$$;
	CREATE FUNCTION inlined(payload text) RETURNS text LANGUAGE sql AS 'SELECT pgtee.sign(payload, current_user::name)::text';
	CREATE FUNCTION inlined_note(payload text) RETURNS text LANGUAGE sql AS 'SELECT pgtee.note(payload, current_user::name)::text';
	CREATE FUNCTION forges() RETURNS text LANGUAGE plpgsql AS $$BEGIN INSERT INTO t (v) VALUES ('forged'); RETURN 'x'; END$$;
	CREATE PROCEDURE commits(v1 text) LANGUAGE plpgsql AS $$BEGIN INSERT INTO t (v) VALUES ('forged'); COMMIT; END$$;
	CREATE PROCEDURE commits(payload text, how text) LANGUAGE plpgsql AS $$BEGIN
		IF how = 'sign' THEN PERFORM pgtee.sign(payload, current_user::name); ELSE PERFORM pgtee.note(payload, current_user::name); END IF;
		INSERT INTO t (v) VALUES ('forged'); COMMIT; END$$;
	CREATE VIEW signing AS SELECT pgtee.sign(current_setting('my.note'), current_user::name)::text, pgtee.note(current_setting('my.note'), current_user::name)::text AS note;
	CREATE TABLE trap (i int);
	CREATE FUNCTION trapped() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		PERFORM pgtee.sign(current_setting('my.note'), current_user::name); PERFORM pgtee.note(current_setting('my.note'), current_user::name);
		INSERT INTO t (v) VALUES ('forged'); RETURN NULL; END$$;
	CREATE TABLE early (i int);
	CREATE FUNCTION spends() RETURNS trigger LANGUAGE plpgsql AS $$DECLARE n text := substring(current_query() from '.*pgtee\.(?:note|sign)\(''([^'']*)'''); BEGIN
		PERFORM pgtee.note(n, current_user::name); PERFORM pgtee.sign(n, current_user::name); INSERT INTO t (v) VALUES ('forged'); RETURN NULL; END$$;
	CREATE TRIGGER spends AFTER INSERT ON early FOR EACH ROW EXECUTE FUNCTION spends();
	CREATE TRIGGER trapped AFTER INSERT ON trap FOR EACH ROW EXECUTE FUNCTION trapped();`

// stolen is a text that the proxy does not take from current_query(), since it has several statements and is not ASCII: its note carries it, and
// therefore names the same statement in any other text.
const stolen = "BEGIN; INSERT INTO t (v) VALUES ('stolen') /* é */"

var blanks = strings.Repeat(" ", 300<<10)

// functionCall calls a function by its name in a call of the protocol, which has room only for an OID: it stands among the arguments.
func functionCall(name string, arguments ...string) *pgproto3.FunctionCall {
	call := &pgproto3.FunctionCall{Arguments: [][]byte{[]byte(name)}}
	for _, a := range arguments {
		call.Arguments = append(call.Arguments, []byte(a))
	}
	return call
}

// attacks are what a session says that has the note N.
var attacks = []struct {
	name  string
	steps []say
}{
	{"message, then a row", []say{simple("BEGIN"), simple("SELECT pg_logical_emit_message(true, 'pgtee', record_send(ROW('N'::text, session_user, current_user::name, pg_backend_pid(), 'x'::text, NULL::bytea)))"),
		simple("/* forged */ INSERT INTO t (v) VALUES ('forged')"), simple("COMMIT")}},
	{"lines, then a row", []say{simple(`BEGIN; SELECT pg_logical_emit_message(true, 'pgtee', E'N\nx\n' || pg_backend_pid() || E'\npostgres\npostgres'); INSERT INTO t (v) VALUES ('forged'); COMMIT`)}},
	{"message in a function", []say{simple("SELECT via_message('N')")}},
	{"message in DO", []say{simple("DO $$BEGIN PERFORM via_message('N'); END$$")}},
	{"called by hand", []say{simple("SELECT pgtee.sign('N',current_user);INSERT INTO t (v) VALUES ('forged')"), simple("SELECT pgtee.note('N',current_user);INSERT INTO t (v) VALUES ('forged')")}},
	{"put by hand", []say{simple("/*N*/;CALL pgtee.put('0',current_user,true,true);INSERT INTO t (v) VALUES ('forged')"),
		simple("/*N*/;CALL pgtee.put('0',current_user,true,false);INSERT INTO t (v) VALUES ('forged')")}},
	{"put by hand, and the proxy's own notes are undone", []say{simple("BEGIN; INSERT INTO t (v) VALUES ('lost'); ROLLBACK; /*N*/;CALL pgtee.put('9',current_user,true,true);INSERT INTO t (v) VALUES ('forged')")}},
	{"put in front of the proxy's own", []say{simple("SELECT 1 /*N*/;/*N*/;CALL pgtee.put('0',current_user,true,true);BEGIN; ROLLBACK; INSERT INTO t (v) VALUES ('forged')")}},
	{"put, extended", []say{burst("Z", all(parse("", "/*N*/;CALL pgtee.put('0',current_user,true,true)"), bind("", ""), execute(""), parse("", "INSERT INTO t (v) VALUES ('forged')"), bind("", ""), execute(""), sync_)...)}},
	{"put in DO", []say{simple("/*N*/;DO $$BEGIN /*N*/;CALL pgtee.put('0',current_user,true,true); INSERT INTO t (v) VALUES ('forged'); END$$")}},
	{"called by hand, in a block", []say{simple("BEGIN"), simple("SELECT pgtee.sign('N',current_user)"), simple("SELECT pgtee.note('N',current_user)"), simple("INSERT INTO t (v) VALUES ('forged')"), simple("COMMIT")}},
	{"called in a function", []say{simple("SELECT via_sign('N')")}},
	{"called in DO that commits", []say{simple("DO $$BEGIN PERFORM pgtee.sign('N', current_user::name); PERFORM pgtee.note('N', current_user::name); INSERT INTO t (v) VALUES ('forged'); COMMIT; END$$")}},
	{"called in a procedure that commits", []say{simple("CALL commits('N', 'sign')"), simple("CALL commits('N', 'note')")}},
	{"as an argument that is inlined", []say{simple("CALL commits(inlined('N'))"), simple("CALL commits(inlined_note('N'))")}},
	{"as an argument that is inlined, extended", []say{burst("Z", all(once("CALL commits(inlined($1))", "N"), sync_)...), burst("Z", all(once("CALL commits(inlined_note($1))", "N"), sync_)...)}},
	{"... and looks like the proxy's", []say{simple("/* SELECT pgtee.sign('N',current_user); */ CALL commits(inlined('N'))"), simple("/* SELECT pgtee.note('N',current_user); */ CALL commits(inlined_note('N'))")}},
	{"the proxy's own statement", []say{burst("Z", parse("", "SELECT CASE WHEN $3 THEN pgtee.sign($1,current_user) ELSE pgtee.note($1,current_user) END WHERE $2"), bind("", "", "N", "t", "t"), execute(""),
		parse("", "SELECT CASE WHEN $3 THEN pgtee.sign($1,current_user) ELSE pgtee.note($1,current_user) END WHERE $2"), bind("", "", "N", "t", "f"), execute(""),
		parse("", "INSERT INTO t (v) VALUES ('forged')"), bind("", ""), execute(""), sync_)}},
	{"a view", []say{simple("SET my.note = 'N'"), simple("SELECT * FROM signing; INSERT INTO t (v) VALUES ('forged')"), simple("SELECT s.*, via_message('x') FROM signing AS s")}},
	{"a trigger", []say{simple("SET my.note = 'N'"), simple("INSERT INTO trap VALUES (1)")}},
	{"the note of a later statement of the Query", []say{simple("INSERT INTO early VALUES (1); INSERT INTO t (v) VALUES ('stolen')")}},
	{"behind a savepoint", []say{simple("BEGIN"), simple("SAVEPOINT s"), simple("INSERT INTO t (v) VALUES ('gone')"), simple("ROLLBACK TO s"), simple("SELECT via_message('N')"), simple("COMMIT")}},
	{"a cursor that runs at the commit", []say{simple("DECLARE c CURSOR WITH HOLD FOR SELECT pgtee.sign('N',current_user)::text, forges()")}},
	{"... by note()", []say{simple("DECLARE c CURSOR WITH HOLD FOR SELECT pgtee.note('N',current_user)::text, forges()")}},
	{"... extended", []say{burst("Z", all(once("DECLARE c CURSOR WITH HOLD FOR SELECT pgtee.sign('N',current_user)::text, forges()"), sync_)...)}},
	{"... with the call in the COMMIT", []say{simple("BEGIN"), simple("DECLARE c CURSOR WITH HOLD FOR SELECT pgtee . sign ('N',current_user)::text, forges()"), simple("COMMIT /* pgtee.sign('N' */")}},
	{"... with the call in an extended COMMIT", []say{simple("BEGIN"), simple("DECLARE c CURSOR WITH HOLD FOR SELECT pgtee . sign ('N',current_user)::text, forges()"),
		burst("Z", all(once("COMMIT /* pgtee.sign('N' */"), sync_)...)}},
	{"a PREPARE that is bound", []say{simple("PREPARE p AS SELECT pgtee.sign('N',current_user)::text, forges(), set_config('transaction_read_only', 'on', true)"), burst("Z", bind("", "p"), execute(""), sync_)}},
	{"a transaction that it makes read-only", []say{simple("SELECT pgtee.sign('N',current_user)::text, forges(), set_config('transaction_read_only', 'on', true)")}},
	{"... by note()", []say{simple("SELECT pgtee.note('N',current_user)::text, forges(), set_config('transaction_read_only', 'on', true)")}},
	{"a FunctionCall", []say{simple("BEGIN"), burst("Z", functionCall("pgtee.sign", "N", "postgres")), burst("Z", functionCall("forges")), simple("COMMIT")}},
	{"behind the part of a text that is read", []say{simple("SELECT 1;" + blanks + "ROLLBACK; SELECT pgtee.sign('N',current_user); INSERT INTO t (v) VALUES ('forged')")}},
	{"... called there, and spelt before", []say{simple("SELECT 1 /* pgtee.sign('N' */;" + blanks + "ROLLBACK; SELECT pgtee . sign ('N',current_user); INSERT INTO t (v) VALUES ('forged')")}},
	{"behind what cannot be read", []say{burst("ZZ", &pgproto3.Query{String: "SELECT set_config('standard_conforming_strings', 'off', false)"},
		&pgproto3.Query{String: `SELECT '\''; ROLLBACK; SELECT pgtee.sign('N',current_user); INSERT INTO t (v) VALUES ('forged')`})}},
	{"an argument behind it", []say{simple("CALL commits(" + blanks + "pgtee.sign('N',current_user)::text)")}},
	{"... extended", []say{burst("Z", all(once("CALL commits("+blanks+"pgtee.sign('N',current_user)::text)"), sync_)...)}},
	{"a row of the outbox", []say{simple("INSERT INTO pgtee.outbox_0 (kind, note, user_name, role_name, pid, application) VALUES ('n', 'N', 'postgres', 'postgres', 1, 'x'); INSERT INTO t (v) VALUES ('forged')")}},
}

func TestBorrowedNotes(t *testing.T) {
	for _, major := range []int{15, 18} {
		for _, outbox := range []string{"table", "message"} {
			t.Run(fmt.Sprintf("%d %s", major, outbox), func(t *testing.T) {
				t.Parallel()
				r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), outbox)
				r.Start("CREATE TABLE t (n serial PRIMARY KEY, v text);")
				tools := r.dial(r.URL())
				r.exec(tools, borrowedTools)
				tools.Close(r.ctx)
				victim := r.dial(r.ProxyURL("postgres", "victim"))
				defer victim.Close(r.ctx)
				note := r.steal(victim)
				for _, attack := range attacks {
					r.attack(r.proxyAddress, note, attack.steps)
					r.attack(r.server.Address(), note, attack.steps)
					r.attack(r.proxyAddress, "", attack.steps)
				}
				r.exec(victim, "COMMIT")
				r.Drain()
				forged := 0
				for _, e := range r.Events("public.t") {
					if e.After["v"] != "forged" {
						continue
					}
					forged++
					if a := e.Pgtee; a.Verified && a.Statement.Number != 0 && (strings.Contains(a.Statement.Text, "'stolen'") || a.Session.Application == "victim") {
						t.Errorf("verified: %+v", a)
					}
				}
				if forged < 3*len(attacks) {
					t.Errorf("%d rows are forged: some attack has not come about", forged)
				}
			})
		}
	}
}

var aNote = regexp.MustCompile(`(?:pgtee\.(?:note|sign)\('|/\*)([A-Za-z0-9+/=]{128,})`)

// A copy that is sent before the session's own transaction commits, in an older one, does not make the session's notes replays.
func TestBorrowedNoteBeforeItsOriginal(t *testing.T) {
	for _, outbox := range []string{"table", "message"} {
		r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), outbox)
		r.Start("CREATE TABLE t (n serial PRIMARY KEY, v text);")
		thief := r.dial(r.URL())
		defer thief.Close(r.ctx)
		r.exec(thief, "BEGIN; SELECT pg_current_xact_id()")
		victim := r.dial(r.ProxyURL("postgres", "victim"))
		defer victim.Close(r.ctx)
		r.exec(victim, "BEGIN")
		r.exec(victim, "INSERT INTO t (v) VALUES ('own')")
		note := r.noteIn(victim, "UPDATE t SET v = 'own'")
		r.exec(thief, "SELECT pg_logical_emit_message(true, 'pgtee', record_send(ROW('"+note+"'::text, session_user, current_user::name, pg_backend_pid(), 'x'::text, NULL::bytea))); COMMIT")
		r.exec(victim, "COMMIT")
		r.Drain()
		events := r.Events("public.t")
		if len(events) != 2 {
			t.Fatalf("%s: %d events, want 2", outbox, len(events))
		}
		for _, e := range events {
			if !e.Pgtee.Verified {
				t.Errorf("%s: not verified: %+v", outbox, e.Pgtee)
			}
		}
	}
}

// steal returns the note of a transaction that is open, as whoever may read pg_stat_activity does.
func (r *runner) steal(victim *pgx.Conn) string {
	r.t.Helper()
	return r.noteIn(victim, stolen)
}

// noteIn has a session write something, and returns the note that pg_stat_activity shows.
func (r *runner) noteIn(victim *pgx.Conn, sql string) string {
	r.t.Helper()
	r.exec(victim, sql)
	query := r.Query("SELECT query FROM pg_stat_activity WHERE application_name = 'victim' AND datname = current_database()")
	found := aNote.FindStringSubmatch(query)
	if found == nil {
		r.t.Fatalf("no note in %q", query)
	}
	return found[1]
}

func (r *runner) exec(conn *pgx.Conn, sql string) {
	r.t.Helper()
	_, err := conn.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol)
	r.must(err)
}

// attack has a session say what it says with a note; without one, with one of its own that it has rolled back.
func (r *runner) attack(address, note string, steps []say) {
	r.t.Helper()
	client, err := openWire(address, false, 0, r.database)
	r.must(err)
	defer client.conn.Close()
	if note == "" {
		exchange(r.t, client.conn, simple("SET application_name = 'own'"))
		exchange(r.t, client.conn, simple(stolen))
		query := r.Query("SELECT query FROM pg_stat_activity WHERE application_name = 'own' AND datname = current_database() AND state <> 'idle'")
		if found := aNote.FindStringSubmatch(query); found != nil {
			note = found[1]
		}
		exchange(r.t, client.conn, simple("ROLLBACK"))
	}
	for _, step := range steps {
		filled := say{await: step.await}
		for _, m := range step.messages {
			filled.messages = append(filled.messages, r.withNote(m, note))
		}
		if _, err := converse(client.conn, filled); err != nil { // the proxy ends the session; what the server refuses is not an attack either
			return
		}
	}
}

// withNote fills in the note N, and the OID of a function that is called by name.
func (r *runner) withNote(m pgproto3.FrontendMessage, note string) pgproto3.FrontendMessage {
	quoted := func(sql string) string {
		return strings.NewReplacer("'N'", "'"+note+"'", "E'N", "E'"+note, "/*N*/", "/*"+note+"*/").Replace(sql)
	}
	switch m := m.(type) {
	case *pgproto3.Query:
		return &pgproto3.Query{String: quoted(m.String)}
	case *pgproto3.Parse:
		return &pgproto3.Parse{Name: m.Name, Query: quoted(m.Query)}
	case *pgproto3.FunctionCall:
		filled := pgproto3.FunctionCall{}
		fmt.Sscan(r.Query("SELECT $1::regproc::oid::text", string(m.Arguments[0])), &filled.Function)
		for _, value := range m.Arguments[1:] {
			filled.Arguments = append(filled.Arguments, bytes.ReplaceAll(value, []byte("N"), []byte(note)))
		}
		return &filled
	case *pgproto3.Bind:
		filled := *m
		filled.Parameters = nil
		for _, value := range m.Parameters {
			if string(value) == "N" {
				value = []byte(note)
			}
			filled.Parameters = append(filled.Parameters, value)
		}
		return &filled
	}
	return m
}

// A statement can read the notes further on in its own Query. It cannot use them, in a statement of its own or through a view, for rows that are then
// attributed to a statement that never runs or is rolled back.
func TestNotesFurtherOnInAQuery(t *testing.T) {
	const (
		further = `regexp_replace(current_query(), '^.*(note[(]''|sign[(]''|/[*])([A-Za-z0-9+/=]{128,}).*$', '\2')`
		steal   = "SELECT pgtee.note(" + further + ", current_user)::text, pgtee.sign(" + further + ", current_user)::text"
		failed  = "; COMMIT; SELECT 1/0; INSERT INTO u VALUES (1)"
		undone  = "; SAVEPOINT s; INSERT INTO u VALUES (1); ROLLBACK TO s; COMMIT"
	)
	for _, major := range []int{15, 18} {
		for _, outbox := range []string{"table", "message"} {
			t.Run(fmt.Sprintf("%d %s", major, outbox), func(t *testing.T) {
				t.Parallel()
				r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), outbox)
				r.Start("CREATE TABLE u (id int); CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 50);")
				tools := r.dial(r.URL())
				r.exec(tools, "CREATE VIEW stealing AS "+steal+"; CREATE FUNCTION inlined() RETURNS text LANGUAGE sql AS $$"+strings.Replace(steal, "::text, ", "::text || ", 1)+"$$")
				tools.Close(r.ctx)
				conn := r.dial(r.ProxyURL("postgres", "thief"))
				defer conn.Close(r.ctx)
				writes := []string{
					"WITH n AS MATERIALIZED (" + steal + ") DELETE FROM t USING n WHERE id = (SELECT min(id) FROM t)",
					"DELETE FROM t USING stealing WHERE id = (SELECT min(id) FROM t)",
					"DELETE FROM t WHERE id = (SELECT min(id) FROM t) RETURNING (SELECT n FROM (" + steal + ") AS s (n, m))",
					"DELETE FROM t WHERE id = (SELECT min(id) FROM t) AND inlined() IS NOT DISTINCT FROM inlined()",
					"CALL pgtee . put(1, current_user, true, false); DELETE FROM t WHERE id = (SELECT min(id) FROM t)",
					"CALL pgtee.put('1', current_user, true, true); DELETE FROM t WHERE id = (SELECT min(id) FROM t)",
					"DO $$DECLARE k int := 1; BEGIN CALL pgtee.put(k, current_user, true, false); k := 2; CALL pgtee.put(k, current_user, true, true); END$$; DELETE FROM t WHERE id = (SELECT min(id) FROM t)",
					"INSERT INTO u VALUES (2); DELETE FROM t WHERE id = (SELECT min(id) FROM t) /*/**/;CALL pgtee.put('2',*/",
					"INSERT INTO u VALUES (2); DELETE FROM t WHERE id = (SELECT min(id) FROM t) -- */;CALL pgtee.put('1', */;CALL pgtee.put('2',\n",
					"INSERT INTO u VALUES (2); DELETE FROM t WHERE id = (SELECT min(id) FROM t) AND $$*/;CALL pgtee.put('2',$$ <> ''",
					`INSERT INTO u VALUES (2); DELETE FROM t AS "*/;CALL pgtee.put('2'," WHERE id = (SELECT min(id) FROM t)`,
				}
				for _, write := range writes {
					for _, end := range []string{failed, undone} {
						if _, err := conn.Exec(r.ctx, "BEGIN; "+write+end, pgx.QueryExecModeSimpleProtocol); (err != nil) != (end == failed) {
							t.Errorf("%s: %v", write, err)
						}
					}
				}
				r.Drain()
				deleted := 0
				for _, e := range r.Events("public.t") {
					if e.Op != "d" {
						continue
					}
					deleted++
					if a := e.Pgtee; a.Verified && a.Statement.Number != 0 && !strings.Contains(a.Statement.Text, "DELETE FROM t") {
						t.Errorf("%v: %+v", e.Before, a)
					}
				}
				if want := 2 * len(writes); deleted != want {
					t.Errorf("%d rows are deleted, want %d", deleted, want)
				}
			})
		}
	}
}
