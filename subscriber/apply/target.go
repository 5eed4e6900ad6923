package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
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
	scratch [][]byte // reused for parameters
	groups  groups
}

// position is the content of the fence row.
type position struct {
	end      LSN       // everything that committed before it is applied; 0: nothing yet
	at       time.Time // commit time of the last transaction; zero: not known
	systemID string
	slot     string
	timeline int32
	cuts     int // how often repairs had set the stream back
	offsets  map[string][]int64
	topics   map[string]string // topic ids
	loading  map[string]string
	fresh    bool
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
	maps.Copy(config.RuntimeParams, postgres.Settings)
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

func (t *target) learn(ctx context.Context) error {
	rows, err := postgres.Query(ctx, t.conn, "SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.pg_is_in_recovery()::pg_catalog.text")
	if err != nil {
		return err
	}
	t.version = int(integer(rows[0][0]))
	if rows[0][1] == "true" {
		return Halt{"the target is a standby", "name its primary with --postgres"}
	}
	err = t.exec(ctx, "SET session_replication_role = replica")
	t.replica = err == nil
	if postgres.State(err) == "42501" {
		err = nil
	}
	return err
}

// exec runs SQL without results.
func (t *target) exec(ctx context.Context, sql string) error {
	_, err := t.conn.Exec(ctx, sql).ReadAll()
	return err
}

// pgtee's tables in the target.
const fenceSchema = `CREATE TABLE IF NOT EXISTS pgtee.applied (
  stream pg_catalog.text PRIMARY KEY,
  epoch pg_catalog.int8 NOT NULL,            -- of the applier that may write
  end_lsn pg_catalog.pg_lsn,                 -- everything that committed before it is applied
  commit_time pg_catalog.timestamptz,        -- of the last transaction
  system_id pg_catalog.text, slot pg_catalog.text, timeline pg_catalog.int4, cuts pg_catalog.int4,
  transactions pg_catalog.int8 NOT NULL DEFAULT 0, changes pg_catalog.int8 NOT NULL DEFAULT 0,
  offsets pg_catalog.jsonb NOT NULL DEFAULT '{}', topics pg_catalog.jsonb NOT NULL DEFAULT '{}', -- next offset of each partition, ids
  loading pg_catalog.jsonb NOT NULL DEFAULT '{}', -- tables whose rows are still to come from a snapshot
  applied_at pg_catalog.timestamptz
) WITH (fillfactor = 20);
ALTER TABLE pgtee.applied ADD COLUMN IF NOT EXISTS slot pg_catalog.text, ADD COLUMN IF NOT EXISTS cuts pg_catalog.int4; -- of an earlier build
CREATE TABLE IF NOT EXISTS pgtee.conflicts (
  stream pg_catalog.text NOT NULL, event_id pg_catalog.text NOT NULL, conflict pg_catalog.text NOT NULL,
  policy pg_catalog.text NOT NULL, action pg_catalog.text NOT NULL, "table" pg_catalog.text NOT NULL, key pg_catalog.jsonb,
  incoming pg_catalog.jsonb, before pg_catalog.jsonb, existing pg_catalog.jsonb, "constraint" pg_catalog.text,
  "user" pg_catalog.text, session pg_catalog.jsonb, statement pg_catalog.jsonb, message pg_catalog.text,
  times pg_catalog.int4 NOT NULL DEFAULT 1, first_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(), last_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (stream, event_id, conflict)
)`

// ensure creates pgtee's tables unless they exist.
func (t *target) ensure(ctx context.Context) error {
	const made = `SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass('pgtee.applied') AND attname = 'cuts')::pg_catalog.text,
  (pg_catalog.to_regclass('pgtee.conflicts') IS NOT NULL)::pg_catalog.text, (pg_catalog.to_regnamespace('pgtee') IS NOT NULL)::pg_catalog.text`
	rows, err := postgres.Query(ctx, t.conn, made)
	if postgres.State(err) == "42501" {
		return t.noSchema(err)
	}
	if err != nil {
		return err
	}
	if rows[0][0] == "true" && rows[0][1] == "true" {
		return nil
	}
	if rows[0][2] == "false" {
		if err = t.exec(ctx, "CREATE SCHEMA IF NOT EXISTS pgtee"); postgres.State(err) == "23505" { // another applier created it concurrently
			err = nil
		}
	}
	if err == nil {
		err = t.exec(ctx, fenceSchema)
	}
	if postgres.State(err) == "42501" {
		return t.noSchema(err)
	}
	return err
}

func (t *target) noSchema(err error) error {
	return Halt{fmt.Sprintf("user %s may not make the tables pgtee.applied and pgtee.conflicts in the target: %v", t.user, err),
		fmt.Sprintf("run CREATE SCHEMA pgtee AUTHORIZATION %[1]s there; if there is one, GRANT USAGE, CREATE ON SCHEMA pgtee TO %[1]s", postgres.QuoteIdentifier(t.user))}
}

const takeOver = `UPDATE pgtee.applied SET epoch = epoch + 1 WHERE stream = $1
RETURNING epoch::pg_catalog.text, coalesce(end_lsn::pg_catalog.text, ''), coalesce(system_id, ''), coalesce(slot, ''), coalesce(timeline, 0)::pg_catalog.text, coalesce(cuts, 0)::pg_catalog.text,
  offsets::pg_catalog.text, loading::pg_catalog.text, topics::pg_catalog.text, coalesce((extract(epoch FROM commit_time) * 1000000)::pg_catalog.int8, 0)::pg_catalog.text`

// The applier of a stream holds an advisory lock with the stream's name. The lock makes others wait; the fence is what excludes them.
const (
	lockStream = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('pgtee apply ' || $1, 0))::pg_catalog.text"

	// endHolder terminates the connection that holds the lock: an applier that hangs would also keep its row locks.
	endHolder = `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_catalog.pg_backend_pid() AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND (classid::pg_catalog.int8 << 32 | objid::pg_catalog.int8) = pg_catalog.hashtextextended('pgtee apply ' || $1, 0)`
)

// setOrigin sets a replication origin for the writes of this session, so that publishers and subscriptions of the target can distinguish them from
// writes made there first. Without the privilege, or if the server tracks no origins, the writes carry none.
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
		return Halt{"what is applied cannot carry a replication origin: " + err.Error(), repair}
	}
	t.cfg.Log.Info("what is applied carries no replication origin, so that publishers of the target cannot leave it out", zap.Error(err), zap.String("repair", repair))
	return nil
}

// turnPause is the pause between attempts to take the lock.
const turnPause = 200 * time.Millisecond

// takeTurn waits until no other applier of the stream is running. It terminates the other one, unless this one is a standby.
func (t *target) takeTurn(ctx context.Context) error {
	for said := false; ; said = true {
		rows, err := postgres.Query(ctx, t.conn, lockStream, t.cfg.stream())
		if err != nil || rows[0][0] == "true" {
			return err
		}
		if !t.cfg.Standby {
			if _, err := postgres.Query(ctx, t.conn, endHolder, t.cfg.stream()); err != nil {
				return err
			}
		} else if !said {
			t.cfg.Stats.state("standing by")
			t.cfg.Log.Info("another applier has the stream: standing by")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(turnPause):
		}
	}
}

// fence excludes every other applier of the stream and returns its position.
func (t *target) fence(ctx context.Context) (p position, err error) {
	if err := t.ensure(ctx); err != nil {
		return p, err
	}
	stream := t.cfg.stream()
	if _, err := postgres.Query(ctx, t.conn, "INSERT INTO pgtee.applied (stream, epoch) VALUES ($1, 0) ON CONFLICT DO NOTHING RETURNING 1", stream); err != nil {
		return p, err
	}
	rows, err := postgres.Query(ctx, t.conn, takeOver, stream)
	if err != nil {
		return p, fmt.Errorf("take the fence row pgtee.applied: %w", err)
	}
	if len(rows) != 1 {
		return p, errors.New("the fence row in pgtee.applied is gone")
	}
	row := rows[0]
	t.epoch = integer(row[0])
	if p.fresh = row[1] == ""; !p.fresh {
		if err := p.end.UnmarshalText([]byte(row[1])); err != nil {
			return p, err
		}
	}
	p.systemID, p.slot, p.timeline, p.cuts = row[2], row[3], int32(integer(row[4])), int(integer(row[5]))
	if at := integer(row[9]); at != 0 {
		p.at = time.UnixMicro(at)
	}
	return p, errors.Join(json.Unmarshal([]byte(row[6]), &p.offsets), json.Unmarshal([]byte(row[7]), &p.loading), json.Unmarshal([]byte(row[8]), &p.topics))
}

// advanceFence is the last statement of each transaction. It fails with a division by zero unless this applier still holds the fence and the position
// does not move backwards.
const advanceFence = `WITH f AS (UPDATE pgtee.applied SET end_lsn = $3::pg_catalog.pg_lsn, commit_time = coalesce($4::pg_catalog.timestamptz, commit_time), system_id = $5, timeline = $6::pg_catalog.int4,
  transactions = transactions + $7::pg_catalog.int8, changes = changes + $8::pg_catalog.int8, offsets = $9::pg_catalog.jsonb, loading = $10::pg_catalog.jsonb, topics = $11::pg_catalog.jsonb, slot = $12, cuts = $13::pg_catalog.int4, applied_at = pg_catalog.clock_timestamp()
  WHERE stream = $1 AND epoch = $2::pg_catalog.int8 AND (end_lsn IS NULL OR end_lsn <= $3::pg_catalog.pg_lsn) RETURNING 1)
SELECT 1 / count(*) FROM f`

// errFenced ends an applier whose stream another one has taken over.
var errFenced = Halt{"fenced off: another applier has taken over the stream, or the target is ahead of this one",
	"run one applier for each stream (--standby waits for the other); SELECT * FROM pgtee.applied on the target tells"}

// commit advances the fence row and commits. The history that the position belongs to is that of stream.
func (t *target) commit(ctx context.Context, b *batch, stream *progress) error {
	name, err := t.prepare(ctx, advanceFence)
	if err != nil {
		return err
	}
	offsets, err := json.Marshal(b.offsets)
	if err != nil {
		return err
	}
	loading, err := json.Marshal(b.loading)
	if err != nil {
		return err
	}
	topics, err := json.Marshal(b.topics)
	if err != nil {
		return err
	}
	var commitTime []byte
	if !b.commitTime.IsZero() {
		commitTime = []byte(b.commitTime.UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
	}
	pipeline := t.conn.StartPipeline(ctx)
	if !t.inside {
		pipeline.SendQueryParams("BEGIN", nil, nil, nil, nil)
	}
	pipeline.SendQueryPrepared(name, [][]byte{
		[]byte(t.cfg.stream()), strconv.AppendInt(nil, t.epoch, 10), []byte(b.end.String()), commitTime, []byte(stream.SystemID), strconv.AppendInt(nil, int64(stream.Timeline), 10),
		strconv.AppendInt(nil, int64(b.transactions), 10), strconv.AppendInt(nil, int64(b.events), 10), offsets, loading, topics,
		[]byte(stream.Slot), strconv.AppendInt(nil, int64(len(stream.Cuts)), 10),
	}, nil, nil)
	pipeline.SendQueryParams("COMMIT", nil, nil, nil, nil)
	_, err = postgres.Results(t.conn, pipeline)
	if postgres.State(err) == "22012" {
		return errFenced
	}
	if err == nil {
		t.inside = false
	}
	return err
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

func (t *target) grantOrigin() string {
	return "GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_session_setup(text), pg_replication_origin_oid(text) TO " + postgres.QuoteIdentifier(t.user)
}

func (t *target) grantReplica() string {
	if t.version < 150000 {
		return "before PostgreSQL 15 only a superuser may turn them off"
	}
	return fmt.Sprintf("to turn them off, GRANT SET ON PARAMETER session_replication_role TO %s", t.user)
}
