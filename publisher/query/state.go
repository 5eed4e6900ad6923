package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// The state topic is compacted. It holds the hash of each published row, and the last run that changed something.
const (
	rowKey = "row:" // prefix of the keys of rows
	runKey = "run"
)

// compacted is the configuration of a topic whose latest record of each key stays.
func compacted() map[string]*string {
	policy := "compact"
	return map[string]*string{"cleanup.policy": &policy}
}

// ensureTopic creates a topic unless it exists. configs are those of a new one.
func ensureTopic(ctx context.Context, admin *kadm.Client, name string, partitions int32, configs map[string]*string) (kadm.TopicDetail, error) {
	details, err := admin.ListTopics(ctx, name)
	if err == nil && errors.Is(details[name].Err, kerr.UnknownTopicOrPartition) {
		if _, err = admin.CreateTopic(ctx, partitions, -1, configs, name); err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
			details, err = admin.ListTopics(ctx, name)
		}
	}
	if err == nil {
		err = details[name].Err
	}
	if err != nil {
		return kadm.TopicDetail{}, fmt.Errorf("topic %s: %w", name, err)
	}
	return details[name], nil
}

// ensureState creates the state topic unless it exists, and halts if the existing one has several partitions or lets records expire.
func (p *publication) ensureState(ctx context.Context, admin *kadm.Client) error {
	name := p.cfg.stateTopic()
	topic, err := ensureTopic(ctx, admin, name, 1, compacted())
	if err != nil {
		return err
	}
	if n := len(topic.Partitions); n != 1 {
		return Halt{fmt.Sprintf("topic %s has %d partitions, but must have one", name, n), "name another one with --state-topic"}
	}
	settings, err := p.settings(ctx, admin, name)
	if limit := retention(settings); limit != "" {
		return Halt{fmt.Sprintf("topic %s is not compacted (%s), so its records expire", name, limit), p.cfg.keepRows(name) + ", or name another one with --state-topic"}
	}
	return err
}

// settings returns the settings of a topic; none if Kafka does not report them.
func (p *publication) settings(ctx context.Context, admin *kadm.Client, topic string) ([]kadm.Config, error) {
	var resource kadm.ResourceConfig
	resources, err := admin.DescribeTopicConfigs(ctx, topic)
	if err == nil {
		resource, err = resources.On(topic, nil)
		err = errors.Join(err, resource.Err)
	}
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed): // the topics that pgtee creates are compacted
		p.cfg.Log.Info("without DESCRIBE_CONFIGS it is not known whether the topic is compacted, and whether it accepts rows of more than 1 MB", zap.String("topic", topic))
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	return resource.Configs, nil
}

// retention returns the setting by which a topic deletes even the latest record of a key, such as retention.ms=604800000; "" if it keeps them.
func retention(settings []kadm.Config) string {
	deletes, limit := false, ""
	for _, config := range settings {
		switch value := config.MaybeValue(); config.Key {
		case "cleanup.policy":
			deletes = strings.Contains(value, "delete")
		case "retention.ms", "retention.bytes":
			if value != "-1" {
				limit = config.Key + "=" + value
			}
		}
	}
	if !deletes {
		return ""
	}
	return limit
}

// alterTopic is record.AlterTopic, which this package may not import.
func (c *Config) alterTopic(topic, settings string) string {
	return fmt.Sprintf("`kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s`", strings.Join(c.Brokers, ","), topic, settings)
}

// keepRows returns the repair of a topic whose records expire.
func (c *Config) keepRows(topic string) string {
	return "run " + c.alterTopic(topic, "cleanup.policy=compact")
}

// readState reads the state topic up to its end. No transaction there is still open, because former publishers are fenced.
func (p *publication) readState(ctx context.Context, admin *kadm.Client) error {
	topic := p.cfg.stateTopic()
	asking, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	starts, err := admin.ListStartOffsets(asking, topic)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(asking, topic)
	if err != nil {
		return err
	}
	start, ok := starts.Lookup(topic, 0)
	end, found := ends.Lookup(topic, 0)
	if err := errors.Join(start.Err, end.Err); !ok || !found || err != nil {
		return fmt.Errorf("read topic %s: %w", topic, err)
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(p.cfg.Brokers...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(start.Offset)}}),
	}, p.cfg.KafkaOptions...)...)
	if err != nil {
		return err
	}
	defer client.Close()
	last, err := p.readTo(ctx, client.PollFetches, start.Offset, end.Offset)
	if err != nil {
		return err
	}
	if last.TopicID != p.topicID { // the topic was recreated, so its rows are gone
		for key, s := range p.seen {
			s.hash = hash{}
			p.seen[key] = s
		}
	}
	return nil
}

// readTo reads the state topic between two offsets, however long that takes, as long as records arrive. It returns the last run.
func (p *publication) readTo(ctx context.Context, poll func(context.Context) kgo.Fetches, at, end int64) (last Run, err error) {
	for at < end {
		polling, cancel := context.WithTimeout(ctx, askPatience)
		fetches := poll(polling)
		err := polling.Err()
		cancel()
		if err != nil {
			return last, fmt.Errorf("read topic %s from offset %d to %d: %w", p.cfg.stateTopic(), at, end, err)
		}
		for _, failed := range fetches.Errors() {
			return last, fmt.Errorf("read topic %s: %w", p.cfg.stateTopic(), failed.Err)
		}
		for iterator := fetches.RecordIter(); !iterator.Done(); {
			record := iterator.Next()
			at = record.Offset + 1
			if err := p.learn(record, &last); err != nil {
				return last, err
			}
		}
	}
	return last, nil
}

func (p *publication) learn(record *kgo.Record, last *Run) error {
	if record.Attrs.IsControl() {
		return nil
	}
	key, isRow := strings.CutPrefix(string(record.Key), rowKey)
	switch {
	case isRow && record.Value == nil:
		delete(p.seen, key)
	case isRow && len(record.Value) == len(hash{}):
		p.seen[key] = seen{hash: hash(record.Value)}
	case string(record.Key) == runKey:
		*last = Run{}
		if json.Unmarshal(record.Value, last) != nil {
			return foreign(record)
		}
		if last.Query != "" && last.Query != p.cfg.name() { // an earlier build has not written the name
			return Halt{fmt.Sprintf("topic %s remembers the rows of query %s: this one, %s, would publish tombstones for them", record.Topic, last.Query, p.cfg.name()),
				"name another topic with --state-topic; if the query was renamed, give it its former --name"}
		}
	default:
		return foreign(record)
	}
	return nil
}

func foreign(record *kgo.Record) error {
	return Halt{fmt.Sprintf("topic %s, offset %d is not a record of pgtee query", record.Topic, record.Offset), "name another topic with --state-topic"}
}
