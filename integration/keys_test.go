package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// ExpectRecords fails the test unless the records of a table are these, in their order: "op key before after", or "key null" for a tombstone; before and
// after as far as they are given.
func (r *runner) ExpectRecords(table string, want ...string) {
	r.t.Helper()
	var got []string
	for _, record := range r.Topic("public." + table) {
		key := string(record.Key)
		if record.Key == nil {
			key = "-"
		}
		if record.Value == nil {
			got = append(got, key+" null")
			continue
		}
		var e struct {
			Op            string
			Before, After json.RawMessage
		}
		r.must(json.Unmarshal(record.Value, &e))
		got = append(got, strings.Join([]string{e.Op, key, string(e.Before), string(e.After)}, " "))
	}
	if !slices.EqualFunc(got, want, func(got, want string) bool { return strings.HasPrefix(got, want) }) {
		r.t.Errorf("records of %s:\n%s\nwant\n%s", table, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const keyedTables = `
CREATE TABLE fr (id int, region text, v text, big text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE fr1 PARTITION OF fr FOR VALUES FROM (0) TO (1000); ALTER TABLE fr1 ALTER big SET STORAGE EXTERNAL; ALTER TABLE fr REPLICA IDENTITY FULL;
CREATE TABLE fw (LIKE fr, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE fw1 PARTITION OF fw FOR VALUES FROM (0) TO (1000); ALTER TABLE fw REPLICA IDENTITY FULL;
CREATE TABLE ev (id int NOT NULL, at text NOT NULL, v text) PARTITION BY RANGE (at);
CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); ALTER TABLE ev_1 ADD PRIMARY KEY (id);
CREATE TABLE ef (id int NOT NULL, v text) PARTITION BY RANGE (id); CREATE TABLE ef_1 PARTITION OF ef DEFAULT; ALTER TABLE ef_1 REPLICA IDENTITY FULL;
CREATE TABLE od (a int NOT NULL, c int NOT NULL, b text, g int GENERATED ALWAYS AS (c * 10) STORED, PRIMARY KEY (a, g));
CREATE TABLE u (code text NOT NULL, ref int NOT NULL, v int); CREATE UNIQUE INDEX m_code ON u (code); ALTER TABLE u REPLICA IDENTITY FULL;
CREATE TABLE cov (id int, name text, v int, PRIMARY KEY (id) INCLUDE (name));
CREATE TABLE po (id int, at int, code text NOT NULL, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE po1 PARTITION OF po DEFAULT; CREATE UNIQUE INDEX po1_code ON po1 (code); ALTER TABLE po1 REPLICA IDENTITY USING INDEX po1_code;
CREATE TABLE de (id int PRIMARY KEY DEFERRABLE, v text); ALTER TABLE de REPLICA IDENTITY FULL;
CREATE TABLE du (id int PRIMARY KEY DEFERRABLE, code text NOT NULL UNIQUE); ALTER TABLE du REPLICA IDENTITY FULL;
CREATE TABLE di (id int PRIMARY KEY DEFERRABLE, code text NOT NULL); CREATE UNIQUE INDEX di_code ON di (id, code); ALTER TABLE di REPLICA IDENTITY USING INDEX di_code;
CREATE TABLE dp (id int PRIMARY KEY DEFERRABLE, v text) PARTITION BY RANGE (id); CREATE TABLE dp1 PARTITION OF dp DEFAULT; ALTER TABLE dp1 REPLICA IDENTITY FULL;`

// One row has one key: of partitions, generated columns, unique indexes and INCLUDE columns.
func TestKeys(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
			r.Exec(keyedTables, "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
			r.Setup()
			r.publisher = r.process("publish", append(r.publishArgs(), "--tables", `[{match: public.fw, where: "region = 'eu'"}]`)...)
			for _, table := range []string{"fr", "fw"} {
				r.Exec("INSERT INTO "+table+" VALUES (1,'eu','a',repeat('x',5000)), (2,'eu','b',repeat('y',5000)), (3,'us','c','s')",
					"UPDATE "+table+" SET region = 'us' WHERE id = 1", "UPDATE "+table+" SET id = 20 WHERE id = 2", "DELETE FROM "+table+" WHERE id = 20")
			}
			r.Exec("INSERT INTO ev VALUES (7, '2026-01-05', 'a')", "UPDATE ev SET v = 'b' WHERE id = 7", "UPDATE ev SET id = 8 WHERE id = 7", "DELETE FROM ev WHERE id = 8",
				"INSERT INTO ef VALUES (7, 'a')", "DELETE FROM ef",
				"INSERT INTO od (a, c, b) VALUES (1,1,'one'), (1,2,'two')", "DELETE FROM od WHERE a = 1 AND c = 1",
				"INSERT INTO u VALUES ('a',1,0)", "CREATE UNIQUE INDEX a_ref ON u (ref)", "UPDATE u SET v = 1", "ALTER INDEX m_code RENAME TO z_code", "DELETE FROM u",
				"INSERT INTO cov VALUES (1, 'n', 0)", "UPDATE cov SET name = 'm'", "DELETE FROM cov",
				"INSERT INTO po VALUES (1, 1, 'a', 'v')", "UPDATE po SET v = 'w'", "DELETE FROM po")
			for _, table := range []string{"de", "du", "di", "dp"} {
				r.Exec("INSERT INTO "+table+" VALUES (1, 'a'), (2, 'b')", "UPDATE "+table+" SET id = id + 1")
			}
			r.Drain()
			big := `"big":"` + strings.Repeat("y", 5000) + `"`
			r.ExpectRecords("fr", `c {"id":1}`, `c {"id":2}`, `c {"id":3}`, `u {"id":1} null {"id":1,"region":"us","v":"a","big":"__debezium_unavailable_value"}`,
				`d {"id":2} {"id":2} null`, `{"id":2} null`, `c {"id":20} null {"id":20,"region":"eu","v":"b","big":"__debezium_unavailable_value"}`, `d {"id":20} {"id":20} null`, `{"id":20} null`)
			r.ExpectRecords("fw", `c {"id":1}`, `c {"id":2} null {"id":2,"region":"eu","v":"b",`+big, `d {"id":1} {"id":1} null`, `{"id":1} null`,
				`d {"id":2} {"id":2} null`, `{"id":2} null`, `c {"id":20}`, `d {"id":20} {"id":20} null`, `{"id":20} null`)
			r.ExpectRecords("ev", `c {"id":7}`, `u {"id":7}`, `d {"id":7} {"id":7} null`, `{"id":7} null`, `c {"id":8}`, `d {"id":8} {"id":8} null`, `{"id":8} null`)
			r.ExpectRecords("ef", `c -`, `d - {"id":7,"v":"a"} null`, `- null`)
			r.ExpectRecords("u", `c {"code":"a"}`, `u {"code":"a"}`, `d {"code":"a"}`, `{"code":"a"} null`)
			r.ExpectRecords("cov", `c {"id":1}`, `u {"id":1}`, `d {"id":1}`, `{"id":1} null`)
			r.ExpectRecords("po", `c {"code":"a"}`, `u {"code":"a"}`, `d {"code":"a"}`, `{"code":"a"} null`)
			for _, table := range []string{"de", "dp"} { // two rows have the same id for a moment
				r.ExpectRecords(table, `c -`, `c -`, `u - {"id":1,"v":"a"} {"id":2,"v":"a"}`, `u - {"id":2,"v":"b"} {"id":3,"v":"b"}`)
			}
			r.ExpectRecords("du", `c {"code":"a"}`, `c {"code":"b"}`, `u {"code":"a"}`, `u {"code":"b"}`)
			r.ExpectRecords("di", `c {"id":1,"code":"a"}`, `c {"id":2,"code":"b"}`, `d {"id":1,"code":"a"}`, `{"id":1,"code":"a"} null`, `c {"id":2,"code":"a"}`,
				`d {"id":2,"code":"b"}`, `{"id":2,"code":"b"} null`, `c {"id":3,"code":"b"}`)
			if out, _ := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot); strings.Contains(out, "the replica identity of table public.od has a generated column") != (major < 18) {
				t.Errorf("check says of the key of od:\n%s", out)
			}
			want := []string{"ef", "de", "dp", "od"}
			if major >= 18 {
				want = want[:3]
			}
			out, _ := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot, "--no-allow-unkeyed")
			for _, table := range []string{"fr", "fw", "ev", "ef", "od", "u", "cov", "po", "de", "du", "di", "dp"} {
				if strings.Contains(out, "table public."+table+" has no key") != slices.Contains(want, table) {
					t.Errorf("check --no-allow-unkeyed says of %s:\n%s", table, out)
				}
			}
			if major >= 18 {
				r.ExpectRecords("od", `c {"a":1,"g":10}`, `c {"a":1,"g":20}`, `d {"a":1,"g":10}`, `{"a":1,"g":10} null`)
				return
			}
			r.ExpectRecords("od", `c -`, `c -`) // no delete could say of which row it is
			if !strings.Contains(r.publisher.Log(), "generated column g") {
				t.Error("the log does not say that records of od have no key")
			}
		})
	}
}

// What was dropped or changed before its rows are read keeps key and form: the catalog has moved on, and is asked what there was.
func TestKeysBeforeDDL(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
			r.Exec(`CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY); CREATE EXTENSION hstore; CREATE DOMAIN qty AS int; CREATE DOMAIN small AS qty; CREATE TYPE mood AS ENUM ('sad','ok');
				CREATE TABLE ty (id qty PRIMARY KEY, n small, h hstore, ms mood[]); CREATE TABLE ga (id int PRIMARY KEY, m mood DEFAULT 'ok', q qty[]);
				CREATE TABLE f (id int PRIMARY KEY, v text NOT NULL); ALTER TABLE f REPLICA IDENTITY FULL; CREATE TABLE fk (LIKE f, PRIMARY KEY (id)); ALTER TABLE fk REPLICA IDENTITY FULL;
				CREATE TABLE ux (code text NOT NULL, ref int NOT NULL, v int); CREATE UNIQUE INDEX ux_code ON ux (code); ALTER TABLE ux REPLICA IDENTITY FULL;
				CREATE TABLE kx (code text NOT NULL, v int); ALTER TABLE kx REPLICA IDENTITY FULL; CREATE TABLE uc (code text NOT NULL, v int); CREATE UNIQUE INDEX "uc Code" ON uc (code); ALTER TABLE uc REPLICA IDENTITY FULL;
				CREATE SCHEMA going; CREATE TABLE fs (a int, b int, PRIMARY KEY (b, a)); CREATE TABLE fp (id int, v text) PARTITION BY LIST (v); CREATE TABLE fp1 PARTITION OF fp FOR VALUES IN ('a'); ALTER TABLE fp1 ADD PRIMARY KEY (id);
				CREATE TABLE par (id int, v text); CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (par); ALTER TABLE heir REPLICA IDENTITY FULL;
				CREATE TYPE pair AS (id int, v text); CREATE TABLE typed OF pair (PRIMARY KEY (id)); ALTER TABLE typed REPLICA IDENTITY FULL;
				CREATE TABLE nv (id int PRIMARY KEY, c int); INSERT INTO nv VALUES (1, NULL), (2, NULL), (3, 3)`)
			if major >= 18 {
				r.Exec("ALTER TABLE nv ADD CONSTRAINT nv_c NOT NULL c NOT VALID")
			}
			r.Setup()
			r.StartPublisher()
			r.Exec("INSERT INTO ty VALUES (1, 5, 'a=>1', '{sad,ok}')", "INSERT INTO ga VALUES (1, 'sad', '{1}')", "INSERT INTO f VALUES (1,'a')", "INSERT INTO fk VALUES (1,'a')", "INSERT INTO fs VALUES (1, 2)", "INSERT INTO fp VALUES (1, 'a')", "INSERT INTO ux VALUES ('a', 1, 0)", "INSERT INTO uc VALUES ('a', 0)")
			r.Drain()
			r.Stop(r.publisher)
			r.Exec("INSERT INTO ty VALUES (2, 6, 'b=>2', '{ok}')", "ALTER TABLE ty ALTER id TYPE int, ALTER n TYPE int, ALTER h TYPE jsonb USING hstore_to_jsonb(h), ALTER ms TYPE text[] USING ms::text[]",
				"INSERT INTO ga VALUES (2, 'ok', '{2}')", "DROP DOMAIN qty CASCADE; DROP EXTENSION hstore; DROP TYPE mood CASCADE",
				"INSERT INTO f VALUES (2,'b'); UPDATE f SET v='c' WHERE id=1; DELETE FROM f WHERE id=2; DROP TABLE f",
				"INSERT INTO fk VALUES (2,'b'); UPDATE fk SET v='c' WHERE id=1", "ALTER TABLE fk DROP CONSTRAINT fk_pkey, ADD PRIMARY KEY (v)", "UPDATE fk SET id = 3 WHERE id = 1",
				"BEGIN; INSERT INTO fs VALUES (3, 4); ALTER TABLE fs DROP CONSTRAINT fs_pkey; INSERT INTO fs VALUES (5, 6); DROP TABLE fs; COMMIT",
				"UPDATE fp SET id = 2; DROP TABLE fp", "DELETE FROM uc", `DROP INDEX CONCURRENTLY IF EXISTS public."uc Code"`,
				"INSERT INTO kx VALUES ('a', 1), ('a', 2)", "DELETE FROM kx WHERE v = 2", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS kx_code ON public.kx(code)", "UPDATE kx SET v = 3",
				"CREATE UNIQUE INDEX a_ref ON ux (ref)", "REINDEX INDEX CONCURRENTLY ux_code", "ALTER TABLE ux ALTER code TYPE varchar(10)", "UPDATE ux SET v = 1", "DROP INDEX ux_code", "UPDATE ux SET v = 2",
				"INSERT INTO heir VALUES (1, 'a')", "ALTER TABLE par RENAME id TO ident", "INSERT INTO typed VALUES (1, 'a')", "ALTER TYPE pair RENAME ATTRIBUTE id TO ident CASCADE",
				"CREATE TABLE going.n (id int PRIMARY KEY); ALTER TABLE going.n REPLICA IDENTITY FULL; INSERT INTO going.n VALUES (1); DROP SCHEMA going CASCADE",
				"DELETE FROM nv WHERE id < 3", "ALTER TABLE nv ALTER c SET NOT NULL", "DELETE FROM nv")
			r.StartPublisher()
			r.Drain()
			r.ExpectRecords("ty", `c {"id":1} null {"id":1,"n":5,"h":"{\"a\":\"1\"}","ms":["sad","ok"]}`, `c {"id":2} null {"id":2,"n":6,"h":"{\"b\":\"2\"}","ms":["ok"]}`)
			r.ExpectRecords("uc", `c {"code":"a"}`, `d {"code":"a"}`, `{"code":"a"} null`)
			r.ExpectRecords("kx", `c -`, `c -`, `d -`, `- null`, `u {"code":"a"}`)
			r.ExpectRecords("ga", `c {"id":1} null {"id":1,"m":"sad","q":[1]}`, `c {"id":2} null {"id":2,"m":"ok","q":[2]}`)
			r.ExpectRecords("f", `c {"id":1}`, `c {"id":2}`, `u {"id":1}`, `d {"id":2}`, `{"id":2} null`)
			r.ExpectRecords("fk", `c {"id":1}`, `c {"id":2}`, `u {"id":1}`, `u {"v":"c"}`)
			r.ExpectRecords("fs", `c {"b":2,"a":1}`, `c {"b":4,"a":3}`, `c -`)
			r.ExpectRecords("fp", `c {"id":1}`, `d {"id":1}`, `{"id":1} null`, `c {"id":2}`)
			r.ExpectRecords("ux", `c {"code":"a"}`, `u {"code":"a"}`, `u {"ref":1}`)
			r.ExpectRecords("heir", `c {"id":1}`)
			r.ExpectRecords("typed", `c {"id":1}`)
			r.ExpectRecords("nv", `d {"id":1} {"id":1,"c":null}`, `{"id":1} null`, `d {"id":2} {"id":2,"c":null}`, `{"id":2} null`, `d {"id":3} {"id":3,"c":0}`, `{"id":3} null`)
			if records := r.Topic("going.n"); len(records) != 1 || string(records[0].Key) != `{"id":1}` {
				t.Errorf("records of a dropped schema: %v", records)
			}
			if !strings.Contains(r.publisher.Log(), "the key of table public.fk is another one") {
				t.Error("the log does not say that the key of fk has changed")
			}
			// Only the first command of a transaction can be CONCURRENTLY: for others nothing is looked up.
			conn, kept := r.dial(r.URL()), ""
			defer conn.Close(r.ctx)
			r.in(conn, "CREATE UNIQUE INDEX CONCURRENTLY ON kx (code, v)")
			r.must(runSQL(r, conn, "CREATE TABLE plain (id int); CREATE UNIQUE INDEX ON plain (id); -- CREATE UNIQUE INDEX CONCURRENTLY ON plain (id)"))
			r.must(conn.QueryRow(r.ctx, "SELECT current_setting('pgtee.kept')").Scan(&kept))
			if kept != "" {
				t.Errorf("kept for a plain CREATE INDEX: %s", kept)
			}
		})
	}
}

// A table that is created, filled and given its key in one transaction, as a dump is restored, has one key.
func TestKeyAfterTheRows(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
			r.startCapture()
			r.Exec("BEGIN; CREATE TABLE n AS SELECT g AS id, 'v' AS v FROM generate_series(1, 2) AS g; ALTER TABLE n ALTER v SET DEFAULT 'd'; ALTER TABLE n ADD PRIMARY KEY (id); COMMIT", "DELETE FROM n WHERE id = 1",
				`BEGIN; CREATE TABLE m (id int NOT NULL, v text) PARTITION BY RANGE (id); CREATE TABLE m1 (id int NOT NULL, v text); CREATE TABLE m2 (id int NOT NULL, v text);
				ALTER TABLE ONLY m ATTACH PARTITION m1 FOR VALUES FROM (0) TO (10); ALTER TABLE ONLY m ATTACH PARTITION m2 FOR VALUES FROM (10) TO (20);
				INSERT INTO m1 VALUES (1, 'v'); INSERT INTO m2 VALUES (11, 'v');
				ALTER TABLE ONLY m ADD CONSTRAINT m_pkey PRIMARY KEY (id); ALTER TABLE ONLY m1 ADD CONSTRAINT m1_pkey PRIMARY KEY (id); ALTER TABLE ONLY m2 ADD CONSTRAINT m2_pkey PRIMARY KEY (id);
				ALTER INDEX m_pkey ATTACH PARTITION m1_pkey; ALTER INDEX m_pkey ATTACH PARTITION m2_pkey; COMMIT`, "DELETE FROM m WHERE id = 1",
				"BEGIN; CREATE TABLE par (id int, v text); CREATE TABLE kid () INHERITS (par); INSERT INTO kid VALUES (1, 'v'); ALTER TABLE kid ADD PRIMARY KEY (id); COMMIT", "DELETE FROM par",
				"BEGIN; CREATE TABLE gone AS SELECT 1 AS id, 'v' AS v; DROP TABLE gone; COMMIT")
			r.Drain()
			r.ExpectRecords("n", `c {"id":1}`, `c {"id":2}`, `d {"id":1}`, `{"id":1} null`)
			r.ExpectRecords("m", `c {"id":1}`, `c {"id":11}`, `d {"id":1}`, `{"id":1} null`)
			r.ExpectRecords("kid", `c {"id":1}`, `d {"id":1}`, `{"id":1} null`)
			r.ExpectRecords("gone", `c - null {"id":1,"v":"v"}`)
		})
	}
}

// What a synchronous standby keeps from being visible is in the log already: it is not encoded before the catalog knows it.
func TestCatalogBehindTheLog(t *testing.T) {
	server, err := world.StartPostgres(18, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, must(t, sharedBinary), server, "message")
	r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	r.Setup()
	r.StartPublisher()
	r.Drain()
	r.Exec("ALTER SYSTEM SET synchronous_standby_names = 'ghost'", "SELECT pg_reload_conf()")
	done := make(chan error, 1)
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	go func() {
		_, err := conn.Exec(r.ctx, "BEGIN; CREATE DOMAIN q AS int; CREATE TABLE fresh (id q PRIMARY KEY, n q); ALTER TABLE fresh REPLICA IDENTITY FULL; INSERT INTO fresh VALUES (1, 5); COMMIT")
		done <- err
	}()
	r.must(harness.Eventually(time.Minute, func(context.Context) error {
		if !strings.Contains(r.publisher.Log(), "not visible to others yet") {
			return errors.New("the log does not say for what the publisher waits")
		}
		return nil
	}))
	r.ExpectRecords("fresh")
	r.Exec("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
	r.must(<-done)
	r.Exec("INSERT INTO fresh VALUES (2, 6)")
	r.Drain()
	r.ExpectRecords("fresh", `c {"id":1} null {"id":1,"n":5}`, `c {"id":2} null {"id":2,"n":6}`)
	r.freeze("fresh")
	if got := r.Query("SELECT pgtee.is_new('fresh'::regclass)::text"); got != "false" {
		t.Errorf("a table whose transaction the server has forgotten: is_new is %s, want false", got)
	}
}

// freeze makes the server forget the state of the transaction that created a table, as it does after 200 million further ones.
func (r *runner) freeze(table string) {
	r.t.Helper()
	r.must(harness.Eventually(time.Minute, func(context.Context) error {
		r.Exec("CHECKPOINT") // it logs the running transactions, so that the slot can go on
		r.Exec("INSERT INTO mark.mark SELECT coalesce(max(id), 0) + 1 FROM mark.mark")
		if r.Query("SELECT (age(a.xmin) > age(s.catalog_xmin))::text FROM pg_attribute AS a, pg_replication_slots AS s WHERE a.attrelid = $1::text::regclass AND a.attname = 'tableoid' AND s.slot_name = $2", table, r.slot) != "true" {
			return errors.New("the slot still needs the catalog from before the table")
		}
		return nil
	}))
	r.Exec("ALTER DATABASE template0 ALLOW_CONNECTIONS true")
	for _, database := range []string{"template0", "template1", "postgres", r.database} {
		conn := r.dial(r.server.URL(database))
		r.in(conn, "VACUUM FREEZE")
		r.must(conn.Close(r.ctx))
	}
	r.Exec("CHECKPOINT")
	r.must(r.server.Restart(r.ctx))
}

// A copy brings no row back that is older than what the stream has told, whatever tells rows apart in the log.
func TestCopiesOfKeys(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
			r.Exec(keyedTables, "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)",
				`INSERT INTO fr SELECT g, 'eu', 'v' || g, repeat('x', 3000) FROM generate_series(1, 900) AS g; INSERT INTO cov SELECT g, 'n' || g, 0 FROM generate_series(1, 900) AS g;
				INSERT INTO ev SELECT g, (date '2026-01-01' + g % 30)::text, 'v' || g FROM generate_series(1, 900) AS g; INSERT INTO u SELECT 'c' || g, g, 0 FROM generate_series(1, 900) AS g`)
			r.Setup()
			r.publisher = r.process("publish", append(r.publishArgs(), "--snapshot", "initial", "--snapshot-rows-per-second", "1500")...)
			stop, stopped := make(chan struct{}), make(chan error)
			go func() { // until the copy has ended
				conn, err := pgx.Connect(r.ctx, r.URL())
				for i := 0; err == nil; i++ {
					select {
					case <-stop:
						stopped <- conn.Close(r.ctx)
						return
					default:
						_, err = conn.Exec(r.ctx, fmt.Sprintf(`UPDATE fr SET v = v || '!' WHERE id %% 31 = %[1]d; UPDATE fr SET id = id + 90 WHERE id = 811 + %[2]d AND id <= 900; DELETE FROM fr WHERE id = 5 * %[2]d;
							UPDATE cov SET v = v + 1, name = 'm%[2]d' WHERE id %% 31 = %[1]d; DELETE FROM cov WHERE id = 5 * %[2]d; INSERT INTO cov VALUES (9000 + %[2]d, 'z', 0);
							UPDATE ev SET v = v || '!' WHERE id %% 31 = %[1]d; UPDATE ev SET id = id + 10000 WHERE id = 3 * %[2]d; DELETE FROM ev WHERE id = 5 * %[2]d;
							UPDATE u SET v = v + 1 WHERE ref %% 31 = %[1]d; DELETE FROM u WHERE ref = 5 * %[2]d`, i%31, i))
						time.Sleep(5 * time.Millisecond) // more load would only make more to publish
					}
				}
				stopped <- err
			}()
			r.AwaitSnapshots("initial")
			close(stop)
			r.must(<-stopped)
			r.Drain()
			for table, key := range map[string][]string{"fr": {"id"}, "cov": {"id"}, "ev": {"id"}, "u": {"code"}} {
				r.ExpectFolded(table, key)
				for _, record := range r.Topic("public." + table) {
					var got map[string]any
					if err := json.Unmarshal(record.Key, &got); err != nil || len(got) != 1 || got[key[0]] == nil {
						t.Fatalf("key %s of a record of %s, want %s", record.Key, table, key)
					}
				}
			}
		})
	}
}

// What ATTACH, DETACH and DROP do to the rows of a partitioned table is in no record of rows: the DDL record names the table and the partition.
func TestPartitionsInDDLRecords(t *testing.T) {
	for _, major := range []int{15, 18} {
		r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
		r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)", `CREATE TABLE d (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
			CREATE TABLE d1 PARTITION OF d FOR VALUES FROM (0) TO (10); CREATE TABLE "D 2" (LIKE d INCLUDING ALL); INSERT INTO "D 2" VALUES (15, 'q')`)
		r.Setup()
		r.StartPublisher()
		r.Exec("TRUNCATE d1", `ALTER TABLE d ATTACH PARTITION "D 2" FOR VALUES FROM (10) TO (20)`, "ALTER TABLE d DETACH PARTITION d1", "ALTER TABLE d ATTACH PARTITION d1 FOR VALUES FROM (0) TO (10)",
			"DROP TABLE d1", "CREATE TABLE d3 PARTITION OF d FOR VALUES FROM (20) TO (30) PARTITION BY RANGE (id)", "CREATE TABLE d4 PARTITION OF d3 FOR VALUES FROM (20) TO (25)", "ALTER TABLE d ADD COLUMN n int")
		session := r.session("CREATE SCHEMA s", "SET search_path = s, public", `ALTER TABLE d DETACH PARTITION "D 2" CONCURRENTLY`)
		r.must(session.Close(r.ctx))
		r.Drain()
		var got []string
		for _, record := range r.Topic("ddl") {
			var d struct {
				Objects []struct{ Command, Name, Root string }
			}
			r.must(json.Unmarshal(record.Value, &d))
			line := ""
			for _, o := range d.Objects {
				if o.Root != "" {
					line += fmt.Sprintf("%s %s of %s, ", o.Command, o.Name, o.Root)
				} else {
					line += fmt.Sprintf("%s %s, ", o.Command, o.Name)
				}
			}
			got = append(got, strings.TrimSuffix(line, ", "))
		}
		want := []string{
			`ALTER TABLE public.d, ATTACH PARTITION public."D 2" of public.d`, `ALTER TABLE public.d, DETACH PARTITION public.d1 of public.d`, `ALTER TABLE public.d, ATTACH PARTITION public.d1 of public.d`,
			`DROP TABLE public.d1 of public.d`, `CREATE TABLE public.d3 of public.d`, `CREATE TABLE public.d4 of public.d`, `ALTER TABLE public.d`,
			`CREATE SCHEMA s`, `ALTER TABLE public.d, DETACH PARTITION public."D 2" of public.d`,
		}
		if !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Errorf("PostgreSQL %d:\n%s\nwant\n%s", major, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
