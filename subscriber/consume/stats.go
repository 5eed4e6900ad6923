package consume

import "sync"

// Stats reports the progress of a consumer. It may be read at any time.
type Stats struct {
	mu     sync.Mutex
	values Values
}

// Values is a snapshot of Stats.
type Values struct {
	State      string
	Partitions int   // number of partitions held by this consumer
	Records    int64 // consumed records, including dead ones
	Dead       int64
	Commits    int64
	Lag        int64 // unconsumed records of its partitions, as of the last fetches
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

func (s *Stats) state(state string) { s.change(func(v *Values) { v.State = state }) }
