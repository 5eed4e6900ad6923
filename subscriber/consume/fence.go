package consume

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// pgtee's tables in the database. A row of pgtee.consumed holds the position of a group in a partition, and the epoch of the consumer that may
// continue there: the one that raised it last.
const ourTables = `CREATE TABLE IF NOT EXISTS pgtee.consumed (
  "group" text, topic text, partition int4,
  topic_id text NOT NULL,             -- a topic that was re-created with its old name has another id
  next_offset int8 NOT NULL,          -- all records before it are in the table or in pgtee.dead_letters
  leader_epoch int4 NOT NULL,         -- leader epoch of the last record, by which Kafka detects truncation
  epoch int8 NOT NULL,
  records int8 NOT NULL DEFAULT 0, dead int8 NOT NULL DEFAULT 0, consumed_at timestamptz,
  PRIMARY KEY ("group", topic, partition)
) WITH (fillfactor = 20);
CREATE TABLE IF NOT EXISTS pgtee.dead_letters (
  "group" text, topic text, topic_id text, partition int4, "offset" int8,
  "timestamp" timestamptz, key bytea, value bytea, headers json, -- names, and values in base64
  reason text NOT NULL, sqlstate text, tries int4 NOT NULL DEFAULT 1, dead_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY ("group", topic, topic_id, partition, "offset")
)`

// target is the database, over one connection.
type target struct {
	cfg   *Config
	conn  *pgconn.PgConn
	user  string
	table *table
	epoch map[int32]int64 // of the partitions held by this consumer

	topicID      string  // id of the topic whose records are written
	rows, sorted []int32 // of the current batch; reused
}

const maxApplicationName = 63

// connect opens the connection and creates pgtee's tables unless they exist.
func (c *Config) connect(ctx context.Context) (*target, error) {
	config, err := pgconn.ParseConfig(c.ConnString)
	if err != nil {
		return nil, Halt{"--postgres: " + err.Error(), "want postgres://user@host:5432/database"}
	}
	path, set := config.RuntimeParams["search_path"]
	postgres.Configure(config)
	delete(config.RuntimeParams, "search_path") // triggers of the table need theirs: see theirPath
	if set {
		config.RuntimeParams["search_path"] = path
	}
	name := "pgtee consume " + c.group()
	config.RuntimeParams["application_name"] = name[:min(len(name), maxApplicationName)]
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectPatience
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	t := &target{cfg: c, conn: conn, user: config.User, epoch: map[int32]int64{}}
	if err = t.exec(ctx, "SET search_path = pg_catalog"); err == nil {
		err = t.ensure(ctx)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *target) exec(ctx context.Context, sql string) error {
	_, err := t.conn.Exec(ctx, sql).ReadAll()
	return err
}

// errReadOnly halts a consumer that has never reached a database to write to. After a failover the standby becomes one.
var errReadOnly = Halt{"the database is a standby, or read-only", "name its primary with --postgres"}

func (t *target) ensure(ctx context.Context) error {
	what, repair, err := postgres.UntrustedOwner(ctx, t.conn, []string{"consumed", "dead_letters"}, t.cfg.TrustedOwners)
	if err != nil {
		return err
	}
	if what != "" {
		return Halt{what, repair}
	}
	const there = "SELECT coalesce(to_regclass('pgtee.consumed')::text, ''), coalesce(to_regclass('pgtee.dead_letters')::text, ''), coalesce(to_regnamespace('pgtee')::text, ''), current_setting('transaction_read_only')"
	rows, err := postgres.Query(ctx, t.conn, there)
	if err == nil && rows[0][3] == "on" {
		return errReadOnly
	}
	if err == nil && rows[0][0] != "" && rows[0][1] != "" {
		return nil
	}
	if err == nil && rows[0][2] == "" {
		if err = t.exec(ctx, "CREATE SCHEMA IF NOT EXISTS pgtee"); postgres.State(err) == "23505" { // another consumer created it concurrently
			err = nil
		}
	}
	for range 2 { // another consumer may create them at the same time
		if err == nil || postgres.State(err) == "23505" {
			err = t.exec(ctx, ourTables)
		}
	}
	if postgres.State(err) == "42501" {
		return Halt{fmt.Sprintf("user %s lacks the privilege to create the tables pgtee.consumed and pgtee.dead_letters: %v", t.user, err),
			fmt.Sprintf("run CREATE SCHEMA pgtee AUTHORIZATION %[1]s or, if the schema exists, GRANT USAGE, CREATE ON SCHEMA pgtee TO %[1]s", postgres.QuoteIdentifier(t.user))}
	}
	return err
}

// register inserts a row for each partition that has none. start returns the start offsets, and is only called if a row is missing.
func (t *target) register(ctx context.Context, topic *topic, start func(fresh bool) (map[int32]int64, error)) error {
	const known = `SELECT partition::text, topic_id FROM pgtee.consumed WHERE "group" = $1 AND topic = $2`
	rows, err := postgres.Query(ctx, t.conn, known, t.cfg.group(), topic.name)
	if err != nil {
		return err
	}
	missing := slices.Clone(topic.partitions)
	for _, row := range rows {
		if row[1] != topic.id {
			return topicRecreated(topic.name, t.cfg.group())
		}
		number, _ := strconv.Atoi(row[0])
		missing = slices.DeleteFunc(missing, func(p int32) bool { return int(p) == number })
	}
	if len(missing) == 0 {
		return nil
	}
	offsets, err := start(len(rows) == 0)
	if err != nil {
		return err
	}
	var values []string
	for _, p := range missing {
		values = append(values, fmt.Sprintf("($1, $2, %d, $3, %d, -1, 0)", p, offsets[p]))
	}
	_, err = postgres.Query(ctx, t.conn, `INSERT INTO pgtee.consumed ("group", topic, partition, topic_id, next_offset, leader_epoch, epoch) VALUES `+
		strings.Join(values, ", ")+" ON CONFLICT DO NOTHING", t.cfg.group(), topic.name, topic.id)
	return err
}

func topicRecreated(topic, group string) error {
	return Halt{fmt.Sprintf("topic %s was re-created: it is not the one that group %s has consumed", topic, group),
		fmt.Sprintf(`to start with the new topic, run DELETE FROM pgtee.consumed WHERE "group" = %s AND topic = %s; or use another --group`, postgres.QuoteLiteral(group), postgres.QuoteLiteral(topic))}
}

// offsets returns the positions of the group, whichever consumers hold the partitions.
func (t *target) offsets(ctx context.Context) (map[int32]int64, error) {
	rows, err := postgres.Query(ctx, t.conn, `SELECT partition::text, next_offset::text FROM pgtee.consumed WHERE "group" = $1 AND topic = $2`, t.cfg.group(), t.cfg.Topic)
	if err != nil {
		return nil, err
	}
	offsets := map[int32]int64{}
	for _, row := range rows {
		partition, _ := strconv.Atoi(row[0])
		if offsets[int32(partition)], err = strconv.ParseInt(row[1], 10, 64); err != nil {
			return nil, err
		}
	}
	return offsets, nil
}

// start is the position from which a partition continues.
type start struct {
	next   int64
	leader int32
}

// fence excludes every other consumer from a partition and returns the partition's position.
func (t *target) fence(ctx context.Context, topic *topic, partition int32) (s start, err error) {
	rows, err := postgres.Query(ctx, t.conn, `UPDATE pgtee.consumed SET epoch = epoch + 1 WHERE "group" = $1 AND topic = $2 AND partition = $3::int4
RETURNING epoch::text, next_offset::text, leader_epoch::text, topic_id`, t.cfg.group(), topic.name, strconv.Itoa(int(partition)))
	if err != nil {
		return s, fmt.Errorf("update the fence row in pgtee.consumed: %w", err)
	}
	if len(rows) != 1 {
		return s, fmt.Errorf("the fence row of partition %d in pgtee.consumed was deleted", partition)
	}
	if rows[0][3] != topic.id {
		return s, topicRecreated(topic.name, t.cfg.group())
	}
	var numbers [3]int64
	for i := range numbers {
		if numbers[i], err = strconv.ParseInt(rows[0][i], 10, 64); err != nil {
			return s, err
		}
	}
	t.epoch[partition] = numbers[0]
	return start{numbers[1], int32(numbers[2])}, nil
}

// advanceFence is the last statement of each transaction. It fails with a division by zero unless this consumer still holds the fence of every
// partition with records in the batch, and no position moves backwards.
const advanceFence = `WITH f AS (UPDATE pgtee.consumed AS c SET next_offset = n.next_offset, leader_epoch = n.leader_epoch, records = c.records + n.records, dead = c.dead + n.dead,
  consumed_at = clock_timestamp()
  FROM unnest($3::int4[], $4::int8[], $5::int8[], $6::int4[], $7::int8[], $8::int8[]) AS n (partition, epoch, next_offset, leader_epoch, records, dead)
  WHERE c."group" = $1 AND c.topic = $2 AND c.partition = n.partition AND c.epoch = n.epoch AND c.next_offset <= n.next_offset RETURNING 1)
SELECT 1 / (count(*) = cardinality($3::int4[]))::int4 FROM f`

// errFenced means that another consumer has taken over a partition. The partitions are then redistributed.
var errFenced = fmt.Errorf("fenced off: another consumer of the group has taken over a partition")

// advance sends the statement that advances the fence rows.
func (t *target) advance(pipeline *pgconn.Pipeline, b *batch) {
	var lists [6][]string
	dead := map[int32]int64{}
	for i := range b.rows {
		if b.rows[i].dead != "" {
			dead[b.rows[i].record.Partition]++
		}
	}
	for number, p := range b.positions {
		for i, n := range []int64{int64(number), t.epoch[number], p.next, int64(p.leader), p.records, dead[number]} {
			lists[i] = append(lists[i], strconv.FormatInt(n, 10))
		}
	}
	params := [][]byte{[]byte(t.cfg.group()), []byte(t.cfg.Topic)}
	for _, list := range lists {
		params = append(params, []byte("{"+strings.Join(list, ",")+"}"))
	}
	pipeline.SendQueryParams(advanceFence, params, nil, nil, nil)
}
