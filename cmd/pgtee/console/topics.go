package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	published "github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// Limits of what one request reads from Kafka. When one is reached, the page shows what was found so far, and has a link to go on.
const (
	maxReadTime    = 8 * time.Second
	maxReadBytes   = 64 << 20 // of keys and values
	maxReadRecords = 200_000
	windowShare    = 4 // one window of a search may use 1/windowShare of the limits
)

const (
	maxReads      = 4                // concurrently, for all requests; further ones wait
	maxFetchBytes = 8 << 10          // of one response of a broker, before its batches are decompressed
	maxBatchBytes = 16 << 20         // of a batch of records after it was decompressed
	adminTimeout  = 10 * time.Second // of a query about topics and groups
)

// errSlow means that the limits were reached before a certain record was read.
var errSlow = errors.New("Kafka has not delivered the record in time: reload the page to try again")

// errNoTopic means that Kafka does not have the topic. The publisher creates a topic when it has the first record for it.
var errNoTopic = errors.New("there is no such topic yet")

// topics reads the topics of one Kafka cluster: committed records only, always within limits.
type topics struct {
	options []kgo.Opt
	client  *kgo.Client // for queries; each read has a client of its own
	admin   *kadm.Client
	turns   chan struct{}
}

func openTopics(brokers []string, options []kgo.Opt) (*topics, error) {
	all := append([]kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.ClientID("pgtee-console"), kgo.DialTimeout(5 * time.Second),
		kgo.RetryTimeout(adminTimeout), kgo.MetadataMinAge(250 * time.Millisecond), kgo.MaxDecompressBatchBytes(maxBatchBytes),
	}, options...)
	client, err := kgo.NewClient(all...)
	if err != nil {
		return nil, fmt.Errorf("--kafka: %w", err)
	}
	return &topics{options: all, client: client, admin: kadm.NewClient(client), turns: make(chan struct{}, maxReads)}, nil
}

func (t *topics) close() { t.client.Close() }

// position contains, for each partition of a topic, the offset of the next record.
type position map[int32]int64

// String returns a position as the id of a server-sent event: "0:124,1:57".
func (p position) String() string {
	var text []byte
	for _, partition := range slices.Sorted(maps.Keys(p)) {
		if len(text) > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(append(strconv.AppendInt(text, int64(partition), 10), ':'), p[partition], 10)
	}
	return string(text)
}

// maxPositionBytes is the maximum length of a position received from a browser.
const maxPositionBytes = 16 << 10

// parsePosition parses the result of String; nil if the text is anything else.
func parsePosition(text string) position {
	if text == "" || len(text) > maxPositionBytes {
		return nil
	}
	p := position{}
	for part := range strings.SplitSeq(text, ",") {
		partition, offset, _ := strings.Cut(part, ":")
		n, err := strconv.ParseInt(partition, 10, 32)
		at, err2 := strconv.ParseInt(offset, 10, 64)
		if err != nil || err2 != nil || n < 0 || at < 0 {
			return nil
		}
		p[int32(n)] = at
	}
	return p
}

// bounds returns, for each partition of a topic, the first offset and the last stable offset.
func (t *topics) bounds(ctx context.Context, topic string) (starts, ends position, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	first, err := t.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, nil, kafkaError(err)
	}
	last, err := t.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, nil, kafkaError(err)
	}
	if starts, err = offsetsOf(first[topic]); err != nil {
		return nil, nil, err
	}
	ends, err = offsetsOf(last[topic])
	return starts, ends, err
}

// extent is a topic with the first offset and the last stable offset of each partition.
type extent struct {
	topic        string
	starts, ends position
}

// ofTable returns the topic of a table: the one of its name or, if that was not available, its own, whose existence shows that it is in use.
func (t *topics) ofTable(ctx context.Context, prefix, table string) (extent, error) {
	named, own := topicsOf(prefix, table)
	starts, ends, err := t.sizes(ctx, []string{own, named})
	if err != nil {
		return extent{}, err
	}
	for _, topic := range []string{own, named} {
		if ends[topic] != nil {
			return extent{topic, starts[topic], ends[topic]}, nil
		}
	}
	return extent{topic: named}, errNoTopic
}

// topicsOf returns the two topics that a table may have.
func topicsOf(prefix, table string) (named, own string) {
	named = published.TopicName(prefix, table)
	return named, shape.OwnTopic(named, table, 1)
}

func offsetsOf(listed map[int32]kadm.ListedOffset) (position, error) {
	p := position{}
	for partition, offset := range listed {
		if errors.Is(offset.Err, kerr.UnknownTopicOrPartition) || errors.Is(offset.Err, kerr.InvalidTopicException) { // the name of a table may be too long
			return nil, errNoTopic
		}
		if offset.Err != nil {
			return nil, kafkaError(offset.Err)
		}
		p[partition] = offset.Offset
	}
	if len(p) == 0 {
		return nil, errNoTopic
	}
	return p, nil
}

// at returns the position of the first records that were written at a given time or later.
func (t *topics) at(ctx context.Context, topic string, when time.Time) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	listed, err := t.admin.ListOffsetsAfterMilli(ctx, when.UnixMilli(), topic)
	if err != nil {
		return nil, kafkaError(err)
	}
	return offsetsOf(listed[topic])
}

// kafkaError returns the text of an error for a page.
func kafkaError(err error) error {
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return errNoTopic
	}
	return fmt.Errorf("a request to Kafka has failed: %w", err)
}

// unread is the value shown instead of a batch that is not read.
var unread = []byte(fmt.Sprintf("these records are not read: their batch has more than %d MiB after decompression", maxBatchBytes>>20))

// recordsOf returns the records of a fetch. A batch that is too large is skipped, and one record with the value unread stands for it: a few kilobytes
// can become gigabytes, and a reader that stopped there would hide the following records.
func recordsOf(client *kgo.Client, fetches kgo.Fetches) (records []*kgo.Record, err error) {
	records = fetches.Records()
	for _, failed := range fetches.Errors() {
		large, found := errors.AsType[*kgo.ErrDecompressTooLarge](failed.Err)
		if !found {
			return nil, kafkaError(failed.Err)
		}
		client.SetOffsets(map[string]map[int32]kgo.EpochOffset{large.Topic: {large.Partition: {Epoch: large.Epoch, Offset: large.NextOffset}}})
		records = append(records, &kgo.Record{Topic: large.Topic, Partition: large.Partition, Offset: large.NextOffset - 1, Value: unread})
	}
	return records, nil
}

// reading is what one request reads from Kafka: its limits hold for all of its reads together.
type reading struct {
	*topics
	time    time.Duration // left of the limits
	bytes   int
	records int
}

// reader returns a client that reads committed records. All batches of a response are decompressed at once, so the response is small; a broker sends the
// first batch of a response whole.
func (t *topics) reader(topic string, from map[int32]kgo.Offset, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(append(slices.Clone(t.options),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(maxFetchBytes), kgo.FetchMaxWait(500*time.Millisecond), kgo.MaxConcurrentFetches(1)), more...)...)
}

// begin begins the reads of one request.
func (t *topics) begin() *reading {
	return &reading{t, maxReadTime, maxReadBytes, maxReadRecords}
}

// spent reports whether a limit has been reached.
func (r *reading) spent() bool { return r.time <= 0 || r.bytes <= 0 || r.records <= 0 }

// read calls f with the committed records from one position to another, in order within each partition, until f returns false. cut means that a limit was
// reached before the end. The records remain valid.
func (r *reading) read(ctx context.Context, topic string, from, to position, f func(*kgo.Record) bool) (cut bool, err error) {
	left := map[int32]kgo.Offset{}
	for partition, end := range to {
		if start, known := from[partition]; known && start < end {
			left[partition] = kgo.NewOffset().At(start)
		}
	}
	if len(left) == 0 || r.spent() {
		return len(left) > 0, nil
	}
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	client, err := r.reader(topic, left, kgo.KeepControlRecords())
	if err != nil {
		return false, err
	}
	defer client.Close()
	began := time.Now()
	defer func() { r.time -= time.Since(began) }()
	limit, cancel := context.WithTimeout(ctx, r.time)
	defer cancel()
	for len(left) > 0 {
		fetches := client.PollFetches(limit)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case limit.Err() != nil:
			return true, nil
		}
		records, err := recordsOf(client, fetches)
		if err != nil {
			return false, err
		}
		for _, record := range records {
			if record.Offset+1 >= to[record.Partition] {
				delete(left, record.Partition)
			}
			if record.Offset >= to[record.Partition] || record.Attrs.IsControl() {
				continue
			}
			r.bytes, r.records = r.bytes-len(record.Key)-len(record.Value), r.records-1
			if !f(record) {
				return false, nil
			}
			if r.spent() {
				return len(left) > 0, nil
			}
		}
	}
	return false, nil
}

// search says what find looks for. Its functions are called with each record once, the newest of a partition first.
type search struct {
	topic          string
	starts, before position
	want           int // number of records
	keep           func(*kgo.Record) bool
	stop           func(*kgo.Record) bool // reports whether the records before this one in its partition can be skipped; nil: never
}

// minWindow is the smallest first window of a search, in offsets of each partition; large records may shrink it further.
const minWindow = 16

// find finds the newest records before a position for which keep is true, newest first. It reads windows backwards, each twice as wide as the previous
// one. more is the position to continue from; nil: there are no more records.
func (r *reading) find(ctx context.Context, s search) (found []*kgo.Record, more position, err error) {
	end, window := clonePosition(s.before), max(int64(4*s.want), minWindow)
	for len(found) < s.want && !r.spent() && !end.reached(s.starts) {
		window = max(1, min(window, int64(min(maxReadRecords/windowShare, r.records)/len(end))))
		from := position{}
		for partition, at := range end {
			from[partition] = max(s.starts[partition], at-window)
		}
		records, whole, err := r.window(ctx, s.topic, from, end, window > 1)
		if err != nil {
			return nil, nil, err
		}
		if !whole { // the newest records of the window are missing: read a smaller one
			window /= 8
			continue
		}
		end, window = from, 2*window
		for _, record := range records {
			if len(found) == s.want {
				end[record.Partition] = max(end[record.Partition], record.Offset+1)
				continue
			}
			if s.keep(record) {
				found = append(found, record)
			}
			if s.stop != nil && s.stop(record) {
				end[record.Partition] = s.starts[record.Partition]
			}
		}
	}
	if end.reached(s.starts) {
		return found, nil, nil
	}
	return found, end, nil
}

// window returns the records from one position to another, newest first. whole is false if a limit was reached. With shared, the window may use only a
// share of the limit on bytes.
func (r *reading) window(ctx context.Context, topic string, from, to position, shared bool) (records []*kgo.Record, whole bool, err error) {
	bytes, share := 0, r.bytes/windowShare
	fits := func() bool { return !shared || bytes <= share }
	cut, err := r.read(ctx, topic, from, to, func(record *kgo.Record) bool {
		records = append(records, record)
		bytes += len(record.Key) + len(record.Value)
		return fits()
	})
	slices.SortStableFunc(records, newestFirst)
	return records, !cut && fits(), err
}

// reached reports whether a position is at the beginning of every partition.
func (p position) reached(starts position) bool {
	for partition, at := range p {
		if at > starts[partition] {
			return false
		}
	}
	return true
}

func newestFirst(a, b *kgo.Record) int {
	if a.Partition == b.Partition {
		return cmp.Compare(b.Offset, a.Offset)
	}
	return b.Timestamp.Compare(a.Timestamp)
}

// one returns the record at an offset, or nil if there is none.
func (r *reading) one(ctx context.Context, topic string, partition int32, offset int64) (*kgo.Record, error) {
	starts, ends, err := r.bounds(ctx, topic)
	if err != nil || offset < starts[partition] || offset >= ends[partition] {
		return nil, err
	}
	return r.next(ctx, topic, partition, offset, offset+1)
}

// next returns the first record at or after an offset and before another, or nil if there is none.
func (r *reading) next(ctx context.Context, topic string, partition int32, from, to int64) (first *kgo.Record, err error) {
	cut, err := r.read(ctx, topic, position{partition: from}, position{partition: to}, func(record *kgo.Record) bool {
		first = record
		return false
	})
	if cut {
		err = errSlow
	}
	return first, err
}

// header returns the value of a record's header, or "" if it has none.
func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
