package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// progressConfigs keep the progress topic short: each Kafka transaction adds a record, and only the newest one of each slot counts.
var progressConfigs = map[string]*string{
	"cleanup.policy":            kadm.StringPtr("compact"),
	"segment.bytes":             kadm.StringPtr("16777216"),
	"min.cleanable.dirty.ratio": kadm.StringPtr("0.1"),
}

// ensureProgressTopic creates the topic, or verifies that Kafka never expires its records.
func (l *Log) ensureProgressTopic(ctx context.Context, client *kgo.Client) error {
	topic := l.topics.Progress
	t, created, err := ensureTopic(ctx, client, topic, 1, l.cfg.ReplicationFactor, progressConfigs)
	if err != nil || created {
		return err
	}
	if t.partitions != 1 {
		return halt.New(halt.ErrProgressTopic, fmt.Sprintf("%s has %d partitions, want 1: a record could be in any", topic, t.partitions),
			"use another --prefix, or delete the topic if nothing was published with it")
	}
	config, err := configOf(ctx, client, topic)
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return &Refusal{err, "grant DESCRIBE_CONFIGS on it, to check that its records never expire"}
	}
	if err != nil {
		return err
	}
	for _, c := range config.Configs {
		if c.Key == "cleanup.policy" && c.MaybeValue() != "compact" {
			return halt.New(halt.ErrProgressTopic, fmt.Sprintf("%s has cleanup.policy=%s, so its records expire", topic, c.MaybeValue()),
				"run "+record.AlterTopic(l.cfg.Brokers, topic, "cleanup.policy=compact"))
		}
	}
	return nil
}

func configOf(ctx context.Context, client *kgo.Client, topic string) (config kadm.ResourceConfig, err error) {
	configs, err := kadm.NewClient(client).DescribeTopicConfigs(ctx, topic)
	if err == nil {
		config, err = configs.On(topic, nil)
		err = errors.Join(err, config.Err)
	}
	if err != nil {
		return config, fmt.Errorf("configuration of topic %s: %w", topic, err)
	}
	return config, nil
}

// Recorded is a position in the progress topic. Position is nil if there is none.
type Recorded struct {
	*publisher.Position
	At   time.Time     // of the record; zero: not known
	Late time.Duration // age of its last transaction at that time; 0: the previous record has the same last transaction
}

// Lag estimates from the record how long Kafka has been behind the server; 0: it has everything. The server may have been idle for a part of that time.
func (r Recorded) Lag(server outbox.LSN, now time.Time) time.Duration {
	switch {
	case r.Position == nil:
		return math.MaxInt64
	case r.EndLSN >= server || r.At.IsZero():
		return 0
	}
	return r.Late + max(0, now.Sub(r.At))
}

// LastPosition reads the recorded position without fencing any publisher.
func LastPosition(ctx context.Context, cfg Config) (Recorded, error) {
	own, others, err := positions(ctx, cfg)
	if own.Position == nil && err == nil {
		own.Position = cfg.formerPosition(others)
	}
	return own, err
}

// CheckPositions is publisher.CheckRecorded for the slot of cfg with this source. It fences no publisher.
func CheckPositions(ctx context.Context, cfg Config, source outbox.System) (shared string, err error) {
	own, others, err := positions(ctx, cfg)
	if err != nil {
		return "", err
	}
	if own.Position == nil {
		for _, id := range formerIDs(others, cfg.Slot, source) {
			p := others[id]
			own.Position = &p
			delete(others, id)
		}
	}
	return publisher.CheckRecorded(cfg.Prefix, cfg.Slot, source, own.Position, others)
}

func positions(ctx context.Context, cfg Config) (own Recorded, others map[string]publisher.Position, err error) {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}, cfg.KafkaOptions...)...)
	if err != nil {
		return own, nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	topic := record.TopicsOf(cfg.Prefix).Progress
	details, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		return own, nil, fmt.Errorf("look for %s: %w", topic, err)
	}
	if !details.Has(topic) || errors.Is(details[topic].Err, kerr.UnknownTopicOrPartition) {
		return own, nil, nil
	}
	return readPositions(ctx, client, topic, cfg.TransactionalID())
}

// formerPosition returns this slot's position if it is recorded under the key of earlier versions; otherwise nil.
func (c Config) formerPosition(others map[string]publisher.Position) *publisher.Position {
	p, found := others[c.FormerTransactionalID()]
	if !found || p.Database != c.Database || p.Slot != c.Slot {
		return nil
	}
	return &p
}

// formerIDs returns the transactional ids that publishers of this slot have used before: those of earlier versions, and those with a name that the
// database had before it was renamed.
func formerIDs(others map[string]publisher.Position, slot string, source outbox.System) (ids []string) {
	for id, p := range others {
		if p.Slot == slot && p.SystemID == source.ID && p.DatabaseOID == source.DatabaseOID {
			ids = append(ids, id)
		}
	}
	return ids
}

// inherit takes over from publishers of the slot that had other transactional ids. Those are fenced, too, and only then the position is read. Their
// records are deleted together with the next position, so that no such publisher resumes from them.
func (l *Log) inherit(ctx context.Context, client *kgo.Client, former []string) (last *publisher.Position, err error) {
	if len(former) == 0 {
		return nil, nil
	}
	for _, id := range former {
		if err := l.shutOut(ctx, id); err != nil {
			return nil, err
		}
	}
	_, others, err := readPositions(ctx, client, l.topics.Progress, l.cfg.TransactionalID())
	if err != nil {
		return nil, err
	}
	for _, id := range former {
		if p, found := others[id]; found && (last == nil || p.EndLSN > last.EndLSN) {
			last = &p
		}
		delete(others, id)
	}
	l.others, l.stale = others, former
	return last, nil
}

// shutOut fences the publishers that use another transactional id.
func (l *Log) shutOut(ctx context.Context, id string) error {
	twin, err := l.connectWith(kgo.TransactionalID(id), kgo.TransactionTimeout(l.cfg.TransactionTimeout))
	if err != nil {
		return err
	}
	defer twin.Close()
	if _, _, err := twin.ProducerID(ctx); err != nil {
		return fmt.Errorf("producer id of %s: %w", id, err)
	}
	return nil
}

// hiddenPause is the delay before the next check whether another slot's transaction has ended.
const hiddenPause = 20 * time.Millisecond

// firstWindow is how many records before the end of the progress topic are read first.
const firstWindow = 1000

// tailReader reads committed records of one partition, up to the high watermark as of locate.
type tailReader struct {
	client     *kgo.Client
	topic      string
	partition  int32
	id         kadm.TopicID
	leader     int32
	start, end int64 // first offset, high watermark
}

// readPositions returns the newest committed record with this key, and those with other keys that it meets: all of them if this key has none.
//
// It reads up to the current high watermark rather than to the last stable offset: an open transaction of another slot can hide the newest record, so
// it waits until that transaction ends, or ctx does. It starts near the end, where the record almost always is, and goes further back only if needed.
func readPositions(ctx context.Context, client *kgo.Client, topic, key string) (own Recorded, others map[string]publisher.Position, err error) {
	r := tailReader{client: client, topic: topic}
	err = r.locate(ctx)
	for errors.Is(err, kerr.UnknownTopicOrPartition) && publisher.Pause(ctx, hiddenPause) == nil {
		err = r.locate(ctx) // the topic exists, but a broker may learn of a new topic a moment later
	}
	if err != nil {
		return own, nil, fmt.Errorf("locate %s: %w", topic, err)
	}
	for window := int64(firstWindow); ; window *= 8 {
		from := max(r.start, r.end-window)
		newest, err := r.newest(ctx, from)
		if err != nil {
			return own, nil, fmt.Errorf("read %s from offset %d to %d: %w", topic, from, r.end, err)
		}
		if newest[key].value != nil || from == r.start {
			return parseLatest(newest, key)
		}
	}
}

// latest is the last record with some key, and the value of the one before it.
type latest struct {
	value, before []byte
	at            time.Time
}

// recorded returns the parsed record.
func (l latest) recorded(p *publisher.Position) Recorded {
	r := Recorded{Position: p, At: l.at}
	if before, err := publisher.ParsePosition(l.before); err == nil && before.LastLSN != p.LastLSN {
		r.Late = max(0, l.at.Sub(p.CommitTime))
	}
	return r
}

// parseLatest parses the records. A record of another slot that cannot be parsed is ignored.
func parseLatest(newest map[string]latest, key string) (own Recorded, others map[string]publisher.Position, err error) {
	others = map[string]publisher.Position{}
	for k, l := range newest {
		switch p, failed := publisher.ParsePosition(l.value); {
		case l.value == nil:
		case k == key && failed != nil:
			err = failed
		case k == key:
			own = l.recorded(p)
		case failed == nil:
			others[k] = *p
		}
	}
	return own, others, err
}

// locate finds the partition's leader and its offsets.
func (r *tailReader) locate(ctx context.Context) error {
	admin := kadm.NewClient(r.client)
	details, err := admin.ListTopics(ctx, r.topic)
	if err != nil {
		return err
	}
	starts, err := admin.ListStartOffsets(ctx, r.topic)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, r.topic)
	if err != nil {
		return err
	}
	topic := details[r.topic]
	partition, found := topic.Partitions[r.partition]
	start, _ := starts.Lookup(r.topic, r.partition)
	end, ok := ends.Lookup(r.topic, r.partition)
	if err := errors.Join(topic.Err, partition.Err, start.Err, end.Err); err != nil {
		return err
	}
	if !found || !ok {
		return kerr.UnknownTopicOrPartition
	}
	r.id, r.leader, r.start, r.end = topic.ID, partition.Leader, start.Offset, end.Offset
	return nil
}

// newest returns the last committed record of each key, starting at an offset.
func (r *tailReader) newest(ctx context.Context, from int64) (newest map[string]latest, err error) {
	newest = map[string]latest{}
	err = r.each(ctx, from, r.end, func(record *kgo.Record) {
		key := string(record.Key)
		newest[key] = latest{value: record.Value, before: newest[key].value, at: record.Timestamp}
	})
	return newest, err
}

// each calls use for each committed record between two offsets. It sends fetch requests itself, because it must know how far it has read, including
// aborted records and control records.
func (r *tailReader) each(ctx context.Context, from, to int64, use func(*kgo.Record)) error {
	for from < to {
		records, next, err := r.fetch(ctx, from)
		if err != nil {
			return err
		}
		for _, record := range records {
			if record.Offset < to {
				use(record)
			}
		}
		if next == from {
			if err := publisher.Pause(ctx, hiddenPause); err != nil {
				return fmt.Errorf("hidden by an open transaction of another publisher: %w", err)
			}
		}
		from = next
	}
	return nil
}

// fetch reads committed records at an offset and returns the next offset: the same one if there is nothing more yet, or if an open
// transaction hides it.
func (r *tailReader) fetch(ctx context.Context, offset int64) ([]*kgo.Record, int64, error) {
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.Partition, partition.FetchOffset, partition.PartitionMaxBytes = r.partition, offset, 4<<20
	request := kmsg.NewPtrFetchRequest()
	request.IsolationLevel = 1 // read_committed
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes = 250, 1, 4<<20
	request.Topics = []kmsg.FetchRequestTopic{{Topic: r.topic, TopicID: r.id, Partitions: []kmsg.FetchRequestTopicPartition{partition}}}
	got, err := r.client.Broker(int(r.leader)).RetriableRequest(ctx, request)
	if err != nil {
		return nil, 0, err
	}
	response := got.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
		return nil, 0, err
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return nil, offset, nil
	}
	options := kgo.ProcessFetchPartitionOpts{Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: r.topic}
	fetched, next := kgo.ProcessFetchPartition(options, &response.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	return fetched.Records, next, fetched.Err
}
