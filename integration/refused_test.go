package integration

import (
	"fmt"
	"strings"
	"testing"
)

const refusedSchema = `CREATE TABLE secret (id int PRIMARY KEY, owner text);
INSERT INTO secret VALUES (1, 'a'), (2, 'b');
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secret USING (owner = 'a');
CREATE TABLE orders (id int PRIMARY KEY, v text);
INSERT INTO orders SELECT g, 'v' FROM generate_series(1, 500) AS g;
DO $$ BEGIN CREATE ROLE reader LOGIN REPLICATION; EXCEPTION WHEN duplicate_object THEN END $$;
ALTER ROLE reader NOBYPASSRLS;
GRANT SELECT ON secret, orders TO reader;`

// Half of a table with row policies is never copied: the copy says what to do, the other tables and the stream go on, and so
// does the table once the role may read it.
func TestSnapshotOfTableWithRowPolicies(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec(refusedSchema)
			r.Setup()
			r.Exec("GRANT USAGE ON SCHEMA pgtee TO reader; GRANT SELECT ON pgtee.meta TO reader")
			args := r.publishArgs()
			for i := range args {
				if args[i] == r.URL() {
					args[i] = r.DirectURL("reader", "pgtee")
				}
			}
			r.publisher = r.process("publish", append(args, "--snapshot", "initial")...)
			r.awaitProgress(`"waiting":"public.secret: the table cannot be read`)
			r.awaitProgress(`"tables_done":1`)
			r.ExpectFolded("orders", []string{"id"})
			r.Exec("INSERT INTO orders VALUES (501, 'streamed')")
			r.awaitRecords("public.orders", 501)
			if records := r.Topic("public.secret"); len(records) > 0 {
				t.Errorf("%d records of the table with policies", len(records))
			}
			if out, code := r.Pgtee("snapshot", "status", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot); code != 0 || !strings.Contains(out, "BYPASSRLS") {
				t.Errorf("status exits with %d:\n%s", code, out)
			}
			r.Exec("ALTER ROLE reader BYPASSRLS")
			r.AwaitSnapshots("initial")
			r.ExpectFolded("secret", []string{"id"})

			// A resync empties the topic of the table only when it can be filled again. The other table does not wait.
			r.Exec("ALTER ROLE reader NOBYPASSRLS", `INSERT INTO pgtee.signal VALUES ('afresh', 'resync', '{"data-collections": ["public.secret", "public.orders"]}')`)
			r.awaitProgress(`"kept":`)
			r.awaitProgress(`"tables_done":1`)
			if secret, orders := r.ops("public.secret"), r.ops("public.orders"); strings.Contains(secret, "t") || strings.Count(orders, "t") != 1 {
				t.Errorf("operations %s of the table that cannot be read, %s of the other one", secret, orders)
			}
			r.Exec("ALTER ROLE reader BYPASSRLS")
			r.AwaitSnapshots("afresh")
			if ops := r.ops("public.secret"); strings.Count(ops, "t") != 1 {
				t.Errorf("operations %s of the table that can be read", ops)
			}
			r.ExpectFolded("secret", []string{"id"})
			r.ExpectFolded("orders", []string{"id"})
		})
	}
}
