// Package subscriber reads committed events back from Kafka and prints them.
package subscriber

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/publisher/record"
)

// Config says what to follow. Without Tables it follows the audit stream.
type Config struct {
	Brokers []string // host:port
	Prefix  string   // first part of every topic
	Tables  []string // "schema.table"; "table" means public.table
	From    From
	Until   time.Time // read up to this time, which must have passed, and end; zero: do not end

	// Missing is called once with the topics that do not exist, and the prefixes that do; may be nil.
	Missing func(topics, prefixes []string)

	KafkaOptions []kgo.Opt // TLS, SASL
}

// Event is one committed record. Key and Value are valid only during the callback.
type Event struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time
	ID        string // stays the same if the event is published again
	Key       []byte
	Value     []byte // nil: a tombstone
}

// topicPatience is how often Follow looks for topics that do not exist yet: the publisher creates a topic when it has the first record for it.
const topicPatience = 500 * time.Millisecond

// ErrNoTopics means that none of the topics to be read up to a given time exists.
var ErrNoTopics = errors.New("there are no such topics")

// Follow calls f for each committed event, in order within a partition, until ctx ends (which is not an error), cfg.Until is reached, or f returns an
// error. A topic that appears later is read from its beginning.
func Follow(ctx context.Context, cfg Config, f func(Event) error) error {
	options := append([]kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MetadataMinAge(topicPatience / 2), // a newly created topic is read soon,
		kgo.FetchMaxWait(topicPatience),       // even if the others have no new records
	}, cfg.KafkaOptions...)
	read := follow
	if !cfg.Until.IsZero() {
		read, options = readUntil, append(options, kgo.KeepControlRecords()) // a partition may end with a control record
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return fmt.Errorf("--kafka: %w", err)
	}
	defer client.Close()
	if err := read(ctx, client, cfg, f); ctx.Err() == nil {
		return err
	}
	return nil
}

func follow(ctx context.Context, client *kgo.Client, cfg Config, f func(Event) error) error {
	missing, err := consume(ctx, client, cfg.topics(), cfg.From.offset())
	if err != nil {
		return err
	}
	if len(missing) > 0 && cfg.Missing != nil {
		prefixes, err := Prefixes(ctx, client)
		if err != nil {
			return err
		}
		cfg.Missing(missing, prefixes)
	}
	for {
		if err := poll(ctx, client, len(missing) > 0, f); err != nil {
			return err
		}
		if len(missing) > 0 {
			if missing, err = consume(ctx, client, missing, kgo.NewOffset().AtStart()); err != nil {
				return err
			}
		}
	}
}

// poll passes the records of one fetch to f; it does not wait long while topics are missing.
func poll(ctx context.Context, client *kgo.Client, missing bool, f func(Event) error) error {
	wait := ctx
	if missing {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, topicPatience)
		defer cancel()
	}
	fetches := client.PollFetches(wait)
	if err := errors.Join(ctx.Err(), failure(fetches)); err != nil {
		return err
	}
	for iterator := fetches.RecordIter(); !iterator.Done(); {
		if err := f(eventOf(iterator.Next())); err != nil {
			return err
		}
	}
	return nil
}

// failure returns the first error of a fetch; a timeout is not an error.
func failure(fetches kgo.Fetches) error {
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.DeadlineExceeded) {
			return fmt.Errorf("read %s, partition %d: %w", failed.Topic, failed.Partition, failed.Err)
		}
	}
	return nil
}

// Prefixes returns the prefixes under which a publisher has written.
func Prefixes(ctx context.Context, client *kgo.Client) (prefixes []string, err error) {
	all, err := kadm.NewClient(client).ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for topics: %w", err)
	}
	for _, name := range all.Names() {
		if prefix, found := strings.CutSuffix(name, ".progress"); found {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes, nil
}

// consume starts to read the existing topics, and returns the others.
func consume(ctx context.Context, client *kgo.Client, topics []string, from kgo.Offset) (missing []string, err error) {
	details, err := kadm.NewClient(client).ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("look for topics: %w", err)
	}
	found := map[string]map[int32]kgo.Offset{}
	for _, topic := range topics {
		detail := details[topic]
		if errors.Is(detail.Err, kerr.UnknownTopicOrPartition) || len(detail.Partitions) == 0 {
			missing = append(missing, topic)
			continue
		}
		if detail.Err != nil {
			return nil, fmt.Errorf("look for topic %s: %w", topic, detail.Err)
		}
		found[topic] = map[int32]kgo.Offset{}
		for partition := range detail.Partitions {
			found[topic][partition] = from
		}
	}
	client.AddConsumePartitions(found)
	return missing, nil
}

func (cfg Config) topics() []string {
	if len(cfg.Tables) == 0 {
		return []string{record.TopicsOf(cfg.Prefix).Audit}
	}
	var topics []string
	for _, table := range cfg.Tables {
		if !strings.Contains(table, ".") {
			table = "public." + table
		}
		topics = append(topics, record.TopicName(cfg.Prefix, table))
	}
	return topics
}

func eventOf(event *kgo.Record) Event {
	e := Event{
		Topic: event.Topic, Partition: event.Partition, Offset: event.Offset, Time: event.Timestamp,
		Key: event.Key, Value: event.Value,
	}
	for _, header := range event.Headers {
		if header.Key == record.EventIDHeader {
			e.ID = string(header.Value)
		}
	}
	return e
}
