package query

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

const (
	askPatience      = 30 * time.Second // for Kafka to answer, and for the next record of the state topic
	maxBuffered      = 20_000           // records waiting for Kafka
	maxBufferedBytes = 64 << 20
	minLargest       = 512     // that Kafka's client accepts
	defaultLargest   = 1048588 // max.message.bytes of Kafka's topics
)

// publication is a producer together with the state of what it has published. It must be used by one goroutine at a time.
type publication struct {
	cfg     *Config
	client  *kgo.Client
	topicID string
	seen    map[string]seen // with Config.Changes: the rows in the topic, by key
	number  uint64          // number of the run
	largest atomic.Int32    // bytes of a record batch that the topic accepts

	begun  time.Time // when the Kafka transaction began, with its first record (PostgreSQL has computed all rows by then); zero: not yet
	mu     sync.Mutex
	failed error // error of the first record that Kafka refused
}

// seen describes the row last published for a key.
type seen struct {
	hash hash
	run  uint64 // number of the last run that had the key
}

type hash [16]byte

func hashOf(value []byte) hash {
	sum := sha256.Sum256(value)
	return hash(sum[:len(hash{})])
}

// open fences the former publisher with this name, which aborts its transaction, and then reads the state topic.
func (c *Config) open(ctx context.Context) (*publication, error) {
	p := &publication{cfg: c, seen: map[string]seen{}}
	p.largest.Store(defaultLargest)
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.Brokers...), kgo.ProducerBatchMaxBytesFn(p.largestOf),
		kgo.TransactionalID("pgtee-query-" + c.name()), kgo.TransactionTimeout(c.transactionTimeout()),
		kgo.MaxBufferedRecords(maxBuffered), kgo.MaxBufferedBytes(maxBufferedBytes), kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(time.Minute),
	}, c.KafkaOptions...)...)
	if err != nil {
		return nil, Halt{"--kafka: " + err.Error(), "want HOST:PORT,…"}
	}
	p.client = client
	if err := p.begin(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return p, nil
}

func (p *publication) begin(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	admin := kadm.NewClient(p.client)
	if err := p.ensureTopics(asking, admin); err != nil {
		return err
	}
	if _, _, err := p.client.ProducerID(asking); err != nil {
		return fmt.Errorf("fence former publishers: %w", err)
	}
	if !p.cfg.Changes {
		return nil
	}
	return p.readState(ctx, admin)
}

// largestOf returns the size of the largest batch that a topic accepts.
func (p *publication) largestOf(topic string) int32 {
	if topic == p.cfg.Topic {
		return p.largest.Load()
	}
	return defaultLargest
}

// ensureTopics creates the topics that do not exist. With Config.Changes an unchanged row is published only once, so its topic should keep it.
func (p *publication) ensureTopics(ctx context.Context, admin *kadm.Client) error {
	var configs map[string]*string
	if p.cfg.Changes {
		configs = compacted()
	}
	topic, err := ensureTopic(ctx, admin, p.cfg.Topic, -1, configs)
	if err != nil {
		return err
	}
	p.topicID = topic.ID.String()
	settings, err := p.settings(ctx, admin, p.cfg.Topic)
	if err != nil {
		return err
	}
	for _, setting := range settings {
		if bytes, err := strconv.Atoi(setting.MaybeValue()); err == nil && setting.Key == "max.message.bytes" {
			p.largest.Store(int32(min(max(bytes, minLargest), maxBufferedBytes)))
		}
	}
	if !p.cfg.Changes {
		return nil
	}
	if limit := retention(settings); limit != "" {
		p.cfg.Log.Warn("the topic deletes rows that do not change, and --changes does not publish them again", zap.String("finding", "query-topic-retention"),
			zap.String("topic", p.cfg.Topic), zap.String("setting", limit), zap.String("repair", p.cfg.keepRows(p.cfg.Topic)))
	}
	return p.ensureState(ctx, admin)
}

// run publishes the current rows of the query.
func (p *publication) run(ctx context.Context) (run Run, err error) {
	p.number++
	p.begun, p.failed = time.Time{}, nil
	run = Run{ID: rand.Text()[:16], TopicID: p.topicID, Query: p.cfg.name()}
	err = p.publishRows(ctx, &run)
	if err == nil && p.cfg.Changes {
		err = p.bury(ctx, &run)
	}
	if err == nil && !p.begun.IsZero() {
		err = p.client.Flush(ctx)
	}
	p.mu.Lock()
	err = errors.Join(p.failed, err)
	p.mu.Unlock()
	if p.begun.IsZero() {
		return run, err
	}
	if err != nil {
		p.abort(ctx)
	} else if err = p.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		err = fmt.Errorf("commit a run: %w", err)
	}
	return run, p.overdue(err)
}

// overdue distinguishes a producer whose transaction has taken too long from one that another has fenced. The brokers return the same error for both.
func (p *publication) overdue(err error) error {
	lasted, limit := time.Since(p.begun), p.cfg.transactionTimeout()
	if !fenced(err) || lasted < limit {
		return err
	}
	return Halt{fmt.Sprintf("the run has taken %s since its first row, and the brokers abort it after %s", lasted.Round(time.Second), limit),
		"raise --transaction-timeout, up to transaction.max.timeout.ms of the brokers (15 minutes by default), or select less"}
}

func (p *publication) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if p.client.AbortBufferedRecords(ctx) == nil {
		_ = p.client.EndTransaction(ctx, kgo.TryAbort) // if this fails, the next session aborts it
	}
}

// publishRows runs the query and publishes its rows.
func (p *publication) publishRows(ctx context.Context, run *Run) error {
	config, err := pgconn.ParseConfig(p.cfg.ConnString)
	if err != nil {
		return Halt{"--postgres: " + err.Error(), "want postgres://user@host:5432/database"}
	}
	if config.RuntimeParams["application_name"] == "" {
		name := "pgtee query " + p.cfg.name()
		config.RuntimeParams["application_name"] = name[:min(len(name), 63)]
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	const begin = "BEGIN READ ONLY; SELECT pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
	results, err := conn.Exec(ctx, begin).ReadAll()
	if err != nil {
		return err
	}
	if run.Time, err = time.Parse(time.RFC3339Nano, string(results[len(results)-1].Rows[0][0])); err != nil {
		return err
	}
	rows := conn.ExecParams(ctx, p.cfg.wrapped(), nil, nil, nil, nil)
	for rows.NextRow() {
		if err := p.publish(ctx, run, rows.Values()); err != nil {
			_, _ = rows.Close()
			return err
		}
	}
	_, err = rows.Close()
	return err
}

// wrapped returns the query extended by what a record needs: key, value, and the total number of rows.
func (c *Config) wrapped() string {
	key := "NULL"
	if c.Key != "" {
		key = "(" + c.Key + "\n)::pg_catalog.text"
	}
	return fmt.Sprintf("SELECT %s, pg_catalog.row_to_json(pgtee_row)::pg_catalog.text, pg_catalog.count(*) OVER () FROM (%s\n) AS pgtee_row", key, strings.TrimRight(strings.TrimSpace(c.SQL), "; \n"))
}

// publish adds one row to the transaction. fields are valid until the next row.
func (p *publication) publish(ctx context.Context, run *Run, fields [][]byte) (err error) {
	if run.Rows, err = strconv.Atoi(string(fields[2])); err != nil {
		return err
	}
	key, value := fields[0], fields[1]
	if !p.cfg.Changes {
		run.Changed++
		return p.produce(ctx, run, p.cfg.Topic, clone(key), clone(value))
	}
	if key == nil {
		return Halt{"--changes: the key of a row is NULL", "name in --key what distinguishes the rows, or exclude such rows in --sql"}
	}
	before, known := p.seen[string(key)]
	if known && before.run == p.number {
		return Halt{fmt.Sprintf("--changes: two rows have the key %.100s", key), "name in --key what distinguishes the rows"}
	}
	now := seen{hashOf(value), p.number}
	p.seen[string(key)] = now
	if known && before.hash == now.hash {
		return nil
	}
	run.Changed++
	if err := p.produce(ctx, run, p.cfg.Topic, clone(key), clone(value)); err != nil {
		return err
	}
	return p.produce(ctx, run, p.cfg.stateTopic(), append([]byte(rowKey), key...), now.hash[:])
}

func clone(text []byte) []byte {
	if text == nil {
		return nil
	}
	return append(make([]byte, 0, len(text)), text...)
}

// bury publishes a tombstone for each key that is missing from the run, and the state of the run.
func (p *publication) bury(ctx context.Context, run *Run) error {
	for key, s := range p.seen {
		if s.run == p.number {
			continue
		}
		delete(p.seen, key)
		run.Gone++
		if err := p.produce(ctx, run, p.cfg.Topic, []byte(key), nil); err != nil {
			return err
		}
		if err := p.produce(ctx, run, p.cfg.stateTopic(), []byte(rowKey+key), nil); err != nil {
			return err
		}
	}
	if p.begun.IsZero() {
		return nil
	}
	text, err := json.Marshal(run)
	if err != nil {
		return err
	}
	return p.produce(ctx, run, p.cfg.stateTopic(), []byte(runKey), text)
}

// produce passes a record to Kafka; the first record begins the transaction.
func (p *publication) produce(ctx context.Context, run *Run, topic string, key, value []byte) error {
	if p.begun.IsZero() {
		if err := p.client.BeginTransaction(); err != nil {
			return err
		}
		p.begun = time.Now()
	}
	p.client.Produce(ctx, &kgo.Record{Topic: topic, Key: key, Value: value, Headers: []kgo.RecordHeader{
		{Key: RunHeader, Value: []byte(run.ID)}, {Key: TimeHeader, Value: []byte(run.Time.Format(time.RFC3339Nano))}, {Key: RowsHeader, Value: strconv.AppendInt(nil, int64(run.Rows), 10)},
	}}, p.produced)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (p *publication) produced(r *kgo.Record, err error) {
	if err == nil {
		return
	}
	if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) {
		err = p.cfg.tooLarge(r, int(p.largestOf(r.Topic)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = err
	}
}

// tooLarge returns the error for a record that is larger than its topic accepts.
func (c *Config) tooLarge(r *kgo.Record, largest int) error {
	const overhead = 1 << 10 // headers of the record and of its batch
	size := len(r.Key) + len(r.Value) + overhead
	repair := fmt.Sprintf("run %s (pgtee notices it only with DESCRIBE_CONFIGS on the topic), or select less", c.alterTopic(r.Topic, fmt.Sprintf("max.message.bytes=%d", size)))
	if size > maxBufferedBytes {
		repair = fmt.Sprintf("select less: a record may have %d bytes", maxBufferedBytes)
	}
	return Halt{fmt.Sprintf("a row takes %d bytes, and topic %s accepts %d (max.message.bytes)", size, r.Topic, largest), repair}
}
