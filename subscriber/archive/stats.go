package archive

import "sync"

// Stats reports the progress of an archive. It may be read at any time.
type Stats struct {
	mu     sync.Mutex
	values Values
}

// Values is a snapshot of Stats.
type Values struct {
	State     string
	Archived  LSN // all transactions that committed before this LSN are in the archive
	Published LSN // all transactions that committed before this LSN are in Kafka
	Records   int64
	Files     int
	Bytes     int64
	Head      string // hash of the last line of the manifest
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
func (s *Stats) published(mark LSN) { s.change(func(v *Values) { v.Published = mark }) }
func (s *Stats) committed(m *manifest) {
	s.change(func(v *Values) {
		v.Archived, v.Records, v.Files, v.Bytes, v.Head = m.mark.EndLSN, m.records, len(m.files), m.bytes(), m.hash
	})
}

func (s *Stats) begin(m *manifest) {
	s.committed(m)
	s.state("archiving")
}
