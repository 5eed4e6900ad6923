package outbox

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// Check looks at one database and changes nothing. The report says what is missing and how to repair
// it; an error means that it could not look.
func Check(ctx context.Context, cfg SetupConfig) (Report, error) {
	conn, server, err := visit(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	report := server.report(cfg)
	server.reportObjects(cfg, &report)
	return report, nil
}

// visit connects and looks around. The caller closes the connection.
func visit(ctx context.Context, cfg SetupConfig) (*pgconn.PgConn, *serverState, error) {
	conn, err := connect(ctx, cfg.ConnString)
	if err != nil {
		return nil, nil, err
	}
	server, err := inspect(ctx, conn, cfg)
	if err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, nil, err
	}
	return conn, server, nil
}

// serverState is what setup and check need to know of a server and one of its databases.
type serverState struct {
	version      int // server_version_num
	database     string
	user         string
	superuser    bool
	replication  bool // may create slots
	creator      bool // may create schemas in this database
	walLevel     string
	maxSlots     int
	usedSlots    int
	maxSenders   int
	keepSize     string // max_slot_wal_keep_size in MB; "-1" for no limit
	syncSlots    string // synchronized_standby_slots; "" below 17
	standbys     int
	recovery     bool
	installed    bool   // schema pgtee with meta
	untrusted    string // other roles that own parts of schema pgtee, and could so act as us; "" if none
	metaSlot     string // pgtee.meta.slot
	ready        string // pgtee.ready()
	publications int
	public       bool // PUBLIC may execute pgtee.publish()
	signallers   bool // PUBLIC may ask for snapshots
	triggers     int
	noIdentity   []string // tables whose UPDATE and DELETE are not published
	unlisted     []string // tables with an identity that are not in pgtee_identity
	unkeyed      []string // tables that must have a key, and have none
	stale        []string // tables without an identity that are in pgtee_identity
	slot         *slotState
}

type slotState struct {
	plugin, database, pid, walStatus string
	active                           bool
}

// inspect reads the state; every query works without any of our objects.
func inspect(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig) (*serverState, error) {
	s := &serverState{}
	for _, step := range []func(context.Context, *pgconn.PgConn, SetupConfig) error{s.inspectServer, s.inspectSlot, s.inspectKeys, s.inspectObjects} {
		if err := step(ctx, conn, cfg); err != nil {
			return nil, fmt.Errorf("look at the server: %w", err)
		}
	}
	return s, nil
}

func (s *serverState) inspectServer(ctx context.Context, conn *pgconn.PgConn, _ SetupConfig) error {
	got, err := rows(ctx, conn, `
		SELECT current_setting('server_version_num'), current_database(), current_user, r.rolsuper, r.rolreplication,
		       has_database_privilege(current_database(), 'CREATE'),
		       current_setting('wal_level'), current_setting('max_replication_slots'),
		       (SELECT count(*) FROM pg_replication_slots), current_setting('max_wal_senders'),
		       (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
		       coalesce(current_setting('synchronized_standby_slots', true), ''),
		       (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical'), pg_is_in_recovery()
		FROM pg_roles AS r WHERE r.rolname = current_user`)
	if err != nil {
		return err
	}
	if len(got) != 1 {
		return fmt.Errorf("role not found in pg_roles")
	}
	row := got[0]
	s.version, _ = strconv.Atoi(row[0])
	s.database, s.user = row[1], row[2]
	s.superuser, s.replication, s.creator = row[3] == "t", row[4] == "t" || row[3] == "t", row[5] == "t"
	s.walLevel = row[6]
	s.maxSlots, _ = strconv.Atoi(row[7])
	s.usedSlots, _ = strconv.Atoi(row[8])
	s.maxSenders, _ = strconv.Atoi(row[9])
	s.keepSize, s.syncSlots = row[10], row[11]
	s.standbys, _ = strconv.Atoi(row[12])
	s.recovery = row[13] == "t"
	return nil
}

func (s *serverState) inspectSlot(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig) error {
	got, err := rows(ctx, conn, `SELECT coalesce(plugin, ''), coalesce(database, ''), active, coalesce(active_pid, 0), coalesce(wal_status, '')
		FROM pg_replication_slots WHERE slot_name = $1`, cfg.Slot)
	if err != nil || len(got) == 0 {
		return err
	}
	row := got[0]
	s.slot = &slotState{plugin: row[0], database: row[1], active: row[2] == "t", pid: row[3], walStatus: row[4]}
	return nil
}

func (s *serverState) inspectObjects(ctx context.Context, conn *pgconn.PgConn, _ SetupConfig) error {
	got, err := rows(ctx, conn, `SELECT to_regclass('pgtee.meta') IS NOT NULL AND to_regprocedure('pgtee.ready()') IS NOT NULL,
		(SELECT count(*) FROM pg_publication WHERE pubname IN ('pgtee_rows', 'pgtee_identity')),
		(SELECT count(*) FROM pg_event_trigger WHERE evtname IN ('pgtee_ddl', 'pgtee_drop') AND evtenabled = 'A')`)
	if err != nil {
		return err
	}
	s.installed = got[0][0] == "t"
	s.publications, _ = strconv.Atoi(got[0][1])
	s.triggers, _ = strconv.Atoi(got[0][2])
	if s.untrusted, err = untrustedOwners(ctx, conn); err != nil || !s.installed || s.untrusted != "" {
		return err
	}
	if got, err = rows(ctx, conn, "SELECT coalesce(max(slot), ''), coalesce(pgtee.ready()::text, '') FROM pgtee.meta"); err != nil {
		return err
	}
	s.metaSlot, s.ready = got[0][0], got[0][1]
	if got, err = rows(ctx, conn, `SELECT coalesce(bool_or(proname IN ('publish', 'put_event')), false),
			coalesce(bool_or(proname ~ '^snapshot|^put_signal$'), false)
				OR coalesce(has_table_privilege('public', to_regclass('pgtee.signal'), 'INSERT'), false)
		FROM pg_proc WHERE pronamespace = 'pgtee'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')`); err != nil {
		return err
	}
	s.public, s.signallers = got[0][0] == "t", got[0][1] == "t"
	const listed = `EXISTS (SELECT FROM pg_publication_rel AS r
		JOIN pg_publication AS p ON p.oid = r.prpubid WHERE p.pubname = 'pgtee_identity' AND r.prrelid = c.oid)`
	if s.stale, err = ownTables(ctx, conn, "NOT pgtee.has_identity(c.oid) AND "+listed); err != nil {
		return err
	}
	if s.noIdentity, err = ownTables(ctx, conn, "NOT pgtee.has_identity(c.oid)"); err != nil {
		return err
	}
	s.unlisted, err = ownTables(ctx, conn, "pgtee.has_identity(c.oid) AND NOT "+listed)
	return err
}

// untrustedOwners names, to a superuser, the other roles that own parts of schema pgtee: a function or
// trigger of theirs would run with the rights of whoever calls it.
func untrustedOwners(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	got, err := rows(ctx, conn, `
		SELECT coalesce(string_agg(DISTINCT quote_ident(r.rolname), ', '), '')
		FROM (SELECT nspowner AS role FROM pg_namespace WHERE nspname = 'pgtee'
		      UNION SELECT relowner FROM pg_class WHERE relnamespace = to_regnamespace('pgtee')
		      UNION SELECT proowner FROM pg_proc WHERE pronamespace = to_regnamespace('pgtee')) AS owners
		JOIN pg_roles AS r ON r.oid = owners.role, pg_roles AS we
		WHERE we.rolname = current_user AND we.rolsuper AND NOT r.rolsuper`)
	if err != nil {
		return "", err
	}
	return got[0][0], nil
}

// report tells what setup needs from the server.
func (s *serverState) report(cfg SetupConfig) Report {
	var r Report
	if s.version < 140000 {
		r.problem("use PostgreSQL 14 or newer", "the server is PostgreSQL %d.%d", s.version/10000, s.version%10000)
	}
	if s.recovery {
		r.problem("name the primary in --postgres", "the server is a standby")
	}
	if s.untrusted != "" {
		r.problem(fmt.Sprintf("run this as %s; for event triggers, run DROP SCHEMA pgtee CASCADE and pgtee setup as a superuser", s.untrusted),
			"schema pgtee belongs to %s: a superuser must not run its functions", s.untrusted)
	}
	if s.walLevel != "logical" {
		r.problem("run ALTER SYSTEM SET wal_level = 'logical' and restart the server", "wal_level is %s, logical decoding needs logical", s.walLevel)
	}
	if !s.replication {
		r.problem(fmt.Sprintf("run ALTER ROLE %s REPLICATION as a superuser", s.user), "role %s may not use replication slots", s.user)
	}
	if !s.creator && !s.installed {
		r.problem(fmt.Sprintf("run GRANT CREATE ON DATABASE %s TO %s as the database's owner", s.database, s.user), "role %s may not create schema pgtee", s.user)
	}
	if s.slot == nil && s.usedSlots >= s.maxSlots {
		r.problem(fmt.Sprintf("run ALTER SYSTEM SET max_replication_slots = %d and restart the server, or drop a slot that nobody uses", s.maxSlots+5),
			"all %d replication slots are taken", s.maxSlots)
	}
	if s.maxSenders == 0 {
		r.problem("run ALTER SYSTEM SET max_wal_senders = 10 and restart the server", "max_wal_senders is 0")
	}
	s.reportSlot(cfg, &r)
	for _, table := range s.unkeyed {
		r.problem(fmt.Sprintf("run ALTER TABLE %s ADD PRIMARY KEY (...), name its key in the configuration, or exclude it", table),
			"table %s has no key, and --no-allow-unkeyed refuses such tables", table)
	}
	if s.keepSize == "-1" {
		r.warn("run ALTER SYSTEM SET max_slot_wal_keep_size = '50GB' and SELECT pg_reload_conf(), or start the publisher with --max-retained-wal SIZE:warn|drop_slot",
			"max_slot_wal_keep_size is -1: while the publisher is away the log grows until the disk is full")
	}
	if s.version >= 170000 && s.standbys > 0 && s.syncSlots == "" {
		r.warn("set synchronized_standby_slots to the standbys' physical slots and reload",
			"synchronized_standby_slots is empty: after a failover Kafka may hold transactions that the new primary lacks")
	}
	return r
}

func (s *serverState) reportSlot(cfg SetupConfig, r *Report) {
	drop := fmt.Sprintf("run SELECT pg_drop_replication_slot('%s') and pgtee setup again, then take a new snapshot", cfg.Slot)
	switch {
	case s.metaSlot != "" && s.metaSlot != cfg.Slot:
		r.problem(fmt.Sprintf("use --slot %s, or run pgtee teardown --slot %s first", s.metaSlot, s.metaSlot), "database %s is set up for slot %s", s.database, s.metaSlot)
	case s.slot == nil:
	case s.slot.plugin != "pgoutput" || s.slot.database != s.database:
		r.problem("choose another name with --slot", "slot %s belongs to plugin %q, database %q", cfg.Slot, s.slot.plugin, s.slot.database)
	case s.slot.walStatus == "lost":
		r.problem(drop, "slot %s has lost WAL that it needs", cfg.Slot)
	case s.slot.walStatus == "unreserved":
		r.warn("let the publisher catch up now, or raise max_slot_wal_keep_size", "slot %s is about to lose WAL that it needs", cfg.Slot)
	}
}

// reportObjects tells what of setup's work is there.
func (s *serverState) reportObjects(cfg SetupConfig, r *Report) {
	again := "run pgtee setup"
	switch {
	case s.untrusted != "":
		return
	case !s.installed:
		r.problem(again, "schema pgtee is not there: writes are not noted")
		return
	case s.ready == "":
		r.problem(again, "schema pgtee was made for another server or database (a copy?): nothing is noted or published here")
	default:
		r.ok("schema pgtee, version %s", s.ready)
	}
	if s.publications < 2 {
		r.problem(again+" and take a new snapshot", "%d of the two publications %s, %s are there", s.publications, RowsPublication, IdentityPublication)
	}
	if s.slot == nil {
		r.problem(again, "slot %s is not there", cfg.Slot)
	} else {
		r.ok("slot %s, %s, in use: %t", cfg.Slot, s.slot.walStatus, s.slot.active)
	}
	if s.public {
		r.warn(again+" --grant-publish ROLE,...", "PUBLIC may execute pgtee.publish(): every role can put events into Kafka")
	}
	if s.signallers {
		r.warn(again+" --grant-snapshot ROLE,...", "PUBLIC may ask for snapshots: every role can have whole tables copied into Kafka")
	}
	if s.triggers < 2 {
		r.warn("run pgtee setup as a superuser", "no event triggers: DDL is known from notes only, and new tables are not published before the next setup")
	}
	for _, table := range s.noIdentity {
		r.warn(fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (...), or REPLICA IDENTITY FULL", table), "table %s has no replica identity: its UPDATE and DELETE are not published", table)
	}
	for _, table := range s.stale {
		r.warn(again, "table %s has lost its replica identity but is in %s: its UPDATE and DELETE fail", table, IdentityPublication)
	}
	for _, table := range s.unlisted {
		r.warn(again, "table %s has a replica identity but is not in %s: its UPDATE and DELETE are not published", table, IdentityPublication)
	}
}
