package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Check inspects one database without changing anything. The report says what is missing and how to repair it; an error means that the inspection
// failed.
func Check(ctx context.Context, cfg SetupConfig) (Report, error) {
	conn, server, err := connectAndInspect(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := server.inspectSurroundings(ctx, conn, cfg); err != nil {
		return Report{}, fmt.Errorf("inspect the server: %w", err)
	}
	report := server.report(cfg)
	server.reportObjects(cfg, &report)
	server.reportSurroundings(cfg, &report)
	return report, nil
}

// connectAndInspect connects, runs the commands in first, and inspects the server. The caller closes the connection.
func connectAndInspect(ctx context.Context, cfg SetupConfig, first ...string) (*pgconn.PgConn, *serverState, error) {
	conn, err := connect(ctx, cfg.ConnString)
	if err != nil {
		return nil, nil, err
	}
	for _, sql := range first {
		if err := execute(ctx, conn, sql); err != nil {
			conn.Close(context.WithoutCancel(ctx))
			return nil, nil, err
		}
	}
	server, err := inspect(ctx, conn, cfg)
	if err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, nil, err
	}
	return conn, server, nil
}

// serverState is what setup and check need to know about a server and one of its databases.
type serverState struct {
	version     int // server_version_num
	database    string
	user        string
	superuser   bool
	replication bool  // the role may use replication slots, by an attribute or membership, or because the server accepted a replication connection
	refusal     error // why the server accepted none, if replication is false
	service
	surroundings
	creator      bool // may create schemas in this database
	walLevel     string
	maxSlots     int
	usedSlots    int
	maxSenders   int
	keepSize     int    // max_slot_wal_keep_size in MB; -1 for no limit
	maxSize      int    // max_wal_size in MB
	syncSlots    string // synchronized_standby_slots; "" below 17
	syncNames    string // synchronous_standby_names
	standbys     int
	recovery     bool
	installed    bool   // schema pgtee exists, with pgtee.meta and pgtee.ready()
	unusable     bool   // the role lacks the privilege to use schema pgtee
	metaDenied   bool   // the role lacks the privilege to read pgtee.meta
	owner        string // owner of schema pgtee, if it is not a superuser; else ""
	untrusted    string // roles that own parts of schema pgtee and are not to be trusted: see untrustedOwners; "" if none
	metaSlot     string // value of pgtee.meta.slot
	ready        string // version of schema pgtee; "": it belongs to another server or database
	secret       bool   // pgtee.meta has a secret
	publications []publication
	slotPublications
	foreign         [][]string  // publications of others with names of ours: see foreignPublications
	narrowed        [][2]string // publication and member that differs from what setup creates, as in ALTER PUBLICATION: see narrowedSQL and schemasSQL
	metaPublished   bool        // a publication lists pgtee.meta
	timescale       bool        // TimescaleDB is installed
	replicators     []string    // publications of other users that replicate pgtee's tables
	public          bool        // PUBLIC may execute pgtee.publish()
	signallers      bool        // PUBLIC may request snapshots
	triggers        int
	outbox          []outboxTable
	missingRoutines []string
	private         []string       // privileges that PUBLIC lacks
	uncaptured      []tableCapture // tables whose UPDATE and DELETE are not published, or are published but must not be
	generated       []string       // tables whose key has a column that is not in the WAL
	unkeyed         []string       // tables that require a key and have none
	slot            *slotState
}

type slotState struct {
	plugin, database, pid, walStatus, invalid string
	active                                    bool
}

// lost reports whether the server has removed WAL that the slot needs, or has invalidated the slot.
func (s *slotState) lost() bool { return s.walStatus == "lost" || s.invalid != "" }

// inspect reads the state. Every query works even if none of pgtee's objects exists.
func inspect(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig) (*serverState, error) {
	s := &serverState{}
	for _, step := range []func(context.Context, *pgconn.PgConn, SetupConfig) error{s.inspectServer, s.inspectSlot, s.inspectKeys, s.inspectObjects} {
		if err := step(ctx, conn, cfg); err != nil {
			return nil, fmt.Errorf("inspect the server: %w", err)
		}
	}
	return s, nil
}

func (s *serverState) inspectServer(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig) error {
	got, err := rows(ctx, conn, `
		SELECT current_setting('server_version_num'), current_database(), current_user, r.rolsuper,
		       r.rolsuper OR r.rolreplication OR EXISTS (SELECT FROM pg_roles AS m WHERE m.rolname = 'rds_replication' AND pg_has_role(m.oid, 'USAGE')),
		       has_database_privilege(current_database(), 'CREATE'),
		       current_setting('wal_level'), current_setting('max_replication_slots'),
		       (SELECT count(*) FROM pg_replication_slots), current_setting('max_wal_senders'),
		       (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
		       coalesce(current_setting('synchronized_standby_slots', true), ''),
		       (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical'), pg_is_in_recovery(),
		       current_setting('synchronous_standby_names'), (SELECT setting FROM pg_settings WHERE name = 'max_wal_size')
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
	s.superuser, s.replication, s.creator = row[3] == "t", row[4] == "t", row[5] == "t"
	s.walLevel = row[6]
	s.maxSlots, _ = strconv.Atoi(row[7])
	s.usedSlots, _ = strconv.Atoi(row[8])
	s.maxSenders, _ = strconv.Atoi(row[9])
	s.keepSize, _ = strconv.Atoi(row[10])
	s.maxSize, _ = strconv.Atoi(row[15])
	s.syncSlots = row[11]
	s.standbys, _ = strconv.Atoi(row[12])
	s.recovery, s.syncNames = row[13] == "t", row[14]
	if s.service, err = findService(ctx, conn); err != nil {
		return err
	}
	may, err := mayReplicate(ctx, cfg.ConnString)
	if errors.Is(err, ErrPooler) {
		return err
	}
	if !s.replication {
		s.replication, s.refusal = may, err
	}
	return nil
}

func (s *serverState) inspectSlot(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig) error {
	got, err := rows(ctx, conn, `SELECT coalesce(plugin, ''), coalesce(database, ''), active, coalesce(active_pid, 0), coalesce(wal_status, ''),
			coalesce(to_jsonb(s) ->> 'invalidation_reason', CASE WHEN to_jsonb(s) ->> 'conflicting' = 'true' THEN 'conflict' END, '')
		FROM pg_replication_slots AS s WHERE slot_name = $1`, cfg.Slot)
	if err != nil || len(got) == 0 {
		return err
	}
	row := got[0]
	s.slot = &slotState{plugin: row[0], database: row[1], active: row[2] == "t", pid: row[3], walStatus: row[4], invalid: row[5]}
	return nil
}

func (s *serverState) inspectObjects(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig) error {
	got, err := rows(ctx, conn, `SELECT m.oid IS NOT NULL AND EXISTS (SELECT FROM pg_proc AS p WHERE p.pronamespace = n.oid AND p.proname = 'ready'),
		(SELECT count(*) FROM pg_event_trigger WHERE evtname IN ('pgtee_ddl', 'pgtee_drop', 'pgtee_alter') AND evtenabled = 'A'),
		EXISTS (SELECT FROM pg_publication_rel WHERE prrelid = m.oid),
		EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb'), NOT coalesce(has_schema_privilege(n.oid, 'USAGE'), true)
		FROM (SELECT to_regnamespace('pgtee')) AS n (oid) LEFT JOIN pg_class AS m ON m.relnamespace = n.oid AND m.relname = 'meta'`)
	if err != nil {
		return err
	}
	s.installed, s.metaPublished, s.timescale, s.unusable = got[0][0] == "t", got[0][2] == "t", got[0][3] == "t", got[0][4] == "t"
	s.triggers, _ = strconv.Atoi(got[0][1])
	if s.publications, err = readPublications(ctx, conn); err != nil {
		return err
	}
	if s.foreign, err = foreignPublications(ctx, conn); err != nil {
		return err
	}
	sql := narrowedSQL
	if s.version >= 150000 {
		sql += " UNION ALL " + schemasSQL
	}
	if got, err = rows(ctx, conn, sql); err != nil {
		return err
	}
	for _, row := range got {
		s.narrowed = append(s.narrowed, [2]string{row[0], row[1]})
	}
	if got, err = rows(ctx, conn, replicatorsSQL); err != nil {
		return err
	}
	for _, row := range got {
		s.replicators = append(s.replicators, row[0])
	}
	if got, err = rows(ctx, conn, `SELECT coalesce(max(r.rolname::text), '') FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
		WHERE n.nspname = 'pgtee' AND NOT r.rolsuper`); err != nil {
		return err
	}
	s.owner = got[0][0]
	if s.untrusted, err = untrustedOwners(ctx, conn); err != nil || !s.installed || s.untrusted != "" || s.unusable {
		return err
	}
	if err := s.inspectOutbox(ctx, conn); err != nil {
		return err
	}
	if got, err = rows(ctx, conn, "SELECT NOT has_table_privilege('pgtee.meta', 'SELECT')"); err != nil || got[0][0] == "t" {
		s.metaDenied = err == nil
		return err
	}
	if got, err = rows(ctx, conn, "SELECT coalesce(max(slot), ''), coalesce(max(CASE WHEN pgtee.ready() IS NOT NULL THEN m.version END)::text, ''), coalesce(bool_or(to_jsonb(m) ->> 'secret' IS NOT NULL), false), coalesce(max(to_jsonb(m) ->> 'publications'), '') FROM pgtee.meta AS m"); err != nil {
		return err
	}
	s.ready, s.secret = got[0][1], got[0][2] == "t"
	if s.ready != "" { // otherwise pgtee.meta belongs to another database
		s.metaSlot, s.slotPublications = got[0][0], strings.Fields(got[0][3])
	}
	if got, err = rows(ctx, conn, `SELECT coalesce(bool_or(proname IN ('publish', 'put_event')), false),
			coalesce(bool_or(proname ~ '^snapshot|^put_signal$'), false)
				OR coalesce(has_table_privilege('public', to_regclass('pgtee.signal'), 'INSERT'), false)
		FROM pg_proc WHERE pronamespace = 'pgtee'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')`); err != nil {
		return err
	}
	s.public, s.signallers = got[0][0] == "t", got[0][1] == "t"
	if len(s.missingRoutines) > 0 { // the next query may need one of them
		return nil
	}
	s.uncaptured, err = readUncaptured(ctx, conn, cfg.Selection)
	return err
}

// replicatorsSQL returns the publications of other users that include tables of schema pgtee: as FOR ALL TABLES, by the schema, or by the name of a table.
// It reads only the definitions of publications: pg_publication_tables would open each table, and so wait for a client's DDL, or fail if the table is
// dropped meanwhile. PostgreSQL 14 has no pg_publication_namespace; therefore the query reads the dependencies in pg_depend.
const replicatorsSQL = `SELECT quote_ident(p.pubname) FROM pg_publication AS p
	WHERE NOT (` + ourPublications + `) AND (p.puballtables
		OR EXISTS (SELECT FROM pg_publication_rel AS l JOIN pg_class AS c ON c.oid = l.prrelid
			WHERE l.prpubid = p.oid AND c.relnamespace = to_regnamespace('pgtee'))
		OR EXISTS (SELECT FROM pg_depend AS s JOIN pg_depend AS d ON d.classid = s.classid AND d.objid = s.objid
			WHERE s.classid = to_regclass('pg_publication_namespace') AND s.refclassid = 'pg_namespace'::regclass AND s.refobjid = to_regnamespace('pgtee')
				AND d.refclassid = 'pg_publication'::regclass AND d.refobjid = p.oid)) ORDER BY 1`

// untrustedOwners returns the roles that own parts of schema pgtee and are not superusers, if the current user is a superuser: their functions and triggers
// would run with the superuser's privileges.
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

// untrustedSchema reports that these roles own parts of schema pgtee, if there are any.
func (r *Report) untrustedSchema(roles string) {
	if roles != "" {
		r.problem("schema-untrusted", fmt.Sprintf("run this as %s; for event triggers, run DROP SCHEMA pgtee CASCADE and pgtee setup as a superuser", roles),
			"schema pgtee belongs to %s: a superuser must not run its functions", roles)
	}
}

// checkTrust returns Problems if parts of schema pgtee belong to a role whose code a superuser must not run. Whatever is read from the schema, or called in
// it, may be that role's code: a table may be a view.
func checkTrust(ctx context.Context, conn *pgconn.PgConn) error {
	roles, err := untrustedOwners(ctx, conn)
	if err != nil {
		return err
	}
	var r Report
	r.untrustedSchema(roles)
	return r.Err()
}

// connectTrusted connects to use schema pgtee. The caller closes the connection.
func connectTrusted(ctx context.Context, connString string) (*pgconn.PgConn, error) {
	conn, err := connect(ctx, connString)
	if err != nil {
		return nil, err
	}
	if err := checkTrust(ctx, conn); err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return conn, nil
}

// report says what the server lacks for setup.
func (s *serverState) report(cfg SetupConfig) Report {
	var r Report
	if s.version < 140000 {
		r.problem("postgres-too-old", "use PostgreSQL 14 or newer", "the server is PostgreSQL %d.%d", s.version/10000, s.version%10000)
	}
	if s.recovery {
		r.problem("server-is-standby", "name the primary in --postgres", "the server is a standby")
	}
	r.untrustedSchema(s.untrusted)
	if s.walLevel != "logical" {
		r.problem("wal-level", s.set("wal_level", "'logical'", "restart the server"), "wal_level is %s, but logical decoding requires logical", s.walLevel)
	}
	if !s.replication {
		r.problem("replication-privilege", s.letReplicate(s.user), "role %s lacks the privilege to use replication slots: %v", s.user, s.refusal)
	}
	if !s.creator && !s.installed {
		r.problem("create-privilege", fmt.Sprintf("run GRANT CREATE ON DATABASE %s TO %s as the database's owner", quoteIfNeeded(s.database), quoteIfNeeded(s.user)), "role %s lacks the privilege to create schema pgtee", s.user)
	}
	if s.slot == nil && s.usedSlots >= s.maxSlots {
		r.problem("slots-exhausted", s.set("max_replication_slots", strconv.Itoa(s.maxSlots+5), "restart the server")+", or drop a slot that nobody uses",
			"all %d replication slots are in use", s.maxSlots)
	}
	if s.maxSenders == 0 {
		r.problem("wal-senders-none", s.set("max_wal_senders", "10", "restart the server"), "max_wal_senders is 0")
	}
	s.reportSlot(cfg, &r)
	s.reportForeign(&r)
	for _, table := range s.generated {
		if s.version < 180000 { // since PostgreSQL 18 setup publishes such columns
			r.warn("table-key-generated", "make it an ordinary column, or give the table another unique index and run ALTER TABLE "+table+" REPLICA IDENTITY USING INDEX",
				"the replica identity of table %s has a generated column, which is not in the WAL: its records have no key", table)
		}
	}
	for _, table := range s.unkeyed {
		r.problem("table-unkeyed", fmt.Sprintf("run ALTER TABLE %s ADD PRIMARY KEY (...), name its key in the configuration, or exclude it", table),
			"table %s has no key, and --no-allow-unkeyed refuses such tables", table)
	}
	if s.keepSize >= 0 && s.keepSize < s.maxSize {
		r.warn("wal-limit-small", s.set("max_slot_wal_keep_size", "'50GB'", "SELECT pg_reload_conf()"),
			"max_slot_wal_keep_size is %d MB, less than max_wal_size (%d MB), which one checkpoint may need: a short outage of the publisher or Kafka loses the slot", s.keepSize, s.maxSize)
	}
	if s.keepSize < 0 {
		r.warn("wal-unbounded", s.set("max_slot_wal_keep_size", "'50GB'", "SELECT pg_reload_conf()")+", or start the publisher with --max-retained-wal SIZE:warn|drop_slot and suppress this finding with --ignore wal-unbounded",
			"max_slot_wal_keep_size is -1: while the publisher is down, the WAL grows until the disk is full")
	}
	if s.timescale {
		r.warn("timescaledb", "before such a call, run ALTER PUBLICATION "+IdentityPublication+"_N DROP TABLE in the same transaction (\\d TABLE names the publication): see docs/client-visible.md; suppress this finding with --ignore timescaledb",
			"TimescaleDB is installed: its create_hypertable() refuses a table that is in a publication")
	}
	for _, name := range s.replicators {
		r.warn("outbox-replicated", "let the subscribers use a publication that lists schemas or tables (ALTER SUBSCRIPTION ... SET PUBLICATION); or, if they need neither REFRESH nor new subscriptions, start the proxies with --outbox message, with which no table of pgtee is ever written, and suppress this finding with --ignore outbox-replicated",
			"publication %s replicates the tables of schema pgtee as well: CREATE SUBSCRIPTION and ALTER SUBSCRIPTION ... REFRESH PUBLICATION fail where these tables are missing; with --outbox table the subscribers receive the notes, or stop", name)
	}
	if s.version >= 170000 && s.standbys > 0 && s.syncSlots == "" {
		r.warn("standbys-unsynchronised", "set synchronized_standby_slots to the standbys' physical slots and reload",
			"synchronized_standby_slots is empty: after a failover Kafka may hold transactions that the new primary lacks")
	}
	if includesStandby(s.syncNames, publisherName) {
		r.disturbs("publisher-synchronous", Warning, s.set("synchronous_standby_names", "'FIRST 1 (STANDBY, ...)'", "SELECT pg_reload_conf()")+", which names the standbys",
			"synchronous_standby_names = '%s' includes the publisher, application %s: commits may wait until Kafka has them, and those with the first row of a table for ever", s.syncNames, publisherName)
	}
	return r
}

// includesStandby reports whether synchronous_standby_names includes an application. The value is a list of names or *, or such a list in parentheses after
// the number of standbys.
func includesStandby(names, application string) bool {
	if _, list, found := strings.Cut(names, "("); found {
		names, _, _ = strings.Cut(list, ")")
	}
	return slices.ContainsFunc(strings.Split(names, ","), func(name string) bool {
		name = strings.Trim(strings.TrimSpace(name), `"`)
		return name == "*" || strings.EqualFold(name, application)
	})
}

func (s *serverState) reportSlot(cfg SetupConfig, r *Report) {
	switch {
	case s.metaSlot != "" && s.metaSlot != cfg.Slot:
		r.problem("slot-other", fmt.Sprintf("use --slot %s, or run pgtee teardown --slot %s first, and pgtee repair --accept-divergence after setup", s.metaSlot, s.metaSlot), "database %s is set up for slot %s", s.database, s.metaSlot)
	case s.slot == nil:
	case s.slot.plugin != "pgoutput" || s.slot.database != s.database:
		r.problem("slot-foreign", "choose another name with --slot", "slot %s belongs to plugin %q, database %q", cfg.Slot, s.slot.plugin, s.slot.database)
	case s.metaSlot == "" && len(s.missing()) > 0:
		r.problem("slot-older", fmt.Sprintf("choose another name with --slot, or run SELECT pg_drop_replication_slot('%s') if nobody needs it", cfg.Slot),
			"slot %s exists but was not created by pgtee setup: it is older than the publications", cfg.Slot)
	case s.slot.walStatus == "unreserved":
		r.warn("slot-at-risk", "let the publisher catch up now, or raise max_slot_wal_keep_size", "slot %s is about to lose WAL that it needs", cfg.Slot)
	}
}

// reportObjects reports which of the objects that setup creates exist.
func (s *serverState) reportObjects(cfg SetupConfig, r *Report) {
	again := "run `pgtee setup`"
	switch {
	case s.untrusted != "":
		return
	case !s.installed:
		r.problem("not-set-up", again, "schema pgtee does not exist: writes get no notes")
		return
	case s.unusable:
		r.problem("public-privilege", again+" as the role that ran it before", "role %s, like PUBLIC, lacks USAGE on schema pgtee: it can neither publish nor check the objects of the schema, and writes get no notes", s.user)
		return
	case s.metaDenied:
		r.problem("meta-privilege", "run `pgtee setup --grant-publisher "+quoteIfNeeded(s.user)+"` as the role that ran setup, or run this as that role",
			"role %s lacks the privilege to read pgtee.meta, so it can neither publish nor check the objects of the schema", s.user)
		return
	case s.ready == "":
		r.problem("schema-copied", again, "schema pgtee was created for another server or database, perhaps copied from there: here no note is written and nothing is published")
	default:
		r.ok("schema pgtee, version %s", s.ready)
	}
	if s.owner != "" {
		r.trustOwner(s.owner)
	}
	s.reportOutbox(again, r)
	s.reportPublications(again, r)
	switch {
	case s.slot == nil && s.metaSlot != "":
		r.problem("slot-missing", cureSetup, "slot %s no longer exists", cfg.Slot)
	case s.slot == nil:
		r.problem("slot-missing", again, "slot %s does not exist", cfg.Slot)
	case s.slot.lost():
		r.problem("slot-lost", cureSetup, "slot %s has lost WAL (wal_status %s %s)", cfg.Slot, s.slot.walStatus, s.slot.invalid)
	default:
		r.ok("slot %s, %s, in use: %t", cfg.Slot, s.slot.walStatus, s.slot.active)
	}
	if s.public {
		r.warn("publish-public", "run `pgtee setup --grant-publish ROLE,...`", "PUBLIC may execute pgtee.publish(): every role can put events into Kafka")
	}
	if s.signallers {
		r.warn("snapshot-public", "run `pgtee setup --grant-snapshot ROLE,...`", "PUBLIC may request snapshots: every role can copy whole tables into Kafka")
	}
	if s.triggers < 3 {
		r.warn("event-triggers", "run `pgtee setup` as a superuser", "event triggers are missing or not ENABLE ALWAYS: DDL is recorded only from notes, and new tables are not published until the next setup")
	}
	for _, t := range s.uncaptured {
		switch {
		case t.reason == "":
			r.warn("table-unlisted", again, "table %s is in none of the publications of its kind (%s, %s): some of its changes are not published", t.name, IdentityPublication, PartitionedPublication)
		case t.fails():
			r.warn("table-fails", again, "table %s is in one of the publications %s, but %s: its UPDATE and DELETE fail", t.name, IdentityPublication, t.reason)
		default:
			r.warn("table-uncaptured", t.repair(), "the UPDATE and DELETE of table %s are not published: %s", t.name, t.reason)
		}
	}
}

// reportPublications reports defects of the publications themselves, not of their members.
func (s *serverState) reportPublications(again string, r *Report) {
	for _, name := range publicationNames() {
		p, found := s.publication(name)
		switch {
		case slices.ContainsFunc(s.foreign, func(p []string) bool { return p[0] == name }): // reportForeign has reported it
		case !found && s.slot == nil:
			r.problem("publication-missing", again, "publication %s is missing", name)
		case !found:
			r.problem("publication-missing", cureSetup, "publication %s is missing, so slot %s cannot be read", name, s.metaSlot)
		case slices.Contains(s.younger(), name):
			r.problem("publication-younger", cureSetup, "publication %s was created after slot %s, so the slot cannot be read with it", name, s.metaSlot)
		case p.altered():
			r.problem("publication-altered", again+", after which the publisher publishes every table again", "publication %s was altered: it no longer publishes what setup configured", name)
		case p.lacksGenerated(s.version):
			r.warn("publication-generated", again, "publication %s leaves out generated columns: UPDATE of a table with REPLICA IDENTITY FULL and a stored generated column fails", name)
		case name == RowsPublication && !p.allTables && s.superuser:
			r.warn("publication-lists-tables", "to publish all tables, run DROP PUBLICATION "+name+", then as this role: "+cureSetup,
				"publication %s lists tables: rows written into a new table before it is listed are not in the stream", name)
		}
	}
	for _, m := range s.narrowed {
		r.problem("publication-narrowed", again+", after which the publisher publishes the table again", "publication %s lists %s, with a column list or a row filter, or although only tables that store rows belong there", m[0], m[1])
	}
}
