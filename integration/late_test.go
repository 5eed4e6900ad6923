package integration

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

const lateSchema = `
	CREATE TABLE late (v text);
	CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t (v) VALUES (NEW.v); RETURN NULL; END';
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION later();
	CREATE FUNCTION lates(v text) RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.late VALUES ($1); RETURN $1; END';`

// lateRows are written by a deferred trigger at the end of a transaction that has more than one statement.
var lateRows = []attribution{
	{"of a FunctionCall before the first note", []say{simple("BEGIN"), burst("Z", functionCall("lates", "a")), simple("INSERT INTO t (v) VALUES ('b')"), simple("COMMIT")}, "right ?"},
	{"before a COPY to the client", []say{burst("Z", all(once("INSERT INTO late VALUES ('a')"), once("COPY (INSERT INTO t (v) VALUES ('b') RETURNING v) TO STDOUT"), sync_)...)}, "right ?"},
	{"before a COPY from the client", []say{burst("G", all(once("INSERT INTO late VALUES ('a')"), once("COPY /* b */ t (v) FROM STDIN"), sync_, sync_)...), burst("Z", data("b\n"), &pgproto3.CopyDone{}, sync_),
		burst("Z", all(once("INSERT INTO late VALUES ('c')"), once("COPY /* d */ t (v) FROM STDIN"), data("d\n"), &pgproto3.CopyDone{}, sync_)...)}, "right ? right ?"},
	{"before a statement that a function has prepared", []say{simple("DO $$BEGIN EXECUTE 'PREPARE h AS INSERT INTO t (v) VALUES (''b'')'; END$$"),
		burst("Z", all(once("INSERT INTO late VALUES ('a')"), bind("", "h"), execute(""), sync_)...)}, "? ?"},
	{"before the Execute of a cursor", []say{simple("DECLARE h CURSOR WITH HOLD FOR SELECT 1"), burst("Z", all(once("INSERT INTO late VALUES ('a')"), execute("h", 1), sync_)...),
		burst("Z", all(execute("h", 1), once("INSERT INTO late VALUES ('b')"), once("INSERT INTO t (v) VALUES ('c')"), sync_)...)}, "? right ?"},
	{"before a COMMIT outside a block", []say{burst("Z", all(once("INSERT INTO late VALUES ('a')"), once("INSERT INTO t (v) VALUES ('b')"), once("COMMIT"), sync_)...)}, "right ?"},
	{"after a COMMIT that was skipped", []say{burst("ZZZZZ", all(once("BEGIN"), once("INSERT INTO late VALUES ('a')"), once("SAVEPOINT s"), sync_, once("SELECT 1/0"), once("COMMIT"), sync_, once("ROLLBACK TO s"), sync_,
		once("INSERT INTO t (v) VALUES ('b')"), sync_, once("COMMIT"), sync_)...)}, "right ?"},
	{"after a COMMIT that an error kept from running", []say{simple("BEGIN"), simple("INSERT INTO late VALUES ('a')"), simple("INSERT INTO t (v) VALUES ('b')"), simple("SAVEPOINT s"), simple("SELECT 1/0; COMMIT"), simple("ROLLBACK TO s"), simple("COMMIT"),
		simple("BEGIN"), simple("INSERT INTO late VALUES ('c')"), simple("INSERT INTO t (v) VALUES ('d')"), simple("SAVEPOINT s"), burst("Z", all(once("SELECT 1/0"), once("COMMIT"), once("BEGIN"), sync_)...), simple("ROLLBACK TO s"), simple("COMMIT")}, "right ? right ?"},
	{"after a BEGIN that was skipped", []say{burst("ZZ", &pgproto3.Query{String: "SELECT 1/0; BEGIN"}, &pgproto3.Query{String: "INSERT INTO late VALUES ('a'); INSERT INTO t (v) VALUES ('b')"}),
		burst("ZZ", all(once("SELECT 1/0"), once("BEGIN"), sync_, once("INSERT INTO late VALUES ('c')"), once("INSERT INTO t (v) VALUES ('d')"), sync_)...)}, "right ? right ?"},
	{"after a BEGIN that is on its way", []say{burst("ZZZ", &pgproto3.Query{String: "BEGIN"}, &pgproto3.Query{String: "INSERT INTO late VALUES ('a'); INSERT INTO t (v) VALUES ('b')"}, &pgproto3.Query{String: "COMMIT"}),
		burst("ZZZ", all(once("BEGIN"), sync_, once("INSERT INTO late VALUES ('c')"), once("INSERT INTO t (v) VALUES ('d')"), sync_, once("COMMIT"), sync_)...)}, "right ? right ?"},
}

func TestAttributionOfLateRows(t *testing.T) {
	for major, outbox := range map[int]string{15: "message", 18: "table"} {
		attributeOn(t, major, outbox, lateSchema, lateRows)
	}
}

// Behind messages without a Sync, a Query or a FunctionCall ends their transaction. Later versions keep it open, and may lose it.
var unsyncedRows = []attribution{
	{"before a Query or a FunctionCall, without a Sync", []say{burst("Z", all(once("INSERT INTO late VALUES ('a')"), once("INSERT INTO t (v) VALUES ('b')"), &pgproto3.Query{String: "SELECT 1"})...), burst("Z", sync_),
		burst("Z", all(once("INSERT INTO late VALUES ('c')"), &pgproto3.Query{String: "INSERT INTO t (v) VALUES ('d')"})...), burst("Z", sync_),
		burst("Z", all(once("INSERT INTO late VALUES ('e')"), once("INSERT INTO t (v) VALUES ('f')"), &pgproto3.Query{String: ""})...), burst("Z", sync_),
		burst("Z", all(once("INSERT INTO late VALUES ('g')"), once("INSERT INTO t (v) VALUES ('h')"), functionCall("lo_creat", "-1"))...), burst("Z", sync_)}, "right ? right ? right ? right ?"},
}

func TestAttributionOfUnsyncedRows(t *testing.T) {
	for _, outbox := range []string{"table", "message"} {
		attributeOn(t, 15, outbox, lateSchema, unsyncedRows)
	}
}

const earlySchema = `
	CREATE FUNCTION imm(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM public.writes($1); RETURN $1; END';
	CREATE FUNCTION keep(v text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t (v) VALUES ($1); RETURN true; END';
	CREATE DOMAIN kept AS text CHECK (keep(VALUE));
	CREATE TYPE pair AS (x kept);
	CREATE TABLE tab (x kept);
	CREATE FUNCTION told(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN IF pg_catalog.current_setting(''early.tell'', true) OPERATOR(pg_catalog.=) ''on'' THEN PERFORM public.writes($1); END IF; RETURN $1; END';
	CREATE TABLE indexed (v text);
	INSERT INTO indexed VALUES ('stored');
	CREATE INDEX ON indexed (told(v));`

// earlyRows are written while a statement is parsed or planned, before the note of its Execute.
var earlyRows = []attribution{
	{"by a Parse", []say{simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), burst("Z", parse("", "SELECT '{b}'::kept[]"), sync_), simple("COMMIT")}, "right ?"},
	{"by a Bind", []say{burst("Z", parse("i", "SELECT imm('b')"), sync_), simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), burst("Z", bind("", "i"), sync_), simple("COMMIT")}, "right ?"},
	{"by a Describe", []say{burst("Z", parse("s", "SELECT '{b}'::kept[]"), sync_), simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("DISCARD PLANS"), burst("Z", &pgproto3.Describe{ObjectType: 'S', Name: "s"}, sync_), simple("COMMIT"),
		simple("BEGIN"), simple("DISCARD PLANS"), burst("Z", &pgproto3.Describe{ObjectType: 'S', Name: "s"}, sync_), simple("SELECT writes('c')"), simple("COMMIT")}, "- right ? ? right"},
	{"by a Parse or Bind before a SELECT", []say{burst("Z", parse("i", "SELECT imm('b')"), sync_), simple("BEGIN"), burst("Z", parse("", "SELECT '{a}'::kept[]"), bind("", "i"), sync_), simple("SELECT writes('c')"), simple("COMMIT"),
		burst("Z", parse("j", "SELECT imm('d')"), sync_), simple("BEGIN"), burst("Z", bind("p", "j"), sync_), burst("Z", all(once("SELECT writes('e')"), sync_)...), simple("COMMIT")}, "? ? right ? right"},
	{"by its own Parse or Bind", []say{simple("BEGIN"), burst("Z", all(once("SELECT imm('a')"), sync_)...), burst("Z", all(once("SELECT '{b}'::kept[]"), sync_)...), simple("COMMIT"), burst("Z", all(once("SELECT imm('c')"), sync_)...)}, "right right right"},
	{"by DECLARE", []say{simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("DECLARE c CURSOR FOR SELECT imm('b')"), simple("COMMIT"),
		simple("BEGIN; INSERT INTO t (v) VALUES ('c'); DECLARE c CURSOR FOR SELECT imm('d'); COMMIT"), simple("BEGIN"), simple("DECLARE c CURSOR FOR SELECT imm('e')"), simple("SELECT writes('f')"), simple("COMMIT")}, "right ? right right ? right"},
	{"by PREPARE", []say{simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("PREPARE p AS SELECT '{b}'::kept[]"), simple("COMMIT"),
		simple("BEGIN; INSERT INTO t (v) VALUES ('c'); PREPARE q AS SELECT '{d}'::kept[]; COMMIT")}, "right ? right right"},
	{"by EXPLAIN EXECUTE", []say{simple("PREPARE p AS SELECT imm('b')"), simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("EXPLAIN EXECUTE p"), simple("COMMIT")}, "right right"},
	{"by ANALYZE", []say{simple("SET early.tell = 'on'"), simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("ANALYZE indexed /* stored */"), burst("Z", all(once("ANALYZE indexed /* stored */"), sync_)...), simple("COMMIT"),
		simple("ANALYZE indexed /* stored */"), simple("INSERT INTO t (v) VALUES ('b'); ANALYSE indexed /* stored */"), simple("ANALYZE indexed, tab")}, "right right right right right right -"},
	{"of composite types", []say{simple("BEGIN"), simple("INSERT INTO t (v) VALUES ('a')"), simple("SELECT '(b)'::pair /* b */"), simple("SELECT '(c)'::public.tab /* c */"), simple("SELECT tab '(d)' /* d */"),
		simple(`SELECT jsonb_populate_record(r, '{"x": "e"}') /* e */ FROM (SELECT NULL::tab AS r) AS s`), simple(`SELECT * FROM json_to_record('{"x": "(f)"}') AS r (x tab) /* f */`), simple("COMMIT")}, "right right right right right right"},
}

func TestAttributionOfEarlyRows(t *testing.T) {
	for major, outbox := range map[int]string{15: "table", 18: "message"} {
		attributeOn(t, major, outbox, earlySchema, earlyRows)
	}
}
