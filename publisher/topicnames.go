package publisher

import "strings"

// topics are the topics of a prefix that are not of a table.
type topics struct{ audit, ddl, deadLetter, progress string }

func topicsOf(prefix string) topics {
	return topics{
		audit: TopicName(prefix, "audit"), ddl: TopicName(prefix, "ddl"),
		deadLetter: TopicName(prefix, "dead-letter"), progress: TopicName(prefix, "progress"),
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

// internal are the topics of a prefix that pgtee itself writes.
var internal = []string{"audit", "ddl", "dead-letter", "message", "outbox.refused", "progress", "transaction"}

// validTopic says whether Kafka takes a name that TopicName made (org.apache.kafka.common.internals.Topic).
func validTopic(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxTopicBytes
}

// maxTopicBytes is the longest name that Kafka takes.
const maxTopicBytes = 249
