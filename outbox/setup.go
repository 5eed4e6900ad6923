package outbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// The SQL objects, in the order of their creation.
var (
	//go:embed sql/objects.sql
	objectsSQL string
	//go:embed sql/identity.sql
	identitySQL string
	//go:embed sql/ddl.sql
	ddlSQL string
	//go:embed sql/publish.sql
	publishSQL string
	//go:embed sql/signal.sql
	signalSQL string
	//go:embed sql/triggers.sql
	triggersSQL string
	//go:embed sql/rotate.sql
	rotateSQL string
)

const (
	// RowsPublication carries INSERT and TRUNCATE of all tables; it never makes a write fail.
	RowsPublication = "pgtee_rows"
	// IdentityPublication carries UPDATE and DELETE of the tables with a usable replica identity.
	IdentityPublication = "pgtee_identity"

	objectsVersion  = 1
	dropTriggersSQL = "DROP EVENT TRIGGER IF EXISTS pgtee_ddl; DROP EVENT TRIGGER IF EXISTS pgtee_drop;"
)

// SetupConfig says what Setup, Check and Teardown work on.
type SetupConfig struct {
	ConnString  string
	Slot        string
	SlotTimeout time.Duration // how long the slot may wait for older transactions to end; 0: 30 s
	Publishers  []string      // roles that Setup lets execute pgtee.publish(), beside those that may already
	Signallers  []string      // roles that Setup lets ask for snapshots, beside those that may already

	// NeedsKey says which tables must have a key for their records; nil: none.
	NeedsKey func(schema, table string) bool
}

// Setup makes what the publisher and the proxy need in one database: schema pgtee, the two
// publications, the event triggers, the slot (in this order). It may be run again at any time. The
// report says what was made and what is missing; an error means that it could not be finished.
func Setup(ctx context.Context, cfg SetupConfig) (Report, error) {
	conn, server, err := visit(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	report := server.report(cfg)
	if err := report.Err(); err != nil {
		return report, err
	}
	steps := []func(context.Context, *pgconn.PgConn, SetupConfig, *serverState, *Report) error{
		createObjects, createPublications, createSlot,
	}
	for _, step := range steps {
		if err := step(ctx, conn, cfg, server, &report); err != nil {
			return report, err
		}
	}
	return report, nil
}

// createObjects makes schema pgtee and, as a superuser, the event triggers, in one transaction: no
// DDL of others slips by, and none of ours is recorded.
func createObjects(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig, server *serverState, report *Report) error {
	// The lock keeps two setups apart: CREATE OR REPLACE of the same function would fail.
	const begin = "BEGIN; SET LOCAL client_min_messages = warning; SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('pgtee setup'));"
	meta := fmt.Sprintf(`
		DELETE FROM pgtee.meta WHERE pgtee.ready() IS NULL;
		INSERT INTO pgtee.meta (version, system_identifier, database_oid)
		SELECT %d, c.system_identifier, d.oid
		FROM pg_catalog.pg_control_system() AS c, pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
		ON CONFLICT (one) DO UPDATE SET version = excluded.version;`, objectsVersion)
	publish, err := grant("pgtee.publish", publishGrant, cfg.Publishers)
	if err != nil {
		return err
	}
	signal, err := grant("pgtee.snapshot", signalGrant, cfg.Signallers)
	if err != nil {
		return err
	}
	objects := objectsSQL + identitySQL + ddlSQL + publishSQL + signalSQL + meta + publish + signal
	if server.superuser {
		objects = dropTriggersSQL + objects + triggersSQL
	}
	if err := execute(ctx, conn, begin+objects+"COMMIT"); err != nil {
		return fmt.Errorf("create schema pgtee in %s: %w", server.database, err)
	}
	report.ok("schema pgtee with outbox, notes and DDL functions")
	if len(cfg.Publishers) > 0 {
		report.ok("pgtee.publish() granted to %s", strings.Join(cfg.Publishers, ", "))
	}
	if len(cfg.Signallers) > 0 {
		report.ok("pgtee.snapshot() and view pgtee.signal granted to %s", strings.Join(cfg.Signallers, ", "))
	}
	if !server.superuser {
		report.warn("run pgtee setup as a superuser (or the managed service's administrator role)",
			"no event triggers (they need a superuser): DDL is known from notes only and marked confirmed: false; new tables are not published before pgtee setup runs again")
		return nil
	}
	report.ok("event triggers pgtee_ddl and pgtee_drop, ENABLE ALWAYS")
	return nil
}

// createPublications makes both publications, before the slot: pgoutput asks the catalog as of each
// row, so a publication that is younger than the slot fails on older rows.
func createPublications(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig, server *serverState, report *Report) error {
	target := "FOR ALL TABLES"
	if !server.superuser {
		target = "FOR TABLE ONLY " + strings.Join(outboxTables, ", ONLY ")
		report.warn("run CREATE PUBLICATION "+RowsPublication+" FOR ALL TABLES WITH (publish = 'insert, truncate', publish_via_partition_root = true) as a superuser before setup",
			"publication %s lists tables (FOR ALL TABLES needs a superuser): rows written into a new table before pgtee setup lists it are not in the stream", RowsPublication)
	}
	if err := createPublication(ctx, conn, RowsPublication, target, "insert, truncate"); err != nil {
		return err
	}
	if err := createPublication(ctx, conn, IdentityPublication, "", "update, delete"); err != nil {
		return err
	}
	if _, err := listTables(ctx, conn); err != nil {
		return err
	}
	report.ok("publications %s (insert, truncate) and %s (update, delete of tables with a replica identity)", RowsPublication, IdentityPublication)
	return nil
}

// outboxTables carry the notes; a publication that lists tables must list them.
var outboxTables = []string{"pgtee.outbox", "pgtee.outbox_0", "pgtee.outbox_1", "pgtee.outbox_2"}

func createPublication(ctx context.Context, conn *pgconn.PgConn, name, target, operations string) error {
	found, err := rows(ctx, conn, "SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = $1", name)
	if err != nil || len(found) > 0 {
		return err
	}
	sql := fmt.Sprintf("CREATE PUBLICATION %s %s WITH (publish = '%s', publish_via_partition_root = true)", name, target, operations)
	if err := execute(ctx, conn, sql); err != nil {
		return fmt.Errorf("create publication %s: %w", name, err)
	}
	return nil
}

// Rotate truncates the outbox tables whose turn is over: notes and DDL records stay for one to two
// hours. Their content is in the log; publishing does not depend on it.
func Rotate(ctx context.Context, connString string) error {
	conn, err := connect(ctx, connString)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = execute(ctx, conn, rotateSQL)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "55P03" { // lock_not_available: somebody reads it; the next turn will do
		return nil
	}
	return err
}
