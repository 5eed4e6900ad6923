package kafka

import (
	"math"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/record"
)

// A record says how late its transaction was, unless the record before has that transaction already.
func TestRecordedLag(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	l := newLog(cfg)
	defer l.Close()
	mustFence(t, l)
	publish := func(end, last outbox.LSN, age time.Duration) Recorded {
		t.Helper()
		p := testPosition(end)
		p.LastLSN, p.CommitTime = last, time.Now().Add(-age)
		mustPublish(t, l, &record.Batch{}, p)
		recorded, err := LastPosition(t.Context(), cfg)
		if err != nil || recorded.Position == nil || recorded.EndLSN != end {
			t.Fatalf("recorded %+v, %v", recorded, err)
		}
		return recorded
	}
	publish(100, 100, time.Hour)
	if r := publish(200, 200, time.Hour); r.Late < time.Hour-time.Second || r.Late > time.Hour+time.Minute || time.Since(r.At) > time.Minute {
		t.Errorf("a transaction that committed an hour before: %s late, at %s", r.Late, r.At)
	}
	if r := publish(300, 200, time.Hour); r.Late != 0 {
		t.Errorf("no new transaction: %s late", r.Late)
	}
}

func TestLag(t *testing.T) {
	now := time.Now()
	at := &publisher.Position{EndLSN: 100}
	for name, c := range map[string]struct {
		recorded Recorded
		server   outbox.LSN
		want     time.Duration
	}{
		"nothing is published":         {Recorded{}, 100, math.MaxInt64},
		"everything is published":      {Recorded{at, now.Add(-time.Hour), time.Hour}, 100, 0},
		"nothing for an hour":          {Recorded{at, now.Add(-time.Hour), 0}, 101, time.Hour},
		"an old transaction just now":  {Recorded{at, now, time.Hour}, 101, time.Hour},
		"a clock that is ahead":        {Recorded{at, now.Add(time.Hour), 0}, 101, 0},
		"of a record that is not ours": {Recorded{Position: at}, 101, 0},
	} {
		if got := c.recorded.Lag(c.server, now); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
