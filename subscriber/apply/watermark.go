package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// progress is what of a progress record matters here: Kafka holds everything committed up to EndLSN.
type progress struct {
	Version  int    `json:"v"`
	Timeline int32  `json:"timeline"`
	EndLSN   LSN    `json:"end_lsn"`
	SystemID string `json:"system_id"`
	Database string `json:"database"`
	Slot     string `json:"slot"`

	CommitTime time.Time `json:"commit_time"`

	Snapshots struct {
		Copies   []struct{ ID string } `json:"copies"`
		Finished []struct{ ID string } `json:"finished"`
	} `json:"snapshots"`
}

// copying says whether a copy of that id goes on; "": whether any does.
func (p *progress) copying(id string) bool {
	return slices.ContainsFunc(p.Snapshots.Copies, func(c struct{ ID string }) bool { return id == "" || c.ID == id })
}

// newestProgress is the version of progress records that this program reads.
const newestProgress = 2

// watermark is a progress record and, for every partition that there is, the offset before which all records stand that it
// speaks of.
type watermark struct {
	progress
	targets map[string]map[int32]int64
	ids     map[string]string // of the topics: another one under the same name was made anew
}

// watcher follows the progress topic. It sends a watermark for the newest record, again and again; it runs on one goroutine.
//
// A record that is visible says that its Kafka transaction has committed; but Kafka tells the partitions one by one. Records of
// the transaction stand below the high watermark of each, so once everything below that is decided, all of them can be read.
// Where a later transaction stays open, its first record shows that nothing before it is missing: a publisher begins its next
// transaction when the end of the last stands in every partition.
type watcher struct {
	cfg    *Config
	client *kgo.Client
	admin  *kadm.Client
	out    chan watermark
}

// tailRecords is how many of the newest records of the progress topic are looked at for the start.
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

// watch starts to follow the progress topic, and returns its newest record.
func (c *Config) watch(ctx context.Context) (*watcher, *progress, error) {
	client, err := c.newClient(kgo.FetchMaxWait(500*time.Millisecond), kgo.KeepControlRecords())
	if err != nil {
		return nil, nil, err
	}
	w := &watcher{cfg: c, client: client, admin: kadm.NewClient(client), out: make(chan watermark)}
	first, err := w.begin(ctx)
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return w, first, nil
}

func (w *watcher) topic() string { return topicName(w.cfg.Prefix, "progress") }

// begin finds the newest record and goes on behind it.
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
		return nil, Halt{fmt.Sprintf("there is no topic %s at these brokers", w.topic()),
			"--prefix has to be that of `pgtee publish`, which makes the topic when it starts"}
	}
	for window := int64(tailRecords); ; window *= 8 {
		from := max(start.Offset, end.Offset-window)
		newest, err := w.newest(ctx, from, end.Offset)
		if err != nil || newest != nil {
			return newest, err
		}
		if from == start.Offset {
			return nil, fmt.Errorf("topic %s holds no position%s yet: is the publisher running, and are --prefix and --slot those of it?", w.topic(), w.cfg.ofSlot())
		}
	}
}

func (c *Config) ofSlot() string {
	if c.Slot == "" {
		return ""
	}
	return " of slot " + c.Slot
}

// newest reads from an offset up to another and returns the last record of the publisher.
func (w *watcher) newest(ctx context.Context, from, end int64) (*progress, error) {
	w.client.RemoveConsumePartitions(map[string][]int32{w.topic(): {0}})
	w.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{w.topic(): {0: kgo.NewOffset().At(from)}})
	var newest *progress
	slots := map[string]bool{}
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
				slots[p.Slot] = true
				newest = p
			}
		}
	}
	if len(slots) > 1 {
		return nil, Halt{fmt.Sprintf("topic %s holds positions of several slots", w.topic()), "name the one to follow with --slot"}
	}
	return newest, nil
}

// beginPatience bounds the look for the newest progress record.
const beginPatience = 30 * time.Second

// parse is nil for a record of another slot.
func (w *watcher) parse(record *kgo.Record) (*progress, error) {
	if record.Value == nil || record.Attrs.IsControl() {
		return nil, nil
	}
	var p progress
	if err := json.Unmarshal(record.Value, &p); err != nil {
		return nil, Halt{fmt.Sprintf("topic %s, offset %d: %v", w.topic(), record.Offset, err), "see who wrote that record"}
	}
	if p.Version > newestProgress {
		return nil, Halt{fmt.Sprintf("topic %s has records of version %d, this program reads up to %d", w.topic(), p.Version, newestProgress), "upgrade it"}
	}
	if w.cfg.Slot != "" && p.Slot != w.cfg.Slot {
		return nil, nil
	}
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

// poll returns the newest record that a fetch brings, nil if none of it is the publisher's.
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

// fetchError is what a fetch says went wrong.
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
	openPatience   = 300 * time.Millisecond // then it is looked at who keeps a partition undecided
)

// locate finds the ends of all partitions.
func (w *watcher) locate(ctx context.Context, p *progress) (*watermark, error) {
	topics, ids, err := w.topics(ctx)
	if err != nil {
		return nil, err
	}
	mark := &watermark{*p, map[string]map[int32]int64{}, ids}
	if len(topics) == 0 {
		return mark, nil
	}
	ends, err := w.admin.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		decided, err := w.admin.ListCommittedOffsets(ctx, topics...)
		if err == nil {
			err = decided.Error()
		}
		if err != nil {
			return nil, err
		}
		patient := time.Since(began) < openPatience
		ready := true
		var problem error
		decided.Each(func(o kadm.ListedOffset) {
			end, known := ends.Lookup(o.Topic, o.Partition)
			if known && o.Offset < end.Offset && ready && problem == nil {
				if ready = !patient; ready {
					ready, problem = w.isLater(ctx, o.Topic, o.Partition, o.Offset, p.EndLSN)
				}
			}
			if mark.targets[o.Topic] == nil {
				mark.targets[o.Topic] = map[int32]int64{}
			}
			mark.targets[o.Topic][o.Partition] = o.Offset
		})
		if problem != nil || ready {
			return mark, problem
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(undecidedPause):
		}
	}
}

// isLater says whether the undecided record at an offset is of a transaction behind end.
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

// topics are those that may hold rows or DDL.
func (w *watcher) topics(ctx context.Context) (topics []string, ids map[string]string, err error) {
	details, err := w.admin.ListTopics(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids = map[string]string{}
	for topic, detail := range details {
		if w.cfg.reads(topic) && detail.Err == nil {
			topics = append(topics, topic)
			ids[topic] = detail.ID.String()
		}
	}
	return topics, ids, nil
}

// others are topics of a prefix that hold no rows.
var others = []string{"audit", "dead-letter", "message", "progress", "transaction", "signal"}

// reads says whether rows or DDL may stand in a topic.
func (c *Config) reads(topic string) bool {
	name, ours := strings.CutPrefix(topic, topicName(c.Prefix)+".")
	if !ours {
		return slices.Contains(c.Topics, topic)
	}
	return !slices.Contains(others, name) && !strings.HasPrefix(name, "outbox.")
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
