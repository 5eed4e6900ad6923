package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Every type that a column may have comes back from the topics as the value that is stored, save what Debezium's form of it does
// not carry.
func TestApplyEveryType(t *testing.T) {
	for _, c := range typesCases {
		t.Run(c.name, func(t *testing.T) {
			a := newApplied(t, typesSchema, c.args...)
			conn := a.dial(a.URL())
			defer conn.Close(a.ctx)
			tables := typeTables(t, a.ctx, conn)
			for i := range tables {
				tables[i].columns = slices.DeleteFunc(tables[i].columns, func(column typeColumn) bool {
					return column.printed || strings.HasPrefix(column.declared, "pgtee.")
				})
				a.Exec(tables[i].create())
				a.ExecTarget(tables[i].create())
			}
			writer := a.dial(a.ProxyURL("postgres", "types"))
			defer writer.Close(a.ctx)
			for _, table := range tables {
				for i := range table.rows() {
					if _, err := writer.Exec(a.ctx, table.insert(i), pgx.QueryExecModeSimpleProtocol); err != nil {
						t.Fatal(err)
					}
				}
			}
			args := slices.DeleteFunc(slices.Clone(c.args), func(arg string) bool { return arg == "--format" || arg == "json-schema" })
			a.ExpectApplied(append(args, "--ddl", "ignore")...)
			a.expectTypes(c, tables)
		})
	}
}

// expectTypes compares the texts of all columns; those that differ must be the ones that the case names.
func (a *applied) expectTypes(c typesCase, tables []typeTable) {
	a.t.Helper()
	var differ []string
	values := 0
	source, target := a.dial(a.URL()), a.dial(a.targetURL())
	defer source.Close(a.ctx)
	defer target.Close(a.ctx)
	read := func(conn *pgx.Conn, sql string) (text string) {
		a.must(conn.QueryRow(a.ctx, sql).Scan(&text))
		return text
	}
	for _, table := range tables {
		for i, column := range table.columns {
			sql := fmt.Sprintf("SELECT coalesce(string_agg(id || ' ' || coalesce(format('%%s', %[1]s), 'NULL'), E'\\n' ORDER BY id), '') FROM %[2]s", columnName(i), table.name)
			stored, applied := read(source, sql), read(target, sql)
			values += strings.Count(stored, "\n") + 1
			if stored == applied {
				continue
			}
			differ = append(differ, column.declared)
			if !slices.Contains(c.lost, column.declared) && !slices.Contains(c.text, column.declared) {
				a.t.Errorf("%s:\n%.500s\ncame back as\n%.500s", column.declared, stored, applied)
			}
		}
	}
	a.t.Logf("%d values, columns that differ: %q", values, differ)
}

func (a *applied) valueAt(url, sql string) (value string) {
	a.t.Helper()
	conn := a.dial(url)
	defer conn.Close(a.ctx)
	if err := conn.QueryRow(a.ctx, sql).Scan(&value); err != nil {
		a.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// Avro keys and values are read as the JSON that they were made from; names that Avro does not allow are found again.
func TestApplyAvro(t *testing.T) {
	registry := must(t, sharedRegistry)
	avro := []string{"--format", "avro", "--schema-registry", registry.URL()}
	a := newApplied(t, applySchema+`CREATE TABLE odd ("the id" int PRIMARY KEY, "größe" numeric, v float8[]);`, avro...)
	a.Write("INSERT INTO plain SELECT i, 'name '||i, i/3.0, now(), '{}', ARRAY['a', NULL] FROM generate_series(1, 300) AS i", "UPDATE plain SET id = -id, n = NULL WHERE id % 7 = 0", "DELETE FROM plain WHERE id % 5 = 0",
		"INSERT INTO two SELECT 'k'||i, i, 'c', repeat(md5(i::text), 200) FROM generate_series(1, 20) AS i", "UPDATE two SET c = 'touched'",
		"INSERT INTO odd VALUES (1, 'NaN', '{1.5,NaN,-Infinity}'), (2, 3.25, NULL)", "UPDATE odd SET \"größe\" = 7 WHERE \"the id\" = 2",
		"INSERT INTO bare VALUES (1, NULL)", "DELETE FROM bare")
	a.Exec("INSERT INTO mark.mark VALUES (1)")
	a.awaitRecords("mark.mark", 1)
	if out, code := a.Pgtee(a.applyArgs("--once", "--schema-registry", registry.URL())...); code != 0 {
		t.Fatalf("apply exits with %d: %s", code, out)
	}
	a.ExpectEqual("plain", "two", "odd", "bare")
	if got := a.valueAt(a.targetURL(), "SELECT (commit_time > now() - interval '1 hour')::text FROM pgtee.applied"); got != "true" {
		t.Errorf("the last transaction committed within the last hour: %q", got)
	}
	if out, code := a.Pgtee(a.applyArgs("--once", "--stream", "other")...); code != 3 || !strings.Contains(out, "add --schema-registry") {
		t.Errorf("without a registry apply exits with %d: %s", code, out)
	}
}

// What the log does not repeat stays as it is in the target, of types that have no sign for it too.
func TestApplyLeavesUnchangedValues(t *testing.T) {
	const schema = `CREATE TABLE wide (id int PRIMARY KEY, n int, t text, b bytea, a text[], f float8[], i int[], num numeric, p path, j jsonb);
		DO $$ DECLARE c text; BEGIN FOREACH c IN ARRAY '{t,b,a,f,i,num,p,j}'::text[] LOOP EXECUTE format('ALTER TABLE wide ALTER COLUMN %I SET STORAGE EXTERNAL', c); END LOOP; END $$;`
	a := newApplied(t, schema)
	a.Write(`INSERT INTO wide SELECT g, 0, repeat('t', 9000), decode(repeat('ab', 9000), 'hex'), array_fill('x'::text, ARRAY[2000]), array_fill(1.5::float8, ARRAY[2000]), array_fill(7, ARRAY[3000]),
		('1' || repeat('23', 6000))::numeric, ('[' || repeat('(1,2),', 900) || '(3,4)]')::path, jsonb_build_object('k', repeat('j', 9000)) FROM generate_series(1, 6) AS g`)
	a.ExpectApplied()
	a.Write("UPDATE wide SET n = n + 1", "UPDATE wide SET id = id + 100 WHERE id < 3", "UPDATE wide SET f = NULL, num = NULL WHERE id = 4")
	a.ExpectApplied()
	a.ExpectEqual("wide")
}

// Money is written with a decimal point, whatever the target's locale.
func TestApplyWritesMoneyInLocaleC(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, price money);")
	a.ExecTarget("ALTER DATABASE "+a.target+" SET lc_monetary = 'POSIX'", "ALTER TABLE t ADD COLUMN locale text DEFAULT current_setting('lc_monetary')")
	a.Write("INSERT INTO t VALUES (1, 12.34)")
	a.ExpectApplied()
	if got := a.rows(a.targetURL(), "t"); got != "(1,$12.34,C)" {
		t.Errorf("the target has %q", got)
	}
}

// A new value of a column that no UPDATE can set comes through: with a key, in the key, and without one.
func TestApplySetsIdentityColumns(t *testing.T) {
	const big = ", big text); ALTER TABLE %[1]s ALTER COLUMN big SET STORAGE EXTERNAL;"
	schema := fmt.Sprintf("CREATE TABLE %[1]s (id int PRIMARY KEY, rev int GENERATED ALWAYS AS IDENTITY, v text"+big, "keyed") +
		fmt.Sprintf("CREATE TABLE %[1]s (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text"+big, "key") +
		"CREATE TABLE bare (rev int GENERATED ALWAYS AS IDENTITY, v text); ALTER TABLE bare REPLICA IDENTITY FULL; CREATE TABLE alone (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"
	tables := []string{"keyed", "key", "bare", "alone"}
	a := newApplied(t, schema)
	a.ExecTarget("ALTER TABLE keyed ADD COLUMN own text DEFAULT 'own'")
	a.Write("INSERT INTO keyed (id, v, big) SELECT i, 'v', repeat('x', 9000) FROM generate_series(1, 5) AS i", "INSERT INTO key (v, big) SELECT 'v', repeat('x', 9000) FROM generate_series(1, 5)",
		"INSERT INTO bare (v) SELECT 'v' FROM generate_series(1, 5)", "INSERT INTO alone DEFAULT VALUES")
	a.ExpectApplied()
	a.ExecTarget("UPDATE keyed SET own = 'kept'")
	a.Write("UPDATE keyed SET v = 'w', rev = DEFAULT WHERE id = 1", "UPDATE keyed SET v = 'x' WHERE id = 2", "UPDATE keyed SET id = -3, rev = DEFAULT, big = 'small' WHERE id = 3",
		"UPDATE key SET id = DEFAULT WHERE id = 1", "UPDATE key SET id = DEFAULT, v = 'x', big = 'small' WHERE id = 2", "UPDATE key SET v = 'y' WHERE id = 3",
		"UPDATE bare SET rev = DEFAULT WHERE rev = 1", "UPDATE bare SET rev = DEFAULT, v = 'w' WHERE rev = 2", "UPDATE bare SET v = 'x' WHERE rev = 3", "UPDATE alone SET id = DEFAULT")
	a.ExpectApplied()
	if got := a.valueAt(a.targetURL(), "SELECT own FROM keyed WHERE id = 1"); got != "kept" {
		t.Errorf("the target's own column has become %q", got)
	}
	a.ExecTarget("ALTER TABLE keyed DROP COLUMN own")
	a.ExpectEqual(tables...)
	if got := a.rows(a.targetURL(), "pgtee.conflicts"); got != "" {
		t.Errorf("conflicts: %s", got)
	}
}
