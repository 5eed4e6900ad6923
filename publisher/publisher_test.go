package publisher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
)

// memoryLog is a Log that does what it is told.
type memoryLog struct {
	recorded *Position
	history  []Position
	events   int
	fences   int
	fail     []error // of the next calls; nil: none
}

func (l *memoryLog) next() error {
	if len(l.fail) == 0 {
		return nil
	}
	err := l.fail[0]
	l.fail = l.fail[1:]
	return err
}

func (l *memoryLog) Fence(context.Context, outbox.System) (*Position, error) {
	l.fences++
	return l.recorded, l.next()
}

func (l *memoryLog) Send(_ context.Context, b *record.Batch) error {
	l.events += b.Len()
	return l.next()
}

func (l *memoryLog) Publish(_ context.Context, b *record.Batch, p Position) error {
	if err := l.next(); err != nil {
		return err
	}
	l.recorded = &p
	l.history = append(l.history, p)
	l.events += b.Len()
	return nil
}

func (l *memoryLog) Close() {}

// listSource has its transactions at once, then none.
type listSource struct {
	system  outbox.System
	queue   []*outbox.Transaction
	acked   []outbox.LSN
	checks  int
	slow    []*outbox.Transaction // follow after two minutes
	changed error                 // of CheckPublications
	lost    chan error
	closed  bool
	began   time.Time

	received outbox.LSN // 0: 1000
}

func (s *listSource) System() outbox.System { return s.system }
func (s *listSource) TimelineHistory(context.Context, int32) ([]outbox.TimelineSwitch, error) {
	return []outbox.TimelineSwitch{{Timeline: 1, End: 150}}, nil
}
func (s *listSource) Next(ctx context.Context, _ int) ([]*outbox.Transaction, error) {
	if len(s.queue) > 0 {
		return s.queue, nil
	}
	var slow <-chan time.Time
	if len(s.slow) > 0 {
		slow = time.After(time.Until(s.began.Add(2 * time.Minute)))
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-s.lost:
		return nil, err
	case <-slow:
		s.queue, s.slow = s.slow, nil
		return s.queue, nil
	}
}
func (s *listSource) Drop(head []*outbox.Transaction)         { s.queue = s.queue[len(head):] }
func (s *listSource) Ack(upTo outbox.LSN)                     { s.acked = append(s.acked, upTo) }
func (s *listSource) Received() outbox.LSN                    { return cmp.Or(s.received, 1000) }
func (s *listSource) Err() error                              { return nil }
func (s *listSource) CheckPublications(context.Context) error { s.checks++; return s.changed }
func (s *listSource) Close() error                            { s.closed = true; return nil }

func listOf(queue ...*outbox.Transaction) *listSource {
	return &listSource{system: outbox.System{ID: "7300", Timeline: 1, Server: 1000}, queue: queue, lost: make(chan error, 1), began: time.Now()}
}

func rowAt(end outbox.LSN) *outbox.Transaction {
	return &outbox.Transaction{CommitLSN: end - 8, EndLSN: end, Changes: []outbox.Change{{Op: outbox.Insert, Note: -1, Relation: &pgoutput.Relation{OID: 1, Schema: "s", Name: "t"}}}}
}

// start runs a publisher over the sources, one after the other, until stop, which returns Run's error.
func start(t *testing.T, log Log, sources ...*listSource) (p *Publisher, stop func() error) {
	opened := 0
	open := func(context.Context) (Source, error) {
		if opened == len(sources) {
			return nil, outbox.ErrSlotBusy
		}
		opened++
		return sources[opened-1], nil
	}
	p = newPublisher(testConfig(), open, log, tableFormat{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return p, func() error {
		cancel()
		return <-done
	}
}

func TestIdlePositionIsRecordedBeforeItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, source := &memoryLog{}, listOf(&outbox.Transaction{EndLSN: 100})
		p, stop := start(t, log, source)
		time.Sleep(9 * time.Second)
		if s := p.Stats(); s.Batches != 0 || s.Acked != 0 {
			t.Errorf("after 9 s: %+v", s)
		}
		time.Sleep(2 * time.Second)
		if s := p.Stats(); s.Acked != 100 || s.Published != 100 || s.Batches != 1 || s.Transactions != 0 {
			t.Errorf("after 11 s: %+v", s)
		}
		time.Sleep(time.Hour)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(log.history) != 1 || log.events != 0 || fmt.Sprint(source.acked) != "[0/64]" {
			t.Errorf("recorded %+v with %d events, acknowledged %v", log.history, log.events, source.acked)
		}
		if source.checks < 300 {
			t.Errorf("publications were compared %d times in an hour", source.checks)
		}
	})
}

func TestUrgentPositionIsRecordedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := start(t, &memoryLog{}, listOf(&outbox.Transaction{EndLSN: 100, Urgent: true}))
		synctest.Wait() // no time passes
		if s := p.Stats(); s.Acked != 100 || s.Published != 100 {
			t.Errorf("%+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A server that is stopping takes no new connection; it must get its acknowledgement all the same.
func TestPublicationsThatCannotBeComparedAreAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := listOf(&outbox.Transaction{EndLSN: 100})
		source.changed = errors.New("the database system is shutting down")
		p, stop := start(t, &memoryLog{}, source)
		time.Sleep(time.Minute)
		if s := p.Stats(); s.Acked != 100 || s.Retries != 0 {
			t.Errorf("%+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if source.checks < 5 {
			t.Errorf("%d comparisons in a minute", source.checks)
		}
	})
}

func TestKafkaIsAwayAndTheSlotIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("Kafka is away")
		log, source := &memoryLog{}, listOf(rowAt(100))
		for range 200 {
			log.fail = append(log.fail, away)
		}
		p, stop := start(t, log, source)
		time.Sleep(time.Minute)
		if s := p.Stats(); s.State != "retrying" || s.LastError == "" || s.Published != 0 || s.Retries > 30 {
			t.Errorf("after a minute: %+v", s)
		}
		time.Sleep(time.Hour)
		if s := p.Stats(); s.State != "publishing" || s.LastError != "" || s.Published != 100 || s.Retries != 200 {
			t.Errorf("after an hour: %+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestFencedPublisherLetsTheSlotGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, source := &memoryLog{fail: []error{nil, halt.ErrFenced}}, listOf(rowAt(100))
		p, stop := start(t, log, source)
		time.Sleep(10 * time.Second)
		if s := p.Stats(); s.State != "standing by" {
			t.Errorf("%+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if !source.closed || log.fences != 1 {
			t.Errorf("closed %v, %d fences", source.closed, log.fences)
		}
	})
}

func TestLostConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := listOf(rowAt(100)), listOf(rowAt(100), rowAt(200))
		first.lost <- errors.New("connection lost")
		log := &memoryLog{}
		p, stop := start(t, log, first, second)
		time.Sleep(10 * time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Published != 200 || s.Transactions != 2 || log.events != 4 || !first.closed {
			t.Errorf("%+v, %d events", s, log.events)
		}
	})
}

func TestHalts(t *testing.T) {
	ahead := &Position{Timeline: 1, SystemID: "7300", EndLSN: 2000}
	for name, c := range map[string]struct {
		log     *memoryLog
		lost    error // of the stream
		changed error // of the publications
		want    error
	}{
		"warning":             {log: &memoryLog{}, lost: outbox.ErrServerWarning, want: outbox.ErrServerWarning},
		"undecodable text":    {log: &memoryLog{}, lost: outbox.ErrUndecodable, want: outbox.ErrUndecodable},
		"publication changed": {log: &memoryLog{}, changed: outbox.ErrPublicationChanged, want: outbox.ErrPublicationChanged},
		"database behind":     {log: &memoryLog{recorded: ahead}, want: halt.ErrDatabaseBehind},
		"Kafka refused":       {log: &memoryLog{fail: []error{&halt.Halt{Reason: halt.ErrKafkaRefused}}}, want: halt.ErrKafkaRefused},
	} {
		synctest.Test(t, func(t *testing.T) {
			sources := []*listSource{listOf(), listOf()}
			sources[0].changed = c.changed
			if c.lost != nil {
				sources[0].lost <- fmt.Errorf("after 0/0: %w", c.lost)
			}
			_, stop := start(t, c.log, sources...)
			time.Sleep(time.Minute)
			if err := stop(); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
			if !sources[0].closed {
				t.Errorf("%s: the slot is still held", name)
			}
		})
	}
}

func TestOlderTimelineIsRewritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := listOf(rowAt(200))
		source.system.Timeline = 2
		log := &memoryLog{recorded: &Position{Version: 1, Timeline: 1, SystemID: "7300", EndLSN: 150}, fail: []error{nil, nil, errors.New("lost")}}
		_, stop := start(t, log, source)
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(log.history) != 2 {
			t.Fatalf("%+v", log.history)
		}
		if first, second := log.history[0], log.history[1]; first.Timeline != 2 || first.EndLSN != 150 || second.Timeline != 2 || second.EndLSN != 200 {
			t.Errorf("%+v", log.history)
		}
	})
}

func testConfig() Config {
	return Config{Prefix: "shop", Database: "orders", Slot: "pgtee"}.WithDefaults()
}

// Two slots never have one transactional id, and those without a dash in a name have the one that they always had.
func TestTransactionalIDsDoNotCollide(t *testing.T) {
	seen := map[string]Config{}
	for _, c := range []Config{
		{Prefix: "a", Database: "b-c", Slot: "s"}, {Prefix: "a-b", Database: "c", Slot: "s"}, {Prefix: "a", Database: "b", Slot: "c-s"},
		{Prefix: "a", Database: "c/s/d", Slot: "s"}, {Prefix: "a-", Database: "c/s/d", Slot: "s"}, {Prefix: "-a", Database: "b/s", Slot: "s"},
		{Prefix: "a-b", Database: "s/c", Slot: "s"},
	} {
		id := c.TransactionalID()
		if other, taken := seen[id]; taken {
			t.Errorf("%+v and %+v are %s", other, c, id)
		}
		seen[id] = c
	}
	if id := (Config{Prefix: "shop", Database: "orders", Slot: "pgtee"}).TransactionalID(); id != "pgtee-shop-orders-pgtee" {
		t.Errorf("without a dash: %s", id)
	}
}

// sourceInPieces has one transaction at a time.
type sourceInPieces struct {
	*listSource
	pieces chan *outbox.Transaction
}

func (s sourceInPieces) Next(ctx context.Context, _ int) ([]*outbox.Transaction, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case tx := <-s.pieces:
		s.queue = []*outbox.Transaction{tx}
		return s.queue, nil
	}
}

// A restored server sends transactions of its own before the first one that shows it. The slot keeps them, since they are not in Kafka.
func TestNothingIsAcknowledgedBeforeTheHistoriesAreCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := sourceInPieces{listOf(), make(chan *outbox.Transaction)}
		log := &memoryLog{recorded: &Position{Version: positionVersion, Timeline: 1, SystemID: "7300", EndLSN: 300, LastLSN: 300, XID: 9, CommitTime: time.Unix(9, 0)}}
		p := newPublisher(testConfig(), func(context.Context) (Source, error) { return source, nil }, log, tableFormat{})
		done := make(chan error, 1)
		go func() { done <- p.Run(t.Context()) }()
		source.pieces <- rowAt(100)
		synctest.Wait()
		source.pieces <- rowAt(400)
		if err := <-done; !errors.Is(err, halt.ErrDiverged) || len(source.acked) > 0 {
			t.Errorf("%v after acknowledging %v, want %v", err, source.acked, halt.ErrDiverged)
		}
	})
}

// A publisher that has halted stays so while it tries again, however long that takes, until it has got past what it halted at.
func TestHaltedUntilPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var source *listSource
		log := &memoryLog{}
		p := newPublisher(testConfig(), func(context.Context) (Source, error) { return source, nil }, log, brokenFormat{})
		attempt := func(s *listSource, lasts time.Duration, want string) {
			t.Helper()
			source = s
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx) }()
			for range 10 {
				time.Sleep(lasts / 10)
				if now := p.Stats(); now.State != want || (now.LastError != "") != (want == "halted") {
					t.Errorf("%s %q, want %s", now.State, now.LastError, want)
				}
			}
			cancel()
			<-done
		}
		slow := listOf(&outbox.Transaction{EndLSN: 90})
		slow.slow = []*outbox.Transaction{rowAt(100)}
		poisoned := listOf(rowAt(100))
		poisoned.received, slow.received = 100, 90
		attempt(poisoned, time.Second, "halted")
		attempt(slow, 5*time.Minute, "halted")
		log.fail = []error{errors.New("Kafka is away"), errors.New("Kafka is away")}
		attempt(listOf(), time.Second, "halted")
		if s := p.Stats(); !strings.Contains(s.LastError, "no such type") {
			t.Errorf("a retry hides why it has halted: %q", s.LastError)
		}
		log.fail = nil
		p.format = tableFormat{}
		backlog := listOf(rowAt(100), rowAt(200))
		backlog.system.Server = 50_000
		backlog.received = 200
		attempt(backlog, time.Minute, "publishing")
		changed := listOf()
		changed.changed = outbox.ErrPublicationChanged
		p.format = tableFormat{}
		for range 2 {
			source = changed
			_ = p.Run(t.Context())
		}
		idle := listOf(&outbox.Transaction{EndLSN: 1000})
		attempt(idle, time.Minute, "publishing")
	})
}

// What it halts at is the server's, or in the middle of a transaction: behind everything that it has received.
func TestHaltedAtWhatWasNotReceived(t *testing.T) {
	p := newPublisher(testConfig(), nil, &memoryLog{}, tableFormat{})
	p.stats.start(0, 100, 100, 1000)
	p.halt(outbox.ErrUndecodable)
	p.stats.start(0, 100, 100, 1000)
	p.stats.pass(500, 1000, false)
	if s := p.Stats(); s.State != "halted" {
		t.Errorf("%s before it was passed", s.State)
	}
	p.stats.pass(1000, 1000, false)
	if s := p.Stats(); s.State != "publishing" {
		t.Errorf("%s after it was passed", s.State)
	}
}

// What it halts at is a row of a copy: the stream is published without it.
func TestHaltedAtACopy(t *testing.T) {
	p := newPublisher(testConfig(), nil, &memoryLog{}, tableFormat{})
	for what, pass := range map[string]func(){
		"a published chunk":   func() { p.stats.copied(1, 0); p.stats.pass(200, 1000, true) },
		"the end of the copy": func() { p.stats.pass(200, 1000, false) },
	} {
		p.stats.start(0, 100, 100, 1000)
		p.halt(copyError{errors.New("no such type")})
		p.stats.start(0, 100, 100, 1000)
		p.stats.pass(200, 1000, true)
		if s := p.Stats(); s.State != "halted" {
			t.Errorf("%s after a transaction of the stream", s.State)
		}
		if pass(); p.Stats().State != "publishing" {
			t.Errorf("%s after %s", p.Stats().State, what)
		}
	}
}

// What kept it from starting is mended: from then on the publisher only retries.
func TestCheckedAfterAHalt(t *testing.T) {
	p := newPublisher(testConfig(), nil, &memoryLog{}, tableFormat{})
	p.halt(outbox.ErrSlotLost) // which the check sees, too
	p.Halted(errors.New("the database system is starting up"))
	p.Checked()
	if s := p.Stats(); s.State != "waiting for the slot" || s.LastError != "" {
		t.Errorf("%s %q after the check", s.State, s.LastError)
	}
	p.stats.start(0, 100, 100, 1000)
	p.halt(errors.New("no such type"))
	p.Halted(errors.New("the database system is starting up"))
	p.Checked()
	if s := p.Stats(); s.State != "halted" || s.LastError != "no such type" {
		t.Errorf("%s %q before what it halted at was met again", s.State, s.LastError)
	}
}
