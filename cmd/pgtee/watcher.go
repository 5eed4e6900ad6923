package main

import (
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/otlp"
)

// watcher measures one publisher from outside: what its source delivers, what it acknowledges (that is, what Kafka has), its Kafka client's requests,
// and what it tells for tracing.
type watcher struct {
	visible prometheus.Histogram
	kafka   prometheus.Histogram
	rows    *prometheus.CounterVec
	lies    prometheus.Counter
	spans   *otlp.Exporter // nil: no tracing

	mu    sync.Mutex
	sums  [len(whoLabels)]float64 // rows per label
	acked outbox.LSN              // counted up to here, of this source's history
	from  outbox.System           // the source
	due   []dueTransaction        // not acknowledged yet, in the order of the stream
	began time.Time               // when the open Kafka transaction got its first record; zero: no transaction is open
}

// dueTransaction contains the counts of a transaction, or of a part of one, that are added once Kafka has it.
type dueTransaction struct {
	through outbox.LSN
	commit  time.Time
	rows    [len(whoLabels)]int
	lies    int
}

// How well the author of a row is known.
const (
	rowVerified = iota
	rowUnknown  // a note that cannot be verified
	rowDirect   // no note
	rowFalse    // a forged note
)

var whoLabels = [...]string{"verified", "unknown", "direct", "false"}

func newWatcher(labels prometheus.Labels) *watcher {
	seconds := prometheus.ExponentialBuckets(0.005, 2, 15) // to 82 s
	return &watcher{
		visible: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pgtee_commit_visible_seconds", ConstLabels: labels, Buckets: seconds,
			Help: "Seconds from the commit of a transaction until it is visible in Kafka."}),
		kafka: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pgtee_kafka_transaction_seconds", ConstLabels: labels, Buckets: seconds,
			Help: "Seconds from the first record of a Kafka transaction until its end."}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pgtee_rows_total", ConstLabels: labels,
			Help: "Row changes in Kafka, by how well their author is known: verified, unknown (a note that cannot be verified), direct (no note), false (a forged note)."}, []string{"who"}),
		lies: prometheus.NewCounter(prometheus.CounterOpts{Name: "pgtee_false_notes_total", ConstLabels: labels,
			Help: "Notes that were forged, altered, copied from another session, or replayed."}),
	}
}

// collectors returns the collectors for the metrics page.
func (o *watcher) collectors() []prometheus.Collector {
	for _, who := range whoLabels {
		o.rows.WithLabelValues(who) // present from the start
	}
	return []prometheus.Collector{o.visible, o.kafka, o.rows, o.lies}
}

// attribution returns the share of rows whose note is verified; 1 before the first row.
func (o *watcher) attribution() float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := 0.0
	for _, n := range o.sums {
		all += n
	}
	if all == 0 {
		return 1
	}
	return o.sums[rowVerified] / all
}

// watch returns the source with this watcher attached.
func (o *watcher) watch(source publisher.Source) publisher.Source {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.due = o.due[:0] // the stream sends them again
	if system := source.System(); system.Generation != o.from.Generation || system.ID != o.from.ID || system.Timeline != o.from.Timeline || system.Server < o.acked {
		o.acked, o.from = system.ConfirmedFlush, system // of another history, whose positions may be lower
	}
	return watchedSource{source, o}
}

type watchedSource struct {
	publisher.Source
	o *watcher
}

func (s watchedSource) Drop(head []*outbox.Transaction) {
	s.o.drop(head)
	s.Source.Drop(head)
}

func (s watchedSource) Ack(upTo outbox.LSN) {
	s.o.ack(upTo, time.Now())
	s.Source.Ack(upTo)
}

// drop records transactions that the publisher has composed.
func (o *watcher) drop(head []*outbox.Transaction) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, tx := range head {
		if tx.IsMarker() || tx.Through() <= o.acked {
			continue
		}
		due := dueTransaction{through: tx.Through(), commit: tx.CommitTime}
		for i := range tx.Changes {
			if c := &tx.Changes[i]; c.Op == outbox.Insert || c.Op == outbox.Update || c.Op == outbox.Delete {
				due.rows[who(tx, c)]++
			}
		}
		for i := range tx.Notes {
			if tx.Notes[i].Trust.Lies() {
				due.lies++
			}
		}
		o.due = append(o.due, due)
	}
}

func who(tx *outbox.Transaction, c *outbox.Change) int {
	switch {
	case c.Note < 0:
		return rowDirect
	case tx.Notes[c.Note].Trust == note.Verified:
		return rowVerified
	case tx.Notes[c.Note].Trust.Lies():
		return rowFalse
	}
	return rowUnknown
}

// ack counts what Kafka has up to a position.
func (o *watcher) ack(upTo outbox.LSN, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acked = max(o.acked, upTo)
	n := 0
	for ; n < len(o.due) && o.due[n].through <= upTo; n++ {
		due := &o.due[n]
		for i, rows := range due.rows {
			o.sums[i] += float64(rows)
			o.rows.WithLabelValues(whoLabels[i]).Add(float64(rows))
		}
		o.lies.Add(float64(due.lies))
		o.visible.Observe(max(0, now.Sub(due.commit).Seconds()))
	}
	o.due = append(o.due[:0], o.due[n:]...)
}

var (
	produceKey = (&kmsg.ProduceRequest{}).Key()
	endTxnKey  = (&kmsg.EndTxnRequest{}).Key()
)

// OnBrokerWrite is a hook of the Kafka client: the first record opens the transaction.
func (o *watcher) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, timeToWrite time.Duration, err error) {
	if key != produceKey || err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.began.IsZero() {
		o.began = time.Now().Add(-timeToWrite)
	}
}

// OnBrokerE2E is a hook of the Kafka client: the reply to EndTxn ends the transaction.
func (o *watcher) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key != endTxnKey || e2e.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.began.IsZero() {
		o.kafka.Observe(time.Since(o.began).Seconds())
	}
	o.began = time.Time{}
}

// OnBrokerDisconnect is a hook of the Kafka client: an open transaction is no longer measured.
func (o *watcher) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.began = time.Time{}
}
