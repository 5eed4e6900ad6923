package parser

import "testing"

func (n Need) String() string {
	return [...]string{"Never", "Always", "InBlock", "IfNoted", "After"}[n]
}

func (e Effect) String() string {
	return [...]string{"", "Begin", "Commit", "CommitChain", "Rollback", "RollbackChain", "RollbackTo", "Savepoint", "Release",
		"PrepareTransaction", "SetRole", "SetUser", "SetEncoding", "Prepare", "Execute", "Deallocate", "DeallocateAll", "DiscardAll", "Fire", "Hold", "Fetch"}[e]
}

func TestNeed(t *testing.T) {
	for _, test := range []struct {
		sql, verb string
		need      Need
	}{
		{"insert into t values (1)", "INSERT", Always},
		{"INSERT INTO t SELECT f()", "INSERT", Always},
		{"update t set a = 1", "UPDATE", Always},
		{"Delete from t", "DELETE", Always},
		{"merge into t using s on true when matched then delete", "MERGE", Always},
		{"truncate t", "TRUNCATE", Always},

		{"select 1", "SELECT", Never},
		{"select * from t for update", "SELECT", Never},
		{"select * from t for no key update", "SELECT", Never},
		{"(select 1) union (select 2)", "SELECT", Never},
		{"values (1), (2)", "SELECT", Never},
		{"table t", "SELECT", Never},
		{"select count(*), max(a), pg_catalog.now(), coalesce(a, 1), a::numeric(10,2), cast(a as varchar(3)) from t where a in (1) and exists (select 1)", "SELECT", Never},
		{"select sum(a) over (partition by b) , count(*) filter (where a > 1) from t group by (a) order by (b)", "SELECT", Never},
		{"select * from (values (1)) as v(a) join t using (a)", "SELECT", Never},
		{`select * from t "x" where a = any (array[1])`, "SELECT", Never},
		{"select f(1)", "SELECT", IfNoted},
		{"select pgtee.publish('t', 'k', to_jsonb(o)) from orders o", "SELECT", Always},
		{"with o as (select 1) select PGTEE . publish ('t', null, null), f(1)", "SELECT", Always},
		{`select "pgtee"."publish"('t', 'k', '')`, "SELECT", Always},
		{"select publish('t', 'k', '')", "SELECT", IfNoted},
		{"select log('a function of somebody')", "SELECT", IfNoted},
		{"copy public.to from stdin", "COPY", Always},
		{`explain ("analyze") delete from t`, "EXPLAIN", Always},
		{`explain ("analyze" off) delete from t`, "EXPLAIN", Never},
		{`explain (U&"analyze") delete from t`, "EXPLAIN", Always},
		{`explain (U&"!0061nalyze" UESCAPE '!', costs off) delete from t`, "EXPLAIN", Always},
		{`explain (U&"\0061nalyse" off) delete from t`, "EXPLAIN", Never},
		{`select pgtee.U&"publish"('t', 'k', '')`, "SELECT", Always},
		{"explain execute q(f(1))", "EXPLAIN", IfNoted},
		{"explain execute q(1)", "EXPLAIN", Never},
		{"create materialized view v with (timescaledb.continuous) as select 1", "CREATE MATERIALIZED VIEW", After},
		{"create materialized view v as select 1", "CREATE MATERIALIZED VIEW", Always},
		{"create index on t (a) with (timescaledb.transaction_per_chunk)", "CREATE INDEX", After},
		{"alter extension timescaledb update", "ALTER EXTENSION", After},
		{`create extension "timescaledb"`, "CREATE EXTENSION", After},
		{"drop extension timescaledb", "DROP EXTENSION", Always},
		{"create extension citext", "CREATE EXTENSION", Always},
		{"select pgtee.publish from pgtee", "SELECT", Never},
		{"explain (analyze) select pgtee.publish('t', 'k', '')", "EXPLAIN", Always},
		{"select f /* x */ (1)", "SELECT", IfNoted},
		{"select public.count(1)", "SELECT", IfNoted},
		{"select db.pg_catalog.count(1)", "SELECT", IfNoted},
		{`select "count"(1)`, "SELECT", IfNoted},
		{"select pg_catalog.f(1)", "SELECT", IfNoted},
		{"select over(1)", "SELECT", IfNoted},
		{"select by(1)", "SELECT", IfNoted},
		{"select not materialized(1)", "SELECT", IfNoted},
		{"select a[1:f(2)]", "SELECT", IfNoted},
		{"with recursive a(b) as not materialized (select 1) select * from a", "SELECT", Never},
		{"select nextval('s')", "SELECT", Never},
		{"select setval('s', 1)", "SELECT", Never},
		{"select lo_unlink(1)", "SELECT", IfNoted},
		{"select pg_logical_emit_message(true, 'a', 'b')", "SELECT", IfNoted},
		{"select set_config('a.b', 'c', false)", "SELECT", IfNoted},
		{"select query_to_xml('delete', true, true, '')", "SELECT", IfNoted},
		{"select a into b from t", "SELECT INTO", Always},
		{"select a into temp b from t", "SELECT INTO", Always},
		{"select a as into from t", "SELECT", Never},

		{"with a as (select 1) select * from a", "SELECT", Never},
		{"with a as (select 1) select * from a, t for update", "SELECT", Never},
		{"with a as (select 1) select f() from a", "SELECT", IfNoted},
		{"with a as (select 1) insert into t select * from a", "INSERT", Always},
		{"with a as (select 1) update t set b = 1", "UPDATE", Always},
		{"with a as (select 1) delete from t", "DELETE", Always},
		{"with a as (select 1) merge into t using a on true when matched then do nothing", "MERGE", Always},
		{"with a as (insert into t values (1) returning *) select * from a", "SELECT", Always},
		{"with a as materialized (delete from t returning *), b as (select 1) select * from a", "SELECT", Always},
		{"with a as (select 1) select a.update, 2 as delete, 3 merge from a", "SELECT", Never},
		{"with a as (select 1) select 3 merge, f() from a", "SELECT", IfNoted},
		{"with update as (select 1) select * from update", "SELECT", Never},
		{"(with a as (select 1) select 1 insert)", "SELECT", Never},
		{"with a as (select 1) select 1 into b", "SELECT INTO", Always},
		{"with a as (select 1) select 1 merge into b", "SELECT INTO", Always},
		{"with a as (select 1) brandnew delete", "DELETE", Always},
		{"with a as (select 1) insert brandnew", "INSERT", Always},
		{"with a as not materialized (delete from t brandnew) select 1", "SELECT", Always},
		{"with a as (brandnew (delete from t)) select 1", "SELECT", IfNoted},

		{"copy t from stdin", "COPY", Always},
		{"copy binary t (a, b) from '/x'", "COPY", Always},
		{`copy "from".to_ (a) to stdout`, "COPY", Never},
		{"copy (select 1 from t) to stdout", "COPY", Never},
		{"copy (select f() from t) to stdout", "COPY", IfNoted},
		{"copy (insert into t values (1) returning a) to stdout", "COPY", Always},
		{"copy (with x as (delete from t returning *) select * from x) to stdout", "COPY", Always},

		{"explain insert into t values (1)", "EXPLAIN", Never},
		{"explain verbose insert into t values (1)", "EXPLAIN", Never},
		{"explain (costs off) delete from t", "EXPLAIN", Never},
		{"explain analyze insert into t values (1)", "EXPLAIN", Always},
		{"explain analyse verbose delete from t", "EXPLAIN", Always},
		{"explain (analyze, buffers) update t set a = 1", "EXPLAIN", Always},
		{"explain (buffers, analyze on, format json) update t set a = 1", "EXPLAIN", Always},
		{"explain (analyze false) update t set a = 1", "EXPLAIN", Never},
		{"explain (analyze 'off') update t set a = 1", "EXPLAIN", Never},
		{"explain (analyze 0) update t set a = 1", "EXPLAIN", Never},
		{"explain (analyze 1) update t set a = 1", "EXPLAIN", Always},
		{"explain analyze select 1", "EXPLAIN", Never},
		{"explain analyze (select 1)", "EXPLAIN", Never},
		{"explain (select f())", "EXPLAIN", Never},
		{"explain analyze select f()", "EXPLAIN", IfNoted},
		{"explain analyze with a as (delete from t returning *) select * from a", "EXPLAIN", Always},
		{"explain analyze create table a as select 1", "EXPLAIN", Always},
		{"explain analyze refresh materialized view m", "EXPLAIN", Always},
		{"explain analyze execute e", "EXPLAIN", InBlock},
		{"explain analyze declare c cursor for select f()", "EXPLAIN", IfNoted},

		{"create table t (a int generated always as (b) stored)", "CREATE TABLE", Always},
		{"create unlogged table if not exists t as select 1", "CREATE TABLE AS", Always},
		{"create temp table t (a int)", "CREATE TABLE", Always},
		{"alter table t add a int", "ALTER TABLE", Always},
		{"alter table t detach partition p", "ALTER TABLE", Always},
		{"alter table t detach partition p concurrently", "ALTER TABLE", After},
		{"alter table t detach partition p finalize", "ALTER TABLE", Always},
		{"drop table t", "DROP TABLE", Always},
		{"create unique index on t (a)", "CREATE INDEX", Always},
		{"create index concurrently i on t (a)", "CREATE INDEX", After},
		{"create unique index concurrently on t (a)", "CREATE INDEX", After},
		{"drop index i", "DROP INDEX", Always},
		{"drop index concurrently i", "DROP INDEX", After},
		{"alter index i rename to j", "ALTER INDEX", Always},
		{"create or replace view v as select 1", "CREATE VIEW", Always},
		{"create materialized view v as select 1", "CREATE MATERIALIZED VIEW", Always},
		{"refresh materialized view concurrently v", "REFRESH MATERIALIZED VIEW", Always},
		{"create foreign data wrapper w", "CREATE FOREIGN DATA WRAPPER", Always},
		{"create text search dictionary d (template = simple)", "CREATE TEXT SEARCH DICTIONARY", Always},
		{"create user u", "CREATE ROLE", Always},
		{"create user mapping for u server s", "CREATE USER MAPPING", Always},
		{"alter type t add value 'x'", "ALTER TYPE", Always},
		{"alter default privileges grant select on tables to u", "ALTER DEFAULT PRIVILEGES", Always},
		{"drop owned by u", "DROP OWNED", Always},
		{"create brandnew thing", "CREATE", Always},
		{"comment on table t is 'x'", "COMMENT", Always},
		{"grant select on t to u", "GRANT", Always},
		{"security label on table t is 'x'", "SECURITY LABEL", Always},
		{"import foreign schema s from server x into y", "IMPORT FOREIGN SCHEMA", Always},
		{"reassign owned by a to b", "REASSIGN OWNED", Always},

		{"create database d", "CREATE DATABASE", After},
		{"drop database d", "DROP DATABASE", After},
		{"alter database d set tablespace x", "ALTER DATABASE", After},
		{"alter database d set work_mem = 1", "ALTER DATABASE", Always},
		{"create tablespace x location '/x'", "CREATE TABLESPACE", After},
		{"drop tablespace x", "DROP TABLESPACE", After},
		{"alter tablespace x rename to y", "ALTER TABLESPACE", Always},
		{"alter system set work_mem = 1", "ALTER SYSTEM", After},
		{"create subscription s connection 'x' publication p", "CREATE SUBSCRIPTION", After},
		{"alter subscription s disable", "ALTER SUBSCRIPTION", After},
		{"drop subscription s", "DROP SUBSCRIPTION", After},
		{"cluster", "CLUSTER", After},
		{"reindex table t", "REINDEX", After},
		{"vacuum (analyze) t", "VACUUM", After},
		{"analyze t", "ANALYZE", Never},

		{"call p()", "CALL", InBlock},
		{"do $$ begin end $$", "DO", InBlock},
		{"fetch all from c", "FETCH", IfNoted},
		{"move 1 in c", "MOVE", IfNoted},
		{"declare c cursor for select f()", "DECLARE CURSOR", Never},
		{"close c", "CLOSE", Never},
		{"lock table t", "LOCK", Never},
		{"listen x", "LISTEN", Never},
		{"show all", "SHOW", Never},
		{"brandnew", "", IfNoted},
		{`"insert" into t`, "", IfNoted},
		{"'a'", "", IfNoted},
		{"$1", "", IfNoted},
	} {
		stmts, ok := Split(nil, []byte(test.sql), standard)
		if !ok || len(stmts) != 1 {
			t.Errorf("%s: got %v, %v", test.sql, stmts, ok)
			continue
		}
		if s := stmts[0]; s.Verb != test.verb || s.Note != test.need || s.Tx != NoEffect && s.Tx != Execute && s.Tx != Fetch {
			t.Errorf("%s: got %q %v %v, want %q %v", test.sql, s.Verb, s.Note, s.Tx, test.verb, test.need)
		}
	}
}

func TestEffect(t *testing.T) {
	for _, test := range []struct {
		sql  string
		want Statement
	}{
		{"begin", Statement{Verb: "BEGIN", Tx: Begin}},
		{"begin isolation level serializable", Statement{Verb: "BEGIN", Tx: Begin}},
		{"start transaction read only", Statement{Verb: "START TRANSACTION", Tx: Begin}},
		{"commit", Statement{Verb: "COMMIT", Tx: Commit}},
		{"end work", Statement{Verb: "COMMIT", Tx: Commit}},
		{"commit and chain", Statement{Verb: "COMMIT", Tx: CommitChain}},
		{"end transaction and chain", Statement{Verb: "COMMIT", Tx: CommitChain}},
		{"commit and no chain", Statement{Verb: "COMMIT", Tx: Commit}},
		{"commit prepared 'x'", Statement{Verb: "COMMIT PREPARED"}},
		{"rollback", Statement{Verb: "ROLLBACK", Tx: Rollback}},
		{"abort", Statement{Verb: "ROLLBACK", Tx: Rollback}},
		{"rollback work and chain", Statement{Verb: "ROLLBACK", Tx: RollbackChain}},
		{"rollback and no chain", Statement{Verb: "ROLLBACK", Tx: Rollback}},
		{"rollback to a", Statement{Verb: "ROLLBACK", Tx: RollbackTo}},
		{"rollback work to savepoint a", Statement{Verb: "ROLLBACK", Tx: RollbackTo}},
		{"rollback prepared 'x'", Statement{Verb: "ROLLBACK PREPARED"}},
		{"savepoint a", Statement{Verb: "SAVEPOINT", Tx: Savepoint}},
		{"release a", Statement{Verb: "RELEASE", Tx: Release}},
		{"prepare transaction 'x'", Statement{Verb: "PREPARE TRANSACTION", Tx: PrepareTransaction}},

		{"set role a", Statement{Verb: "SET", Sets: true, Tx: SetRole}},
		{"set local role to a", Statement{Verb: "SET", Sets: true, Tx: SetRole}},
		{`set "role" = a`, Statement{Verb: "SET", Sets: true, Tx: SetRole}},
		{`set U&"\0072ole" = a`, Statement{Verb: "SET", Sets: true, Secret: true, Tx: SetRole}},
		{`set U&"session_authorization" = a`, Statement{Verb: "SET", Sets: true, Secret: true, Tx: SetUser}},
		{"set session authorization a", Statement{Verb: "SET", Sets: true, Tx: SetUser}},
		{"set session session authorization a", Statement{Verb: "SET", Sets: true, Tx: SetUser}},
		{"set local session authorization a", Statement{Verb: "SET", Sets: true, Tx: SetUser}},
		{"set session_authorization = a", Statement{Verb: "SET", Sets: true, Tx: SetUser}},
		{"reset role", Statement{Verb: "RESET", Sets: true, Tx: SetRole}},
		{"reset session authorization", Statement{Verb: "RESET", Sets: true, Tx: SetUser}},
		{"set names 'x'", Statement{Verb: "SET", Sets: true, Tx: SetEncoding}},
		{"set session client_encoding to x", Statement{Verb: "SET", Sets: true, Tx: SetEncoding}},
		{"reset client_encoding", Statement{Verb: "RESET", Sets: true, Tx: SetEncoding}},
		{"reset all", Statement{Verb: "RESET", Sets: true, Tx: SetEncoding}},
		{"set work_mem = 1", Statement{Verb: "SET", Sets: true}},
		{"set transaction read only", Statement{Verb: "SET", Sets: true}},
		{"set session characteristics as transaction read only", Statement{Verb: "SET", Sets: true}},
		{"fetch all from c", Statement{Verb: "FETCH", Note: IfNoted, Tx: Fetch}},
		{"declare c cursor with hold for select 1", Statement{Verb: "DECLARE CURSOR", Tx: Hold}},
		{"do $$begin execute 'declare c cursor With\n hold for select 1'; end$$", Statement{Verb: "DO", Note: InBlock, Tx: Hold}},
		{"do $$begin execute 'declare c cursor without hold for select 1'; end$$", Statement{Verb: "DO", Note: InBlock}},
		{"select f('with hold')", Statement{Verb: "SELECT", Note: IfNoted, Tx: Hold}},
		{"select 'with hold'", Statement{Verb: "SELECT"}},
		{"create function f() returns void language plpgsql as 'with hold'", Statement{Verb: "CREATE FUNCTION", Note: Always}},
		{"set constraints all immediate", Statement{Verb: "SET CONSTRAINTS", Sets: true, Note: IfNoted, Tx: Fire}},
		{"set constraints all deferred", Statement{Verb: "SET CONSTRAINTS", Sets: true}},
		{"discard all", Statement{Verb: "DISCARD ALL", Sets: true, Tx: DiscardAll}},
		{"discard temp", Statement{Verb: "DISCARD", Sets: true}},

		{"reset work_mem", Statement{Verb: "RESET", Sets: true}},
		{"select Set_Config('a.b', $1, true)", Statement{Verb: "SELECT", Note: IfNoted, Sets: true}},
		{"with c as (select pg_catalog.set_config('a.b', 'c', true)) insert into t select * from c", Statement{Verb: "INSERT", Note: Always, Sets: true}},
		{"select 'set_config'", Statement{Verb: "SELECT"}},
		{"insert into t (set_conf, _config) values (1, 2)", Statement{Verb: "INSERT", Note: Always}},
		{"do $$begin perform set_config('a.b', 'c', true); end$$", Statement{Verb: "DO", Note: InBlock, Sets: true}},
		{"prepare a as select set_config('a.b', $1, true)", Statement{Verb: "PREPARE", Tx: Prepare, Name: "a", Inner: IfNoted, Sets: true}},

		{"prepare Ab as insert into t values ($1)", Statement{Verb: "PREPARE", Tx: Prepare, Name: "ab", Inner: Always}},
		{`prepare "A""b" (int, numeric(1,2)) as select $1`, Statement{Verb: "PREPARE", Tx: Prepare, Name: `A"b`, Inner: Never}},
		{"execute a(1, 'x')", Statement{Verb: "EXECUTE", Note: InBlock, Tx: Execute, Name: "a"}},
		{"execute a(f(1))", Statement{Verb: "EXECUTE", Note: InBlock, Tx: Execute, Name: "a", Inner: IfNoted}},
		{"execute a(pgtee.publish('t', 'k', ''))", Statement{Verb: "EXECUTE", Note: InBlock, Tx: Execute, Name: "a", Inner: Always}},
		{"explain analyze execute a(f(1))", Statement{Verb: "EXPLAIN", Note: InBlock, Tx: Execute, Name: "a", Inner: IfNoted}},
		{"prepare a as select f()", Statement{Verb: "PREPARE", Tx: Prepare, Name: "a", Inner: IfNoted}},
		{"prepare transaction as select 1", Statement{Verb: "PREPARE", Tx: Prepare, Name: "transaction", Inner: Never}},
		{"prepare a as with x as (delete from t returning *) select 1", Statement{Verb: "PREPARE", Tx: Prepare, Name: "a", Inner: Always}},
		{"prepare a", Statement{Verb: "PREPARE", Tx: Prepare, Name: "a", Inner: IfNoted}},
		{"execute A(1)", Statement{Verb: "EXECUTE", Note: InBlock, Tx: Execute, Name: "a"}},
		{`execute U&"\0061\+000062\\"`, Statement{Verb: "EXECUTE", Note: InBlock, Tx: Execute, Name: `ab\`}},
		{`execute U&"!0061" uescape '!'`, Statement{Verb: "EXECUTE", Note: InBlock, Tx: Execute, Name: `a`}},
		{"execute ÄÖ", Statement{Verb: "EXECUTE", Note: InBlock, Tx: Execute, Name: "ÄÖ"}},
		{"execute a234567890123456789012345678901234567890123456789012345678901ä",
			Statement{Verb: "EXECUTE", Note: InBlock, Tx: Execute, Name: "a234567890123456789012345678901234567890123456789012345678901ä"}},
		{"execute a2345678901234567890123456789012345678901234567890123456789012ä",
			Statement{Verb: "EXECUTE", Note: InBlock, Tx: Execute, Name: "a2345678901234567890123456789012345678901234567890123456789012"}},
		{"explain analyze execute a", Statement{Verb: "EXPLAIN", Note: InBlock, Tx: Execute, Name: "a"}},
		{"explain execute a", Statement{Verb: "EXPLAIN", Name: "a"}},
		{"create table t (a) as execute b", Statement{Verb: "CREATE TABLE AS", Note: Always, Name: "b"}},
		{"deallocate A", Statement{Verb: "DEALLOCATE", Tx: Deallocate, Name: "a"}},
		{"deallocate prepare a", Statement{Verb: "DEALLOCATE", Tx: Deallocate, Name: "a"}},
		{"deallocate prepare all", Statement{Verb: "DEALLOCATE ALL", Tx: DeallocateAll}},
	} {
		stmts, ok := Split(nil, []byte(test.sql), standard)
		if !ok || len(stmts) != 1 {
			t.Errorf("%s: got %v, %v", test.sql, stmts, ok)
			continue
		}
		test.want.End, test.want.To = len(test.sql), len(test.sql)
		if stmts[0] != test.want {
			t.Errorf("%s:\n got %+v\nwant %+v", test.sql, stmts[0], test.want)
		}
	}
}

func TestCreated(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'": "f",
		"create or replace view Public . \"user\" as select 1":            `"user"`,
		"CREATE TEMP VIEW IF NOT EXISTS v AS SELECT 1":                    "v",
		"CREATE VIEW if AS SELECT 1":                                      "if",
		"CREATE DOMAIN s.d AS int":                                        "d",
		"CREATE OPERATOR s.<+> (FUNCTION = f)":                            "<+>",
		"CREATE CAST (a AS b) WITHOUT FUNCTION":                           "",
		"CREATE":                                                          "", "DROP VIEW v": "", "CREATE VIEW 'v'": "",
	} {
		if got := Created([]byte(sql), Lexis{StandardConformingStrings: true}); string(got) != want {
			t.Errorf("%s: %q", sql, got)
		}
	}
}
