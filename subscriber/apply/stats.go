package apply

import (
	"sync"
	"time"
)

// Stats reports the progress of an applier. It may be read at any time.
type Stats struct {
	mu     sync.Mutex
	values Values
}

// Values is a snapshot of Stats.
type Values struct {
	State        string
	Applied      LSN       // all transactions that committed before this LSN are in the target
	Published    LSN       // all transactions that committed before this LSN are in Kafka
	CommitTime   time.Time // of the last transaction that is in the target; zero: there is none
	CaughtUp     time.Time // when the target last had everything that Kafka was known to hold; zero: not since the start
	Began        time.Time // when this applier knew both positions
	Transactions int64     // transactions of the source
	Changes      int64
	Commits      int64 // transactions of the target
	Conflicts    int64
}

// LagBytes is the amount of the source's WAL that Kafka holds and the target does not.
func (v Values) LagBytes() uint64 {
	if v.Published <= v.Applied {
		return 0
	}
	return uint64(v.Published - v.Applied)
}

// Lag is 0 while the target has everything that Kafka holds. Otherwise it is the time since the last applied transaction committed or, if that is later,
// since the target last had everything: the position of an idle source moves too.
func (v Values) Lag(now time.Time) time.Duration {
	since := later(v.CommitTime, v.CaughtUp)
	if since.IsZero() {
		since = v.Began
	}
	if v.LagBytes() == 0 || since.IsZero() {
		return 0
	}
	return max(0, now.Sub(since))
}

// Values returns a copy of the values, zero for a nil Stats.
func (s *Stats) Values() Values {
	if s == nil {
		return Values{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values
}

func (s *Stats) change(f func(*Values)) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.values)
}

func (s *Stats) conflict()          { s.change(func(v *Values) { v.Conflicts++ }) }
func (s *Stats) state(state string) { s.change(func(v *Values) { v.State = state }) }

// begin takes the positions of the target and of Kafka.
func (s *Stats) begin(p *position, first *progress) {
	s.change(func(v *Values) {
		v.Applied, v.CommitTime, v.Published = p.end, p.at, first.EndLSN
		if v.Began.IsZero() {
			v.Began = time.Now()
		}
		v.noteCaughtUp()
	})
}

func (s *Stats) published(mark LSN) {
	s.change(func(v *Values) {
		v.noteCaughtUp()
		v.Published = mark
	})
}

// noteCaughtUp sets CaughtUp if the target has everything now.
func (v *Values) noteCaughtUp() {
	if v.LagBytes() == 0 && v.Published > 0 {
		v.CaughtUp = time.Now()
	}
}

func (s *Stats) committed(b *batch) {
	s.change(func(v *Values) {
		v.Applied = b.end
		v.Transactions += int64(b.transactions)
		v.Changes += int64(b.events)
		v.Commits++
		if !b.commitTime.IsZero() {
			v.CommitTime = b.commitTime
		}
		v.noteCaughtUp()
	})
}
