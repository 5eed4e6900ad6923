package outbox

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The SQL objects, in the order of their creation.
var (
	//go:embed sql/objects.sql
	objectsSQL string
	//go:embed sql/emit.sql
	emitSQL string
	//go:embed sql/redact.sql
	redactSQL string
	//go:embed sql/capture.sql
	captureSQL string
	//go:embed sql/past.sql
	pastSQL string
	//go:embed sql/ddl.sql
	ddlSQL string
	//go:embed sql/publish.sql
	publishSQL string
	//go:embed sql/signal.sql
	signalSQL string
	//go:embed sql/rotate.sql
	rotateSQL string
	//go:embed sql/privileges.sql
	privilegesSQL string
	//go:embed sql/triggers.sql
	triggersSQL string
)

const (
	objectsVersion  = 2
	dropTriggersSQL = "DROP EVENT TRIGGER IF EXISTS pgtee_ddl; DROP EVENT TRIGGER IF EXISTS pgtee_drop; DROP EVENT TRIGGER IF EXISTS pgtee_alter;\n"
)

// SetupConfig says what Setup, Check and Teardown work on.
type SetupConfig struct {
	ConnString  string
	Slot        string
	SlotTimeout time.Duration // how long the slot may wait for older transactions to end; 0: 30 s
	Publishers  []string      // roles that Setup lets publish: see demand_publisher() in sql/rotate.sql
	Authors     []string      // roles that Setup lets execute pgtee.publish(), beside those that may already
	Signallers  []string      // roles that Setup lets ask for snapshots, beside those that may already

	OldTransaction time.Duration // Check warns of older ones; 0: an hour

	// NeedsKey says which tables must have a key for their records; nil: none.
	NeedsKey func(schema, table string) bool
}

// Setup makes what the publisher and the proxy need in one database: schema pgtee, the publications, the event
// triggers, the slot (in this order). It may be run again at any time. The report says what was made and what is
// missing; an error means that it could not be finished.
func Setup(ctx context.Context, cfg SetupConfig) (Report, error) {
	conn, server, err := visit(ctx, cfg, oneSetup)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	report := server.report(cfg)
	if err := report.Err(); err != nil {
		return report, err
	}
	plan, err := plan(cfg, server)
	if err != nil {
		return report, err
	}
	for _, step := range plan {
		err := execute(ctx, conn, step.sql)
		if sqlState(err) == "55P03" { // lock_not_available
			return report, fmt.Errorf("%s in %s: another session has locked what belongs to pgtee, or a table: run pgtee setup again when it has ended (%w)", step.what, server.database, err)
		}
		if err != nil {
			return report, fmt.Errorf("%s in %s: %w", step.what, server.database, err)
		}
	}
	made, err := inspect(ctx, conn, cfg)
	if err != nil {
		return report, err
	}
	server.reportMade(cfg, made, &report)
	if err := listTables(ctx, conn, server, &report); err != nil {
		return report, err
	}
	return report, createSlot(ctx, conn, cfg, server, &report)
}

// oneSetup keeps two setups apart until the connection ends.
const oneSetup = "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtext('pgtee setup'))"

// Plan is the SQL that Setup would run, in its order, and what it would report.
func Plan(ctx context.Context, cfg SetupConfig) (sql string, report Report, err error) {
	conn, server, err := visit(ctx, cfg)
	if err != nil {
		return "", Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	report = server.report(cfg)
	plan, err := plan(cfg, server)
	for _, step := range plan {
		sql += "-- " + step.what + "\n" + step.sql + "\n"
	}
	sql += "-- list the tables\nSELECT s.* FROM pgtee.sweep(pgtee.wrong()) AS s;\n"
	if server.slot == nil {
		sql += "-- create the slot\n" + slotSQL(cfg.Slot, server.version) + ";\n"
	}
	return sql, report, err
}

// step is a part of setup, one transaction.
type step struct{ what, sql string }

// plan is what Setup does before it lists the tables and makes the slot. The publications come before the slot:
// pgoutput asks the catalog as of each row, so a publication that is younger than the slot fails on older rows.
func plan(cfg SetupConfig, server *serverState) ([]step, error) {
	grants := ""
	for _, g := range []struct {
		what, sql string
		roles     []string
	}{
		{"publishing", publisherGrant, cfg.Publishers},
		{"pgtee.publish", publishGrant, cfg.Authors},
		{"pgtee.snapshot", signalGrant, cfg.Signallers},
	} {
		sql, err := grant(g.what, g.sql, g.roles)
		if err != nil {
			return nil, err
		}
		grants += sql
	}
	sql := objectsSQL + emitSQL + redactSQL + captureSQL + withDescriptions(pastSQL) + ddlSQL + publishSQL + signalSQL + rotateSQL + privilegesSQL + grants
	if server.ready != strconv.Itoa(objectsVersion) || !server.secret {
		sql += metaSQL(server, fmt.Sprintf(ownMeta, objectsVersion))
	}
	// One transaction: no DDL of others slips by, and none of ours is recorded.
	sql = server.ifLet(dropTriggersSQL) + sql + server.ifLet(triggersSQL)
	// Nobody's DDL waits long for us.
	const begin = "BEGIN; SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = '2s';\n"
	steps := []step{{"create schema pgtee", begin + sql + "COMMIT;"}}
	if sql := publicationSQL(server); sql != "" {
		steps = append(steps, step{"create the publications", begin + sql + "COMMIT;"})
	}
	return steps, nil
}

// ifLet is SQL that needs a superuser, or what a managed service has in its place: only the server knows whether it lets us.
func (s *serverState) ifLet(sql string) string {
	if s.superuser {
		return sql
	}
	return "DO $try$ BEGIN\n" + sql + "EXCEPTION WHEN insufficient_privilege OR duplicate_object THEN NULL;\nEND $try$;\n"
}

// ownMeta makes the row of pgtee.meta this database's: that of a copy is of another. The secret is the key of HMAC, xored with
// ipad and with opad (RFC 2104). The server makes it, for a text of ours may be logged.
const ownMeta = `DELETE FROM pgtee.meta WHERE pgtee.ready() IS NULL;
INSERT INTO pgtee.meta (version, system_identifier, database_oid)
SELECT %[1]d, c.system_identifier, d.oid
FROM pg_catalog.pg_control_system() AS c, pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()
ON CONFLICT (one) DO UPDATE SET version = excluded.version;
DO $secret$
DECLARE
    key bytea := '';
    pads bytea;
BEGIN
    FOR i IN 1..4 LOOP
        key := key || pg_catalog.uuid_send(pg_catalog.gen_random_uuid());
    END LOOP;
    pads := key || key;
    FOR i IN 0..63 LOOP
        pads := pg_catalog.set_byte(pg_catalog.set_byte(pads, i, pg_catalog.get_byte(key, i) # 54), 64 + i, pg_catalog.get_byte(key, i) # 92);
    END LOOP;
    UPDATE pgtee.meta SET secret = pads WHERE secret IS NULL;
END
$secret$`

// metaSQL writes to pgtee.meta while it is unlogged: then no row of it is in the log, where others who replicate all
// tables would find a table that they do not know, and the secret. Its lock is held for that moment. A table that
// somebody's publication names cannot become unlogged.
func metaSQL(server *serverState, write string) string {
	if server.metaPublished {
		return write + ";\n"
	}
	return "ALTER TABLE pgtee.meta SET UNLOGGED;\n" + write + ";\nALTER TABLE pgtee.meta SET LOGGED;\n"
}

// reportMade tells what the plan has made.
func (s *serverState) reportMade(cfg SetupConfig, made *serverState, report *Report) {
	report.ok("schema pgtee with outbox, notes and DDL functions")
	for _, g := range []struct {
		what  string
		roles []string
	}{
		{"the publisher's rights", cfg.Publishers}, {"pgtee.publish()", cfg.Authors}, {"pgtee.snapshot() and view pgtee.signal", cfg.Signallers},
	} {
		if len(g.roles) > 0 {
			report.ok("%s granted to %s", g.what, strings.Join(g.roles, ", "))
		}
	}
	report.ok("publications %s (insert, truncate), %s with %d siblings (update, delete of tables with a replica identity) and %s with %d (partitioned tables)",
		RowsPublication, IdentityPublication, identityPublications-1, PartitionedPublication, partitionedPublications-1)
	if !s.superuser {
		report.trustOwner(s.user)
	}
	if made.triggers == 3 {
		report.ok("event triggers pgtee_ddl, pgtee_drop and pgtee_alter, ENABLE ALWAYS")
	} else {
		report.warn("event-triggers", "run pgtee setup as a superuser (or the managed service's administrator role)",
			"no event triggers (the server does not let role %s make them): DDL is known from notes only and marked confirmed: false; UPDATE and DELETE of a table that loses its key fail until the publisher has seen it", s.user)
	}
	if rows, _ := made.publication(RowsPublication); rows.allTables {
		return
	}
	report.warn("publication-lists-tables", "run CREATE PUBLICATION "+RowsPublication+" FOR ALL TABLES WITH (publish = 'insert, truncate') as a superuser before setup",
		"publication %s lists tables (the server does not let this role make one FOR ALL TABLES): rows written into a new table before the publisher lists it are not in the stream", RowsPublication)
}

// Rotate truncates the outbox tables whose turn is over: notes stay for one to two hours. Their content is in the
// log; publishing does not depend on it.
func Rotate(ctx context.Context, connString string) error {
	conn, err := connect(ctx, connString)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return ourFunction(execute(ctx, conn, "SELECT pgtee.rotate()"))
}

// ourFunction says what to do where a function of ours cannot be called.
func ourFunction(err error) error {
	switch sqlState(err) {
	case "42883", "3F000": // undefined_function, invalid_schema_name
		return fmt.Errorf("run pgtee setup of this version: %w", err)
	case "42501": // insufficient_privilege
		return fmt.Errorf("run pgtee setup --grant-publisher ROLE: %w", err)
	}
	return err
}
