package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// PostgreSQL itself cannot decode this transaction, in any database and for any consumer: the version of the table's row in pg_class that RENAME makes
// takes the place, in the page, of one that ROLLBACK TO has undone, and logical decoding takes the command that made the latter for that of the former.
// So it sees two tables with one file: "unexpected duplicate for tablespace". The publisher must say so, and the cure must be what it says.
func TestTransactionThatPostgreSQLCannotDecode(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	r.Setup()
	r.StartPublisher()
	r.in(conn, "VACUUM FULL pg_class", "CREATE TABLE item (id int PRIMARY KEY, v text)")
	for range 3 { // versions that may be removed, so that the page is pruned when it is full
		r.in(conn, "ALTER TABLE item SET (fillfactor = 90)", "ALTER TABLE item RESET (fillfactor)")
	}
	r.awaitRemovable(conn)
	r.in(conn, "BEGIN", "INSERT INTO item VALUES (1)")
	r.undoUntilPruned(conn)
	r.in(conn, "ALTER TABLE item ALTER v SET STATISTICS 10", "INSERT INTO item VALUES (2)", "ALTER TABLE item RENAME TO renamed", "INSERT INTO renamed VALUES (3)", "COMMIT")
	r.patience = 2 * time.Minute
	if fault := r.expectHalt("PostgreSQL cannot decode a transaction", "unexpected duplicate for tablespace", "pg_drop_replication_slot()"); fault != "" {
		t.Fatal(fault)
	}
	r.in(conn, "SELECT pg_drop_replication_slot('"+r.slot+"')")
	r.cure(r.publisher.Tail(1))
	r.StartPublisher()
	r.Drain()
	r.awaitResync()
	r.ExpectFolded("renamed", []string{"id"})
}

// awaitRemovable waits until the slot holds no version of a catalog's row that is dead by now.
func (r *runner) awaitRemovable(conn *pgx.Conn) {
	r.t.Helper()
	var now string
	r.must(conn.QueryRow(r.ctx, "SELECT pg_current_xact_id()::text").Scan(&now))
	r.must(harness.Eventually(time.Minute, func(ctx context.Context) error {
		r.in(conn, "CHECKPOINT") // writes what transactions are running
		r.Drain()
		var removable bool
		err := conn.QueryRow(ctx, "SELECT catalog_xmin::text::int8 > $1::text::int8 FROM pg_replication_slots WHERE slot_name = $2", now, r.slot).Scan(&removable)
		if err == nil && !removable {
			err = fmt.Errorf("the slot holds transaction %s", now)
		}
		return err
	}))
}

// undoUntilPruned makes versions of the row of item in pg_class, and undoes them, until one is in the place of another one.
func (r *runner) undoUntilPruned(conn *pgx.Conn) {
	r.t.Helper()
	seen := map[string]bool{}
	for range 500 {
		r.in(conn, "SAVEPOINT a", "ALTER TABLE item SET (fillfactor = 90)")
		var place string
		r.must(conn.QueryRow(r.ctx, "SELECT ctid::text FROM pg_class WHERE oid = 'item'::regclass").Scan(&place))
		r.in(conn, "ROLLBACK TO a")
		if seen[place] {
			return
		}
		seen[place] = true
	}
	r.t.Fatalf("none of %d versions was pruned", len(seen))
}
