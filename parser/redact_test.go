package parser

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for _, test := range []struct{ sql, want string }{ // X is '<redacted>', an empty want is the text itself
		{"select 1; insert into t values ('a')", ""},
		{"create role a login valid until 'y'", ""},
		{"create role a password 'x' valid until 'y'", "create role a password X valid until 'y'"},
		{"Alter User a With Encrypted Password $$x$$", "Alter User a With Encrypted Password X"},
		{"create group a password U&'x!0061' uescape '!'", "create group a password X uescape '!'"},
		{"alter role a password E'\\x41'", "alter role a password X"},
		{"alter role a password /* x */ 'a'\n'b' valid until 'y'", "alter role a password /* x */ X valid until 'y'"},
		{"alter role a password null valid until 'y'", ""},
		{"alter role a password ('x') valid until 'y'", "alter role a password (X) valid until X"},
		{"alter role a rename to b; alter role b password 'x'; select 'c'", "alter role a rename to b; alter role b password X; select 'c'"},

		{"create user mapping for u server s options (user 'bob', password 'x')", "create user mapping for u server s options (user 'bob', password X)"},
		{`alter user mapping for u server s options (set "Password" 'x', add api_key 'y', drop a)`, `alter user mapping for u server s options (set "Password" X, add api_key X, drop a)`},
		{`create server s foreign data wrapper w options (host 'h', U&"p\0061ss" 'x')`, `create server s foreign data wrapper w options (host 'h', U&"p\0061ss" X)`},
		{"create foreign data wrapper w options (auth_token 'x', debug 'true')", "create foreign data wrapper w options (auth_token X, debug 'true')"},
		{"create foreign table t (a int) server s options (secret_access_key 'x', path 'p')", "create foreign table t (a int) server s options (secret_access_key X, path 'p')"},

		{"create subscription s connection 'host=a' publication p", "create subscription s connection X publication p"},
		{"alter subscription s connection $a$x$a$", "alter subscription s connection X"},

		{"select dblink_connect('a', 'host=b')", "select dblink_connect(X, X)"},
		{"select public.dblink_connect_u('host=b'), 'c'", "select public.dblink_connect_u(X), 'c'"},
		{"select * from dblink('host=x', 'select 1') as t(a text)", "select * from dblink(X, 'select 1') as t(a text)"},
		{"select 'host=h password=x', 'host=h PassWord = x'", "select X, X"},
		{"select 'postgres://u:p@h/d', 'https://h/x', 'https://u@h:80/', 'a://b c://d:e@f'", "select X, 'https://h/x', 'https://u@h:80/', X"},
		{"select 'oauth_client_secret=x', 'a secret'", "select X, 'a secret'"},
		{`select E'pa\x73sword=x', E'a\nb', E'\160'`, `select X, E'a\nb', X`},

		{"set a.secret to hunter2", "set a.secret to X"},
		{"set local my.password = 'x', y", "set local my.password = X"},
		{"set search_path to a, b", ""},
		{"alter system set x.token = 5", "alter system set x.token = X"},
		{"alter role r in database d set my.api_key to 'a'", "alter role r in database d set my.api_key to X"},
		{"alter database d set secret.x to y", "alter database d set secret.x to X"},
		{"create function f() returns int set my.token to x as 'select 1'", "create function f() returns int set my.token to X"},
		{"select set_config('my.secret', 'v', false), 'a'", "select set_config('my.secret', X, false), 'a'"},
		{"select set_config('my.key', (1 || 'v'), false)", "select set_config('my.key', (X || X), false)"},
		{"select set_config('a.b', 'v', false) as token", ""},

		{"update users set password = 'x' where id = 5", "update users set password = X where id = X"},
		{"insert into u (name, passwd) values ('a', 'b')", "insert into u (name, passwd) values (X, X)"},
		{`select * from "Passwords" where a = 'x'`, `select * from "Passwords" where a = X`},
		{"select f(token => 'x', a => 'y')", "select f(token => X, a => 'y')"},
		{"select 1 from t where api_key='x' and key = 'b'", "select 1 from t where api_key=X and key = 'b'"},
		{"do $$ alter role a password 'x' $$", "do X"},
		{"prepare p as update u set pwd = 'x'", "prepare p as update u set pwd = X"},
		{"brandnew password as 'x', 5", "brandnew password as X, X"},
		{"create brandnew a with password is 'x'", "create brandnew a with password is X"},
		{"create table t (password text default 'a', b int default 5, key text default 'b')", "create table t (password text default X, b int default 5, key text default 'b')"},
		{"ALTER TABLE u ADD password text DEFAULT 'hunter2'", "ALTER TABLE u ADD password text DEFAULT X"},
		{"alter table u add b int default 5, add pin_token numeric(4,0) default 1234, add c text default 'c'", "alter table u add b int default 5, add pin_token numeric(X,X) default X, add c text default 'c'"},
		{`alter table u alter column "apiKey" set default ('a' || 'b'), alter c set default 'c'`, `alter table u alter column "apiKey" set default (X || X), alter c set default 'c'`},
		{"alter foreign table u add secret text options (column_name 'c') default 'x'", "alter foreign table u add secret text options (column_name X) default X"},
		{"create table t (a int, primary key (a), jwt text default 'x') partition by list (a)", "create table t (a int, primary key (a), jwt text default X) partition by list (a)"},
		{"create domain password as text default 'x' check (value <> 'y')", "create domain password as text default X check (value <> X)"},
		{"alter domain d_secret set default 'x'", "alter domain d_secret set default X"},

		{"create view v as select pgp_sym_decrypt(c, 'key') as c, 'd' as d from t", "create view v as select pgp_sym_decrypt(c, X) as c, 'd' as d from t"},
		{"create policy p on t using (public.pgp_sym_decrypt_bytea (c, f('key')) = 'a')", "create policy p on t using (public.pgp_sym_decrypt_bytea (c, f(X)) = 'a')"},
		{"alter table t add d text generated always as (encode(hmac(c, 'key', 'sha256'), 'hex')) stored", "alter table t add d text generated always as (encode(hmac(c, X, X), 'hex')) stored"},
		{"create function f() returns text language sql as $$select pgp_sym_decrypt (c, 'key') from t$$", "create function f() returns text language sql as X"},
		{"create function f() returns text language sql return encrypt('a', 'key', 'aes')", "create function f() returns text language sql return encrypt(X, X, X)"},
		{"create index on t (crypt(c, 'salt'), b) where b > 'c'", "create index on t (crypt(c, X), b) where b > 'c'"},
		{"select vault.create_secret('x', 'name'), aws_commons.create_aws_credentials('a', 'b', 'c')", "select vault.create_secret(X, X), aws_commons.create_aws_credentials(X, X, X)"},
		{"insert into t values ('we crypt', 'decrypt it (all)', 'crypt(x)')", "insert into t values ('we crypt', 'decrypt it (all)', X)"},
		{"select 'eyJhbGciOiJIUzI1NiJ9.e30.x', 'AKIAIOSFODNN7EXAMPLE', '-----BEGIN PRIVATE KEY-----'", "select X, X, X"},
		{"alter system set primary_conninfo = 'host=h user=u'", "alter system set primary_conninfo = X"},
		{"alter system set archive_command to 'curl -u a:b h'", "alter system set archive_command to X"},
		{"create view v as select 'x' as password", "create view v as select X as password"},
		{"create materialized view v as select 1, 'x' as pwd", "create materialized view v as select X, X as pwd"},
		{"create table t as select 'x' as password", "create table t as select X as password"},
		{"create rule r as on insert to t do also insert into u (password) values ('x')", "create rule r as on insert to t do also insert into u (password) values (X)"},
		{"create function f() returns int begin atomic update u set pwd = 'x'; end", "create function f() returns int begin atomic update u set pwd = X"},
		{"create trigger g after insert on t execute function f('Authorization: Bearer abc', 'x')", "create trigger g after insert on t execute function f(X, 'x')"},
		{"comment on column u.password is 'hash'", ""},
		{"copy t from program 'curl -u a:b http://h' with (format csv, null 'x')", "copy t from program X with (format csv, null 'x')"},
		{"copy (select program from t) to 'f'", ""},

		{"select 1 /* password=x */ from t", "select 1 from t"},
		{"-- pwd x\nselect 1; /* postgres://u:p@h */ select 2; -- fine\n", " select 1; select 2; -- fine\n"},
		{"select 1; /* token: x */", "select 1; "},

		{"select 'x", redactedText},
		{"alter role a password 'x", redactedText},
		{"select /* x", redactedText},
	} {
		want := strings.ReplaceAll(test.want, "X", redactedLiteral)
		if test.want == "" {
			want = test.sql
		}
		out, changed := Redact([]byte("kept "), []byte(test.sql), standard)
		if string(out) != "kept "+want || changed != (want != test.sql) {
			t.Errorf("%s\n got %s, %v\nwant %s", test.sql, out, changed, want)
		}
	}
}

// TestSecret checks that Split and Redact agree, statement by statement.
func TestSecret(t *testing.T) {
	sql := []byte("alter role a password 'x'; select 'a'; select 'password=x'; create subscription s connection 'x'; select 1 /* pwd */ + 2 -- pwd")
	stmts, ok := Split(nil, sql, standard)
	if !ok || len(stmts) != 5 {
		t.Fatalf("got %v, %v", stmts, ok)
	}
	for i, want := range []bool{true, false, true, true, true} {
		if stmts[i].Secret != want {
			t.Errorf("%s: got %v", sql[stmts[i].Start:stmts[i].End], stmts[i].Secret)
		}
	}
}

// TestMentionsSecret checks the quick test against the rules that it stands in front of.
func TestMentionsSecret(t *testing.T) {
	for _, name := range append([]string{"KEY", "dblink", "connection", "jwt", "encrypt(", "hmac", "program", "primary_conninfo", "archive_command", "eyJ", "AKIA", "sk_live", "xoxb-", "ghp_", "account_add", "PassWd", "ssl_passphrase", "bearer "}, secretNames...) {
		if !mentionsSecret([]byte("a" + name + "b")) {
			t.Errorf("%s is not seen", name)
		}
	}
	for _, sql := range tpcb {
		if mentionsSecret([]byte(sql)) {
			t.Errorf("%s: sees what is not there", sql)
		}
	}
}
