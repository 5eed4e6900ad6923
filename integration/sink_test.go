package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// sinkSchema has the types that Debezium's JDBC sink knows what to do with; for the geometric ones it
// calls PostGIS.
const sinkSchema = `CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE SCHEMA sink;
CREATE TYPE sink.mood AS ENUM ('sad', 'so, so');
CREATE DOMAIN sink.price AS numeric(10,2);
CREATE TABLE sink.kinds (id int PRIMARY KEY, b bool, i2 int2, i8 int8, o oid, f4 float4, f8 float8, n numeric(12,3), v numeric, m money, p sink.price,
	t text, vc varchar(20), c char(5), ci citext, u uuid, j json, jb jsonb, x xml, e sink.mood, raw bytea, bits bit(9), bit1 bit(1),
	d date, tm time, tm3 time(3), ttz timetz, ts timestamp, ts3 timestamp(3), tz timestamptz, iv interval,
	ip inet, ci4 cidr, mac macaddr, r int4range, ts_v tsvector, hs hstore, texts text[], ints int[], bigs bigint[], bools bool[], uuids uuid[]);
CREATE TABLE sink.person (id bigint PRIMARY KEY, name text NOT NULL DEFAULT 'nobody', age int DEFAULT 7);
CREATE TABLE sink.pair (a text, b uuid, n int NOT NULL, PRIMARY KEY (b, a));
CREATE TABLE sink.whole (id int PRIMARY KEY, big text, n int); ALTER TABLE sink.whole REPLICA IDENTITY FULL;
CREATE TABLE sink.emptied (id int PRIMARY KEY, line text);`

var sinkTables = []string{"kinds", "person", "pair", "whole", "emptied"}

// sinkWorkload is every operation; the last row of each table is inserted last.
func sinkWorkload() []string {
	var list []string
	for i := range 40 {
		list = append(list,
			fmt.Sprintf(`INSERT INTO sink.person (id, name) VALUES (%d, 'name %[1]d')`, i),
			fmt.Sprintf(`BEGIN; INSERT INTO sink.pair VALUES ('a%d', gen_random_uuid(), %[1]d); INSERT INTO sink.whole VALUES (%[1]d, repeat(md5(random()::text), 500), 0); COMMIT`, i),
			fmt.Sprintf(`UPDATE sink.person SET id = id + 1000 WHERE id = %d AND id %% 3 = 0`, i),
			fmt.Sprintf(`DELETE FROM sink.person WHERE id = %d AND id %% 4 = 1`, i),
			fmt.Sprintf(`UPDATE sink.whole SET n = n + 1 WHERE id %% 7 = %d %% 7`, i),
			fmt.Sprintf(`UPDATE sink.pair SET n = -n WHERE n = %d AND n %% 2 = 0`, i),
		)
	}
	list = append(list,
		`INSERT INTO sink.kinds VALUES (1, true, -32768, 9223372036854775807, 4294967295, 1.5, 0.1, -123456789.125, 12345678901234567890.12345, -1234.56, 9.90,
			'it''s "quoted" \ ü 😀', 'vc', 'ab', 'CiText', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, null]}', '{"b": "ü"}', '<a b="c">d</a>', 'so, so', '\x00ff5c', B'100000001', B'1',
			'2024-02-29', '12:34:56.789012', '23:59:59.999', '10:34:56.789+02', '2024-02-29 12:34:56.789123', '1969-12-31 23:59:59.999', '2024-02-29 12:34:56.789123+05:30', '3 days 04:05:06.789',
			'10.1.2.3/8', '10.1.2.0/24', '08:00:2b:01:02:03', '[1,10)', '''a'':1A ''b'':2', 'k=>"v, w", n=>NULL', '{a,"b,c",NULL,"\"q\""}', '{1,NULL,-3}', '{9223372036854775807}', '{t,f,NULL}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}')`,
		`INSERT INTO sink.kinds (id) VALUES (2)`,
		`INSERT INTO sink.kinds (id, texts, ints, t, c, raw, d, ts, tz) VALUES (3, '{}', '{}', '', '', '', '0044-03-15 BC', '0001-01-01 00:00:00', '9999-12-31 23:59:59.999999Z')`,
		`UPDATE sink.kinds SET b = false, v = 1.10, t = 'updated', jb = NULL WHERE id = 1`,
		`UPDATE sink.pair SET n = n + 1, b = gen_random_uuid() WHERE n % 5 = 0`,
		`INSERT INTO sink.emptied SELECT g, 'gone' FROM generate_series(1, 100) AS g`,
		`TRUNCATE sink.emptied`,
		`INSERT INTO sink.emptied VALUES (1, 'left')`,
		`ALTER TABLE sink.person ADD COLUMN email text`,
		`INSERT INTO sink.person VALUES (9001, 'late', NULL, 'late@example.org')`,
		`UPDATE sink.person SET email = name || '@example.org' WHERE id % 2 = 0`,
		`BEGIN; DELETE FROM sink.person; ROLLBACK`,
	)
	return append(list,
		`INSERT INTO sink.kinds (id) VALUES (-1)`, `INSERT INTO sink.person (id) VALUES (-1)`, `INSERT INTO sink.pair VALUES ('last', gen_random_uuid(), -1)`,
		`INSERT INTO sink.whole VALUES (-1)`, `INSERT INTO sink.emptied VALUES (-1)`)
}

// sinkCasts are for columns whose type the sink chooses another than ours, or that cannot be compared:
// SQL that makes the source's value the copy's, and SQL of the copy.
var sinkCasts = map[string][2]string{
	"o":    {"o::int8", "o"},                                       // bigint
	"v":    {"v::float8", "v"},                                     // double precision, for every numeric without a scale
	"m":    {"m::numeric", "m"},                                    // numeric(38,2)
	"c":    {"c::bpchar::text || repeat(' ', 5 - length(c))", "c"}, // text
	"vc":   {"vc::text", "vc"},
	"ci":   {"ci::text", "ci"},
	"e":    {"e::text", "e"},
	"r":    {"r::text", "r"},
	"mac":  {"mac::text", "mac"},
	"ci4":  {"ci4::text", "ci4"},
	"ip":   {"ip::text", "ip"},
	"j":    {"j::text", "j::text"},
	"jb":   {"jb::text", "jb::text"}, // json
	"x":    {"x::text", "x::text"},
	"hs":   {"hstore_to_jsonb(hs)", "hs::jsonb"}, // json
	"bit1": {"bit1::int::bool", "bit1"},          // boolean
	"iv":   {"date_trunc('second', iv)", "iv"},   // the sink drops the fraction of a second
	"ttz":  {"ttz AT TIME ZONE 'UTC'", "ttz AT TIME ZONE 'UTC'"},
}

// unequal says which rows a table and its copy do not share; "" if they are equal.
func (r *runner) unequal(table, copied string) (string, error) {
	columns := strings.Split(r.Query("SELECT string_agg(quote_ident(attname), ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0", "sink."+table), ",")
	ours, theirs := slices.Clone(columns), slices.Clone(columns)
	for i, column := range columns {
		if cast, ok := sinkCasts[column]; ok {
			ours[i], theirs[i] = cast[0], cast[1]
		}
	}
	sql := fmt.Sprintf(`WITH ours AS (SELECT %s FROM sink.%s), theirs AS (SELECT %s FROM %s),
		lost AS (TABLE ours EXCEPT ALL TABLE theirs), extra AS (TABLE theirs EXCEPT ALL TABLE ours)
		SELECT (SELECT count(*) FROM lost), (SELECT count(*) FROM extra), coalesce((SELECT lost::text FROM lost LIMIT 1), ''), coalesce((SELECT extra::text FROM extra LIMIT 1), '')`,
		strings.Join(ours, ","), table, strings.Join(theirs, ","), copied)
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	var lost, extra int
	var ourRow, theirRow string
	if err := conn.QueryRow(r.ctx, sql).Scan(&lost, &extra, &ourRow, &theirRow); err != nil {
		return "", fmt.Errorf("%s: %w", copied, err)
	}
	if lost == 0 && extra == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s lacks %d rows, such as %.1000s, and has %d more, such as %.1000s", copied, lost, ourRow, extra, theirRow), nil
}

// sinkConfig are the settings of a JDBC sink that keeps a copy of every table.
func (r *runner) sinkConfig(target string, extra map[string]string) map[string]string {
	config := map[string]string{
		"connector.class":     "io.debezium.connector.jdbc.JdbcSinkConnector",
		"tasks.max":           "1",
		"connection.url":      "jdbc:postgresql://" + r.server.Address() + "/" + target,
		"connection.username": "postgres",
		"insert.mode":         "upsert",
		"delete.enabled":      "true",
		"primary.key.mode":    "record_key",
		"schema.evolution":    "basic",
	}
	maps.Copy(config, extra)
	return config
}

// Debezium's own JDBC sink reads our records as those of Debezium's source: with all of them applied, the
// tables of another database are equal. So are the ones that it makes of records that Debezium's
// ExtractNewRecordState has flattened.
func TestJDBCSinkMakesEqualTables(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	target := r.database + "_sink"
	r.Exec(sinkSchema, "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)", "CREATE DATABASE "+target)
	t.Cleanup(func() { r.Exec("DROP DATABASE " + target + " WITH (FORCE)") })
	r.Setup()
	r.StartProxy()
	r.publisher = r.process("publish", append(r.publishArgs(), "--format", "json-schema")...)
	r.sinkWork()
	r.Drain()
	worker := must(t, func() (*harness.Connect, error) {
		return world.StartConnect(r.broker,
			r.sinkConfig(target, map[string]string{
				"name":             "copies",
				"topics.regex":     r.prefix + `\.sink\..*`,
				"truncate.enabled": "true",
			}),
			r.sinkConfig(target, map[string]string{
				"name":                   "flat",
				"topics.regex":           r.prefix + `\.sink\.(kinds|person|pair|whole)`, // the transformation drops truncates
				"collection.name.format": "flat_${topic}",
				"transforms":             "unwrap",
				"transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
				"transforms.unwrap.delete.tombstone.handling.mode": "tombstone",
			}))
	})
	defer worker.Kill()
	err := harness.Eventually(time.Minute, func(ctx context.Context) error {
		if err := errors.Join(worker.Check(ctx, "copies"), worker.Check(ctx, "flat")); err != nil {
			return err
		}
		return r.compareCopies(target)
	})
	if err != nil {
		t.Errorf("%v; the worker's log ends with\n%s", err, worker.Tail(60))
	}
	for _, table := range sinkTables {
		t.Logf("%s: %d records make %s rows", table, len(r.Topic("sink."+table)), r.Query("SELECT count(*)::text FROM sink."+table))
	}
}

func (r *runner) sinkWork() {
	r.t.Helper()
	conn := r.dial(r.ProxyURL("postgres", "sink"))
	defer conn.Close(r.ctx)
	for _, sql := range sinkWorkload() {
		if _, err := conn.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			r.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// compareCopies is an error unless every table has equal copies in the other database, both where the
// records were taken as they are and where they were flattened.
func (r *runner) compareCopies(target string) error {
	host, port, _ := strings.Cut(r.server.Address(), ":")
	r.Exec(fmt.Sprintf(`CREATE EXTENSION IF NOT EXISTS postgres_fdw; DROP SCHEMA IF EXISTS copy CASCADE; CREATE SCHEMA copy;
		CREATE SERVER IF NOT EXISTS sink FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', port '%s', dbname '%s');
		CREATE USER MAPPING IF NOT EXISTS FOR postgres SERVER sink OPTIONS (user 'postgres', password_required 'false');
		IMPORT FOREIGN SCHEMA public FROM SERVER sink INTO copy`, host, port, target))
	var errs []error
	for _, table := range sinkTables {
		copies := []string{r.prefix + "_sink_" + table, "flat_" + r.prefix + "_sink_" + table}
		if table == "emptied" {
			copies = copies[:1]
		}
		for _, name := range copies {
			difference, err := r.unequal(table, "copy."+name)
			if difference != "" {
				err = errors.New(difference)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
