package consume

import "sync"

// Stats tell how far a consumer is. They may be read at any time.
type Stats struct {
	mu     sync.Mutex
	values Values
}

// Values are a look at the Stats.
type Values struct {
	State      string
	Partitions int   // that this consumer has
	Records    int64 // consumed, dead ones among them
	Dead       int64
	Commits    int64
	Lag        int64 // records of its partitions that are not consumed yet, as the last fetches saw
}

// Values returns a copy; those of nil are zero.
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
