package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// position is the content of the fence row.
type position struct {
	end      LSN       // all transactions that committed before this LSN have been applied; 0: none has
	at       time.Time // commit time of the last transaction; zero: not known
	systemID string
	slot     string
	timeline int32
	cuts     int                // number of repairs that had set the stream back
	offsets  map[string][]int64 // next offset of each partition, by topic
	topics   map[string]string  // topic ids, by name
	loading  map[string]load    // tables whose rows a snapshot has not delivered yet
	copies   []copyID           // snapshots that were known at the position; nil: not recorded
	fresh    bool               // nothing has been applied yet
}

// pgtee's tables in the target.
const fenceSchema = `CREATE TABLE IF NOT EXISTS pgtee.applied (
  stream pg_catalog.text PRIMARY KEY,
  epoch pg_catalog.int8 NOT NULL,            -- epoch of the applier that may write
  end_lsn pg_catalog.pg_lsn,                 -- all transactions that committed before this LSN have been applied
  commit_time pg_catalog.timestamptz,        -- commit time of the last transaction
  system_id pg_catalog.text, slot pg_catalog.text, timeline pg_catalog.int4, cuts pg_catalog.int4,
  transactions pg_catalog.int8 NOT NULL DEFAULT 0, changes pg_catalog.int8 NOT NULL DEFAULT 0,
  offsets pg_catalog.jsonb NOT NULL DEFAULT '{}', topics pg_catalog.jsonb NOT NULL DEFAULT '{}', -- next offset of each partition; topic ids
  loading pg_catalog.jsonb NOT NULL DEFAULT '{}', -- tables whose rows a snapshot has not delivered yet
  copies pg_catalog.jsonb,                   -- snapshots that were known at the position
  applied_at pg_catalog.timestamptz
) WITH (fillfactor = 20);
ALTER TABLE pgtee.applied ADD COLUMN IF NOT EXISTS slot pg_catalog.text, ADD COLUMN IF NOT EXISTS cuts pg_catalog.int4, ADD COLUMN IF NOT EXISTS copies pg_catalog.jsonb; -- the table may be that of an earlier build
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
	const made = `SELECT (SELECT pg_catalog.count(*) = 3 FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass('pgtee.applied') AND attname IN ('slot', 'cuts', 'copies'))::pg_catalog.text,
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
	return Halt{fmt.Sprintf("user %s lacks the privilege to create the tables pgtee.applied and pgtee.conflicts in the target: %v", t.user, err),
		fmt.Sprintf("in the target, run CREATE SCHEMA pgtee AUTHORIZATION %[1]s or, if the schema exists, GRANT USAGE, CREATE ON SCHEMA pgtee TO %[1]s", postgres.QuoteIdentifier(t.user))}
}

const takeOver = `UPDATE pgtee.applied SET epoch = epoch + 1 WHERE stream = $1
RETURNING epoch::pg_catalog.text, coalesce(end_lsn::pg_catalog.text, ''), coalesce(system_id, ''), coalesce(slot, ''), coalesce(timeline, 0)::pg_catalog.text, coalesce(cuts, 0)::pg_catalog.text,
  offsets::pg_catalog.text, loading::pg_catalog.text, topics::pg_catalog.text, coalesce((extract(epoch FROM commit_time) * 1000000)::pg_catalog.int8, 0)::pg_catalog.text,
  coalesce(copies::pg_catalog.text, 'null')`

// fence excludes every other applier of the stream and returns the stream's position.
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
		return p, fmt.Errorf("update the fence row in pgtee.applied: %w", err)
	}
	if len(rows) != 1 {
		return p, errors.New("the fence row in pgtee.applied was deleted")
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
	return p, errors.Join(json.Unmarshal([]byte(row[6]), &p.offsets), json.Unmarshal([]byte(row[7]), &p.loading), json.Unmarshal([]byte(row[8]), &p.topics), json.Unmarshal([]byte(row[10]), &p.copies))
}

// epochNow returns the epoch of the applier that may write; 0 if there is no fence row.
func (t *target) epochNow(ctx context.Context) (int64, error) {
	rows, err := postgres.Query(ctx, t.conn, "SELECT epoch::pg_catalog.text FROM pgtee.applied WHERE stream = $1", t.cfg.stream())
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return integer(rows[0][0]), nil
}

// advanceFence is the last statement of each transaction. It fails with a division by zero unless this applier still holds the fence and the position
// does not move backwards.
const advanceFence = `WITH f AS (UPDATE pgtee.applied SET end_lsn = $3::pg_catalog.pg_lsn, commit_time = coalesce($4::pg_catalog.timestamptz, commit_time), system_id = $5, timeline = $6::pg_catalog.int4,
  transactions = transactions + $7::pg_catalog.int8, changes = changes + $8::pg_catalog.int8, offsets = $9::pg_catalog.jsonb, loading = $10::pg_catalog.jsonb, topics = $11::pg_catalog.jsonb, slot = $12, cuts = $13::pg_catalog.int4, copies = $14::pg_catalog.jsonb, applied_at = pg_catalog.clock_timestamp()
  WHERE stream = $1 AND epoch = $2::pg_catalog.int8 AND (end_lsn IS NULL OR end_lsn <= $3::pg_catalog.pg_lsn) RETURNING 1)
SELECT 1 / count(*) FROM f`

// errFenced ends this applier because another one has taken over its stream.
var errFenced = Halt{"fenced off: another applier has taken over the stream, or the target is ahead of this one",
	"run one applier for each stream (--standby waits for the other); query pgtee.applied on the target to see which holds it"}

// commit advances the fence row and commits. stream says to which history the new position belongs.
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
	copies, err := json.Marshal(b.copies)
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
		[]byte(stream.Slot), strconv.AppendInt(nil, int64(len(stream.Cuts)), 10), copies,
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
