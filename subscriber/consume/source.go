package consume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

const (
	fetchBytes = 4 << 20 // compressed
	fetchWait  = 200 * time.Millisecond
)

// topic is the topic as described by Kafka.
type topic struct {
	name, id   string
	partitions []int32
}

func (c *Config) newClient(options ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append(append([]kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.KeepControlRecords(), // the last record of a partition may be a transaction marker
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes), kgo.FetchMaxWait(fetchWait),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, c.KafkaOptions...), options...)...)
	if err != nil {
		return nil, Halt{"--kafka: " + err.Error(), "want HOST:PORT,…"}
	}
	return client, nil
}

// describe reads the topic's metadata from Kafka.
func (c *Config) describe(ctx context.Context, admin *kadm.Client) (*topic, error) {
	details, err := admin.ListTopics(ctx, c.Topic)
	if err != nil {
		return nil, fmt.Errorf("describe topic %s: %w", c.Topic, err)
	}
	detail := details[c.Topic]
	if errors.Is(detail.Err, kerr.UnknownTopicOrPartition) {
		return nil, noTopic{c.Topic}
	}
	if detail.Err != nil {
		return nil, fmt.Errorf("describe topic %s: %w", c.Topic, detail.Err)
	}
	t := &topic{name: c.Topic, id: detail.ID.String()}
	for _, p := range detail.Partitions.Sorted() {
		t.partitions = append(t.partitions, p.Partition)
	}
	return t, nil
}

// noTopic means that the topic does not exist, or not yet.
type noTopic struct{ name string }

func (n noTopic) Error() string { return fmt.Sprintf("topic %s does not exist", n.name) }

// committedEnds returns the ends of the partitions for a read_committed reader.
func (c *Config) committedEnds(ctx context.Context, admin *kadm.Client) (map[int32]int64, error) {
	listed, err := admin.ListCommittedOffsets(ctx, c.Topic)
	return offsetsOf(c.Topic, listed, err)
}

func offsetsOf(topic string, listed kadm.ListedOffsets, err error) (map[int32]int64, error) {
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("offsets of topic %s: %w", topic, err)
	}
	offsets := map[int32]int64{}
	for number, o := range listed[topic] {
		offsets[number] = o.Offset
	}
	return offsets, nil
}

// lostRecords means that the topic no longer holds records that were consumed.
type lostRecords struct{ Halt }

func (l lostRecords) Unwrap() error { return l.Halt }

// source reads partitions into batches.
type source struct {
	cfg     *Config
	client  *kgo.Client
	topic   *topic
	decoder *decoder
	next    map[int32]int64
	lag     map[int32]int64
}

// open returns a source that continues at the positions of the partitions.
func (c *Config) open(t *topic, decoder *decoder, starts map[int32]start) (*source, error) {
	offsets := map[int32]kgo.Offset{}
	s := &source{cfg: c, topic: t, decoder: decoder, next: map[int32]int64{}, lag: map[int32]int64{}}
	for number, at := range starts {
		offsets[number] = kgo.NewOffset().At(at.next).WithEpoch(at.leader)
		s.next[number] = at.next
	}
	var err error
	s.client, err = c.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.name: offsets}))
	return s, err
}

// poll sends fetches to out until ctx ends.
func (s *source) poll(ctx context.Context, out chan<- kgo.Fetches) error {
	for {
		fetches := s.client.PollRecords(ctx, maxBatchRecords)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case out <- fetches:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read builds batches from fetches until ctx ends. While one batch is being written, the next one is filled.
func (s *source) read(ctx context.Context, in <-chan kgo.Fetches, out chan<- *batch, free <-chan *batch) error {
	b := newBatch()
	for {
		var take <-chan kgo.Fetches
		if b != nil && !b.full() {
			take = in
		}
		var give chan<- *batch
		if b != nil && !b.empty() {
			give = out
		}
		var back <-chan *batch
		if b == nil {
			back = free
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case fetches := <-take:
			if err := s.add(ctx, b, fetches); err != nil {
				return err
			}
		case give <- b:
			b = nil
		case b = <-back:
			b.reset()
		}
	}
}

// add decodes the records of a fetch.
func (s *source) add(ctx context.Context, b *batch, fetches kgo.Fetches) error {
	for _, f := range fetches {
		for i := range f.Topics {
			t := &f.Topics[i]
			if t.TopicID != [16]byte{} && kadm.TopicID(t.TopicID).String() != s.topic.id {
				return topicRecreated(s.topic.name, s.cfg.group())
			}
			for j := range t.Partitions {
				if err := s.addPartition(ctx, b, &t.Partitions[j]); err != nil {
					return err
				}
			}
		}
	}
	var lag int64
	for _, n := range s.lag {
		lag += n
	}
	s.cfg.Stats.change(func(v *Values) { v.Lag = lag })
	return nil
}

func (s *source) addPartition(ctx context.Context, b *batch, p *kgo.FetchPartition) error {
	next, ours := s.next[p.Partition]
	if p.Err != nil {
		return s.failed(ctx, p, next)
	}
	if !ours || len(p.Records) == 0 {
		return nil
	}
	if p.LogStartOffset > next && p.Records[0].Offset > next {
		return s.deleted(p.Partition, next, p.LogStartOffset)
	}
	for _, record := range p.Records {
		if record.Offset < next {
			continue
		}
		if err := s.decoder.add(ctx, b, record); err != nil {
			return err
		}
		next = record.Offset + 1
	}
	s.next[p.Partition] = next
	s.lag[p.Partition] = max(0, p.HighWatermark-next)
	return nil
}

// failed interprets an error of a partition.
func (s *source) failed(ctx context.Context, p *kgo.FetchPartition, next int64) error {
	var gone *kgo.ErrDataLoss
	switch {
	case errors.Is(p.Err, context.Canceled) || errors.Is(p.Err, context.DeadlineExceeded):
		return nil
	case errors.As(p.Err, &gone):
		return s.shorter(p.Partition, gone.ConsumedTo, gone.ResetTo)
	case errors.Is(p.Err, kerr.OffsetOutOfRange):
		return s.outOfRange(ctx, p.Partition, next)
	}
	return fmt.Errorf("read topic %s, partition %d: %w", s.topic.name, p.Partition, p.Err)
}

// outOfRange determines at which end of a partition the next offset is missing.
func (s *source) outOfRange(ctx context.Context, partition int32, next int64) error {
	admin := kadm.NewClient(s.client)
	listed, err := admin.ListStartOffsets(ctx, s.topic.name)
	begins, err := offsetsOf(s.topic.name, listed, err)
	if err != nil {
		return err
	}
	if begins[partition] > next {
		return s.deleted(partition, next, begins[partition])
	}
	listed, err = admin.ListEndOffsets(ctx, s.topic.name)
	ends, err := offsetsOf(s.topic.name, listed, err)
	if err != nil {
		return err
	}
	return s.shorter(partition, next, ends[partition])
}

// continueAt returns the command with which the group continues at another offset of a partition.
func (s *source) continueAt(partition int32, offset int64) string {
	return fmt.Sprintf(`UPDATE pgtee.consumed SET next_offset = %d, leader_epoch = -1 WHERE "group" = %s AND topic = %s AND partition = %d`,
		offset, postgres.QuoteLiteral(s.cfg.group()), postgres.QuoteLiteral(s.topic.name), partition)
}

// deleted returns the error for a partition that begins after the consumed position.
func (s *source) deleted(partition int32, next, begins int64) error {
	return Halt{fmt.Sprintf("topic %s, partition %d now begins at offset %d: records from offset %d on were deleted before they were consumed", s.topic.name, partition, begins, next),
		"to continue without them, run " + s.continueAt(partition, begins) + "; raise the retention of the topic"}
}

// shorter returns the error for a partition that ends before the consumed position.
func (s *source) shorter(partition int32, next, end int64) error {
	return lostRecords{Halt{fmt.Sprintf("topic %s, partition %d: Kafka has lost records that were consumed: the table has the partition up to offset %d, but it ends at %d", s.topic.name, partition, next, end),
		"find out what was lost; to continue, run " + s.continueAt(partition, end)}}
}

// firstRecords reads up to wanted committed records from the start of a topic, for --create-table.
func (c *Config) firstRecords(ctx context.Context, admin *kadm.Client, wanted int) (records []*kgo.Record, err error) {
	begins, err := admin.ListStartOffsets(ctx, c.Topic)
	from, err := offsetsOf(c.Topic, begins, err)
	if err != nil {
		return nil, err
	}
	ends, err := c.committedEnds(ctx, admin)
	if err != nil {
		return nil, err
	}
	offsets := map[int32]kgo.Offset{}
	for number, at := range from {
		if at < ends[number] {
			offsets[number] = kgo.NewOffset().At(at)
		}
	}
	client, err := c.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Topic: offsets}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for len(offsets) > 0 && len(records) < wanted {
		fetches := client.PollRecords(ctx, wanted)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, failed := range fetches.Errors() {
			return nil, fmt.Errorf("read topic %s, partition %d: %w", failed.Topic, failed.Partition, failed.Err)
		}
		for iterator := fetches.RecordIter(); !iterator.Done(); {
			record := iterator.Next()
			if !record.Attrs.IsControl() {
				records = append(records, record)
			}
			if record.Offset+1 >= ends[record.Partition] {
				delete(offsets, record.Partition)
			}
		}
	}
	slices.SortStableFunc(records, func(a, b *kgo.Record) int { return cmp.Compare(a.Partition, b.Partition) })
	return records, nil
}
