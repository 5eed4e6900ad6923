package publisher

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// owners maps each topic to the table (or kind of message) that is published to it.
type owners map[string]owner

type owner struct {
	name     string
	relation *pgoutput.Relation // Relation of its last record, to avoid most comparisons of names
}

// claim returns an error if a record of the batch, starting with from, has a topic that belongs to another table, unless the shape lets the tables
// share it. Events may share a topic with each other, but are refused in the topic of a table.
func (o owners) claim(b *record.Batch, from int, c *outbox.Change, shape *shape.Shape, router *shape.Router) *UnusableTopic {
	for i := from; i < b.Len(); i++ {
		topic, event := b.Topic(i), b.IsEvent(i)
		have, known := o[topic]
		switch {
		case event && known && have.name != eventsOwner:
			b.Refuse(i, router.Refused(), topic, fmt.Errorf("the topic of %s", have.name))
			continue
		case event && !known && len(o) < maxOwners:
			o[topic] = owner{name: eventsOwner}
			continue
		case event:
			continue
		case known && c.Relation != nil && have.relation == c.Relation:
			continue
		}
		next := owner{record.SourceName(c), c.Relation}
		if known && !have.is(next) && !(c.Relation != nil && shape.TopicSettings(topic).Shared) {
			return &UnusableTopic{Topic: topic, Why: fmt.Errorf("it is that of %s", have.name)}
		}
		o[topic] = next
	}
	return nil
}

// maxOwners bounds how many topics of events are remembered.
const maxOwners = 10_000

// eventsOwner is the owner of all topics of the application's events.
const eventsOwner = "events of the application"

// is reports whether two owners are the same. A renamed table is the same owner.
func (o owner) is(other owner) bool {
	return o.name == other.name || o.relation != nil && other.relation != nil && o.relation.OID != 0 && o.relation.OID == other.relation.OID
}

// claimTopics assigns topics to the existing tables before anything is published, so that the order of writes does not decide which of two tables
// gets a topic that both would have. The oldest table gets it; tables that had a topic of their own before come last.
func (p *Publisher) claimTopics(ctx context.Context) error {
	if p.cfg.Tables == nil {
		return nil
	}
	list, err := p.cfg.Tables(ctx)
	if err != nil {
		return err
	}
	byTopic := map[string][]*pgoutput.Relation{}
	for _, t := range list {
		r := &pgoutput.Relation{OID: t.OID, Schema: t.Schema, Name: t.Name}
		if !p.cfg.Shape.Includes(t.Schema, t.Name) || p.cfg.Shape.Shares(r) || shape.MatchesAny(p.cfg.EventTables, t.Schema+"."+t.Name) {
			continue
		}
		topic := p.cfg.Shape.TopicOf(r)
		byTopic[topic] = append(byTopic[topic], r)
	}
	for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
		tables := byTopic[topic]
		if err := p.ownTopicsLast(ctx, topic, tables); err != nil {
			return err
		}
		for _, r := range tables {
			if err := p.claimTopic(r); err != nil {
				return err
			}
		}
	}
	p.cfg.Tables = nil
	return nil
}

// ownTopicsLast moves tables that had a topic of their own before to the end.
func (p *Publisher) ownTopicsLast(ctx context.Context, topic string, tables []*pgoutput.Relation) error {
	log, shared := p.log.(Neighbours)
	if len(tables) < 2 || !shared {
		return nil
	}
	own := func(r *pgoutput.Relation) string { return shape.OwnTopic(topic, r.Schema+"."+r.Name, 1) }
	names := make([]string, len(tables))
	for i, r := range tables {
		names[i] = own(r)
	}
	there, err := log.Find(ctx, names...)
	if err != nil {
		return err
	}
	slices.SortStableFunc(tables, func(a, b *pgoutput.Relation) int {
		switch {
		case there[own(a)] == there[own(b)]:
			return 0
		case there[own(a)]:
			return 1
		}
		return -1
	})
	return nil
}

// claimTopic makes a table the owner of its topic, or renames its topic if that already has another owner.
func (p *Publisher) claimTopic(r *pgoutput.Relation) error {
	for {
		topic := p.cfg.Shape.TopicOf(r)
		have, taken := p.owners[topic]
		if mine := (owner{"table " + r.Schema + "." + r.Name, r}); !taken || have.is(mine) {
			p.owners[topic] = mine
			return nil
		}
		if err := p.cfg.Shape.Rename(r, fmt.Errorf("it is that of %s", have.name)); err != nil {
			return err
		}
	}
}
