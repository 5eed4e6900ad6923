package publisher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

func TestTopicsOfEvents(t *testing.T) {
	long := strings.Repeat("x", 240)
	for _, test := range []struct{ allowed, given, want string }{
		{"", "orders", "shop.outbox.orders"},
		{"", "billing.invoices", "shop.outbox.billing.invoices"},
		{"", "shop.outbox.orders", "shop.outbox.orders"},
		{"", "progress", "shop.outbox.progress: pgtee's own"}, // might be the prefix of another publisher
		{"", "audit", "shop.outbox.audit"},
		{"", "refused", "pgtee's own"},
		{"", "", "no topic given"},
		{"", "a b", "Kafka does not accept this name"},
		{"", long, "Kafka does not accept this name"},
		{"orders,billing.*", "orders", "orders"},
		{"orders,billing.*", "billing.invoices", "billing.invoices"},
		{"orders,billing.*", "billing", "not among the topics"},
		{"orders,shop.outbox.*", "billing", "shop.outbox.billing"},
		{"*", "shop.progress", "topics of tables"},
		{"*", "bank.progress", "pgtee's own"},
		{"*", "shop.audit", "topics of tables"},
		{"*", "shop.public.orders", "topics of tables"},
		{"*", "__consumer_offsets", "are Kafka's own"},
		{"*", "..", "Kafka does not accept this name"},
		{"*", "bank.audit", "bank.audit"},
	} {
		var allowed []string
		if test.allowed != "" {
			allowed = strings.Split(test.allowed, ",")
		}
		r, err := shape.NewRouter("shop", allowed)
		if err != nil {
			t.Fatal(err)
		}
		got, why := r.Topic(test.given)
		if why != nil {
			got = "shop.outbox." + test.given + ": " + why.Error()
		}
		if got != test.want && (why == nil || !strings.Contains(got, test.want)) {
			t.Errorf("%s with %q: %s, want %s", test.given, test.allowed, got, test.want)
		}
	}
	for _, topic := range []string{"shop.progress", "shop.ddl", "_schemas", "a b", ""} {
		if _, err := shape.NewRouter("shop", []string{topic}); err == nil {
			t.Errorf("%q is allowed", topic)
		}
	}
}

// checkout is an order with two events around its row, and one that may not go where it wants to.
func checkout() *outbox.Transaction {
	tx := sale()
	row := tx.Changes[1]
	event := func(ordinal int, e outbox.EventRecord) outbox.Change {
		e.User = `ann "a"`
		return outbox.Change{Op: outbox.Event, Note: 0, Ordinal: ordinal, Event: &e}
	}
	row.Ordinal = 1
	tx.Notes = tx.Notes[:1]
	tx.Changes = []outbox.Change{
		event(0, outbox.EventRecord{Topic: "placed", Key: []byte("42"), Payload: []byte{0, 1}, Headers: []outbox.EventHeader{{Name: "a", Value: []byte("1")}, {Name: "b"}}}),
		row,
		event(2, outbox.EventRecord{Topic: "placed", Key: []byte("42")}),
		event(3, outbox.EventRecord{Topic: "no way", Payload: []byte{}}),
	}
	tx.Changes[3].Note = -1
	return tx
}

func TestEventsOfATransaction(t *testing.T) {
	var got strings.Builder
	for _, r := range composed(t, Config{}, checkout()) {
		fmt.Fprintf(&got, "%s %q %q\n", r.Topic, r.Key, r.Value)
		for _, h := range r.Headers {
			fmt.Fprintf(&got, "  %s: %q\n", h.Key, h.Value)
		}
	}
	golden(t, "testdata/events.txt", []byte(got.String()))
}

func TestNullsOfEvents(t *testing.T) {
	records := composed(t, Config{}, checkout())
	if r := records[2]; r.Key == nil || r.Value != nil {
		t.Errorf("tombstone %q: %q", r.Key, r.Value)
	}
	if r := records[3]; r.Key != nil || r.Value == nil {
		t.Errorf("event without key, with an empty payload: %q: %q", r.Key, r.Value)
	}
	if value := records[0].Headers[3].Value; value != nil {
		t.Errorf("header b is %q", value)
	}
}

// An event in the topic of a table would look like a row to its readers.
func TestEventInTheTopicOfATableIsRefused(t *testing.T) {
	router, err := shape.NewRouter("shop", []string{"billing", "shop.outbox.*"})
	if err != nil {
		t.Fatal(err)
	}
	p := newPublisher(Config{Prefix: "shop", Router: router}.WithDefaults(), nil, nil, topicFormat("billing"))
	p.source, p.batch, p.part = &simSource{}, &record.Batch{Authors: p.composer.notes}, partBytes
	tx := checkout()
	tx.Changes[2].Event.Topic = "billing"
	if _, err := p.compose(t.Context(), []*outbox.Transaction{tx}, Position{}, Position{}); err != nil {
		t.Fatal(err)
	}
	records := p.batch.Records()
	if records[2].Topic != "shop.outbox.refused" || string(records[2].Headers[len(records[2].Headers)-1].Value) != "the topic of table public.orders" {
		t.Errorf("%+v", records[2])
	}
	if p.batch.Refused != 2 {
		t.Errorf("%d refused", p.batch.Refused)
	}
}

// topicFormat writes everything to one topic.
type topicFormat string

func (topicFormat) Begin(context.Context, *record.Batch, *outbox.Transaction) error { return nil }
func (topicFormat) End(context.Context, *record.Batch, *outbox.Transaction) error   { return nil }

func (topicFormat) Identity(_ context.Context, r *pgoutput.Relation, _ record.Place) (record.Identity, error) {
	return record.LoggedIdentity(r), nil
}

func (f topicFormat) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	b.Add(string(f), record.Null, len(b.Buf))
	return nil
}

// What was refused is counted once, when it is published.
func TestRefusedEventsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tx := checkout()
		tx.EndLSN = 500
		log := &memoryLog{fail: []error{nil, errors.New("lost")}} // of Publish
		p, stop := start(t, log, listOf(tx))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got := p.Stats(); got.Refused != 1 || got.Retries != 1 || got.Transactions != 1 {
			t.Errorf("%+v", got)
		}
	})
}
