package outbox

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The SQL objects, in the order in which they are created.
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

// SetupConfig configures Setup, Check and Teardown.
type SetupConfig struct {
	ConnString  string
	Slot        string
	SlotTimeout time.Duration // how long the slot may wait for older transactions to end; 0: 30 s
	Publishers  []string      // roles that Setup permits to publish: see demand_publisher() in sql/rotate.sql
	Authors     []string      // roles that Setup permits to execute pgtee.publish(), in addition to those that already may
	Signallers  []string      // roles that Setup permits to request snapshots, in addition to those that already may

	OldTransaction time.Duration // age of a transaction from which Check warns about it; 0: an hour

	Selection
}

// Selection says which tables a publisher publishes, of a partitioned table the root. The zero value is all of them, and none requires a key.
type Selection struct {
	Includes func(schema, table string) bool // nil: all tables are published
	NeedsKey func(schema, table string) bool // reports whether the records of a table must have a key; nil: none must
}

// includes reports whether a table, whose name is quoted for SQL, is published.
func (s Selection) includes(name string) bool {
	parts := IdentityParts(name)
	return s.Includes == nil || len(parts) != 2 || s.Includes(parts[0], parts[1])
}

// Setup creates what the publisher and the proxy need in one database: schema pgtee, the publications, the event triggers and the slot, in this
// order. It may be run again at any time. The report says what was created and what is missing; an error means that it could not be finished.
func Setup(ctx context.Context, cfg SetupConfig) (Report, error) {
	conn, server, err := connectAndInspect(ctx, cfg, oneSetup)
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
			return report, fmt.Errorf("%s in %s: another session has locked a table or an object of pgtee: run pgtee setup again when its transaction has ended (%w)", step.what, server.database, err)
		}
		if sqlState(err) == "2BP01" { // dependent_objects_still_exist
			return report, fmt.Errorf("%s in %s: a table of pgtee has other columns and must be created anew: drop what of yours depends on it, then run pgtee setup again (%w)", step.what, server.database, err)
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

// oneSetup makes a second setup wait until the connection of the first one ends.
const oneSetup = "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtext('pgtee setup'))"

// Plan returns the SQL that Setup would run, in order, and what Setup would report.
func Plan(ctx context.Context, cfg SetupConfig) (sql string, report Report, err error) {
	conn, server, err := connectAndInspect(ctx, cfg)
	if err != nil {
		return "", Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	report = server.report(cfg)
	plan, err := plan(cfg, server)
	for _, step := range plan {
		sql += "-- " + step.what + "\n" + step.sql + "\n"
	}
	sql += "-- list the tables\nSELECT (pgtee.wrong())[:50] AS tables; -- until it returns nothing new, call twice, each time in a transaction of its own: SELECT * FROM pgtee.sweep(TABLES)\n"
	if server.slot == nil {
		sql += "-- create the slot\n" + slotSQL(cfg.Slot, server.version) + ";\n"
	}
	return sql, report, err
}

// step is a part of setup that is one transaction.
type step struct{ what, sql string }

// schemaSQL returns the SQL that creates schema pgtee, without privileges.
func schemaSQL() string {
	return objectsSQL + emitSQL + redactSQL + withListings(captureSQL) + withDescriptions(pastSQL) + ddlSQL + publishSQL + signalSQL + rotateSQL
}

// plan returns what Setup runs before it lists the tables and creates the slot. The publications are created before the slot: pgoutput reads the
// catalog as of each row, so a publication that is younger than the slot fails on older rows.
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
	before, after := server.outboxSQLs()
	sql := before + schemaSQL() + after + withPublic(privilegesSQL) + grants
	if server.ready != strconv.Itoa(objectsVersion) || !server.secret {
		sql += metaSQL(server, fmt.Sprintf(ownMeta, objectsVersion))
	}
	// All in one transaction: no DDL of other sessions is missed, and pgtee's own DDL is not recorded.
	sql = server.ifPermitted(dropTriggersSQL) + sql + server.ifPermitted(triggersSQL)
	// The lock timeout ensures that DDL of other sessions does not wait long for setup.
	const begin = "BEGIN; SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = '2s';\n"
	steps := []step{{"create schema pgtee", begin + sql + "COMMIT;"}}
	if sql := publicationSQL(server); sql != "" {
		steps = append(steps, step{"create the publications", begin + sql + "COMMIT;"})
	}
	return steps, nil
}

// ifPermitted wraps SQL so that it has no effect if the server refuses it to this role. Only the server knows whether it permits the SQL: on a managed
// service, roles other than superusers may be allowed to run it.
func (s *serverState) ifPermitted(sql string) string {
	if s.superuser {
		return sql
	}
	return "DO $try$ BEGIN\n" + sql + "EXCEPTION WHEN insufficient_privilege OR duplicate_object THEN NULL;\nEND $try$;\n"
}

// ownMeta replaces the row of pgtee.meta if it belongs to another database, as it does in a copy. What the copy knows about tables and types is deleted
// as well: a restored dump gives their OIDs to others. The secret is the HMAC key, xored with ipad and with opad (RFC 2104). The server generates it,
// because a secret in the text of a statement might be logged.
const ownMeta = `DELETE FROM pgtee.was WHERE pgtee.ready() IS NULL;
DELETE FROM pgtee.widened WHERE pgtee.ready() IS NULL;
DELETE FROM pgtee.meta WHERE pgtee.ready() IS NULL;
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

// metaSQL writes to pgtee.meta while the table is unlogged, so that its rows are not in the WAL: otherwise other users' publications FOR ALL TABLES would
// send them, with the secret, to subscribers that lack the table. The lock is held only for that moment. A table that is listed in a publication cannot
// become unlogged.
func metaSQL(server *serverState, write string) string {
	if server.metaPublished {
		return write + ";\n"
	}
	return "ALTER TABLE pgtee.meta SET UNLOGGED;\n" + write + ";\nALTER TABLE pgtee.meta SET LOGGED;\n"
}

// reportMade reports what the plan has created.
func (s *serverState) reportMade(cfg SetupConfig, made *serverState, report *Report) {
	report.ok("schema pgtee with outbox, notes and DDL functions")
	for _, g := range []struct {
		what  string
		roles []string
	}{
		{"the publisher's privileges", cfg.Publishers}, {"pgtee.publish()", cfg.Authors}, {"pgtee.snapshot() and view pgtee.signal", cfg.Signallers},
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
			"no event triggers (the server does not let role %s create them): DDL is recorded only from notes, with confirmed: false; UPDATE and DELETE of a table that loses its key fail until the publisher has noticed that", s.user)
	}
	if rows, _ := made.publication(RowsPublication); rows.allTables {
		return
	}
	report.warn("publication-lists-tables", "run CREATE PUBLICATION "+RowsPublication+" FOR ALL TABLES WITH (publish = 'insert, truncate') as a superuser before setup",
		"publication %s lists tables (the server does not let this role create one FOR ALL TABLES): rows written into a new table before the publisher lists it are not in the stream", RowsPublication)
}

// Rotate truncates the outbox tables that are no longer written to: notes stay for one to two hours. Their content is in the WAL, so publishing does not
// depend on them.
func Rotate(ctx context.Context, connString string) error {
	conn, err := connectTrusted(ctx, connString)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return ourFunction(execute(ctx, conn, "SELECT pgtee.rotate()"))
}

// ourFunction adds what to do to the error of calling a function of pgtee.
func ourFunction(err error) error {
	switch sqlState(err) {
	case "42883", "3F000": // undefined_function, invalid_schema_name
		return fmt.Errorf("run pgtee setup of this version: %w", err)
	case "42501": // insufficient_privilege
		return fmt.Errorf("run pgtee setup --grant-publisher ROLE: %w", err)
	}
	return err
}
