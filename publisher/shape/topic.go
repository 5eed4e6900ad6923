package shape

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
)

// A table has the topic that the template makes of its name. Where that one is not to be had (it is another table's or has
// another use, Kafka takes it for another name, it is too long), the table has one of its own, with a hash of the table's name
// at the end: the stream goes on, and no two tables ever meet under one key. A topic of its own, once made, is kept: that it is
// there says so.

// errReserved: pgtee, Kafka or the application's events write there.
var errReserved = errors.New("it has another use")

// errTopicName: see validTopic.
var errTopicName = errors.New("Kafka takes names of 1 to 249 characters, other than . and ..")

// maxGiven bounds the topics that a table is given in turn. Each time somebody else has the one before.
const maxGiven = 16

// TopicOf names the topic of a table, and remembers how it is made. Shares says whether others may have the same one.
func (s *Shape) TopicOf(r *pgoutput.Relation) string {
	merged := s.merge(r)
	return s.topic(r, &merged)
}

func (s *Shape) Shares(r *pgoutput.Relation) bool { return s.merge(r).Shared }

// topic names the topic of a table and remembers how it is made.
func (s *Shape) topic(r *pgoutput.Relation, merged *settings) string {
	table := r.Schema + "." + r.Name
	plain := expand(merged.Topic, s.config.Prefix, s.config.Database, r.Schema, r.Name)
	if why := s.unfit(plain); why != nil && s.given[table] == 0 {
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

// unfit says why a name can be that of no table's topic; nil if it can.
func (s *Shape) unfit(topic string) error {
	switch {
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

// Rename gives a table another topic than the one that it has, for a reason.
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

// Version rises whenever a table that may have been asked for has another topic.
func (s *Shape) Version() int { return s.version }

// OwnTopic is the topic that a table is given the n-th time, from 1 on.
func OwnTopic(plain, table string, n int) string {
	if n > 1 {
		table += fmt.Sprint("#", n)
	}
	sum := sha256.Sum256([]byte(table))
	plain = strings.TrimLeft(plain, "_") // names that begin with them are Kafka's own
	return plain[:min(len(plain), record.MaxTopicBytes-9)] + "-" + hex.EncodeToString(sum[:4])
}

// reserved reports whether a topic is for something else than the rows of a table.
func (s *Shape) reserved(topic string) bool {
	return record.IsInternal(s.config.Prefix, topic) || strings.HasPrefix(topic, "__")
}
