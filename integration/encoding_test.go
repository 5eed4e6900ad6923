package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"

	"github.com/pgtee/pgtee/outbox"
)

// newEncodedRunner is a runner whose database has another encoding than UTF8.
func newEncodedRunner(t *testing.T, major int, encoding string) *runner {
	t.Helper()
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
	admin := r.dial(r.server.URL("postgres"))
	defer admin.Close(r.ctx)
	r.in(admin, "DROP DATABASE "+r.database, "CREATE DATABASE "+r.database+" ENCODING '"+encoding+"' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	r.Setup()
	r.StartProxy()
	return r
}

// publish starts the publisher with more flags.
func (r *runner) publish(flags ...string) {
	r.t.Helper()
	r.publisher = r.process("publish", append(r.publishArgs(), flags...)...)
}

// expectTextHalt waits until the publisher has halted at text that it cannot read, and compares what it says.
func (r *runner) expectTextHalt(parts ...string) {
	r.t.Helper()
	if code, err := r.publisher.Wait(time.Minute); err != nil || code != 3 {
		r.t.Fatalf("the publisher exits with %d (%v), want 3:\n%s", code, err, r.publisher.Tail(20))
	}
	for _, part := range append(parts, "--source-encoding", "which commits at") {
		if !strings.Contains(strings.ReplaceAll(r.publisher.Log(), `\"`, `"`), part) {
			r.t.Errorf("the publisher does not say %q:\n%s", part, r.publisher.Tail(5))
		}
	}
}

// rowsOf are the rows of events: op, then the row.
func rowsOf(events []verdict.Event) (rows []string) {
	for _, e := range events {
		row := e.After
		if e.After == nil {
			row = e.Before
		}
		if !e.Tombstone {
			rows = append(rows, e.Op+row.Text())
		}
	}
	return rows
}

func (r *runner) expectRows(table string, want ...string) {
	r.t.Helper()
	if got := strings.Join(rowsOf(r.Events(table)), "\n"); got != strings.Join(want, "\n") {
		r.t.Errorf("%s:\n%s\nwant\n%s", table, got, strings.Join(want, "\n"))
	}
}

// A database of SQL_ASCII holds Latin-1: two keys are never one, in stream and snapshot, and the names and statements are what people
// wrote.
func TestTextOfSQLASCII(t *testing.T) {
	r := newEncodedRunner(t, 15, "SQL_ASCII")
	conn := r.dial(r.ProxyURL("postgres", "legacy") + "&client_encoding=SQL_ASCII")
	defer conn.Close(r.ctx)
	r.in(conn, "CREATE TABLE w (k text PRIMARY KEY, v text DEFAULT 'd\xe9j\xe0')", "INSERT INTO w VALUES ('old\xe9', '\xfc') /* \xe9t\xe9 */")
	r.publish()
	r.expectTextHalt("table public.w, column k, row (k=", `xe9`)
	r.in(conn, "INSERT INTO w VALUES ('caf\xe9', '\xfc'), ('caf\xe8', 'x')", "DELETE FROM w WHERE k = 'caf\xe8'", "UPDATE w SET v = 'y' WHERE k = 'old\xe9'",
		"CREATE TABLE \"d\xe9tail\" (\"cl\xe9\" int PRIMARY KEY)", "INSERT INTO \"d\xe9tail\" VALUES (1)")
	r.publish("--source-encoding", "LATIN1")
	r.Drain()
	r.expectRows("public.w", `c{"k":"oldé","v":"ü"}`, `c{"k":"café","v":"ü"}`, `c{"k":"cafè","v":"x"}`, `d{"k":"cafè","v":null}`, `u{"k":"oldé","v":"y"}`)
	for topic, want := range map[string]string{"ddl": `déjà`, "audit": `/* été */`} {
		if text := fmt.Sprintf("%s", values(r.Topic(topic))); !strings.Contains(text, want) || strings.Contains(text, "\ufffd") {
			t.Errorf("%s has no %s:\n%s", topic, want, text)
		}
	}
	detail := r.Topic("public.d_tail")
	if len(detail) != 1 || string(detail[0].Key) != `{"clé":1}` || !strings.Contains(string(detail[0].Value), `"table":"détail"`) {
		t.Errorf("records of détail: %s", values(detail))
	}
	out, code := r.Pgtee("snapshot", "start", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot, "--table", "public.w", "--where", "v = 'ü'", "--wait")
	if code != 0 {
		t.Fatal(out)
	}
	if got := rowsOf(r.Events("public.w")); got[len(got)-1] != `r{"k":"café","v":"ü"}` {
		t.Errorf("the snapshot has %s", got[len(got)-1])
	}
}

// values are those of records, as texts.
func values(records []verdict.Record) (texts []string) {
	for _, r := range records {
		texts = append(texts, string(r.Value))
	}
	return texts
}

// In WIN1252 a byte may stand for no character. What has one is exact everywhere.
func TestTextOfWIN1252(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newEncodedRunner(t, major, "WIN1252")
			conn := r.dial(r.ProxyURL("postgres", "legacy") + "&client_encoding=WIN1252")
			defer conn.Close(r.ctx)
			r.in(conn, "CREATE TABLE n (id int PRIMARY KEY, \"pr\xe9nom\" text) /* 5 \x80 */", "INSERT INTO n VALUES (1, '\xe9\x80')")
			r.publish()
			r.Drain()
			r.in(conn, "INSERT INTO n VALUES (2, '\x81')")
			r.expectTextHalt("table public.n, column prénom, row (id=", `"2"`, `x81`)
			r.publish("--source-encoding", "WIN1252")
			r.Drain()
			r.expectRows("public.n", `c{"id":1,"prénom":"é€"}`, "c{\"id\":2,\"prénom\":\"\uf781\"}")
			if text := fmt.Sprint(values(r.Topic("ddl"))); !strings.Contains(text, "prénom") || !strings.Contains(text, "5 €") {
				t.Errorf("ddl: %s", text)
			}
			if text := fmt.Sprint(values(r.Topic("audit"))); !strings.Contains(text, "'é€'") {
				t.Errorf("audit: %s", text)
			}
			if out, code := r.Pgtee("snapshot", "start", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot, "--table", "public.n", "--wait"); code != 0 {
				t.Fatal(out)
			}
			if got := rowsOf(r.Events("public.n"))[2:]; fmt.Sprint(got) != fmt.Sprint([]string{`r{"id":1,"prénom":"é€"}`, "r{\"id\":2,\"prénom\":\"\uf781\"}"}) {
				t.Errorf("the snapshot has %q", got)
			}
		})
	}
}

// In an encoding of several bytes the server converts, and refuses characters that Unicode lacks. The cure is what the message says.
func TestTextOfEUCJP(t *testing.T) {
	r := newEncodedRunner(t, 15, "EUC_JP")
	conn := r.dial(r.URL() + "&client_encoding=EUC_JP")
	defer conn.Close(r.ctx)
	r.publish()
	r.in(conn, "CREATE TABLE n (id int PRIMARY KEY, v text)", "INSERT INTO n VALUES (1, '\xb0\xa1')")
	r.Drain()
	r.in(conn, "INSERT INTO n VALUES (2, '\xfc\xfe')")
	if fault := r.expectHalt("cannot send a value in the WAL as UTF-8", "correct the row", "pg_drop_replication_slot()", "pgtee setup", "pgtee repair --accept-divergence"); fault != "" {
		t.Fatal(fault)
	}
	r.in(conn, "UPDATE n SET v = '\xb0\xa2' WHERE id = 2", "SELECT pg_drop_replication_slot('"+r.slot+"')")
	r.cure(r.publisher.Tail(1))
	r.publish()
	r.Drain()
	latest := map[string]string{}
	r.must(harness.Eventually(30*time.Second, func(context.Context) error {
		for _, e := range r.Events("public.n") {
			latest[fmt.Sprint(e.After["id"])] = fmt.Sprint(e.After["v"])
		}
		if latest["1"] != "亜" || latest["2"] != "唖" {
			return fmt.Errorf("%v", latest)
		}
		return nil
	}))
}

// A value of type "char" is one byte of a character on PostgreSQL 15, and its octal form from 16 on: the records are the same.
func TestTypeChar(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec(`CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY); CREATE TABLE c (k "char" PRIMARY KEY, a "char"[])`)
			r.Setup()
			r.StartPublisher()
			r.Exec(`INSERT INTO c VALUES ('é', ARRAY['é', 'a']::"char"[])`)
			r.Drain()
			r.expectRows("public.c", `c{"a":["\\303","a"],"k":"\\303"}`)
		})
	}
}

// What pgtee takes a byte for is what PostgreSQL converts it to, in every encoding of one byte per character.
func TestEncodingsAreThoseOfPostgres(t *testing.T) {
	server := must(t, sharedPostgres[18])
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	const convertSQL = `CREATE FUNCTION pg_temp.convert_byte(b int, name text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
		RETURN convert_from(convert(set_byte('\x00', 0, b), name, 'UTF8'), 'UTF8'); EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$`
	if _, err := conn.Exec(t.Context(), convertSQL); err != nil {
		t.Fatal(err)
	}
	for _, name := range outbox.SourceEncodings() {
		var text string
		if err := conn.QueryRow(t.Context(), "SELECT json_agg(pg_temp.convert_byte(b, $1) ORDER BY b) FROM generate_series(128, 255) AS b", name).Scan(&text); err != nil {
			t.Fatal(err)
		}
		var want []*string
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		e := outbox.ServerEncoding(name)
		for i, w := range want {
			got := e.String(string([]byte{byte(128 + i)}))
			if w == nil && strings.HasPrefix(got, "\xed") || w != nil && got == *w {
				continue
			}
			if w == nil {
				t.Errorf("%s: byte %#x stands for %q, in PostgreSQL for nothing", name, 128+i, got)
			} else {
				t.Errorf("%s: byte %#x stands for %q, in PostgreSQL for %q", name, 128+i, got, *w)
			}
		}
	}
}

// atOnce sends each text as a Query of its own, all in one write.
func (r *runner) atOnce(conn *pgx.Conn, texts ...string) {
	r.t.Helper()
	f := conn.PgConn().Frontend()
	for _, text := range texts {
		f.SendQuery(&pgproto3.Query{String: text})
	}
	r.must(f.Flush())
	for left := len(texts); left > 0; {
		message, err := f.Receive()
		r.must(err)
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			r.t.Fatal(m.Message)
		case *pgproto3.ReadyForQuery:
			left--
		}
	}
}

// A note about a text that the server gives back in other bytes than the client sent: two codes of SJIS are one character, and a ROLLBACK in
// the same Query takes an encoding back.
func TestTextThatDoesNotConvertBack(t *testing.T) {
	for _, outbox := range []string{"table", "message"} {
		t.Run(outbox, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), outbox)
			r.Start("CREATE TABLE w (v text PRIMARY KEY);")
			japanese := r.dial(r.ProxyURL("postgres", "japanese") + "&client_encoding=SJIS")
			defer japanese.Close(r.ctx)
			r.in(japanese, "INSERT INTO w VALUES ('1 \xfa\x54')", "BEGIN", "INSERT INTO w VALUES ('2 \xfa\x54'); INSERT INTO w VALUES ('3 \xfa\x54')", "COMMIT")
			r.atOnce(japanese, "BEGIN", "SET LOCAL client_encoding = 'UTF8'", "SELECT pg_sleep(0.2)", "COMMIT", "INSERT INTO w VALUES (E'6 \x83\x5c'); INSERT INTO w VALUES ('7')")
			latin := r.dial(r.ProxyURL("postgres", "latin") + "&client_encoding=LATIN1")
			defer latin.Close(r.ctx)
			r.in(latin, "BEGIN; SET LOCAL client_encoding = 'UTF8'", "ROLLBACK; INSERT INTO w VALUES ('4 é'); SELECT set_config('client_encoding', 'UTF8', false); INSERT INTO w VALUES ('5 é')")
			r.Drain()
			named := map[string]bool{}
			for _, e := range r.Events("public.w") {
				a := e.Pgtee
				statement := fmt.Sprint(a.Session.ID, a.Statement.Number)
				if !a.Verified || a.Statement.Number == 0 || named[statement] {
					t.Errorf("%v: %+v", e.After["v"], a)
				}
				named[statement] = true
			}
			r.expectRows("public.w", `c{"v":"1 ￢"}`, `c{"v":"2 ￢"}`, `c{"v":"3 ￢"}`, `c{"v":"6 ソ"}`, `c{"v":"7"}`, `c{"v":"4 é"}`, `c{"v":"5 é"}`)
		})
	}
}

// The names of user and role are those of the database, whether the client's encoding has their characters or not.
func TestNamesThatTheClientCannotRead(t *testing.T) {
	for major, kind := range map[int]string{15: "message", 18: "table"} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), kind)
			r.Start("CREATE TABLE w (id serial PRIMARY KEY);")
			name := "андрей_" + r.database
			r.Exec(`CREATE ROLE "`+name+`" SUPERUSER`, `CREATE ROLE "role_`+name+`" SUPERUSER`)
			for _, encoding := range []string{"LATIN1", "SJIS", "UTF8"} {
				r.talk([]say{simple(`SET SESSION AUTHORIZATION "` + name + `"`), simple(`SET ROLE "role_` + name + `"`), simple("SET client_encoding = '" + encoding + "'"),
					simple("BEGIN"), simple("INSERT INTO w VALUES (DEFAULT)"), simple("INSERT INTO w VALUES (DEFAULT)"), simple("COMMIT"),
					simple("INSERT INTO w VALUES (DEFAULT); INSERT INTO w VALUES (DEFAULT)"),
					burst("Z", all(once("INSERT INTO w VALUES (DEFAULT)"), once("INSERT INTO w VALUES (DEFAULT)"), sync_)...)})
			}
			r.Drain()
			events := r.Events("public.w")
			for _, e := range events {
				if a := e.Pgtee; !a.Verified || a.Session.User != name || a.Session.Role != "role_"+name {
					t.Errorf("%+v: %+v", e.After, a)
				}
			}
			if len(events) != 18 {
				t.Errorf("%d events, want 18", len(events))
			}
		})
	}
}
