package publisher

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// Stats counts what a publisher has done since it was created. Acked <= Published <= Received.
type Stats struct {
	Acked     outbox.LSN // PostgreSQL may discard the WAL up to here
	Published outbox.LSN // recorded in the progress topic
	Received  outbox.LSN // decoded from the slot

	Transactions int64 // published
	Events       int64 // records, without progress records
	Filtered     int64 // changes that the shape excludes
	Missed       int64 // number of times that changes of a table were found to be missing
	Refused      int64 // events of the application that may not be sent to their topic
	DeadLetters  int64 // changes that are too large for a record
	OwnTopics    int64 // tables that do not have the template's topic
	Batches      int64 // Kafka transactions
	Retries      int64
	Holding      bool   // the slot, also while Kafka is away
	State        string // "waiting for the slot", "fencing", "publishing", "retrying", "standing by", "halted", "stopped"
	LastError    string // the reason of a halt, or of the last retry; empty if there is none

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

	streaming bool       // since start, until a failure
	why       string     // Run has halted, and has not got past what it halted at; "" if it has
	behind    outbox.LSN // what it halted at is not behind this position; 0: it halted before the stream began
	copying   bool       // what it halted at is a row of a copy
}

// unknownLSN is a position that is not known yet.
const unknownLSN = outbox.LSN(math.MaxUint64)

// copyError is an error at a row of a copy of tables.
type copyError struct{ error }

func (e copyError) Unwrap() error { return e.error }

// halt records that Run has halted, and why. The publisher remains halted in the attempts that follow until it has got past what it halted at: an attempt
// may read the stream for a minute before it meets that again.
func (p *Publisher) halt(err error) {
	s := &p.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.State, s.now.LastError, s.why = "halted", err.Error(), err.Error()
	if !s.streaming {
		return
	}
	s.streaming, s.behind = false, s.now.Received
	if p.giant.goesOn || errors.Is(err, halt.ErrUndecodable) || errors.Is(err, outbox.ErrUndecodable) || errors.Is(err, pgoutput.ErrMalformed) {
		s.behind = unknownLSN // it is behind everything that was received
	}
	_, s.copying = errors.AsType[copyError](err)
}

// Halted records that the publisher cannot start before an operator acts, and why.
func (p *Publisher) Halted(err error) {
	s := &p.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.State, s.now.LastError = "halted", err.Error(); s.behind == 0 {
		s.why = ""
	}
}

// Checked records that nothing keeps the publisher from starting. It ends what Halted has recorded.
func (p *Publisher) Checked() {
	s := &p.stats
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.State != "halted" {
		return
	}
	if s.now.LastError = s.why; s.why == "" {
		s.now.State = "waiting for the slot"
	}
}

// state records what the publisher tries.
func (s *stats) state(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.State != "halted" {
		s.now.State = state
	}
}

// pass records that everything up to a position is published. server is where the server was when the stream began; copying tells whether tables are
// being copied.
func (s *stats) pass(upTo, server outbox.LSN, copying bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.State == "halted" && upTo >= min(s.behind, server) && !(s.copying && copying) {
		s.now.LastError = ""
		s.moveLocked("publishing")
	}
}

// moveLocked sets a state in which the publisher is not halted.
func (s *stats) moveLocked(state string) {
	s.now.State, s.why, s.behind, s.copying = state, "", 0, false
}

func (s *stats) holds(slot bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Holding = slot
}

func (s *stats) ownTopic() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.OwnTopics++
}

// start sets the position that was read from the log. It may be behind the position of a database that was lost. server is where the server was when
// the stream began.
func (s *stats) start(acked, published, received, server outbox.LSN) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streaming = true; s.behind == unknownLSN { // it is opened after the halt
		s.behind = server
	}
	if s.now.State != "halted" {
		s.now.State, s.now.LastError = "publishing", ""
	}
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
	if s.now.State != "halted" {
		s.now.LastError = ""
	}
	s.checkLocked()
}

// snapshot records the progress of the running copy.
func (s *stats) snapshot(now snapshot.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now.TotalRows, now.TotalTables = s.now.Snapshot.TotalRows, s.now.Snapshot.TotalTables
	s.now.Snapshot = now
}

// copied counts the published rows and tables of copies.
func (s *stats) copied(rows, tables int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copying = s.copying && rows == 0 && tables == 0
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
	if s.now.State != "halted" || state == "standing by" { // otherwise why it has halted matters more
		s.now.LastError = err.Error()
		s.moveLocked(state)
	}
	s.streaming = false
	s.now.Retries++
}

func (s *stats) checkLocked() {
	if s.now.Acked > s.now.Published || s.now.Published > s.now.Received {
		panic(fmt.Sprintf("watermarks out of order: acked %s, published %s, received %s", s.now.Acked, s.now.Published, s.now.Received))
	}
}
