package shape

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
)

// A table is published to the topic that the template makes of its name. If that topic is unavailable (another table uses it, it has another purpose,
// Kafka considers its name equal to another one, or the name is too long), the table gets a topic of its own, with a hash of the table's name at the
// end: the stream continues, and two tables never share a key. Once created, such a topic is kept: its existence shows that it is in use.
// Therefore the template may not lead another table to a topic with such a name: whoever can create tables could otherwise divert a table's rows.

// errReserved means that pgtee, Kafka or the application's events use the topic.
var errReserved = errors.New("it has another use")

// errOwnName means that the topic for the name of a table looks like one that OwnTopic returns.
var errOwnName = errors.New("names with this ending are reserved for tables whose regular topic is unavailable")

// errTopicName means that a name is invalid: see ValidTopic.
var errTopicName = errors.New("Kafka accepts names of 1 to 249 characters, except . and ..")

// maxGiven bounds the topics that a table is assigned in turn, each because the previous one is taken.
const maxGiven = 16

// TopicOf returns the topic of a table, and remembers its settings.
func (s *Shape) TopicOf(r *pgoutput.Relation) string {
	merged := s.merge(r)
	return s.topic(r, &merged)
}

// Shares reports whether other tables may use the topic of this table.
func (s *Shape) Shares(r *pgoutput.Relation) bool { return s.merge(r).Shared }

// topic returns the topic of a table and remembers its settings.
func (s *Shape) topic(r *pgoutput.Relation, merged *settings) string {
	table := r.Schema + "." + r.Name
	plain := expand(merged.Topic, s.config.Prefix, s.config.Database, r.Schema, r.Name)
	if why := s.unfit(plain, merged.Topic); why != nil && s.given[table] == 0 {
		s.give(table, plain, why)
	}
	name := plain
	settings := Topic{merged.Partitions, merged.ReplicationFactor, merged.TopicConfig, merged.Shared, ""}
	if times := s.given[table]; times > 0 {
		name = OwnTopic(plain, table, times)
	} else if !merged.Shared {
		settings.Own = OwnTopic(plain, table, 1)
	}
	s.known[name] = settings
	return name
}

// unfit returns why the topic that a template makes cannot be that of a table; nil if it can.
func (s *Shape) unfit(topic, template string) error {
	switch {
	case ownSuffix.MatchString(topic) && !ownSuffix.MatchString(template): // in a template it is the choice of the operator
		return errOwnName
	case s.reserved(topic):
		return errReserved
	case !record.ValidTopic(topic):
		return errTopicName
	}
	return nil
}

func (s *Shape) give(table, plain string, why error) {
	s.given[table]++
	if s.Tell != nil {
		s.Tell(table, OwnTopic(plain, table, s.given[table]), fmt.Errorf("topic %s: %w", plain, why))
	}
}

// Rename assigns another topic to a table, for a reason.
func (s *Shape) Rename(r *pgoutput.Relation, why error) error {
	table := r.Schema + "." + r.Name
	if s.given[table] >= maxGiven {
		return misfit("give it a topic of its own in the configuration (tables: [{match: "+table+", topic: NAME}])", "table %s finds no topic: %v", table, why)
	}
	merged := s.merge(r)
	s.give(table, expand(merged.Topic, s.config.Prefix, s.config.Database, r.Schema, r.Name), why)
	s.version++
	return nil
}

// Version increases whenever a table gets another topic than TopicOf may have returned before.
func (s *Shape) Version() int { return s.version }

// ownSuffix is how the topics end that OwnTopic returns. The hash is long enough that no other table's name can be found with the same one.
var ownSuffix = regexp.MustCompile(fmt.Sprintf("-[0-9a-f]{%d}$", 2*ownHashBytes))

const ownHashBytes = 8

// OwnTopic returns the nth topic of its own that a table is assigned, starting at 1.
func OwnTopic(plain, table string, n int) string {
	if n > 1 {
		table += fmt.Sprint("#", n)
	}
	sum := sha256.Sum256([]byte(table))
	plain = strings.TrimLeft(plain, "_") // names that begin with underscores are reserved for Kafka
	return plain[:min(len(plain), record.MaxTopicBytes-1-2*ownHashBytes)] + "-" + hex.EncodeToString(sum[:ownHashBytes])
}

// reserved reports whether a topic has another purpose than the rows of a table.
func (s *Shape) reserved(topic string) bool {
	return record.IsInternal(s.config.Prefix, topic) || strings.HasPrefix(topic, "__")
}
