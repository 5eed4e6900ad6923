package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pgtee/pgtee/publisher/record"
)

// progress is the part of a progress record that is needed here: Kafka holds everything committed up to EndLSN.
type progress struct {
	Version  int         `json:"v"`
	Timeline int32       `json:"timeline"`
	EndLSN   LSN         `json:"end_lsn"`
	SystemID string      `json:"system_id"`
	Database string      `json:"database"`
	Slot     string      `json:"slot"`
	Cuts     record.Cuts `json:"cuts"`

	CommitTime time.Time `json:"commit_time"`

	Snapshots struct {
		Copies   []copyID `json:"copies"`
		Finished []copyID `json:"finished"`
	} `json:"snapshots"`

	copied, inexact bool // see Mark
}

// copying reports whether a copy with this id is running or may be; "" means any copy.
func (p *progress) copying(id string) bool {
	return p.inexact || slices.ContainsFunc(p.Snapshots.Copies, func(c copyID) bool { return id == "" || c.ID == id })
}

// copies returns the snapshots that are running, and the last ones that have ended. It is never nil, which in the fence row means that they are not known.
func (p *progress) copies() []copyID {
	return append(append([]copyID{}, p.Snapshots.Copies...), p.Snapshots.Finished...)
}

// hasOther reports whether there is a snapshot that is not known: rows of it may come before the position.
func (p *progress) hasOther(known []copyID) bool {
	return slices.ContainsFunc(p.copies(), func(c copyID) bool { return !c.isIn(known) })
}

// hasCopied reports whether the stream may contain rows of a snapshot.
func (p *progress) hasCopied() bool {
	return p.copied || len(p.Snapshots.Copies) > 0 || len(p.Snapshots.Finished) > 0
}

// kept returns the position before which transactions with this many cuts in their event ids are still valid. The source has lost the others, whose
// records stay in the topics.
func (p *progress) kept(cuts int) LSN {
	limit := LSN(math.MaxUint64)
	for _, cut := range p.Cuts[min(cuts, len(p.Cuts)):] {
		limit = min(limit, cut)
	}
	return limit
}

// follows reports whether a position continues the same history of the source after an earlier one.
func (p *progress) follows(earlier *progress) bool {
	return p.SystemID == earlier.SystemID && p.Timeline == earlier.Timeline && len(p.Cuts) == len(earlier.Cuts) && p.EndLSN >= earlier.EndLSN
}

// where describes a position and its history, for messages.
func (p *progress) where() string {
	return fmt.Sprintf("%s (server %s, timeline %d, set back %d times)", p.EndLSN, p.SystemID, p.Timeline, len(p.Cuts))
}

// newestProgress is the newest version of progress records that this program reads.
const newestProgress = 2

// watermark is a progress record and, for every existing partition, an offset that all records covered by the progress record precede.
type watermark struct {
	progress
	targets    map[string]map[int32]int64
	ids        map[string]string // topic ids: a topic with the same name and another id was recreated
	neighbours []*neighbour
}

// watcher follows the progress topic and sends a watermark for each newest record. It runs on one goroutine.
//
// A visible progress record means that its Kafka transaction has committed; but Kafka writes the transaction markers to the partitions one by one.
// All records of the transaction precede the high watermark of their partition, so once everything below the high watermarks is decided, all of them
// can be read. If a later transaction is open, its first record shows that nothing before it is missing: a publisher begins its next transaction only
// when the end of the last one is in every partition.
type watcher struct {
	cfg    *Config
	client *kgo.Client
	admin  *kadm.Client
	out    chan watermark
	slot   string                // of the records seen so far
	seen   map[string]*neighbour // by the id of its progress topic; nil: it is the topic of a table
	blank  map[string]int64      // end of a topic named like a progress topic that has no record
}

// tailRecords is how many of the newest records of the progress topic are read at the start.
const tailRecords = 2000

func (c *Config) newClient(options ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append(append([]kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, c.KafkaOptions...), options...)...)
	if err != nil {
		return nil, Halt{"--kafka: " + err.Error(), "want HOST:PORT,…"}
	}
	return client, nil
}

// watch starts to follow the progress topic and returns its newest record.
func (c *Config) watch(ctx context.Context) (*watcher, *progress, error) {
	client, err := c.newClient(kgo.FetchMaxWait(500*time.Millisecond), kgo.KeepControlRecords())
	if err != nil {
		return nil, nil, err
	}
	w := &watcher{cfg: c, client: client, admin: kadm.NewClient(client), out: make(chan watermark), seen: map[string]*neighbour{}, blank: map[string]int64{}}
	first, err := w.begin(ctx)
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return w, first, nil
}

func (w *watcher) topic() string { return topicName(w.cfg.Prefix, "progress") }

// begin finds the newest record and continues after it.
func (w *watcher) begin(ctx context.Context) (*progress, error) {
	starts, err := w.admin.ListStartOffsets(ctx, w.topic())
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", w.topic(), err)
	}
	ends, err := w.admin.ListCommittedOffsets(ctx, w.topic())
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", w.topic(), err)
	}
	start, found := starts.Lookup(w.topic(), 0)
	end, ok := ends.Lookup(w.topic(), 0)
	if !found || !ok || start.Err != nil {
		return nil, Halt{fmt.Sprintf("topic %s does not exist at these brokers", w.topic()),
			"--prefix must be that of `pgtee publish`, which creates the topic when it starts"}
	}
	for window := int64(tailRecords); ; window *= 8 {
		from := max(start.Offset, end.Offset-window)
		newest, err := w.newest(ctx, from, end.Offset)
		if err != nil || newest != nil {
			return newest, err
		}
		if from == start.Offset {
			return nil, fmt.Errorf("topic %s holds no position%s yet: is the publisher running, and are --prefix and --slot those of the publisher?", w.topic(), w.cfg.ofSlot())
		}
	}
}

func (c *Config) ofSlot() string {
	if c.Slot == "" {
		return ""
	}
	return " of slot " + c.Slot
}

// newest reads a range of offsets and returns the last record of the publisher.
func (w *watcher) newest(ctx context.Context, from, end int64) (*progress, error) {
	w.client.RemoveConsumePartitions(map[string][]int32{w.topic(): {0}})
	w.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{w.topic(): {0: kgo.NewOffset().At(from)}})
	var newest *progress
	ctx, cancel := context.WithTimeout(ctx, beginPatience)
	defer cancel()
	for at := from; at < end; {
		fetches := w.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read %s from offset %d to %d: %w", w.topic(), at, end, ctx.Err())
		}
		if err := fetchError(fetches); err != nil {
			return nil, err
		}
		for iterator := fetches.RecordIter(); !iterator.Done(); {
			record := iterator.Next()
			at = record.Offset + 1
			p, err := w.parse(record)
			if err != nil {
				return nil, err
			}
			if p != nil {
				newest = p
			}
		}
	}
	return newest, nil
}

// beginPatience bounds the search for the newest progress record.
const beginPatience = 30 * time.Second

// parse returns nil for a record of a slot other than the configured one. If none is configured, the topic must have only one.
func (w *watcher) parse(record *kgo.Record) (*progress, error) {
	if record.Value == nil || record.Attrs.IsControl() {
		return nil, nil
	}
	var p progress
	if err := json.Unmarshal(record.Value, &p); err != nil {
		return nil, Halt{fmt.Sprintf("topic %s, offset %d: %v", w.topic(), record.Offset, err), "find out what wrote that record"}
	}
	if p.Version > newestProgress {
		return nil, Halt{fmt.Sprintf("topic %s has records of version %d, this program reads up to %d", w.topic(), p.Version, newestProgress), "upgrade pgtee"}
	}
	if w.cfg.Slot != "" && p.Slot != w.cfg.Slot {
		return nil, nil
	}
	if w.slot != "" && p.Slot != w.slot {
		return nil, Halt{fmt.Sprintf("topic %s holds positions of several slots: %s and %s", w.topic(), w.slot, p.Slot), "name the one to follow with --slot"}
	}
	w.slot = p.Slot
	return &p, nil
}

// run sends watermarks until ctx ends.
func (w *watcher) run(ctx context.Context, first *progress) error {
	defer w.client.Close()
	for newest := first; ; {
		if newest != nil {
			mark, err := w.locate(ctx, newest)
			if err != nil {
				return fmt.Errorf("where the topics of %s end: %w", w.cfg.Prefix, err)
			}
			select {
			case w.out <- *mark:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var err error
		if newest, err = w.poll(ctx); err != nil {
			return err
		}
	}
}

// poll returns the newest record in a fetch, nil if the fetch has none of the publisher.
func (w *watcher) poll(ctx context.Context) (newest *progress, err error) {
	fetches := w.client.PollFetches(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := fetchError(fetches); err != nil {
		return nil, err
	}
	for iterator := fetches.RecordIter(); !iterator.Done(); {
		p, err := w.parse(iterator.Next())
		if err != nil {
			return nil, err
		}
		if p != nil {
			newest = p
		}
	}
	return newest, nil
}

// fetchError returns the error in a fetch.
func fetchError(fetches kgo.Fetches) error {
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.DeadlineExceeded) && !errors.Is(failed.Err, context.Canceled) {
			return fmt.Errorf("read %s, partition %d: %w", failed.Topic, failed.Partition, failed.Err)
		}
	}
	return nil
}

const (
	undecidedPause = 4 * time.Millisecond
	openPatience   = 300 * time.Millisecond // then check which transaction keeps a partition undecided
)

// locate finds the ends of all partitions for a progress record.
func (w *watcher) locate(ctx context.Context, p *progress) (*watermark, error) {
	topics, neighbours, err := w.topics(ctx)
	if err != nil {
		return nil, err
	}
	mark := &watermark{progress: *p, ids: map[string]string{}, neighbours: neighbours}
	for _, t := range topics {
		mark.ids[t.name] = t.id
	}
	ends, err := w.ends(ctx, topics, readUncommitted)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		if mark.targets, err = w.ends(ctx, topics, readCommitted); err != nil {
			return nil, err
		}
		ready, err := w.decided(ctx, mark, ends, time.Since(began) < openPatience)
		if err != nil || ready {
			return mark, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(undecidedPause):
		}
	}
}

// end returns the newest position of the publisher, with offsets that all records of later transactions follow. Records of earlier transactions may follow
// too.
//
// A record before the end of its partition belongs to a Kafka transaction that has committed, but the marker in the progress topic may not have been
// written yet. It has been once everything is decided that the progress topic holds now.
func (w *watcher) end(ctx context.Context) (*watermark, error) {
	topics, neighbours, err := w.topics(ctx)
	if err != nil {
		return nil, err
	}
	mark := &watermark{ids: map[string]string{}, neighbours: neighbours}
	for _, t := range topics {
		mark.ids[t.name] = t.id
	}
	if mark.targets, err = w.ends(ctx, topics, readCommitted); err != nil {
		return nil, err
	}
	own := []topic{{name: w.topic(), partitions: []int32{0}}}
	written, err := w.ends(ctx, own, readUncommitted)
	for err == nil {
		var decided map[string]map[int32]int64
		if decided, err = w.ends(ctx, own, readCommitted); err != nil || decided[w.topic()][0] >= written[w.topic()][0] {
			break
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(undecidedPause):
		}
	}
	if err != nil {
		return nil, err
	}
	newest, err := w.begin(ctx)
	if err != nil {
		return nil, err
	}
	mark.progress = *newest
	return mark, nil
}

// offsets returns the targets by topic and partition.
func (m *watermark) offsets() map[string][]int64 {
	offsets := map[string][]int64{}
	for topic, ends := range m.targets {
		list := make([]int64, len(ends))
		for number, end := range ends {
			list[number] = end
		}
		offsets[topic] = list
	}
	return offsets
}

// decided reports whether all records covered by the mark precede its targets: everything before ends is decided, or the undecided records come
// later. The latter is only checked if patient is false.
func (w *watcher) decided(ctx context.Context, mark *watermark, ends map[string]map[int32]int64, patient bool) (bool, error) {
	for topic, partitions := range mark.targets {
		for partition, offset := range partitions {
			if offset >= ends[topic][partition] {
				continue
			}
			if patient {
				return false, nil
			}
			if later, err := w.isLater(ctx, topic, partition, offset, mark.EndLSN); err != nil || !later {
				return false, err
			}
		}
	}
	return true, nil
}

// isLater reports whether the undecided record at an offset belongs to a transaction after end.
func (w *watcher) isLater(ctx context.Context, topic string, partition int32, offset int64, end LSN) (bool, error) {
	client, err := w.cfg.newClient(kgo.FetchIsolationLevel(kgo.ReadUncommitted()), kgo.FetchMaxPartitionBytes(1<<10),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}}))
	if err != nil {
		return false, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	fetches := client.PollRecords(ctx, 1)
	if err := fetchError(fetches); err != nil {
		return false, err
	}
	for iterator := fetches.RecordIter(); !iterator.Done(); {
		id, found, err := idOf(iterator.Next())
		return err == nil && found && id.commit >= end && id.snapshot == nil, err
	}
	return false, nil
}

// topic is a topic that may contain rows or DDL.
type topic struct {
	name, id   string
	partitions []int32
}

// topics returns the topics that may contain rows or DDL of the stream, and the neighbours, whose topics are left out. It asks every broker instead of using a
// cache: a topic may have been created for the very records being looked for, and the leader of its partitions is the first broker to know it.
func (w *watcher) topics(ctx context.Context) ([]topic, []*neighbour, error) {
	response, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, w.client)
	if err != nil {
		return nil, nil, fmt.Errorf("list topics: %w", err)
	}
	found := map[string]topic{}
	if err := w.learn(found, response); err != nil {
		return nil, nil, err
	}
	if len(response.Brokers) > 1 {
		for _, broker := range response.Brokers {
			own, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, w.client.Broker(int(broker.NodeID)))
			if err != nil {
				return nil, nil, fmt.Errorf("list topics of broker %d: %w", broker.NodeID, err)
			}
			if err := w.learn(found, own); err != nil {
				return nil, nil, err
			}
		}
	}
	neighbours, err := w.neighbours(ctx, found)
	if err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(found, func(name string, _ topic) bool {
		return !slices.Contains(w.cfg.Topics, name) && isForeign(neighbours, name)
	})
	return slices.Collect(maps.Values(found)), neighbours, nil
}

// learn adds the topics that a broker knows.
func (w *watcher) learn(found map[string]topic, response *kmsg.MetadataResponse) error {
	for _, t := range response.Topics {
		if t.Topic == nil || !w.cfg.reads(*t.Topic) {
			continue
		}
		one := topic{*t.Topic, kadm.TopicID(t.TopicID).String(), nil}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("topic %s: %w", one.name, err)
		}
		for _, p := range t.Partitions {
			one.partitions = append(one.partitions, p.Partition)
		}
		if len(one.partitions) > len(found[one.name].partitions) {
			found[one.name] = one
		}
	}
	return nil
}

// Isolation levels of a ListOffsets request.
const readUncommitted, readCommitted = 0, 1

// ends returns where partitions end: at the high watermark, or at the first undecided record.
func (w *watcher) ends(ctx context.Context, topics []topic, isolation int8) (map[string]map[int32]int64, error) {
	ends := map[string]map[int32]int64{}
	if len(topics) == 0 {
		return ends, nil
	}
	request := kmsg.NewPtrListOffsetsRequest()
	request.IsolationLevel = isolation
	for _, t := range topics {
		asked := kmsg.NewListOffsetsRequestTopic()
		asked.Topic = t.name
		for _, number := range t.partitions {
			partition := kmsg.NewListOffsetsRequestTopicPartition()
			partition.Partition, partition.Timestamp = number, -1 // the end
			asked.Partitions = append(asked.Partitions, partition)
		}
		request.Topics = append(request.Topics, asked)
		ends[t.name] = map[int32]int64{}
	}
	for _, shard := range w.client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("topic %s, partition %d: %w", t.Topic, p.Partition, err)
				}
				ends[t.Topic][p.Partition] = p.Offset
			}
		}
	}
	for _, t := range topics {
		if len(ends[t.name]) != len(t.partitions) {
			return nil, fmt.Errorf("topic %s: %d of %d partitions have answered", t.name, len(ends[t.name]), len(t.partitions))
		}
	}
	return ends, nil
}

// others are the topics of a prefix that contain no rows.
var others = []string{"audit", "dead-letter", "message", "progress", "transaction", "signal"}

// reads reports whether a topic may contain rows or DDL.
func (c *Config) reads(topic string) bool {
	if slices.Contains(c.Topics, topic) {
		return true
	}
	name, ours := strings.CutPrefix(topic, topicName(c.Prefix)+".")
	return ours && !slices.Contains(others, name) && !strings.HasPrefix(name, "outbox.")
}

// topicName joins the parts of a topic's name as the publisher does.
func topicName(parts ...string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, strings.Join(parts, "."))
}
