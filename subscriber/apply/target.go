package apply

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/subscriber/postgres"
)

// target is the database to write to, over one connection.
type target struct {
	cfg      *Config
	conn     *pgconn.PgConn
	catalog  *catalog
	prepared map[string]string // statement names by SQL text
	inside   bool              // a transaction is open
	saved    bool              // a savepoint is open in it
	replica  bool              // triggers and foreign keys are off
	version  int
	user     string

	epoch   int64
	late    violations // of deferred constraints, in earlier sessions
	scratch [][]byte   // reused for parameters
	groups  groups
}

// planning makes a join with a list of keys use the table's index, whatever row count the planner estimates.
var planning = map[string]string{
	"enable_seqscan":   "off",
	"enable_hashjoin":  "off",
	"enable_mergejoin": "off",
	"plan_cache_mode":  "force_generic_plan",
	"jit":              "off",
}

const maxApplicationName = 63

func (c *Config) applicationName() string {
	name := "pgtee apply " + c.stream()
	return name[:min(len(name), maxApplicationName)]
}

// connect opens the connection and determines the user's privileges.
func (c *Config) connect(ctx context.Context) (*target, error) {
	config, err := pgconn.ParseConfig(c.ConnString)
	if err != nil {
		return nil, Halt{"--postgres: " + err.Error(), "want postgres://user@host:5432/database"}
	}
	postgres.Configure(config)
	maps.Copy(config.RuntimeParams, planning)
	config.RuntimeParams["application_name"] = c.applicationName()
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	t := &target{cfg: c, conn: conn, catalog: newCatalog(conn, newForms(c.Modes)), prepared: map[string]string{}, user: config.User}
	if err := t.learn(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *target) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = t.conn.Close(ctx)
}

// errReadOnly halts an applier that has never reached a target to write to. After a failover the standby becomes one.
var errReadOnly = Halt{"the target is a standby, or read-only", "name its primary with --postgres"}

func (t *target) learn(ctx context.Context) error {
	rows, err := postgres.Query(ctx, t.conn, "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('transaction_read_only'), pg_catalog.current_setting('is_superuser')")
	if err != nil {
		return err
	}
	t.version = int(integer(rows[0][0]))
	if rows[0][1] == "on" {
		return errReadOnly
	}
	what, repair, err := postgres.UntrustedOwner(ctx, t.conn, []string{"applied", "conflicts"}, t.cfg.TrustedOwners)
	if err != nil {
		return err
	}
	if what != "" {
		return Halt{"in the target, " + what, repair}
	}
	if rows[0][2] == "on" {
		if err := t.ddlAsSuperuser(); err != nil {
			return err
		}
	}
	err = t.exec(ctx, "SET session_replication_role = replica")
	t.replica = err == nil
	if postgres.State(err) == "42501" {
		err = nil
	}
	return err
}

// notSource returns an error if the target is the database that the stream comes from: applying would overwrite newer rows with older ones. A copy of
// its data folder has the same system identifier and may be a target; what only the source has is the slot.
func (t *target) notSource(ctx context.Context, slot, systemID string) error {
	const held = `SELECT pg_catalog.current_database() FROM pg_catalog.pg_replication_slots AS s, pg_catalog.pg_control_system() AS c
WHERE s.slot_name = $1 AND s.database = pg_catalog.current_database() AND c.system_identifier::pg_catalog.text = $2`
	rows, err := postgres.Query(ctx, t.conn, held, slot, systemID)
	if err != nil || len(rows) == 0 {
		return err
	}
	return Halt{fmt.Sprintf("--postgres names the source of the stream: database %s of server %s, which has slot %s", rows[0][0], systemID, slot),
		"name the database to write to (PGTEE_POSTGRES and --config count, too); if this one is a copy of the source's data folder, drop the slot in the copy"}
}

// exec runs SQL without results.
func (t *target) exec(ctx context.Context, sql string) error {
	_, err := t.conn.Exec(ctx, sql).ReadAll()
	return err
}

// The applier of a stream holds an advisory lock with the stream's name. The lock makes others wait; the fence is what excludes them.
const (
	lockStream = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('pgtee apply ' || $1, 0))::pg_catalog.text"

	// endHolder terminates the connection that holds the lock: an applier that hangs would also keep its row locks.
	endHolder = `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_catalog.pg_backend_pid() AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND (classid::pg_catalog.int8 << 32 | objid::pg_catalog.int8) = pg_catalog.hashtextextended('pgtee apply ' || $1, 0)`
)

// setOrigin sets a replication origin for the writes of this session, so that publishers and subscriptions of the target can distinguish them from
// writes that originate there. Without the privilege, or if the server tracks no origins, the writes carry none.
func (t *target) setOrigin(ctx context.Context) error {
	if t.cfg.Origin == OriginOff {
		return nil
	}
	name := outbox.AppliedOrigin + t.cfg.stream()
	const known = "SELECT coalesce(pg_catalog.pg_replication_origin_oid($1), 0)::pg_catalog.text"
	rows, err := postgres.Query(ctx, t.conn, known, name)
	if err == nil && rows[0][0] == "0" {
		_, err = postgres.Query(ctx, t.conn, "SELECT pg_catalog.pg_replication_origin_create($1)", name)
	}
	for range 50 { // the predecessor's connection may take a moment to end
		if err == nil {
			_, err = postgres.Query(ctx, t.conn, "SELECT pg_catalog.pg_replication_origin_session_setup($1)", name)
		}
		if postgres.State(err) != "55006" {
			break
		}
		err = nil
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(turnPause):
		}
	}
	repair := ""
	switch postgres.State(err) {
	case "":
		return err
	case "42501":
		repair = t.grantOrigin()
	case "53400", "55000", "55006":
		repair = "raise max_active_replication_origins of the target (before PostgreSQL 18 max_replication_slots), or drop origins that nobody uses with pg_replication_origin_drop()"
	default:
		return err
	}
	if t.cfg.Origin == OriginRequire {
		return Halt{"the applied transactions cannot carry a replication origin: " + err.Error(), repair}
	}
	t.cfg.Log.Info("the applied transactions carry no replication origin, so publishers of the target cannot leave them out", zap.Error(err), zap.String("repair", repair))
	return nil
}

// Pauses between attempts to take the lock. An applier that was terminated connects again after a moment, and must not be first.
const (
	turnPause  = 200 * time.Millisecond
	endedPause = 10 * time.Millisecond
)

// takeTurn waits until no other applier of the stream is running. It terminates the other one, unless this one is a standby.
func (t *target) takeTurn(ctx context.Context) error {
	for logged := false; ; logged = true {
		rows, err := postgres.Query(ctx, t.conn, lockStream, t.cfg.stream())
		if err != nil || rows[0][0] == "true" {
			return err
		}
		pause := turnPause
		if !t.cfg.Standby {
			pause = endedPause
			if _, err := postgres.Query(ctx, t.conn, endHolder, t.cfg.stream()); err != nil {
				return err
			}
		} else if !logged {
			t.cfg.Stats.state("standing by")
			t.cfg.Log.Info("another applier has the stream: standing by")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// maxPrepared bounds the number of prepared statements.
const maxPrepared = 500

// boundPrepared drops all prepared statements if there are too many; they are prepared again when needed.
func (t *target) boundPrepared(ctx context.Context) error {
	if len(t.prepared) < maxPrepared {
		return nil
	}
	clear(t.prepared)
	return t.exec(ctx, "DEALLOCATE ALL")
}

// prepare returns the name of the prepared statement for a SQL text.
func (t *target) prepare(ctx context.Context, sql string) (string, error) {
	if name, ok := t.prepared[sql]; ok {
		return name, nil
	}
	name := fmt.Sprintf("apply%d", len(t.prepared))
	if _, err := t.conn.Prepare(ctx, name, sql, nil); err != nil {
		return "", err
	}
	t.prepared[sql] = name
	return name, nil
}

// rollback ends an open transaction.
func (t *target) rollback(ctx context.Context) error {
	if !t.inside || t.conn.IsClosed() {
		return nil
	}
	t.inside, t.saved = false, false
	return t.exec(ctx, "ROLLBACK")
}

// warnTriggers warns once if triggers and foreign keys are active in the target.
func (t *target) warnTriggers(log *zap.Logger) {
	if !t.replica {
		log.Warn("triggers and foreign keys of the target fire: " + t.grantReplica())
	}
}

// ddlAsSuperuser halts, or warns, if DDL of the source would run as a superuser. SET ROLE would not help: code in a trigger or a constraint can RESET ROLE.
func (t *target) ddlAsSuperuser() error {
	if t.cfg.DDL != DDLApply {
		return nil
	}
	if t.cfg.DDLAsSuperuser {
		t.cfg.Log.Warn("DDL of the source runs as a superuser of the target: whoever may create a function, a trigger or a constraint at the source can become one", zap.String("user", t.user))
		return nil
	}
	return Halt{fmt.Sprintf("--ddl apply would run DDL of the source as %s, a superuser of the target: whoever may create a function, a trigger or a constraint at the source could become one", t.user),
		"apply as a role that only owns the tables (docs/apply.md, Privileges), or, if you trust everybody who runs DDL at the source, start with --ddl-as-superuser"}
}

func (t *target) grantOrigin() string {
	return "GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_session_setup(text), pg_replication_origin_oid(text) TO " + postgres.QuoteIdentifier(t.user)
}

func (t *target) grantReplica() string {
	if t.version < 150000 {
		return "before PostgreSQL 15 only a superuser may turn them off"
	}
	return fmt.Sprintf("to turn them off, GRANT SET ON PARAMETER session_replication_role TO %s", t.user)
}
