package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/integration/verdict"
)

const attributionSchema = `
	CREATE TABLE t (n serial PRIMARY KEY, v text);
	CREATE FUNCTION writes(v text) RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t (v) VALUES ($1); RETURN $1; END';
	CREATE FUNCTION reads(v text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
	CREATE PROCEDURE does(v text) LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t (v) VALUES ($1); END';
	CREATE PROCEDURE commits(a text, b text) LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t (v) VALUES (a); COMMIT; INSERT INTO public.t (v) VALUES (b); END';
	CREATE VIEW counted AS SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', writes(''counted''))');
	CREATE AGGREGATE run(text) (SFUNC = ts_rewrite, STYPE = tsquery, INITCOND = 'a');
	CREATE VIEW ran AS SELECT run('SELECT ''a''::tsquery, writes(''ran'')::tsquery');`

// attribution is a conversation, and of each row that it writes, in order, what its record says of the statement: right if it
// is the one that has the row's value in its text, ? if only its session is known, - if not even that is.
type attribution struct {
	name  string
	steps []say
	want  string
}

var attributed = []attribution{
	{"functions", []say{simple("SELECT writes('a')"), simple("SELECT reads('x')"), simple("SELECT reads('y') || writes('b')")}, "right right"},
	{"functions in a block", []say{simple("BEGIN"), simple("SELECT writes('a')"), simple("SELECT reads('x')"), simple("SELECT writes('b')"), simple("INSERT INTO t (v) VALUES ('c')"),
		simple("SELECT writes('d')"), simple("COMMIT")}, "right right right right"},
	{"in several of one Query", []say{simple("SELECT writes('a'); SELECT reads('x'); SELECT writes('b'); INSERT INTO t (v) VALUES ('c'); SELECT writes('d')"),
		simple("SELECT 1; SELECT writes('e')"), simple("BEGIN; SELECT writes('f'); COMMIT; SELECT writes('g')")}, "right right right right right right right"},
	{"extended", []say{burst("Z", all(once("SELECT /* a */ writes($1)", "a"), once("SELECT writes('b')"), once("INSERT INTO t (v) VALUES ('c')"), once("SELECT writes('d')"), sync_)...),
		burst("Z", all(once("SELECT writes('e')"), sync_)...), burst("Z", all(once("SELECT reads('x')"), sync_)...)}, "right right right right right"},
	{"CALL and DO", []say{simple("CALL does('a')"), simple("DO $$ BEGIN INSERT INTO t (v) VALUES ('b'); END $$"), burst("Z", all(once("CALL does('c')"), sync_)...),
		burst("Z", all(once("DO 'BEGIN INSERT INTO t (v) VALUES (''d''); END'"), sync_)...), simple("BEGIN"), simple("CALL does('e')"), simple("COMMIT")}, "right right right right right"},
	{"procedures that commit", []say{simple("CALL commits('a', 'b')"), burst("Z", all(once("CALL commits('c', 'd')"), sync_)...)}, "- right - right"},
	{"CALL beside others", []say{simple("CALL does('a'); INSERT INTO t (v) VALUES ('b')"), simple("INSERT INTO t (v) VALUES ('c'); CALL does('d')")}, "right right right right"},
	{"blocks begun in one write", []say{burst("ZZZ", all(once("BEGIN"), sync_, once("DO 'BEGIN INSERT INTO t (v) VALUES (''a''); END'"), sync_, once("COMMIT"), sync_)...),
		burst("ZZZ", all(once("BEGIN"), sync_, once("CALL does('b')"), sync_, once("COMMIT"), sync_)...),
		burst("ZZZ", &pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "CALL does('c')"}, &pgproto3.Query{String: "COMMIT"}),
		burst("ZZZZ", all(once("BEGIN"), sync_, once("SELECT writes('d')"), sync_, once("SELECT writes('e')"), sync_, once("COMMIT"), sync_)...)}, "right right right right right"},
	{"cursors", []say{simple("BEGIN"), simple("DECLARE c CURSOR FOR SELECT writes(v) FROM unnest('{a,b}'::text[]) AS v"), simple("FETCH /* a */ c"), simple("FETCH /* b */ c"), simple("COMMIT")}, "right right"},
	{"part of a result", []say{burst("sZ", parse("", "SELECT writes(v) FROM unnest('{a,b}'::text[]) AS v"), bind("", ""), &pgproto3.Execute{MaxRows: 1}, sync_)}, "right"},
	{"EXPLAIN, COPY", []say{simple("EXPLAIN ANALYZE SELECT writes('a')"), burst("Z", &pgproto3.Query{String: "COPY (SELECT writes('b')) TO STDOUT"})}, "right right"},
	{"savepoints", []say{simple("BEGIN"), simple("SELECT writes('a')"), simple("SAVEPOINT s"), simple("SELECT writes('x')"), simple("ROLLBACK TO s"), simple("SELECT writes('b')"), simple("COMMIT")}, "right right"},
	{"behind a read-only subtransaction", []say{simple("CREATE FUNCTION wary(v text) RETURNS text LANGUAGE plpgsql AS 'BEGIN IF current_setting(''transaction_read_only'') = ''off'' THEN INSERT INTO public.t (v) VALUES ($1); END IF; RETURN $1; END'"),
		simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("SAVEPOINT s"), simple("SET TRANSACTION READ ONLY"), simple("SELECT wary('b')"), simple("RELEASE s"), simple("SELECT wary('b')"), simple("COMMIT"),
		simple("CREATE TEMP TABLE temp (i int); BEGIN; SAVEPOINT s"), simple("SET TRANSACTION READ ONLY"), simple("INSERT INTO temp VALUES (1)"), simple("RELEASE s"), simple("INSERT INTO t (v) VALUES ('c')"), simple("COMMIT"),
		simple("BEGIN"), burst("Z", callWrites), simple("SAVEPOINT s"), simple("SET TRANSACTION READ ONLY"), simple("SELECT wary('x')"), simple("RELEASE s"), simple("SELECT writes('d')"), simple("COMMIT")}, "right right right ? right"},
	{"commands that may run in a block, beside others", []say{simple("CREATE FUNCTION altered() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t (v) VALUES (''alter''); END'"),
		simple("CREATE EVENT TRIGGER altered ON ddl_command_end WHEN TAG IN ('ALTER SUBSCRIPTION') EXECUTE FUNCTION altered()"), simple("CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false)"),
		simple("INSERT INTO t (v) VALUES ('a'); ALTER SUBSCRIPTION s /* alter */ DISABLE"),
		burst("Z", all(once("INSERT INTO t (v) VALUES ('b')"), once("ALTER SUBSCRIPTION s /* alter */ DISABLE"), sync_)...),
		burst("ZZZZ", &pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "INSERT INTO t (v) VALUES ('c')"}, &pgproto3.Query{String: "ALTER SUBSCRIPTION s /* alter */ DISABLE"}, &pgproto3.Query{String: "COMMIT"}),
		burst("ZZZ", all(once("BEGIN"), sync_, once("INSERT INTO t (v) VALUES ('d')"), once("ALTER SUBSCRIPTION s /* alter */ DISABLE"), sync_, once("COMMIT"), sync_)...),
		simple("DROP EVENT TRIGGER altered"), simple("ALTER SUBSCRIPTION s SET (slot_name = NONE)"), simple("DROP SUBSCRIPTION s")}, "right right right right right right right right"},
	{"cursors WITH HOLD that code declares", []say{simple("BEGIN"), simple("DO $$BEGIN EXECUTE 'DECLARE h CURSOR WITH HOLD FOR SELECT writes(''a'')'; END$$"), simple("INSERT INTO t (v) VALUES ('b')"), simple("COMMIT"), simple("CLOSE ALL"),
		simple("CREATE FUNCTION holds() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DECLARE h CURSOR WITH HOLD FOR SELECT writes(''c'')'; END$$"),
		simple("BEGIN"), simple("SELECT holds()"), simple("INSERT INTO t (v) VALUES ('d')"), simple("COMMIT")}, "right ? right ?"},
	{"fastpath", []say{simple("BEGIN"), burst("Z", callWrites), simple("SELECT writes('a')"), simple("COMMIT"),
		simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('b')"), burst("Z", callWrites), simple("COMMIT"), burst("Z", callWrites)}, "? right right ? -"},
	{"after a Query longer than the buffer", []say{simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')" + blanks), burst("Z", callWrites), simple("SELECT writes('b')"), simple("COMMIT"),
		burst("ZZZZ", all(&pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "INSERT INTO t (v) VALUES ('c')" + blanks}, once("SELECT writes('d')"), sync_, &pgproto3.Query{String: "COMMIT"})...)}, "right ? right right right"},
	{"what no text shows", []say{simple("CREATE FUNCTION peek() RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t (v) VALUES (''peek''); RETURN true; END'"), simple("CREATE VIEW w AS SELECT 1 AS one WHERE peek()"),
		simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("SELECT /* peek */ one FROM w"), simple("INSERT INTO t (v) VALUES ('b')"), simple("COMMIT"), simple("SELECT /* peek */ one FROM w"),
		burst("Z", all(once("INSERT INTO t (v) VALUES ('c')"), once("SELECT /* peek */ one FROM w"), sync_)...)}, "right right right right right right"},
	{"at the commit", []say{simple("CREATE TABLE late (v text); CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t (v) VALUES (NEW.v); RETURN NULL; END'"),
		simple("CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later()"), simple("INSERT INTO late VALUES ('a')"),
		simple("BEGIN"), simple("INSERT INTO late VALUES ('b')"), simple("INSERT INTO t (v) VALUES ('c')"), simple("COMMIT"), simple("INSERT INTO late VALUES ('d'); INSERT INTO t (v) VALUES ('e')"),
		burst("Z", all(once("INSERT INTO late VALUES ('f')"), once("INSERT INTO t (v) VALUES ('g')"), sync_)...)}, "right right ? right ? right ?"},
	{"at the end of a text that the grammar does not read", []say{simple("INSERT INTO late VALUES ('a'); INSERT INTO t (v) SELECT 'b' WHERE '" + long + "' <> ''"),
		simple("INSERT INTO late VALUES ('c'); INSERT INTO t (v) VALUES ('d'); SET my.value = '" + long + "'"), simple("INSERT INTO late VALUES ('e'); SET my.value = '" + long + "'"),
		simple("INSERT INTO late VALUES ('f'); INSERT INTO t (v) SELECT 'g' WHERE '" + blanks + "' <> ''")}, "? ? right ? right ? ?"},
	{"at SET CONSTRAINTS", []say{simple("CREATE FUNCTION lates(v text) RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.late VALUES ($1); RETURN $1; END'"),
		simple("BEGIN"), burst("Z", all(once("SELECT lates('a')"), sync_)...), burst("Z", all(once("SET CONSTRAINTS ALL IMMEDIATE"), sync_)...), burst("Z", all(once("SELECT writes('b')"), sync_)...), simple("COMMIT"),
		simple("BEGIN"), simple("SELECT lates('c')"), simple("SET CONSTRAINTS ALL IMMEDIATE"), simple("SELECT writes('d')"), simple("COMMIT")}, "? right ? right"},
	{"with parameters in the server's messages", []say{simple("SET log_parameter_max_length_on_error = -1"), burst("Z", all(once("INSERT INTO t (v) VALUES ('a')"), sync_)...),
		simple("SELECT writes('b')"), burst("Z", all(once("INSERT INTO t (v) VALUES ('c')"), once("INSERT INTO t (v) VALUES ('d')"), sync_)...)}, "right right right right"},
	{"after a trigger that replaces the proxy's statement", []say{simple(swaps), simple("BEGIN"), burst("Z", all(once("INSERT INTO swap VALUES (1)"), sync_)...), burst("Z", all(once("INSERT INTO t (v) VALUES ('a')"), sync_)...), simple("COMMIT"),
		burst("Z", all(once("INSERT INTO swap VALUES (2)"), once("INSERT INTO t (v) VALUES ('b')"), sync_)...), burst("Z", all(once("INSERT INTO t (v) VALUES ('c')"), sync_)...), simple("DROP TABLE swap; DROP FUNCTION swaps")}, "right right right"},
	{"the arguments of EXECUTE", []say{simple("PREPARE q AS SELECT $1::text"), simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("EXECUTE q(writes('b'))"), burst("Z", all(once("EXECUTE q(writes('c'))"), sync_)...),
		simple("EXPLAIN ANALYZE EXECUTE q(writes('d'))"), simple("COMMIT"), simple("BEGIN"), simple("EXECUTE q(writes('e'))"), simple("SELECT writes('f')"), simple("COMMIT"),
		simple("CREATE FUNCTION joins(a text, b text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN public.writes($1 || $2); END'; CREATE OPERATOR <+> (LEFTARG = text, RIGHTARG = text, FUNCTION = joins)"),
		simple("INSERT INTO t (v) VALUES ('g'); EXECUTE q('' <+> 'h'); EXECUTE q('i')")}, "right right right right right right right right"},
	{"a view of a built-in function that runs a text", []say{simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("SELECT /* counted */ * FROM counted"), simple("SELECT /* ran */ * FROM ran"), simple("COMMIT")}, "right right right"},
	{"a FunctionCall after a COMMIT that an error kept from running", []say{simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("SAVEPOINT s"), simple("SELECT 1/0; COMMIT"), simple("ROLLBACK TO s"), burst("Z", callWrites), simple("COMMIT")}, "right ?"},
	{"in a subtransaction that its function makes read-only", []say{simple("CREATE FUNCTION ro(v text) RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t (v) VALUES ($1); PERFORM set_config(''transaction_read_only'', ''on'', true); RETURN $1; END'"),
		simple("BEGIN"), simple("SAVEPOINT s"), simple("SELECT ro('a')"), simple("RELEASE s"), simple("SELECT writes('b')"), simple("COMMIT"),
		simple("BEGIN"), simple("SAVEPOINT s"), simple("SELECT ro('c')"), simple("RELEASE s"), simple("SAVEPOINT s"), simple("SELECT reads('x')"), simple("ROLLBACK TO s"), simple("SELECT writes('d')"), simple("COMMIT")}, "? right ? right"},
	{"not to be told", []say{simple("PREPARE p AS SELECT writes('a')"), simple("EXECUTE p"), simple("BEGIN; EXECUTE p; COMMIT")}, "- right"},
}

var long = strings.Repeat("x", 17<<10)

// swaps makes a trigger that prepares a statement of its own under the name of the proxy's, which swallows its notes.
const swaps = `CREATE TABLE swap (i int); CREATE FUNCTION swaps() RETURNS trigger LANGUAGE plpgsql AS $$DECLARE name text; BEGIN
	FOR name IN SELECT p.name FROM pg_prepared_statements AS p WHERE p.name LIKE 'pgtee%' LOOP EXECUTE 'DEALLOCATE ' || name; EXECUTE 'PREPARE ' || name || ' (text, bool, bool) AS SELECT $1, $2, $3'; END LOOP;
	RETURN NULL; END$$; CREATE TRIGGER swaps AFTER INSERT ON swap FOR EACH ROW EXECUTE FUNCTION swaps();`

var callWrites = functionCall("writes", "fast")

func TestAttribution(t *testing.T) {
	for _, major := range []int{15, 18} {
		for _, outbox := range []string{"table", "message"} {
			attributeOn(t, major, outbox, "", attributed)
		}
	}
}

// attributeOn has conversations with the proxy in a database with attributionSchema and more.
func attributeOn(t *testing.T, major int, outbox, schema string, conversations []attribution) {
	t.Run(fmt.Sprintf("%d %s", major, outbox), func(t *testing.T) {
		r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), outbox)
		r.Start(attributionSchema + schema)
		r.attribute(conversations)
	})
}

// attribute has conversations with the proxy, and compares what the records of their rows say with what they should.
func (r *runner) attribute(conversations []attribution) {
	r.t.Helper()
	for _, c := range conversations {
		r.talk(c.steps)
	}
	r.Drain()
	events := r.Events("public.t")
	for _, c := range conversations {
		want := strings.Fields(c.want)
		got := make([]string, 0, len(want))
		var told strings.Builder
		for _, e := range events[:min(len(want), len(events))] {
			got = append(got, attributionOf(e))
			fmt.Fprintf(&told, "\n%s: %+v", e.After["v"], e.Pgtee)
		}
		events = events[len(got):]
		if strings.Join(got, " ") != c.want {
			r.t.Errorf("%s: %s, want %s%s", c.name, strings.Join(got, " "), c.want, told.String())
		}
	}
	if len(events) > 0 {
		r.t.Errorf("%d rows more", len(events))
	}
}

// talk has a conversation with the proxy, in a session of its own.
func (r *runner) talk(steps []say) {
	r.t.Helper()
	client, err := openWire(r.proxyAddress, false, 0, r.database)
	r.must(err)
	defer client.conn.Close()
	for _, step := range steps {
		step.messages = slices.Clone(step.messages)
		for i, m := range step.messages {
			if call, ok := m.(*pgproto3.FunctionCall); ok {
				step.messages[i] = r.withNote(call, "")
			}
		}
		for _, line := range strings.Split(asText("B", exchange(r.t, client.conn, step)), "\n") {
			if strings.HasPrefix(line, "B E ") && !strings.Contains(line, "22012") {
				r.t.Errorf("%+v: %s", step, line)
			}
		}
	}
}

// attributionOf compares a row with what its record says of the statement that wrote it.
func attributionOf(e verdict.Event) string {
	value := fmt.Sprint(e.After["v"])
	switch a := e.Pgtee; {
	case a.Via == "direct":
		return "-"
	case !a.Verified:
		return "unverified"
	case a.Statement.Number == 0 && a.Session.ID != "":
		return "?"
	case strings.Contains(a.Statement.Text, "'"+value+"'") || strings.Contains(a.Statement.Text, "/* "+value+" */") || strings.Contains(a.Statement.Text, value+","),
		strings.Contains(a.Statement.Text, "{"+value) || strings.Contains(a.Statement.Text, "EXECUTE"):
		return "right"
	}
	return "wrong"
}

// ROLLBACK takes SET SESSION AUTHORIZATION back, within a Query: the proxy is told of it behind the note.
func TestUserThatIsTakenBack(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.Start("CREATE TABLE w (v text PRIMARY KEY);")
	r.Exec("CREATE ROLE guest_" + r.database)
	conn := r.dial(r.ProxyURL("postgres", "admin"))
	defer conn.Close(r.ctx)
	r.in(conn, "BEGIN", "SET SESSION AUTHORIZATION guest_"+r.database, "ROLLBACK; INSERT INTO w VALUES ('1')",
		"BEGIN; SAVEPOINT s; SET LOCAL SESSION AUTHORIZATION guest_"+r.database+"; ROLLBACK TO s; INSERT INTO w VALUES ('2'); COMMIT", "INSERT INTO w VALUES ('3')")
	r.Drain()
	events := r.Events("public.w")
	for _, e := range events {
		if !e.Pgtee.Verified || e.Pgtee.Session.User != "postgres" {
			t.Errorf("%s: %+v", e.After["v"], e.Pgtee)
		}
	}
	if len(events) != 3 {
		t.Errorf("%d events, want 3", len(events))
	}
}

// A note that stands for a whole transaction names its session, and none of its statements; after SET ROLE there is another one.
func TestAttributionOfTransactions(t *testing.T) {
	for _, outbox := range []string{"table", "message"} {
		t.Run(outbox, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), outbox)
			role := "once_" + r.database
			r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);"+attributionSchema, "CREATE ROLE "+role+"; GRANT ALL ON ALL TABLES IN SCHEMA public TO "+role+"; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "+role)
			r.Setup()
			r.StartProxy("--attribution", "transaction")
			r.StartPublisher()
			r.talk([]say{simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("DELETE FROM t"), burst("Z", all(once("INSERT INTO t (v) VALUES ('b')"), sync_)...), simple("COMMIT"),
				simple("BEGIN; INSERT INTO t (v) VALUES ('c'); SET LOCAL ROLE " + role + "; INSERT INTO t (v) VALUES ('d'); COMMIT"),
				burst("Z", all(once("INSERT INTO t (v) VALUES ('e')"), sync_)...), simple("SELECT writes('f')"), simple("CREATE TABLE made AS SELECT 1 AS i")})
			r.Drain()
			events := r.Events("public.t")
			var got []string
			for _, e := range events {
				if !e.Tombstone {
					got = append(got, fmt.Sprint(e.Op, e.After["v"], " ", attributionOf(e), " ", e.Pgtee.Session.Role))
				}
			}
			want := []string{"ca ? postgres", "d<nil> ? postgres", "cb ? postgres", "cc ? postgres", "cd ? " + role, "ce ? postgres", "cf ? postgres"}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%q\nwant %q", got, want)
			}
			if text := fmt.Sprint(values(r.Topic("ddl"))); !strings.Contains(text, "CREATE TABLE made AS") {
				t.Errorf("the stream of DDL: %s", text)
			}
		})
	}
}

// Where all functions are those of triggers, queries cannot write, and writes can run code all the same.
func TestTriggerThatReplacesOurStatement(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "message")
	r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY); CREATE TABLE t (n serial PRIMARY KEY, v text); " + swaps)
	r.Setup()
	r.StartProxy()
	r.StartPublisher()
	r.talk([]say{burst("Z", all(once("INSERT INTO swap VALUES (1)"), once("INSERT INTO t (v) VALUES ('a')"), sync_)...), burst("Z", all(once("INSERT INTO t (v) VALUES ('b')"), sync_)...)})
	r.Drain()
	events := r.Events("public.t")
	for _, e := range events {
		if got := attributionOf(e); got != "right" {
			t.Errorf("%s: %s, %+v", e.After["v"], got, e.Pgtee)
		}
	}
	if len(events) != 2 {
		t.Errorf("%d events, want 2", len(events))
	}
}
