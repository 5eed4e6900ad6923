package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/proxy"
)

// say is what a client sends in one write; then it reads up to the last of the awaited messages.
type say struct {
	messages []pgproto3.FrontendMessage
	await    string // kinds: "Z" one ReadyForQuery, "ZZ" two, "G" a CopyInResponse
}

func simple(sql string) say {
	return say{[]pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}, "Z"}
}

func burst(await string, messages ...pgproto3.FrontendMessage) say { return say{messages, await} }

var (
	sync_ = &pgproto3.Sync{}
	flush = &pgproto3.Flush{}
)

func parse(name, sql string) *pgproto3.Parse { return &pgproto3.Parse{Name: name, Query: sql} }

func bind(portal, name string, values ...string) *pgproto3.Bind {
	b := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: name}
	for _, v := range values {
		b.Parameters = append(b.Parameters, []byte(v))
	}
	return b
}

func execute(portal string, rows ...uint32) *pgproto3.Execute {
	return &pgproto3.Execute{Portal: portal, MaxRows: slices.Max(append(rows, 0))}
}

func describe(kind byte, name string) *pgproto3.Describe {
	return &pgproto3.Describe{ObjectType: kind, Name: name}
}

func once(sql string, values ...string) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{parse("", sql), bind("", "", values...), describe('P', ""), execute("")}
}

func data(text string) *pgproto3.CopyData { return &pgproto3.CopyData{Data: []byte(text)} }

func all(parts ...any) (messages []pgproto3.FrontendMessage) {
	for _, part := range parts {
		switch m := part.(type) {
		case []pgproto3.FrontendMessage:
			messages = append(messages, m...)
		case pgproto3.FrontendMessage:
			messages = append(messages, m)
		}
	}
	return messages
}

const bytesSchema = `
	CREATE TABLE t (id int, v text);
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
	CREATE TABLE silent (id int);
	CREATE RULE nothing AS ON INSERT TO silent DO INSTEAD NOTHING;
	CREATE FUNCTION writes(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES ($1, ''f'') RETURNING id';
	CREATE FUNCTION forgets() RETURNS int LANGUAGE plpgsql AS 'BEGIN DEALLOCATE ALL; RETURN 1; END';
	CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (50, ''p''); COMMIT; INSERT INTO t VALUES (51, ''p''); END';
	CREATE FUNCTION notices() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''row %'', NEW.id; RETURN NEW; END';
	CREATE TABLE noisy (id int);
	CREATE TRIGGER noisy BEFORE INSERT ON noisy FOR EACH ROW EXECUTE FUNCTION notices();`

var frozen = once("COPY t FROM STDIN (FREEZE)")

// conversations are what a client may do. Each must look the same through the proxy as without it.
var conversations = map[string][]say{
	"simple": {
		simple("INSERT INTO t VALUES (1, 'a')"), simple("SELECT * FROM t"), simple(""), simple(";;"), simple("-- nothing"),
		simple("INSERT INTO t VALUES (2, 'b') RETURNING *"), simple("UPDATE t SET v = 'c' WHERE id = 99"),
		simple("WITH x AS (DELETE FROM t WHERE id = 2 RETURNING id) SELECT count(*) FROM x"), simple("TRUNCATE t"),
	},
	"several statements": {
		simple("INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, 'b'); SELECT * FROM t;"),
		simple("SELECT 1; INSERT INTO t VALUES (3, 'c') RETURNING id; ; SELECT 2; DELETE FROM t WHERE id = 1"),
		simple("INSERT INTO t VALUES (4, 'd'); COMMIT; INSERT INTO t VALUES (5, 'e')"),
		simple("INSERT INTO t VALUES (6, 'f'); ROLLBACK; INSERT INTO t VALUES (7, 'g')"),
		simple("BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO t VALUES (8, 'h'); COMMIT"),
		simple("BEGIN; INSERT INTO t VALUES (9, 'i')"), simple("INSERT INTO t VALUES (9, 'i'); COMMIT AND CHAIN; INSERT INTO t VALUES (9, 'j')"),
		simple("ROLLBACK; INSERT INTO t VALUES (10, 'k')"), simple("SELECT id, v FROM t ORDER BY id"),
		simple("INSERT INTO silent VALUES (1); INSERT INTO t VALUES (11, 'l')"), simple("CREATE TABLE made AS SELECT 1; DROP TABLE made"),
	},
	"quotes and comments": {
		simple("/* INSERT ; /* nested; */ */ INSERT INTO t VALUES (1, 'a;b') -- ; c"),
		simple(`INSERT INTO t VALUES (1, $q$ ;'"; $q$); INSERT INTO t VALUES (2, E'\';'); SELECT v FROM t`),
		simple(`INSERT INTO t VALUES (1, U&'\0061;'); CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT f(); DROP FUNCTION f()`),
		simple(`SET standard_conforming_strings = off`), simple(`INSERT INTO t VALUES (3, 'x\';y'); SELECT v FROM t WHERE id = 3`),
	},
	"error positions": {
		simple("SELCT 1"), simple("INSERT INTO t VALUES (1, nosuch)"), simple("SELECT 'é'; INSERT INTO t VALUES (1, 'é' || nosuch)"),
		simple("INSERT INTO t VALUES (1, 'ü'); UPDATE t SET v = 'é'; SELCT 2"), simple("INSERT INTO t VALUES (1, 'ü'); UPDATE t SET v = 'é', nosuch = 1; SELECT 2"),
		simple("INSERT INTO t VALUES (1/0, 'a')"), simple("INSERT INTO nosuch VALUES (1); SELECT 1"), simple("SELECT 1; SELECT 2; INSERT INTO t VALUES ('x', 1)"),
		simple("INSERT INTO t VALUES (1, 'unterminated)"), simple("SELECT writes('x')"),
		simple("ALTER TABLE child ALTER CONSTRAINT child_id_fkey NOT VALID"),                                                     // the parser refuses it, and points nowhere
		simple("CREATE TABLE goes (id int); PREPARE p AS INSERT INTO goes VALUES ($1); DROP TABLE goes"), simple("EXECUTE p(1)"), // points into the PREPARE
	},
	"error in a block": {
		simple("BEGIN"), simple("INSERT INTO t VALUES (1, 'a')"), simple("INSERT INTO t VALUES (1/0, 'a')"), simple("INSERT INTO t VALUES (1, 'a')"),
		simple("SELECT 1; INSERT INTO t VALUES (2, 'b')"), simple("COMMIT"), simple("INSERT INTO t VALUES (1, 'a')"),
		simple("BEGIN"), simple("INSERT INTO t VALUES (1/0, 'a')"), simple("ROLLBACK; INSERT INTO t VALUES (3, 'c')"),
		simple("BEGIN; INSERT INTO t VALUES (1, 'a'); SAVEPOINT s"), simple("INSERT INTO t VALUES (1/0, 'b')"),
		simple("ROLLBACK TO s; INSERT INTO t VALUES (1, 'a')"), simple("COMMIT"), simple("SELECT * FROM t ORDER BY id"),
	},
	"pipelined queries": {
		burst("ZZZZ", all(&pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "INSERT INTO t VALUES (1, 'a')"},
			&pgproto3.Query{String: "INSERT INTO t VALUES (1, 'a')"}, &pgproto3.Query{String: "COMMIT"})...),
		burst("ZZZZ", all(&pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "SELCT"},
			&pgproto3.Query{String: "INSERT INTO t VALUES (1, 'a')"}, &pgproto3.Query{String: "COMMIT"})...),
		burst("ZZ", all(&pgproto3.Query{String: "INSERT INTO t VALUES (2, 'a')"}, &pgproto3.Query{String: "INSERT INTO t VALUES (2, 'a')"})...),
		simple("SELECT * FROM t"),
	},
	"copy": {
		burst("G", &pgproto3.Query{String: "COPY t FROM STDIN"}), burst("Z", data("1\ta\n2\tb\n"), &pgproto3.CopyDone{}),
		burst("G", &pgproto3.Query{String: "INSERT INTO t VALUES (3, 'c'); COPY t FROM STDIN; INSERT INTO t VALUES (5, 'e')"}), burst("Z", data("4\td\n"), &pgproto3.CopyDone{}),
		burst("G", &pgproto3.Query{String: "COPY t FROM STDIN; COPY t FROM STDIN"}), burst("G", data("6\tf\n"), &pgproto3.CopyDone{}), burst("Z", data("7\tg\n"), &pgproto3.CopyDone{}),
		burst("G", &pgproto3.Query{String: "COPY t FROM STDIN"}), burst("Z", data("bad\n"), data("1\n"), &pgproto3.CopyDone{}), simple("SELECT 1"),
		burst("G", &pgproto3.Query{String: "COPY t FROM STDIN"}), burst("Z", data("8\th\n"), &pgproto3.CopyFail{Message: "no more"}),
		burst("Z", &pgproto3.Query{String: "COPY t FROM STDIN"}, data("9\ti\n"), &pgproto3.CopyDone{}),
		simple("COPY t TO STDOUT"), simple("COPY (SELECT 1) TO STDOUT; SELECT 2"), simple("COPY nosuch FROM STDIN"),
	},
	"extended": {
		burst("Z", all(once("INSERT INTO t VALUES ($1, $2)", "1", "a"), sync_)...),
		burst("Z", all(once("INSERT INTO t VALUES ($1, $2) RETURNING id", "2", "b"), sync_)...),
		burst("Z", all(once("SELECT id FROM t ORDER BY id"), sync_)...),
		burst("Z", all(once("INSERT INTO t VALUES (1/0, 'x')"), once("INSERT INTO t VALUES (3, 'x')"), sync_)...),
		burst("Z", all(once("SELECT 1"), once("INSERT INTO t VALUES (4, 'x')"), once("UPDATE t SET v = 'y' WHERE id = 4"), once("SELECT * FROM t"), sync_)...),
		burst("Z", all(parse("s", "INSERT INTO t VALUES (5, $1)"), describe('S', "s"), sync_)...),
		burst("Z", all(bind("", "s", "x"), execute(""), bind("", "s", "y"), execute(""), sync_)...),
		burst("Z", all(parse("s", "SELECT 'another'"), sync_)...), burst("Z", all(bind("", "s", "x"), execute(""), sync_)...),
		burst("Z", all(&pgproto3.Close{ObjectType: 'S', Name: "s"}, bind("", "s", "x"), sync_)...),
		burst("Z", all(parse("", ""), bind("", ""), describe('P', ""), execute(""), sync_)...),
		burst("Z", all(parse("", "SELECT 1; SELECT 2"), sync_)...), burst("Z", sync_), burst("ZZ", sync_, sync_),
	},
	"portals": {
		burst("Z", all(parse("i", "INSERT INTO t VALUES ($1, 'x')"), parse("s", "SELECT generate_series(1, 5)"),
			bind("one", "i", "1"), bind("two", "i", "2"), execute("one"), execute("two"), sync_)...),
		simple("BEGIN"), burst("Z", all(bind("", "s"), execute("", 2), bind("w", "i", "3"), execute("w"), execute("", 2), execute(""), sync_)...),
		burst("Z", all(bind("c", "s"), execute("c", 1), sync_)...), burst("Z", all(execute("c", 1), &pgproto3.Close{ObjectType: 'P', Name: "c"}, sync_)...),
		simple("DECLARE k CURSOR FOR SELECT generate_series(1, 9)"), burst("Z", execute("k", 2), sync_), simple("INSERT INTO t VALUES (4, 'z')"), simple("FETCH 2 FROM k"),
		burst("Z", execute("k", 2), sync_), simple("COMMIT"),
		burst("Z", all(parse("", "INSERT INTO t SELECT generate_series(10, 15) RETURNING id"), bind("", ""), execute("", 2), execute("", 2), execute("", 0), sync_)...),
		simple("SELECT count(*) FROM t"),
	},
	"flush": {
		burst("1", parse("s", "INSERT INTO t VALUES ($1, 'x')"), flush), burst("C", bind("", "s", "1"), execute(""), flush),
		burst("C", bind("", "s", "2"), execute(""), flush), burst("Z", sync_),
		burst("E", bind("", "s", "z"), execute(""), flush), burst("Z", all(once("SELECT 1"), sync_)...), burst("C", bind("", "s", "3"), execute(""), flush), burst("Z", sync_),
	},
	"groups in flight": {
		burst("ZZZ", all(once("INSERT INTO t VALUES (1, 'a')"), sync_, once("INSERT INTO t VALUES (1/0, 'a')"), sync_, once("INSERT INTO t VALUES (1, 'a')"), sync_)...),
		burst("ZZ", all(once("BEGIN"), once("INSERT INTO t VALUES (2, 'b')"), once("COMMIT"), once("INSERT INTO t VALUES (2, 'b')"), once("BEGIN"), once("INSERT INTO t VALUES (2, 'b')"), sync_, once("ROLLBACK"), sync_)...),
		burst("ZZ", all(&pgproto3.Query{String: "INSERT INTO t VALUES (3, 'c')"}, once("INSERT INTO t VALUES (3, 'c')"), sync_)...),
		simple("SELECT * FROM t ORDER BY id"),
	},
	"extended copy": {
		burst("G", all(once("COPY t FROM STDIN"), sync_)...), burst("Z", data("1\ta\n"), &pgproto3.CopyDone{}, sync_),
		burst("G", all(once("COPY t FROM STDIN"), flush)...), burst("Z", data("2\tb\n"), &pgproto3.CopyDone{}, sync_),
		burst("G", all(once("COPY t FROM STDIN"), sync_)...), burst("Z", data("bad\n"), &pgproto3.CopyDone{}, sync_), simple("SELECT 1"),
		burst("G", all(once("COPY t FROM STDIN"), sync_)...), burst("Z", &pgproto3.CopyFail{Message: "no"}, sync_),
		burst("Z", all(once("COPY t TO STDOUT"), sync_)...), burst("Z", all(once("INSERT INTO t VALUES (3, 'c')"), sync_)...),
	},
	"refused copy": { // the server has answered with CopyInResponse before it refuses FREEZE, and reads on behind the Sync
		burst("ZZ", all(frozen, sync_, once("UPDATE t SET id = 1"), sync_)...), burst("ZZ", all(frozen, sync_, &pgproto3.Query{String: "INSERT INTO t VALUES (1, 'a')"})...),
		burst("ZZ", all(frozen, sync_, once("COPY t FROM STDIN"), data("2\tb\n"), &pgproto3.CopyDone{}, sync_)...), burst("ZZZ", all(frozen, sync_, sync_, once("INSERT INTO t VALUES (3, 'c')"), sync_)...),
		burst("ZZZ", all(frozen, sync_, data("4\td\n"), &pgproto3.CopyDone{}, sync_, once("INSERT INTO t VALUES (4, 'd')"), sync_)...),
		burst("ZZ", all(frozen, data("5\te\n"), sync_, once("INSERT INTO t VALUES (5, 'e')"), sync_)...), burst("ZZZ", all(frozen, sync_, once("VACUUM t"), sync_, once("INSERT INTO t VALUES (6, 'f')"), sync_)...),
		burst("ZZ", all(frozen, once("INSERT INTO t VALUES (7, 'g')"), sync_, once("INSERT INTO t VALUES (7, 'g')"), sync_)...),
		burst("ZZ", all(&pgproto3.Query{String: "COPY t FROM STDIN (FREEZE)"}, once("INSERT INTO t VALUES (8, 'h')"), sync_)...),
		burst("ZZ", &pgproto3.Query{String: "COPY t FROM STDIN (FREEZE)"}, &pgproto3.Query{String: "COPY t FROM STDIN"}, data("9\ti\n"), &pgproto3.CopyDone{}),
		burst("ZZZ", all(&pgproto3.Query{String: "COPY t FROM STDIN (FREEZE)"}, sync_, data("9\ti\n"), &pgproto3.CopyDone{}, once("INSERT INTO t VALUES (9, 'i')"), sync_)...),
		burst("ZZ", all(once("COPY t FROM STDIN"), sync_, data("bad\n"), &pgproto3.CopyDone{}, sync_, once("INSERT INTO t VALUES (10, 'j')"), sync_)...),
		burst("ZZ", all(once("COPY t FROM STDIN"), sync_, data("11\tk\n"), sync_, data("bad\n"), sync_, once("INSERT INTO t VALUES (11, 'k')"), sync_)...),
		burst("ZZ", all(once("COPY t FROM STDIN"), sync_, &pgproto3.CopyFail{Message: "no"}, sync_, once("INSERT INTO t VALUES (12, 'l')"), sync_)...),
		simple("BEGIN"), burst("ZZ", all(frozen, sync_, once("INSERT INTO t VALUES (13, 'm')"), sync_)...), simple("ROLLBACK"), simple("SELECT id, v FROM t ORDER BY id, v"),
	},
	"no copy data":              {burst("EE", all(once("INSERT INTO t VALUES (1, 'a')"), once("COPY t FROM STDIN"), sync_, once("INSERT INTO t VALUES (2, 'b')"), sync_)...)},
	"no copy data, but a Query": {burst("EE", all(&pgproto3.Query{String: "COPY t FROM STDIN"}, data("1\ta\n"), &pgproto3.Query{String: "INSERT INTO t VALUES (2, 'b')"})...)},
	"forgetting": {
		burst("Z", all(parse("s", "INSERT INTO t VALUES ($1, 'x')"), bind("", "s", "1"), execute(""), sync_)...),
		simple("DEALLOCATE ALL"), burst("Z", all(once("INSERT INTO t VALUES (2, 'x')"), sync_)...), simple("DISCARD ALL"),
		burst("Z", all(once("INSERT INTO t VALUES (3, 'x')"), sync_)...),
		burst("ZZ", all(&pgproto3.Query{String: "DISCARD ALL"}, once("INSERT INTO t VALUES (4, 'x')"), sync_)...),
		burst("ZZ", all(once("DEALLOCATE ALL"), once("INSERT INTO t VALUES (5, 'x')"), sync_, once("INSERT INTO t VALUES (6, 'x')"), sync_)...),
		simple("PREPARE p AS INSERT INTO t VALUES ($1, 'y')"), simple("EXECUTE p(7)"), burst("Z", all(bind("", "p", "8"), execute(""), sync_)...),
		simple("DEALLOCATE p"), simple("EXECUTE p(9)"), simple("SELECT id FROM t ORDER BY id"),
	},
	"positions in a PREPARE": {
		simple("CREATE TABLE goes (id int, w text); INSERT INTO t VALUES (1, 'é'); PREPARE p (int) AS /*" + strings.Repeat("é", 300) + "*/ INSERT INTO goes (id, w) VALUES ($1, 'é')"),
		simple("PREPARE r (int) AS SELECT w FROM goes WHERE id = $1"), burst("Z", parse("s", "SELECT /*"+strings.Repeat("é", 300)+"*/ w FROM goes"), parse("x", "EXECUTE p(1)"), sync_),
		simple("ALTER TABLE goes RENAME w TO x"), simple("EXECUTE p(1)"), simple("EXECUTE p('é')"), simple("EXECUTE p(nosuch)"),
		simple("EXECUTE r(1)"), simple("DELETE FROM t; EXECUTE r(1)"), simple("SELECT 1; DELETE FROM t; /*" + strings.Repeat("é", 900) + "*/ EXECUTE p('é')"),
		simple("SELECT 1; DELETE FROM t; EXECUTE p(1)"), simple("EXPLAIN EXECUTE p(1)"), simple("CREATE TABLE y AS EXECUTE r(1)"), simple("EXECUTE s"),
		simple("UPDATE t SET v = 'é'; EXECUTE s"), simple("EXECUTE p; SELCT"), burst("Z", bind("", "p", "1"), execute(""), sync_), burst("Z", bind("", "r", "1"), execute(""), sync_),
		burst("Z", bind("", "x"), execute(""), sync_), burst("Z", bind("", "s"), execute(""), sync_), burst("Z", all(once("EXECUTE p('é')"), sync_)...),
	},
	"names and their meaning": {
		simple("PREPARE p AS INSERT INTO t VALUES (1, 'a')"), simple("PREPARE p AS SELECT 1"), simple("EXECUTE p"), simple("PREPARE p AS SELECT 1; EXECUTE p"),
		burst("Z", parse("x", "EXECUTE p"), parse("c", "COMMIT"), sync_), simple("EXECUTE x"), simple("BEGIN; INSERT INTO t VALUES (2, 'b'); EXECUTE c; INSERT INTO t VALUES (2, 'b')"),
		simple("DO $$ BEGIN EXECUTE 'PREPARE h AS INSERT INTO t VALUES (3, ''c'')'; END $$"), simple("EXECUTE h"), burst("Z", bind("", "h"), execute(""), sync_),
		burst("ZZZ", parse("s", "INSERT INTO t VALUES (4, 'd')"), sync_, parse("s", "SELECT 1"), sync_, bind("", "s"), execute(""), sync_),
		burst("ZZ", parse("", "INSERT INTO t VALUES (5, 'e')"), sync_, bind("", "nosuch"), parse("", "SELECT 1"), sync_), burst("Z", bind("", ""), execute(""), sync_),
		burst("Z", parse("i", "INSERT INTO t VALUES (6, 'f')"), parse("r", "SELECT 1"), parse("a", "CLOSE ALL"), bind("p", "r"), bind("", "a"), execute(""), bind("p", "i"), execute("p"), sync_),
		simple("BEGIN"), burst("Z", bind("p", "i"), sync_), simple("SAVEPOINT s"), burst("Z", bind("p", "r"), sync_), simple("ROLLBACK TO s"), burst("Z", execute("p"), sync_), simple("COMMIT"),
		simple("EXECUTE nosuch"), simple("SELECT id, v FROM t ORDER BY id, v"),
	},
	"what is hard to read": {
		simple("CREATE VIEW w AS SELECT begin atomic FROM (SELECT 1 AS begin) x; INSERT INTO t VALUES (1, 'a')"),
		simple(strings.Repeat(" ", 300000) + "INSERT INTO t VALUES (2, 'b') RETURNING nosuch"), simple("BEGIN; /*" + strings.Repeat("x", 300000) + "*/ INSERT INTO t VALUES (3, 'c')"),
		simple("ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO t VALUES (4, '" + strings.Repeat("x;", 150000) + "'); COMMIT"),
		simple("SELECT '" + strings.Repeat("x", 300000) + "'; INSERT INTO t VALUES (5, 'e'), (1/0, '')"),
		burst("Z", all(once("WITH a AS (SELECT '"+strings.Repeat("x", 300000)+"') INSERT INTO t SELECT 6, 'f' FROM a"), sync_)...), burst("Z", all(once("/*"+strings.Repeat("x", 300000)+"*/ DELETE FROM t WHERE id = 1"), sync_)...),
		simple("SET client_encoding = SJIS"), simple("INSERT INTO t VALUES (7, '\x83\x5c'); SELECT '\x83\x5c', nosuch"), simple("RESET client_encoding"),
		burst("ZZ", &pgproto3.Query{String: "SET standard_conforming_strings = off"}, &pgproto3.Query{String: `SELECT 'a\'; INSERT INTO t VALUES (8, 'h') --'`}),
		simple("SELECT id, length(v) FROM t ORDER BY id"),
	},
	"many statements": {
		simple(strings.Repeat("INSERT INTO t VALUES (1, 'a');DELETE FROM t;", 1500) + "UPDATE t SET v = nosuch"),
		simple(strings.Repeat("INSERT INTO t VALUES (1, 'a');COMMIT;DELETE FROM t;BEGIN;SAVEPOINT s;UPDATE t SET v = 'x';ROLLBACK TO s;", 1000)), simple("COMMIT"),
	},
	"forgetting in a function": {
		burst("Z", all(once("INSERT INTO t VALUES (1, 'x')"), sync_)...), simple("SELECT forgets()"), burst("Z", all(once("INSERT INTO t VALUES (2, 'x')"), sync_)...),
		simple("DO 'BEGIN DEALLOCATE ALL; END'"), burst("Z", all(once("INSERT INTO t VALUES (3, 'x')"), sync_)...),
		simple("BEGIN"), burst("Z", all(once("INSERT INTO t VALUES (4, 'x')"), once("SELECT forgets()"), once("UPDATE t SET v = 'y' WHERE id = 4"), sync_)...), simple("COMMIT"),
		burst("ZZ", all(once("SELECT forgets()"), sync_, once("DELETE FROM t WHERE id = 3"), sync_)...), simple("PREPARE p AS SELECT forgets()"),
		simple("EXECUTE p"), burst("Z", all(once("INSERT INTO t VALUES (5, 'x')"), sync_)...), simple("SELECT id, v FROM t ORDER BY id"),
	},
	"two-phase and deferred": {
		simple("BEGIN; INSERT INTO t VALUES (1, 'a'); PREPARE TRANSACTION 'x'"), simple("INSERT INTO t VALUES (1, 'a')"), simple("COMMIT PREPARED 'x'"),
		simple("BEGIN; INSERT INTO t VALUES (2, 'b'); PREPARE TRANSACTION 'y'"), simple("ROLLBACK PREPARED 'y'"), simple("COMMIT PREPARED 'nosuch'"),
		simple("INSERT INTO child VALUES (1)"), simple("BEGIN; INSERT INTO child VALUES (1)"), simple("COMMIT"),
		burst("Z", all(once("INSERT INTO child VALUES (1)"), sync_)...), simple("BEGIN"), burst("Z", all(once("INSERT INTO child VALUES (1)"), once("COMMIT"), sync_)...), simple("SELECT 1"),
	},
	"commands outside blocks": {
		simple("VACUUM t"), simple("VACUUM nosuch"), simple("BEGIN"), simple("VACUUM t"), simple("ROLLBACK"), simple("VACUUM t; SELECT 1"),
		simple("CREATE INDEX CONCURRENTLY ON t (id)"), burst("Z", all(once("VACUUM t"), sync_)...), burst("Z", all(bind("", ""), execute(""), sync_)...), // the unnamed statement stays
		burst("ZZZ", all(once("VACUUM t"), sync_, once("INSERT INTO t VALUES (1, 'a')"), sync_, once("REINDEX TABLE CONCURRENTLY t"), sync_)...),
		burst("ZZ", all(once("VACUUM nosuch"), sync_, sync_)...), burst("Z", all(once("VACUUM t"), parse("", "SELCT"), sync_)...), burst("Z", all(once("VACUUM t"), once("INSERT INTO t VALUES (1/0)"), sync_)...), burst("ZZ", &pgproto3.Query{String: "VACUUM t"}, &pgproto3.Query{String: "INSERT INTO t VALUES (1, 'a')"}),
		simple("SET default_transaction_read_only = on"), simple("VACUUM t"), burst("Z", all(once("VACUUM t"), sync_)...), simple("RESET default_transaction_read_only"),
		simple("CALL commits()"), simple("DO 'BEGIN INSERT INTO t VALUES (2, ''d''); COMMIT; END'"), burst("Z", all(once("CALL commits()"), sync_)...),
		simple("BEGIN; CALL commits()"), simple("ROLLBACK"), simple("BEGIN"), simple("DO 'BEGIN INSERT INTO t VALUES (2, ''d''); END'"), simple("SELECT writes(3)"), simple("COMMIT"),
		simple("INSERT INTO t VALUES (4, 'x'); SELECT writes(5); LOCK TABLE t"), simple("SELECT count(*) FROM t"),
	},
	"settings and roles": {
		simple("BEGIN READ ONLY"), simple("INSERT INTO t VALUES (1, 'a')"), simple("ROLLBACK"), simple("SET default_transaction_read_only = on"), simple("INSERT INTO t VALUES (1, 'a')"), simple("RESET ALL"),
		simple("SET search_path = pg_temp"), simple("INSERT INTO public.t VALUES (1, 'a')"), simple("RESET search_path"),
		simple("SET ROLE bare"), simple("INSERT INTO t VALUES (1, 'a')"), simple("CREATE TEMP TABLE mine (id int); INSERT INTO mine VALUES (1)"), simple("RESET ROLE"),
		simple("SET SESSION AUTHORIZATION bare"), simple("CREATE TEMP TABLE mine2 (id int)"), simple("RESET SESSION AUTHORIZATION"),
		simple("SET client_encoding = 'SJIS'"), simple("INSERT INTO t VALUES (2, '\x83\x5c')"), simple("SELECT v FROM t WHERE id = 2"),
		simple("INSERT INTO t VALUES (3, '\x83\x5c'); SELCT"), simple("SET client_encoding = 'GBK'"), simple("INSERT INTO t VALUES (31, '\x81\x5c'); INSERT INTO t VALUES (32, E'\x81\x5c\x27\x27'); SELCT '\x81\x5c'"),
		simple("INSERT INTO t VALUES (33, '\x81\x5c'); INSERT INTO t VALUES (34, 'x')"), burst("Z", all(once("INSERT INTO t VALUES (35, '\x81\x5c')"), sync_)...),
		simple("SET client_encoding = 'LATIN1'"), simple("INSERT INTO t VALUES (36, '\xe9\x5c')"), simple("INSERT INTO t VALUES (37, '\xe9'); SELCT"),
		simple("SET standard_conforming_strings = off"), simple("INSERT INTO t VALUES (38, '\\'';'); SELCT"), simple("RESET standard_conforming_strings"),
		simple("SET client_encoding = 'UTF8'"), simple("INSERT INTO t VALUES (4, '\xff')"), simple("SELECT lastval()"),
		simple("LISTEN c"), simple("BEGIN; INSERT INTO t VALUES (5, 'n'); NOTIFY c, 'x'; COMMIT"), simple("SET statement_timeout = '100ms'"), simple("INSERT INTO t SELECT 1, pg_sleep(1)::text"),
		simple("INSERT INTO noisy VALUES (1), (2)"), simple("INSERT INTO noisy VALUES (1); SELECT 1; INSERT INTO noisy VALUES (2)"),
	},
	"large": {
		simple("INSERT INTO t VALUES (1, '" + strings.Repeat("é;", 30_000) + "')"), simple("SELECT length(v) FROM t"),
		simple("INSERT INTO t VALUES (2, 'a'); INSERT INTO t VALUES (3, '" + strings.Repeat("x", 200_000) + "'); SELECT 1"),
		simple("SELECT '" + strings.Repeat("x", 100_000) + "'; SELCT"), simple("SELECT 1; SELECT '" + strings.Repeat("x", 100_000) + "' = ''; DELETE FROM t; SELECT 2"),
		simple("SELECT 1; SELECT '" + strings.Repeat("x", 100_000) + "' = ''; DELETE FROM nosuch"), simple("/* " + strings.Repeat("x", 70_000) + " */ INSERT INTO t VALUES (4, 'a')"),
		simple("SELECT '" + strings.Repeat("x", 100_000) + "'::int"), burst("Z", all(once("SELECT $1::int", strings.Repeat("x", 100_000)), sync_)...), simple("SELECT 1"),
		burst("Z", all(once("INSERT INTO t VALUES ($1, 'x')", strings.Repeat("x", 100_000)), sync_)...), simple("SELECT 1"),
		simple("INSERT INTO t VALUES (5, '" + strings.Repeat("y", 70_000) + "'); SELCT 'é'"),
		burst("Z", all(once("INSERT INTO t VALUES ($1, $2)", "6", strings.Repeat("z", 300_000)), sync_)...),
		burst("Z", all(once("INSERT INTO t VALUES ($1, '"+strings.Repeat("z", 100_000)+"')", "7"), sync_)...), simple("SELECT id, length(v), md5(v) FROM t ORDER BY id"),
		burst("Z", all(slices.Repeat(all(parse("", "INSERT INTO t VALUES (8, 'z')"), bind("", ""), execute("")), 3000), sync_)...),
		burst("Z", all(parse("", "SELECT 1"), slices.Repeat(all(bind("", ""), execute("")), 5000), sync_)...), simple("SELECT count(*), repeat('w', 200000) FROM t"),
		simple("SELECT length('" + strings.Repeat("é", 700_000) + "'); DELETE FROM t; SELCT"), simple("INSERT INTO t VALUES (9, '" + strings.Repeat("ü", 700_000) + "'); SELCT 'é'"), // beyond what is looked at
		simple("INSERT INTO t VALUES (9, '" + strings.Repeat("é", 300_000) + "'); UPDATE t SET v = 'é' WHERE id = 8; SELCT"), simple(strings.Repeat("INSERT INTO t VALUES (10, 'z');", 10_000) + "SELCT"),
		simple("SELECT id, length(v), md5(v) FROM t ORDER BY id, v LIMIT 20"),
	},
	"what may write": {
		simple("CREATE TABLE orphans (id int REFERENCES t DEFERRABLE INITIALLY DEFERRED)"), simple("CREATE FUNCTION orphan() RETURNS int LANGUAGE sql AS 'INSERT INTO orphans VALUES (-1) RETURNING id'"),
		simple("CREATE PROCEDURE gives(INOUT a int) LANGUAGE plpgsql AS 'BEGIN a := a + 1; COMMIT; RAISE NOTICE ''committed''; END'"), simple("ALTER TABLE t ADD UNIQUE (id)"),
		simple("SELECT writes(71)"), simple("SELECT FROM writes(72)"), simple("SELECT writes(g) FROM generate_series(73, 75) AS g"), simple("SELECT writes(1) WHERE false"), simple("SELECT writes("), simple("SELECT writes(1) FROM"),
		simple("SELECT writes(76); SELECT writes(1) FROM"), simple("SELECT nosuch(1)"), simple("SELECT writes('é'::int)"), simple("SELECT writes($1)"), simple("SELECT writes(76), $1"), simple("SELECT writes(1/0)"), simple("SELECT writes(76); SELCT"),
		simple("SELECT set_config('DateStyle', 'German', false), set_config('application_name', 'x', false)"), simple("RESET DateStyle"), simple("LISTEN c"), simple("SELECT pg_notify('c', 'x'), writes(77)"), simple("UNLISTEN *"),
		simple("SELECT orphan()"), simple("SELECT 1; SELECT orphan()"), simple("SELECT orphan(); SELECT 1"), burst("Z", all(once("SELECT orphan()"), sync_)...), simple("BEGIN; SELECT orphan()"), simple("COMMIT"), simple("DO 'BEGIN PERFORM orphan(); END'"),
		simple("CALL gives(1)"), simple("CALL gives(1); SELECT 1"), simple("BEGIN"), simple("CALL gives(1)"), simple("ROLLBACK"), simple("DO $$ BEGIN RAISE NOTICE 'n'; COMMIT; RAISE NOTICE 'm'; END $$"), simple("DO $$ BEGIN x; END $$"), simple("DO 'BEGIN PERFORM 1/0; END'"),
		burst("Z", all(once("CALL gives(3)"), sync_)...), burst("ZZ", all(once("CALL gives(3)"), sync_, once("SELECT writes(78)"), sync_)...), burst("ZZZ", all(once("DO 'BEGIN COMMIT; END'"), sync_, once("SELECT orphan()"), sync_, once("SELECT writes(79)"), sync_)...),
		burst("ZZZ", &pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "SELECT writes(80)"}, &pgproto3.Query{String: "COMMIT"}), burst("ZZ", &pgproto3.Query{String: "SELECT orphan()"}, &pgproto3.Query{String: "SELECT writes(81)"}),
		simple("BEGIN"), simple("DECLARE c BINARY CURSOR FOR SELECT writes(g) FROM generate_series(82, 84) AS g"), simple("FETCH c"), simple("MOVE c"), simple("FETCH FORWARD"), simple("ROLLBACK"), simple("BEGIN"), simple("SELECT writes(1/0)"), simple("SELECT writes(85)"), simple("ROLLBACK"),
		simple("BEGIN"), simple("SET CONSTRAINTS ALL DEFERRED"), simple("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), simple("ROLLBACK"), simple("BEGIN"), simple("SET CONSTRAINTS ALL IMMEDIATE"), simple("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), simple("ROLLBACK"),
		simple("CREATE TABLE gone (id int)"), simple("BEGIN"), simple("SELECT writes(id) FROM gone"), burst("Z", all(parse("d", "DROP TABLE gone"), bind("d", "d"), execute("d"), sync_)...), simple("ROLLBACK"),
		simple("COPY (SELECT writes(86)) TO STDOUT"), simple("EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) SELECT writes(87)"), simple("PREPARE p AS SELECT writes(88)"), simple("EXECUTE p"), burst("Z", all(bind("", ""), execute(""), sync_)...),
		burst("Z", all(parse("", "SELECT 1"), sync_)...), simple("SELECT writes(89)"), burst("Z", all(bind("", ""), execute(""), sync_)...), burst("Z", all(parse("", "SELECT writes(g) FROM generate_series(90, 95) AS g"), bind("", ""), describe('P', ""), &pgproto3.Execute{MaxRows: 2}, execute(""), sync_)...),
		simple("SELECT writes(96) -- end"), simple("/* a */ SELECT writes(97); /* b */"), simple(";SELECT writes(98);;"), simple("SELECT * FROM t ORDER BY id"),
	},
	"deferred triggers": { // they may write at a commit, before which stands a note of no statement
		simple("CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''late %'', NEW.id; IF NEW.id < 0 THEN RAISE ''no''; END IF; RETURN NULL; END'"),
		simple("CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()"),
		simple("BEGIN"), simple("INSERT INTO t VALUES (1, 'a')"), simple("INSERT INTO t VALUES (2, 'b')"), simple("COMMIT"), simple("INSERT INTO t VALUES (3, 'c'); INSERT INTO t VALUES (4, 'd')"),
		simple("INSERT INTO t VALUES (5, 'e'); INSERT INTO t VALUES (-6, 'f')"), simple("INSERT INTO t VALUES (5, 'e'); DELETE FROM t WHERE id = 5 AND"), simple("BEGIN"), simple("INSERT INTO t VALUES (-7, 'g')"), simple("UPDATE t SET v = 'h'"), simple("COMMIT"),
		simple("BEGIN"), simple("INSERT INTO t VALUES (8, 'i')"), simple("INSERT INTO t VALUES (9, 'j')"), simple("SELCT"), simple("COMMIT"), simple("BEGIN; INSERT INTO t VALUES (10, 'k'); INSERT INTO t VALUES (11, 'l'); COMMIT AND CHAIN; COMMIT; SELECT 1"),
		burst("Z", all(once("INSERT INTO t VALUES (12, 'm')"), once("INSERT INTO t VALUES (-13, 'n')"), sync_)...), burst("Z", all(once("INSERT INTO t VALUES (14, 'o')"), once("INSERT INTO t VALUES (15, 'p')"), once("SELECT 1/0"), sync_)...),
		burst("ZZZZ", all(once("BEGIN"), sync_, once("INSERT INTO t VALUES (16, 'q')"), sync_, once("UPDATE t SET v = 'r'"), sync_, once("COMMIT"), sync_)...), burst("ZZZZ", all(once("BEGIN"), sync_, once("INSERT INTO t VALUES (17, 's')"), sync_, once("UPDATE t SET v = 1/0"), sync_, once("COMMIT"), sync_)...),
		burst("G", all(once("INSERT INTO t VALUES (18, 't')"), once("INSERT INTO t VALUES (19, 'u')"), once("COPY t FROM STDIN"), sync_)...), burst("Z", data("20\tv\n"), &pgproto3.CopyDone{}, sync_),
		burst("G", all(once("INSERT INTO t VALUES (21, 'w')"), once("INSERT INTO t VALUES (22, 'x')"), once("COPY t FROM STDIN"), sync_, sync_)...), burst("Z", data("23\ty\n"), &pgproto3.CopyDone{}, sync_), simple("SELECT * FROM t ORDER BY id"),
	},
	"BEGIN that is skipped": {
		burst("ZZ", &pgproto3.Query{String: "SELECT 1/0; BEGIN"}, &pgproto3.Query{String: "CALL commits()"}), burst("ZZ", all(once("SELECT 1/0"), once("BEGIN"), sync_, once("CALL commits()"), sync_)...),
		burst("ZZ", &pgproto3.Query{String: "INSERT INTO t VALUES (1, 'a'); SELECT 1/0; BEGIN"}, &pgproto3.Query{String: "CALL commits()"}), burst("ZZZ", &pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "CALL commits()"}, &pgproto3.Query{String: "ROLLBACK"}),
		burst("ZZZ", all(once("BEGIN"), sync_, once("CALL commits()"), sync_, once("ROLLBACK"), sync_)...), simple("SELECT id, v FROM t ORDER BY id"),
	},
	"held cursors": {
		simple("DECLARE h CURSOR WITH HOLD FOR SELECT generate_series(1, 9)"), simple("BEGIN"), simple("FETCH 1 FROM h"), simple("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), simple("COMMIT"),
		simple("BEGIN; MOVE 1 IN h"), simple("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), simple("SELECT writes(1)"), simple("FETCH 1 FROM h"), simple("COMMIT"),
		simple("BEGIN"), burst("Z", all(execute("h", 1), sync_)...), simple("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), simple("COMMIT"), simple("SELECT id FROM t"),
	},
	"texts that the server keeps": {
		simple("CREATE FUNCTION imm(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN writes($1); END'"),
		simple("BEGIN"), simple("DECLARE a CURSOR FOR SELECT imm(1)"), simple("PREPARE a AS SELECT imm(2)"), simple("INSERT INTO t VALUES (3, 'a')"), simple("DECLARE b CURSOR FOR SELECT imm(4)"), simple("PREPARE b AS SELECT imm(5)"),
		simple("SELECT name, statement FROM pg_cursors ORDER BY name"), simple("SELECT name, statement FROM pg_prepared_statements ORDER BY name"), simple("FETCH a"), simple("FETCH b"), simple("EXECUTE a"), simple("EXPLAIN (COSTS off) EXECUTE b"), simple("COMMIT"),
		simple("DECLARE c CURSOR FOR SELECT imm(6)"), simple("DECLARE c CURSOR WITH HOLD FOR SELECT imm(7)"), simple("FETCH ALL FROM c"), simple("EXPLAIN (COSTS off) EXECUTE b"), simple("SELECT id, v FROM t ORDER BY id"),
	},
	"forgetting at the end": {
		simple("CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DEALLOCATE ALL; RETURN NULL; END'"), simple("CREATE DOMAIN forgotten AS int CHECK (forgets() = 1)"), burst("Z", all(once("INSERT INTO t VALUES (1, 'a')"), sync_)...),
		burst("Z", all(once("INSERT INTO t SELECT $1::forgotten, 'b'", "2"), sync_)...), burst("Z", all(once("INSERT INTO t VALUES (3, 'c')"), once("SELECT $1::forgotten", "2"), once("INSERT INTO t VALUES (4, 'd')"), sync_)...), burst("Z", all(once("SELECT '{1}'::forgotten[]::text"), sync_)...),
		burst("Z", all(once("INSERT INTO t VALUES (5, 'e')"), sync_)...), simple("BEGIN"), simple("DECLARE h CURSOR WITH HOLD FOR SELECT forgets()"), burst("Z", all(once("INSERT INTO t VALUES (6, 'f')"), sync_)...), simple("COMMIT"), burst("Z", all(once("INSERT INTO t VALUES (7, 'g')"), sync_)...),
		simple("CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()"), burst("Z", all(once("INSERT INTO t VALUES (8, 'h')"), sync_)...), burst("Z", all(once("INSERT INTO t VALUES (9, 'i')"), sync_)...),
		burst("ZZ", all(once("INSERT INTO t VALUES (10, 'j')"), once("INSERT INTO t VALUES (11, 'k')"), sync_, once("INSERT INTO t VALUES (12, 'l')"), sync_)...), simple("BEGIN"), burst("Z", all(once("INSERT INTO t VALUES (13, 'm')"), sync_)...),
		burst("Z", all(once("INSERT INTO t VALUES (14, 'n')"), once("COMMIT"), once("INSERT INTO t VALUES (15, 'o')"), sync_)...), simple("INSERT INTO t VALUES (16, 'p')"), burst("Z", all(once("INSERT INTO t VALUES (17, 'q')"), sync_)...), simple("SELECT id, v FROM t ORDER BY id"),
	},
	"function call": {
		burst("Z", &pgproto3.FunctionCall{Function: 1397, Arguments: [][]byte{[]byte("-7")}}), burst("Z", &pgproto3.FunctionCall{Function: 2}), simple("INSERT INTO t VALUES (1, 'a')"),
		simple("BEGIN"), burst("ZZ", all(&pgproto3.FunctionCall{Function: 1397, Arguments: [][]byte{[]byte("-8")}}, once("INSERT INTO t VALUES (1, 'a')"), sync_)...), simple("COMMIT"),
		simple("BEGIN"), simple("INSERT INTO t VALUES (2, 'b')"), burst("Z", all(parse("", "INSERT INTO t VALUES ($1, $2)"), bind("", "", "3", "c"), execute(""), sync_)...), burst("Z", &pgproto3.FunctionCall{Function: 1397, Arguments: [][]byte{[]byte("-9")}}),
		burst("Z", all(bind("", "", "4", "d"), execute(""), sync_)...), burst("Z", &pgproto3.FunctionCall{Function: 2}), simple("COMMIT"), simple("SELECT * FROM t ORDER BY id"),
	},
}

func TestProxyIsTransparent(t *testing.T) {
	for _, major := range []int{15, 18} {
		for _, mode := range []proxy.Outbox{proxy.OutboxTable, proxy.OutboxMessage, proxy.OutboxOff} {
			t.Run(fmt.Sprintf("%d %s", major, mode), func(t *testing.T) {
				server := must(t, sharedPostgres[major])
				w := newTap(t, server.Address(), server.URL, mode)
				for name, conversation := range conversations {
					t.Run(name, func(t *testing.T) { w.compare(t, conversation) })
				}
			})
		}
	}
}

// Two sessions that cannot both have their way: the server refuses one, at a statement or at its COMMIT, and lets it
// try again.
func TestSerializationFailureIsTransparent(t *testing.T) {
	server := must(t, sharedPostgres[18])
	w := newTap(t, server.Address(), server.URL, proxy.OutboxTable)
	const begin, repeatable = "BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN ISOLATION LEVEL REPEATABLE READ"
	steps := []struct {
		session int
		sql     string
	}{
		{0, "INSERT INTO t VALUES (1, 'a'), (2, 'b')"},
		{0, repeatable}, {0, "SELECT * FROM t ORDER BY id"}, {1, "UPDATE t SET v = 'c' WHERE id = 1"}, {0, "UPDATE t SET v = 'd' WHERE id = 1"}, {0, "COMMIT"},
		{0, begin}, {1, begin}, {0, "SELECT count(*) FROM t"}, {1, "SELECT count(*) FROM t"}, {0, "INSERT INTO t VALUES (3, 'e')"}, {1, "INSERT INTO t VALUES (4, 'f')"},
		{0, "COMMIT"}, {1, "COMMIT"}, {1, "INSERT INTO t VALUES (4, 'f')"}, {1, "SELECT * FROM t ORDER BY id"},
	}
	said := map[string][]string{}
	for _, address := range []string{w.server, w.proxied} {
		w.admin(t, t.Context(), tapDatabase, "DROP SCHEMA public CASCADE; CREATE SCHEMA public", bytesSchema)
		var sessions [2]*wire
		for i := range sessions {
			session, err := openWire(address, false, 0, tapDatabase)
			if err != nil {
				t.Fatal(err)
			}
			defer session.conn.Close()
			sessions[i] = session
		}
		for _, step := range steps {
			got, err := sessions[step.session].run(&pgproto3.Query{String: step.sql})
			if err != nil {
				t.Fatalf("%s: %v", step.sql, err)
			}
			said[address] = append(said[address], got)
		}
	}
	for i, step := range steps {
		if direct, proxied := said[w.server][i], said[w.proxied][i]; direct != proxied {
			t.Errorf("%s\ndirect:  %s\nproxied: %s", step.sql, direct, proxied)
		}
	}
	for _, i := range []int{4, 13} {
		if !strings.Contains(said[w.proxied][i], "40001") {
			t.Errorf("%s is not refused: %s", steps[i].sql, said[w.proxied][i])
		}
	}
}

// tap is a server with a proxy in front of it.
type tap struct {
	server, proxied string
	url             func(database string) string
	proxy           *proxy.Proxy
}

func newTap(t *testing.T, address string, url func(string) string, mode proxy.Outbox) *tap {
	proxied, p := serve(t, proxy.Config{Servers: []proxy.Server{{Address: address}}, Outbox: mode, Key: make([]byte, 32), SQLText: true})
	t.Cleanup(func() {
		if stats := p.Stats(); stats.LostReplies != 0 || (stats.Notes == 0) != (mode == proxy.OutboxOff) {
			t.Errorf("%+v", stats)
		}
	})
	w := &tap{address, proxied, url, p}
	w.setup(t)
	return w
}

// compare talks to three equal databases: one without pgtee, one after setup, and that one through the proxy.
func (w *tap) compare(t *testing.T, conversation []say) {
	virgin := w.converse(t, w.server, virginDatabase, conversation)
	direct := w.converse(t, w.server, tapDatabase, conversation)
	proxied := w.converse(t, w.proxied, tapDatabase, conversation)
	for i := range direct {
		if virgin[i] != direct[i] {
			t.Errorf("step %d\nvirgin:  %.2000s\ndirect:  %.2000s", i+1, virgin[i], direct[i])
		}
		if direct[i] != proxied[i] {
			t.Errorf("step %d\ndirect:  %.2000s\nproxied: %.2000s", i+1, direct[i], proxied[i])
		}
	}
}

const (
	tapDatabase    = "tap"
	virginDatabase = "tip" // has never heard of pgtee
)

// setup makes a database with an outbox. Its slot goes at once: nobody reads it.
func (w *tap) setup(t *testing.T) {
	ctx := t.Context()
	w.admin(t, ctx, "postgres", "DROP DATABASE IF EXISTS "+tapDatabase+" WITH (FORCE)", "DROP DATABASE IF EXISTS "+virginDatabase+" WITH (FORCE)",
		"DROP ROLE IF EXISTS bare", "CREATE DATABASE "+tapDatabase, "CREATE DATABASE "+virginDatabase, "CREATE ROLE bare")
	if _, err := outbox.Setup(ctx, outbox.SetupConfig{ConnString: w.url(tapDatabase), Slot: tapDatabase}); err != nil {
		t.Fatal(err)
	}
	w.admin(t, ctx, tapDatabase, "SELECT pg_drop_replication_slot('"+tapDatabase+"')")
}

func (w *tap) admin(t *testing.T, ctx context.Context, database string, texts ...string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, w.url(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, sql := range texts {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%.200s: %v", sql, err)
		}
	}
}

// converse returns what the client sees of each step, with fresh tables.
func (w *tap) converse(t *testing.T, address, database string, conversation []say) (seen []string) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w.admin(t, ctx, database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public", bytesSchema)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	startup, _ := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber,
		Parameters: map[string]string{"user": "postgres", "database": database}}).Encode(nil)
	if _, err := conn.Write(startup); err != nil {
		t.Fatal(err)
	}
	if _, err := hear(conn, "Z"); err != nil {
		t.Fatal(err)
	}
	for i, step := range conversation {
		if err := speak(conn, step.messages); err != nil {
			t.Fatal(err)
		}
		heard, err := hear(conn, step.await)
		seen = append(seen, heard)
		if err != nil {
			t.Fatalf("step %d through %s: %v after %.2000s", i+1, address, err, heard)
		}
	}
	return seen
}

func speak(conn net.Conn, messages []pgproto3.FrontendMessage) (err error) {
	var encoded []byte
	for _, m := range messages {
		if encoded, err = m.Encode(encoded); err != nil {
			return err
		}
	}
	go conn.Write(encoded) // a large pipeline is answered before it has been read
	return nil
}

// hear reads messages up to the last of those awaited. ParameterStatus may come anywhere.
func hear(conn io.Reader, await string) (heard string, err error) {
	var b strings.Builder
	for await != "" {
		kind, body, err := hearOne(conn)
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "%c%q ", kind, body)
		if kind == await[0] {
			await = await[1:]
		}
	}
	return b.String(), nil
}

// forgetNumbers blanks what differs from one session or schema to the next: process ids and table oids.
func forgetNumbers(kind byte, body []byte) {
	switch kind {
	case 'A':
		clear(body[:4])
	case 'T':
		for rest := body[2:]; len(rest) > 0; {
			name := bytes.IndexByte(rest, 0) + 1
			clear(rest[name : name+4])
			rest = rest[name+18:]
		}
	}
}
