package publisher

import (
	"fmt"
	"sync"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// Stats is what a publisher has done since it was made. Acked <= Published <= Received.
type Stats struct {
	Acked     outbox.LSN // Postgres may discard the log up to here
	Published outbox.LSN // recorded in the progress topic
	Received  outbox.LSN // decoded from the slot

	Transactions int64 // published
	Events       int64 // records, without progress records
	Filtered     int64 // changes that the shape of the stream leaves out
	Missed       int64 // times that changes of a table turned out to be missing
	Refused      int64 // events of the application that may not go where they were to go
	DeadLetters  int64 // changes that are too large for a record
	OwnTopics    int64 // tables whose topic is not that of the template
	Batches      int64 // Kafka transactions
	Retries      int64
	State        string // "waiting for the slot", "fencing", "publishing", "retrying", "standing by", "halted", "stopped"
	LastError    string // of the last retry, or why it is halted; empty while all is well

	Snapshot snapshot.Stats
}

// Stats may be called from any goroutine.
func (p *Publisher) Stats() Stats {
	p.stats.mu.Lock()
	defer p.stats.mu.Unlock()
	return p.stats.now
}

type stats struct {
	mu  sync.Mutex
	now Stats
}

// Halted notes that somebody has to act before the publisher goes on, and why.
func (p *Publisher) Halted(err error) {
	p.stats.mu.Lock()
	defer p.stats.mu.Unlock()
	p.stats.now.State, p.stats.now.LastError = "halted", err.Error()
}

func (s *stats) state(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.State = state
}

func (s *stats) ownTopic() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.OwnTopics++
}

// start notes a position that was read from the log, which may be behind that of a lost database.
func (s *stats) start(acked, published, received outbox.LSN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.State, s.now.LastError = "publishing", ""
	s.now.Acked, s.now.Published, s.now.Received = acked, published, max(received, published)
}

func (s *stats) receive(upTo outbox.LSN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Received = max(s.now.Received, upTo)
}

func (s *stats) publish(upTo outbox.LSN, t tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Published = upTo
	s.now.Transactions += int64(t.transactions)
	s.now.Events += int64(t.sent)
	s.now.Filtered += int64(t.filtered)
	s.now.Missed += int64(t.missed)
	s.now.Refused += int64(t.refused)
	s.now.DeadLetters += int64(t.deadLetters)
	s.now.Batches++
	s.now.LastError = ""
	s.checkLocked()
}

// snapshot notes how far the copy at work is.
func (s *stats) snapshot(now snapshot.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now.TotalRows, now.TotalTables = s.now.Snapshot.TotalRows, s.now.Snapshot.TotalTables
	s.now.Snapshot = now
}

// copied counts what of tables was published.
func (s *stats) copied(rows, tables int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Snapshot.TotalRows += int64(rows)
	s.now.Snapshot.TotalTables += int64(tables)
}

func (s *stats) ack(upTo outbox.LSN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Acked = upTo
	s.checkLocked()
}

func (s *stats) fail(state string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.State, s.now.LastError = state, err.Error()
	s.now.Retries++
}

func (s *stats) checkLocked() {
	if s.now.Acked > s.now.Published || s.now.Published > s.now.Received {
		panic(fmt.Sprintf("watermarks out of order: acked %s, published %s, received %s", s.now.Acked, s.now.Published, s.now.Received))
	}
}
