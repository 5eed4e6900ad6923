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
)

// Limits of what one request reads from Kafka.
const (
	maxReads       = 4                // concurrently, for all requests; further ones wait
	maxReadTime    = 8 * time.Second  // the page then shows what was found so far, and says so
	maxReadBytes   = 64 << 20         // of keys and values that one request reads
	maxReadRecords = 200_000          // records that one request reads
	maxFetchBytes  = 4 << 20          // of one response of a broker
	adminTimeout   = 10 * time.Second // of a query about topics and groups
)

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
		kgo.RetryTimeout(adminTimeout), kgo.MetadataMinAge(250 * time.Millisecond),
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

// maxPositionBytes bounds a position received from a browser.
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

// bounds returns the first offsets of a topic and the offsets after its last decided records.
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

func offsetsOf(listed map[int32]kadm.ListedOffset) (position, error) {
	p := position{}
	for partition, offset := range listed {
		if errors.Is(offset.Err, kerr.UnknownTopicOrPartition) {
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
	return fmt.Errorf("Kafka does not answer as it should: %w", err)
}

// read passes on the committed records from one position to another, in order within a partition, until f returns false or a limit is reached: then
// cut is true. The records remain valid.
func (t *topics) read(ctx context.Context, topic string, from, to position, f func(*kgo.Record) bool) (cut bool, err error) {
	left := map[int32]kgo.Offset{}
	for partition, end := range to {
		if start, known := from[partition]; known && start < end {
			left[partition] = kgo.NewOffset().At(start)
		}
	}
	if len(left) == 0 {
		return false, nil
	}
	select {
	case t.turns <- struct{}{}:
		defer func() { <-t.turns }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	client, err := kgo.NewClient(append(slices.Clone(t.options),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: left}), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(maxFetchBytes), kgo.FetchMaxPartitionBytes(maxFetchBytes/4), kgo.FetchMaxWait(500*time.Millisecond), kgo.MaxConcurrentFetches(1))...)
	if err != nil {
		return false, err
	}
	defer client.Close()
	limit, cancel := context.WithTimeout(ctx, maxReadTime)
	defer cancel()
	bytes, records := 0, 0
	for len(left) > 0 {
		fetches := client.PollFetches(limit)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case limit.Err() != nil:
			return true, nil
		}
		for _, failed := range fetches.Errors() {
			return false, kafkaError(failed.Err)
		}
		for iterator := fetches.RecordIter(); !iterator.Done(); {
			r := iterator.Next()
			if r.Offset+1 >= to[r.Partition] {
				delete(left, r.Partition)
			}
			if r.Offset >= to[r.Partition] || r.Attrs.IsControl() {
				continue
			}
			bytes, records = bytes+len(r.Key)+len(r.Value), records+1
			if !f(r) {
				return false, nil
			}
			if bytes > maxReadBytes || records > maxReadRecords {
				return true, nil
			}
		}
	}
	return false, nil
}

// minWindow is the minimum number of offsets that are read of a partition, unless their records are too large together.
const minWindow = 16

// find finds the newest records before a position for which keep is true, newest first: about want of them. It reads windows backwards, each twice as
// wide as the previous one, until it has enough, the beginning is reached (then more is nil), or a limit is reached: then more is the position to
// continue from.
func (t *topics) find(ctx context.Context, topic string, starts, before position, want int, keep func(*kgo.Record) bool) (found []*kgo.Record, more position, err error) {
	window, looked, deadline := max(int64(4*want), minWindow), int64(0), time.Now().Add(maxReadTime)
	end := before
	for {
		from, width := position{}, int64(0)
		for partition, at := range end {
			from[partition] = max(starts[partition], at-window)
			width += max(0, at-from[partition])
		}
		if width == 0 {
			return found, nil, nil
		}
		var part []*kgo.Record
		cut, err := t.read(ctx, topic, from, end, func(r *kgo.Record) bool {
			if keep(r) {
				part = append(part, r)
			}
			return true
		})
		if err != nil {
			return found, end, err
		}
		looked += width
		if cut && window > 1 { // the records that it did not reach are the newest of the window
			if time.Now().After(deadline) {
				return found, end, nil
			}
			window = max(window/8, 1)
			continue
		}
		slices.SortStableFunc(part, newestFirst)
		found = append(found, part...)
		switch {
		case len(found) >= want, cut, looked >= maxReadRecords, time.Now().After(deadline):
			if from.reached(starts) && !cut {
				return found, nil, nil
			}
			return found, from, nil
		}
		end, window = from, max(min(2*window, maxReadRecords-looked), minWindow)
	}
}

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
func (t *topics) one(ctx context.Context, topic string, partition int32, offset int64) (one *kgo.Record, err error) {
	starts, ends, err := t.bounds(ctx, topic)
	if err != nil || offset < starts[partition] || offset >= ends[partition] {
		return nil, err
	}
	_, err = t.read(ctx, topic, position{partition: offset}, position{partition: offset + 1}, func(r *kgo.Record) bool {
		if r.Offset == offset {
			one = r
		}
		return false
	})
	return one, err
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
