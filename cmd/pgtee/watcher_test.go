package main

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/publisher"
)

// Rows count once Kafka has them, by who vouches for them, and not again when the stream brings them again.
func TestWatcherCountsRows(t *testing.T) {
	w := newWatcher(source{database: "shop", slot: "pgtee", prefix: "shop"}.labels())
	commit := time.Now().Add(-2 * time.Second)
	notes := []note.Note{{Trust: note.Verified}, {Trust: note.Forged}, {Trust: note.Pooled}}
	first := &outbox.Transaction{EndLSN: 100, CommitLSN: 90, CommitTime: commit, Notes: notes, Changes: []outbox.Change{
		{Op: outbox.Insert, Note: 0}, {Op: outbox.Update, Note: 0}, {Op: outbox.Delete, Note: 1}, {Op: outbox.Insert, Note: 2}, {Op: outbox.Message, Note: 0}}}
	second := &outbox.Transaction{EndLSN: 200, CommitLSN: 190, CommitTime: commit, Changes: []outbox.Change{{Op: outbox.Insert, Note: -1}}}
	if w.attribution() != 1 {
		t.Errorf("attribution %v before the first row", w.attribution())
	}
	w.watch(systemSource{system: outbox.System{ID: "1", Server: 50}})
	w.drop([]*outbox.Transaction{first, second, {EndLSN: 300}})
	expect := func(verified, unknown, direct, false_ float64) {
		t.Helper()
		for i, want := range []float64{verified, unknown, direct, false_} {
			if got := count(t, w.rows.WithLabelValues(whoLabels[i])); got != want {
				t.Errorf("%s: %v, want %v", whoLabels[i], got, want)
			}
		}
	}
	expect(0, 0, 0, 0)
	w.ack(150, time.Now())
	expect(2, 1, 0, 1)
	w.watch(systemSource{system: outbox.System{ID: "1", Server: 250}}) // the connection is made anew, and the stream comes again
	w.drop([]*outbox.Transaction{first, second})
	w.ack(300, time.Now())
	expect(2, 1, 1, 1)
	if w.attribution() != 0.4 || count(t, w.lies) != 1 {
		t.Errorf("attribution %v, false notes %v", w.attribution(), count(t, w.lies))
	}
	w.watch(systemSource{system: outbox.System{ID: "1", Server: 350, ConfirmedFlush: 100}})
	w.drop([]*outbox.Transaction{second})
	w.ack(300, time.Now())
	expect(2, 1, 1, 1)
	for i, other := range []outbox.System{{ID: "1", Server: 50}, {ID: "1", Timeline: 2, Server: 350, ConfirmedFlush: 20}, {ID: "2", Server: 350}} { // a backup was restored, or another server is in its place
		w.ack(400, time.Now())
		w.watch(systemSource{system: other})
		w.drop([]*outbox.Transaction{{EndLSN: 40, CommitLSN: 30, CommitTime: commit, Changes: []outbox.Change{{Op: outbox.Insert, Note: -1}}}})
		w.ack(40, time.Now())
		expect(2, 1, float64(2+i), 1)
	}
	if n := count(t, w.visible); n != 5 || len(w.due) != 0 {
		t.Errorf("%v observations, %d transactions are due still", n, len(w.due))
	}
}

// systemSource is a source of which only the server is asked.
type systemSource struct {
	publisher.Source
	system outbox.System
}

func (s systemSource) System() outbox.System { return s.system }

// A Kafka transaction lasts from its first record to the answer to its end.
func TestWatcherMeasuresKafka(t *testing.T) {
	w := newWatcher(source{database: "shop", slot: "pgtee", prefix: "shop"}.labels())
	w.OnBrokerE2E(kgo.BrokerMetadata{}, endTxnKey, kgo.BrokerE2E{}) // without records there is none
	w.OnBrokerWrite(kgo.BrokerMetadata{}, produceKey, 1, 0, time.Hour, nil)
	w.OnBrokerWrite(kgo.BrokerMetadata{}, produceKey, 1, 0, 0, nil)
	w.OnBrokerE2E(kgo.BrokerMetadata{}, endTxnKey, kgo.BrokerE2E{})
	w.OnBrokerE2E(kgo.BrokerMetadata{}, endTxnKey, kgo.BrokerE2E{})
	if n := count(t, w.kafka); n != 1 {
		t.Errorf("%v transactions, want 1", n)
	}
}

// count is what a counter says, or how many observations a histogram has.
func count(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, error %v", len(families), err)
	}
	m := families[0].Metric[0]
	return m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
}

func TestSafeLog(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	for name, test := range map[string]struct {
		limit          retainedLimit
		keep           int64
		retained       []int64 // every ten seconds
		ratio, seconds float64
		wal            string
	}{
		"no limit":           {retainedLimit{}, -1, []int64{5, 6}, math.NaN(), math.NaN(), ""},
		"not asked yet":      {retainedLimit{drop: 100}, -1, nil, math.NaN(), math.NaN(), ""},
		"it does not grow":   {retainedLimit{}, 100, []int64{50, 50}, 0.5, math.Inf(1), ""},
		"it shrinks":         {retainedLimit{}, 100, []int64{50, 20}, 0.8, math.Inf(1), ""},
		"it grows":           {retainedLimit{}, 100, []int64{20, 40, 60}, 0.4, 20, ""},
		"our limit":          {retainedLimit{drop: 200}, -1, []int64{20, 40, 60}, 0.7, 70, ""},
		"ours is smaller":    {retainedLimit{drop: 100}, 200, []int64{20, 40, 60}, 0.4, 20, ""},
		"ours is larger":     {retainedLimit{drop: 200}, 100, []int64{20, 40, 60}, 0.4, 20, ""},
		"ours only warns":    {retainedLimit{warn: 10}, 100, []int64{20, 40, 60}, 0.4, 20, ""},
		"ours alone, warns":  {retainedLimit{warn: 100}, -1, []int64{20, 40, 60}, math.NaN(), math.NaN(), ""},
		"nothing is left":    {retainedLimit{}, 100, []int64{90, 120}, 0, 0, ""},
		"only the last time": {retainedLimit{}, 10000, append(make([]int64, 100), 61), 0.9939, 9939 / (61.0 / 600), ""},
		"the limit is zero":  {retainedLimit{}, 0, []int64{20, 40}, 0, 0, ""},
		"it is lost":         {retainedLimit{}, 100, []int64{90, 0}, 0, 0, "lost"},
		"lost with no limit": {retainedLimit{}, -1, []int64{90, 0}, 0, 0, "lost"},
	} {
		var l lag
		for i, bytes := range test.retained {
			l.observe(outbox.SlotStatus{Retained: bytes, KeepBytes: test.keep, WAL: test.wal}, start.Add(time.Duration(i)*10*time.Second))
		}
		ratio, seconds := l.safe(test.limit)
		if !same(ratio, test.ratio) || !same(seconds, test.seconds) {
			t.Errorf("%s: ratio %v, %v seconds, want %v, %v", name, ratio, seconds, test.ratio, test.seconds)
		}
	}
}

func same(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) < 1e-6*math.Abs(b)
}
