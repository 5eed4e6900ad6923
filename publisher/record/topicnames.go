package record

import "strings"

// Topics are the topics of a prefix that are not of a table.
type Topics struct{ Audit, DDL, DeadLetter, Progress string }

func TopicsOf(prefix string) Topics {
	return Topics{
		Audit: TopicName(prefix, "audit"), DDL: TopicName(prefix, "ddl"),
		DeadLetter: TopicName(prefix, "dead-letter"), Progress: TopicName(prefix, "progress"),
	}
}

// TopicName joins parts with dots. Characters that Kafka does not take become underscores; that two
// names may become the same one is caught when they are published.
func TopicName(parts ...string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, strings.Join(parts, "."))
}

// Internal are the topics of a prefix that pgtee itself writes.
var Internal = []string{"audit", "ddl", "dead-letter", "message", "outbox.refused", "progress", "transaction"}

// ValidTopic says whether Kafka takes a name that TopicName made (org.apache.kafka.common.internals.Topic).
func ValidTopic(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= MaxTopicBytes
}

// MaxTopicBytes is the longest name that Kafka takes.
const MaxTopicBytes = 249
