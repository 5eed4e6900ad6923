package record

import (
	"fmt"
	"slices"
	"strings"
)

// The topics of a prefix to which pgtee itself writes: <prefix>.audit and so on.
const (
	auditTopic       = "audit"
	ddlTopic         = "ddl"
	deadLetterTopic  = "dead-letter"
	messageTopic     = "message"
	progressTopic    = "progress"
	refusedTopic     = "outbox.refused"
	transactionTopic = "transaction"
)

var internal = []string{auditTopic, ddlTopic, deadLetterTopic, messageTopic, progressTopic, refusedTopic, transactionTopic}

// Topics are the topics of a prefix to which pgtee itself writes.
type Topics struct{ Audit, DDL, DeadLetter, Heartbeat, Message, Progress, Refused, Transaction string }

// TopicsOf returns the topics of a prefix.
func TopicsOf(prefix string) Topics {
	return Topics{
		Audit: TopicName(prefix, auditTopic), DDL: TopicName(prefix, ddlTopic), DeadLetter: TopicName(prefix, deadLetterTopic),
		Message: TopicName(prefix, messageTopic), Progress: TopicName(prefix, progressTopic), Refused: TopicName(prefix, refusedTopic),
		Transaction: TopicName(prefix, transactionTopic), Heartbeat: TopicName("__debezium-heartbeat", prefix),
	}
}

// IsInternal reports whether pgtee itself writes to this topic of a prefix.
func IsInternal(prefix, topic string) bool {
	name, ours := strings.CutPrefix(topic, TopicName(prefix)+".")
	return ours && slices.Contains(internal, name)
}

// TopicName joins parts with dots. Characters that Kafka does not accept become underscores; if two names become the same one, this is detected when
// they are published.
func TopicName(parts ...string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, strings.Join(parts, "."))
}

// AlterTopic returns the command, in backquotes, with which an operator changes settings of a topic: name=value, separated by commas.
func AlterTopic(brokers []string, topic, settings string) string {
	return fmt.Sprintf("`kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s`", strings.Join(brokers, ","), topic, settings)
}

// ValidTopic reports whether Kafka accepts a name made by TopicName (org.apache.kafka.common.internals.Topic).
func ValidTopic(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= MaxTopicBytes
}

// MaxTopicBytes is the maximum length of a name that Kafka accepts.
const MaxTopicBytes = 249
