package shape

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pgtee/pgtee/publisher/record"
)

// Router decides to which topics events of the application may go. The application names their topics, so no topic that it can request may halt the
// publisher or reach a topic of pgtee's own: refused events go to <prefix>.outbox.refused, with the requested topic and the reason in headers.
type Router struct {
	prefix  string
	allowed []string // globs
}

// NewRouter returns the Router of a prefix. allowed are globs of topics, in which * matches any run of characters; if there are none, only topics of
// the prefix are allowed, <prefix>.outbox.*.
func NewRouter(prefix string, allowed []string) (*Router, error) {
	r := &Router{prefix, allowed}
	if len(allowed) == 0 {
		r.allowed = []string{prefix + ".outbox.*"}
	}
	for _, topic := range allowed {
		if IsGlob(topic) {
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

// Topic returns the topic for an event that requests the given topic: that one if the list allows it, else <prefix>.outbox.<topic> if the list allows
// that. The error says why neither is allowed.
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

// Refused returns the topic of events that may not go to the requested topic.
func (r *Router) Refused() string { return record.TopicsOf(r.prefix).Refused }

// inPrefix reports whether a topic belongs to this prefix and is not for events.
func (r *Router) inPrefix(topic string) bool {
	return strings.HasPrefix(topic, r.prefix+".") && !strings.HasPrefix(topic, r.prefix+".outbox.")
}

// Check returns why no event of the application may be in a topic, whatever the configuration allows; nil if it may.
func (r *Router) Check(topic string) error {
	switch {
	case topic != record.TopicName(topic) || !record.ValidTopic(topic):
		return errors.New("Kafka does not accept this name: use up to 249 letters, digits, dots, dashes and underscores")
	case strings.HasPrefix(topic, "_"):
		return errors.New("names that begin with _ are Kafka's own")
	case record.IsInternal(r.prefix, topic) || strings.HasSuffix(topic, ".progress"):
		return errors.New("pgtee's own")
	}
	return nil
}
