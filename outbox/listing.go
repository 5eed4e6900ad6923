package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// tablesAtOnce bounds the locks that one transaction takes: all sessions share max_locks_per_transaction *
// max_connections.
const tablesAtOnce = 50

// lockTimeout bounds how long other sessions must wait for a table while pgtee itself waits for a lock on it.
const lockTimeout = "SET lock_timeout = '10ms'"

// Setup tries again to list a table that is locked. An autovacuum, which often follows the loading of a table, has ended by then; what the publisher lists
// later it must publish again.
const (
	lockedTries = 30
	lockedPause = 100 * time.Millisecond
)

// sweep calls pgtee.sweep(), which adds tables to the publications or removes them if the event triggers could not: they were off, every publication was
// locked, or there are no event triggers. It returns what was done, and what could not be done. Earlier changes of a table that is now CaptureListed are not
// in the stream; the stream tells the publisher so (Resync).
func sweep(ctx context.Context, conn *pgconn.PgConn) (done []Capture, err error) {
	wrong, err := rows(ctx, conn, `SELECT c.oid, format('%I.%I', n.nspname, c.relname) FROM unnest(pgtee.wrong()) WITH ORDINALITY AS w (oid, place)
		JOIN pg_class AS c ON c.oid = w.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace ORDER BY w.place`)
	if err != nil {
		return nil, fmt.Errorf("find the tables with a wrong membership: %w", ourFunction(err))
	}
	for some := range slices.Chunk(wrong, tablesAtOnce) {
		first, err := sweepSome(ctx, conn, some)
		done = append(done, first...)
		if err != nil {
			return done, err
		}
		some = slices.DeleteFunc(some, func(row []string) bool {
			return slices.ContainsFunc(first, func(c Capture) bool { return c.Table == row[1] })
		})
		again, err := sweepSome(ctx, conn, some)
		done = append(done, again...)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// sweepSome calls pgtee.sweep() for tables that are given by OID.
func sweepSome(ctx context.Context, conn *pgconn.PgConn, tables [][]string) (done []Capture, err error) {
	if len(tables) == 0 {
		return nil, nil
	}
	var oids []string
	for _, table := range tables {
		oids = append(oids, table[0])
	}
	got, err := rows(ctx, conn, "SELECT name, root, state, coalesce(reason, '') FROM pgtee.sweep($1::text::oid[])", "{"+strings.Join(oids, ",")+"}")
	if err != nil {
		return nil, fmt.Errorf("correct the publications: %w", ourFunction(err))
	}
	for _, row := range got {
		done = append(done, Capture{row[0], row[1], CaptureState(row[2]), row[3]})
	}
	return done, nil
}

// listTables calls listRows and sweep during setup. Changes from before the slot was created are not expected in the stream.
func listTables(ctx context.Context, conn *pgconn.PgConn, server *serverState, report *Report) error {
	if err := execute(ctx, conn, lockTimeout); err != nil {
		return err
	}
	defer execute(ctx, conn, "SET lock_timeout = 0")
	locked, err := listRows(ctx, conn)
	if err != nil {
		return err
	}
	done, err := sweep(ctx, conn)
	for try := 0; err == nil && try < lockedTries && slices.ContainsFunc(done, Capture.stuck); try++ {
		time.Sleep(lockedPause)
		var again []Capture
		again, err = sweep(ctx, conn)
		done = append(slices.DeleteFunc(done, Capture.stuck), again...)
	}
	for _, name := range locked {
		done = append(done, Capture{Table: name, State: CaptureBusy})
	}
	for _, c := range done {
		switch {
		case c.State == CaptureListed && server.slot != nil && !server.renewsSlot():
			report.warn("table-late", "nothing: the publisher publishes the table again (--on-missed)", "table %s was in none of the publications of its kind: some of its changes are not in the stream", c.Table)
		case c.stuck():
			report.warn("table-locked", "nothing: the publisher tries again until it succeeds", "table %s could not be added to a publication or removed from one: it is locked %s", c.Table, c.Reason)
		}
	}
	return err
}

// listRows adds the tables of the current role (of a partitioned table, the root) to the publication of rows, unless it is FOR ALL TABLES. It adds them
// one by one, so that it holds no lock while it waits for another one. It returns the tables that are locked: the next call adds them.
func listRows(ctx context.Context, conn *pgconn.PgConn) (locked []string, err error) {
	const missing = `pg_has_role(c.relowner, 'USAGE')
		AND NOT EXISTS (SELECT FROM pg_publication AS p WHERE p.pubname = '` + RowsPublication + `' AND p.puballtables)
		AND NOT EXISTS (SELECT FROM pg_publication AS p JOIN pg_publication_rel AS r ON p.oid = r.prpubid WHERE p.pubname = '` + RowsPublication + `' AND r.prrelid = c.oid)`
	tables, err := ownTables(ctx, conn, missing)
	if err != nil {
		return nil, err
	}
	for _, name := range tables {
		err := execute(ctx, conn, fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE ONLY %s", RowsPublication, name))
		switch sqlState(err) {
		case "55P03", "40P01": // lock_not_available, deadlock_detected
			locked = append(locked, name)
		case "42P01", "3F000", "42710": // undefined_table, invalid_schema_name: dropped meanwhile; duplicate_object: listed meanwhile
		default:
			if err != nil {
				return locked, fmt.Errorf("list tables in publication %s: run pgtee setup as its owner: %w", RowsPublication, err)
			}
		}
	}
	return locked, nil
}

// Uncaptured lists the selected tables whose UPDATE and DELETE are currently not captured.
func Uncaptured(ctx context.Context, connString string, selection Selection) ([]Capture, error) {
	conn, err := connectTrusted(ctx, connString)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	uncaptured, _, err := uncapturedTables(ctx, conn, selection)
	return uncaptured, err
}

// uncapturedTables also reports whether a table must still be added to the publications or removed from them. A table whose UPDATE fails because it is
// in one is listed even if it is not selected.
func uncapturedTables(ctx context.Context, conn *pgconn.PgConn, selection Selection) (uncaptured []Capture, wrong bool, err error) {
	got, err := rows(ctx, conn, `SELECT t.name, t.root_name, t.listed <> (t.reason IS NULL) OR t.tbl = ANY (n.tables),
			coalesce(t.reason, CASE WHEN t.listed THEN 'its publication has a row filter or a column list for it' ELSE 'it is not yet in a publication of its kind' END),
			t.listed AND t.reason IS NOT NULL
		FROM pgtee.narrowed() AS n (tables), pgtee.tables(pgtee.published()) AS t WHERE t.reason IS NOT NULL OR NOT t.listed OR t.tbl = ANY (n.tables) ORDER BY t.name`)
	if err != nil {
		return nil, false, fmt.Errorf("find the tables that are not captured: %w", ourFunction(err))
	}
	for _, row := range got {
		wrong = wrong || row[2] == "t"
		if row[4] != "t" && !selection.includes(row[1]) {
			continue
		}
		uncaptured = append(uncaptured, Capture{Table: row[0], Root: row[1], State: CaptureNone, Reason: row[3]})
	}
	return uncaptured, wrong, nil
}

// Coverage finds tables that are not captured, and corrects the publications. It has a connection of its own, and must be used by one goroutine at a
// time.
type Coverage struct {
	ConnString string
	Selection  Selection

	conn *pgconn.PgConn
}

// Look corrects the publications. It returns what it did or could not do, all selected tables whose UPDATE and DELETE are currently not captured and, if a lock
// prevented something, the holders of the locks.
func (c *Coverage) Look(ctx context.Context) (done, uncaptured []Capture, holders []string, err error) {
	if c.conn == nil {
		if c.conn, err = connect(ctx, c.ConnString); err != nil {
			return nil, nil, nil, err
		}
		if err := execute(ctx, c.conn, lockTimeout); err != nil {
			c.Close(context.WithoutCancel(ctx))
			return nil, nil, nil, err
		}
	}
	defer func() {
		if err != nil {
			c.Close(context.WithoutCancel(ctx))
		}
	}()
	if err := checkTrust(ctx, c.conn); err != nil { // each time: the schema may be another one by now
		return nil, nil, nil, err
	}
	if _, err := listRows(ctx, c.conn); err != nil {
		return nil, nil, nil, err
	}
	uncaptured, wrong, err := uncapturedTables(ctx, c.conn, c.Selection)
	if err != nil || !wrong {
		return nil, uncaptured, nil, err
	}
	if done, err = sweep(ctx, c.conn); err != nil {
		return done, uncaptured, nil, err
	}
	if slices.ContainsFunc(done, Capture.stuck) {
		if holders, err = publicationHolders(ctx, c.conn); err != nil {
			return done, uncaptured, nil, err
		}
	}
	uncaptured, _, err = uncapturedTables(ctx, c.conn, c.Selection)
	return done, uncaptured, holders, err
}

// stuck reports whether the publisher must try again.
func (c Capture) stuck() bool { return c.State == CaptureBusy || c.State == CaptureFailing }

// Close closes the connection; the next Look opens another.
func (c *Coverage) Close(ctx context.Context) {
	if c.conn != nil {
		c.conn.Close(ctx)
		c.conn = nil
	}
}

// publicationHolders names the transactions that hold locks on pgtee's publications.
func publicationHolders(ctx context.Context, conn *pgconn.PgConn) ([]string, error) {
	got, err := rows(ctx, conn, `
		SELECT DISTINCT coalesce(
			(SELECT format('prepared transaction %L, prepared %s', x.gid, x.prepared) FROM pg_prepared_xacts AS x
			 JOIN pg_locks AS t ON t.locktype = 'transactionid' AND t.transactionid = x.transaction WHERE t.virtualtransaction = l.virtualtransaction),
			(SELECT format('server process %s (%s, user %s), transaction begun %s', a.pid, a.application_name, a.usename, a.xact_start) FROM pg_stat_activity AS a WHERE a.pid = l.pid))
		FROM pg_locks AS l JOIN pg_publication AS p ON p.oid = l.objid
		WHERE l.locktype = 'object' AND l.classid = 'pg_publication'::regclass AND l.granted
		  AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) AND `+ourPublications+` LIMIT 20`)
	if err != nil {
		return nil, fmt.Errorf("find the holders of locks on the publications: %w", err)
	}
	var names []string
	for _, row := range got {
		if row[0] != "" {
			names = append(names, row[0])
		}
	}
	return names, nil
}
