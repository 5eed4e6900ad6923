package shape

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pgtee/pgtee/publisher/record"
)

// The application names the topics of its events, so nothing that it may ask for can halt the publisher
// or reach a topic of pgtee's own: what is refused goes to <prefix>.outbox.refused, with the topic that
// was asked for and the reason in headers.
// Router decides to which topics events of the application may go.
type Router struct {
	prefix  string
	allowed []string // globs
}

// NewRouter makes the Router of a prefix. allowed are globs of topics, in which * is any run of characters;
// none: those of the prefix, <prefix>.outbox.*.
func NewRouter(prefix string, allowed []string) (*Router, error) {
	r := &Router{prefix, allowed}
	if len(allowed) == 0 {
		r.allowed = []string{prefix + ".outbox.*"}
	}
	for _, topic := range allowed {
		if isGlob(topic) {
			if err := CheckPattern(topic); err != nil {
				return nil, fmt.Errorf("topics for events: %w", err)
			}
			continue
		}
		if why := r.Check(topic); why != nil {
			return nil, fmt.Errorf("topic %q for events: %w", topic, why)
		}
	}
	return r, nil
}

// Topic returns where an event for the given topic goes: there if the list allows it, else to
// <prefix>.outbox.<topic> if the list allows that. The error says why it may not.
func (r *Router) Topic(given string) (string, error) {
	if given == "" {
		return "", errors.New("no topic given")
	}
	for _, topic := range []string{given, r.prefix + ".outbox." + given} {
		if !MatchesAny(r.allowed, topic) {
			continue
		}
		if r.inPrefix(topic) {
			return "", errors.New("this prefix has topics of tables and of pgtee")
		}
		return topic, r.Check(topic)
	}
	return "", errors.New("not among the topics that --event-topics allows")
}

// Refused is the topic of the events that may not go where they were to go.
func (r *Router) Refused() string { return record.TopicsOf(r.prefix).Refused }

// inPrefix reports whether a topic is of this prefix and not for events.
func (r *Router) inPrefix(topic string) bool {
	return strings.HasPrefix(topic, r.prefix+".") && !strings.HasPrefix(topic, r.prefix+".outbox.")
}

// Check returns why no event of the application may be in a topic, whatever the configuration allows; nil
// if it may.
func (r *Router) Check(topic string) error {
	switch {
	case topic != record.TopicName(topic) || !record.ValidTopic(topic):
		return errors.New("no name that Kafka takes: use up to 249 letters, digits, dots, dashes and underscores")
	case strings.HasPrefix(topic, "_"):
		return errors.New("names that begin with _ are Kafka's own")
	case record.IsInternal(r.prefix, topic) || strings.HasSuffix(topic, ".progress"):
		return errors.New("pgtee's own")
	}
	return nil
}
