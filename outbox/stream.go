package outbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgtee/pgtee/outbox/note"
)

// StreamConfig says which slot to read and how much memory to use.
type StreamConfig struct {
	ConnString    string // libpq connection string of the database
	Encoding      string // of the database's text, if it differs from what the server reports: see CheckSourceEncoding
	Slot          string
	MaxQueueBytes int // of transactions waiting for the publisher; 0: 16 MiB, a fraction of a second of work
	PartBytes     int // of a transaction, above which it is delivered in parts; 0: DefaultPartBytes
	RowBytes      int // of one row or message in memory, above which its longest values are left out; 0: DefaultRowBytes

	// Keys are the master keys that may have signed the notes, two during a key rotation. Without keys, notes stay Unverified.
	Keys []note.MasterKey

	// SkipApplied leaves out transactions written here by `pgtee apply`. If databases apply each other's streams, each then publishes only its own
	// changes.
	SkipApplied bool

	Warn func(finding, text string) // reports what delays the stream; nil: nobody

	answerTimeout time.Duration // 0: the constant
}

const (
	defaultMaxQueueBytes = 16 << 20

	statusInterval = time.Second // a tenth of walSenderTimeout
	statusPing     = 10          // every tenth status update asks the server for a reply
	writeTimeout   = 10 * time.Second
	answerTimeout  = 10 * time.Second // of a request on a new connection, including the time to connect: the network may have dropped the packets
	closeGrace     = 2 * time.Second
	refusalGrace   = time.Second
	stopPatience   = 5 * time.Second
	warnInterval   = time.Minute
)

// Stream holds the slot and reads it. Two goroutines run from OpenStream to Close: one reads and fills the queue, the other sends status updates, so
// that the connection stays alive while the queue is full.
//
// Memory is bounded by MaxQueueBytes, twice PartBytes (the part being assembled, and one accepted while the queue was almost full) and three times
// RowBytes.
//
// acked <= received, both end LSNs. The server may discard the WAL up to acked; nothing is acknowledged before Ack is called.
type Stream struct {
	cfg       StreamConfig
	system    System
	holder    string // pid of the server process that sends the stream
	frames    *frames
	assembler *Assembler
	queue     *queue
	acked     atomic.Uint64
	wake      chan struct{} // one token: send a status update now
	running   sync.WaitGroup

	asked, askedSince time.Time // last and first of a series of keepalives that request a reply; used by the reader
	warned            time.Time // last call of cfg.Warn; used by the reader
}

// OpenStream checks the database, takes the slot and starts to read from the slot's position. ctx applies only to opening. Errors are those of this
// package (ErrSlotBusy: another publisher is active; ErrSlotMissing, ErrSlotLost, ErrPublicationMissing, ErrNotSetUp: stop) or of the connection.
func OpenStream(ctx context.Context, cfg StreamConfig) (*Stream, error) {
	cfg.setDefaults()
	ctx, cancel := context.WithTimeout(ctx, 3*cfg.answerTimeout) // a busy server may need time for each of the three steps
	defer cancel()
	conn, err := connectReplication(ctx, cfg.ConnString)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // has no effect once hold has taken over the connection
	encoding, err := TakeText(ctx, conn, cfg.Encoding)
	if err != nil {
		return nil, err
	}
	system, err := identify(ctx, conn, &cfg)
	if err != nil {
		return nil, err
	}
	system.encoding = encoding
	if err := checkSlot(ctx, conn, cfg.Slot, system.Database); err != nil {
		return nil, err
	}
	frames, err := hold(ctx, conn, &cfg, system.Publications)
	if err != nil {
		return nil, err
	}
	var holder string
	system.ConfirmedFlush, holder, err = confirmedFlush(ctx, cfg.ConnString, cfg.Slot, system.ID)
	if err != nil {
		defer frames.conn.Close()
		if refusal := refusalIn(frames); refusal != nil {
			return nil, fmt.Errorf("slot %s: %w", cfg.Slot, refusal)
		}
		return nil, err
	}
	s := startStream(frames, cfg, system)
	s.holder = holder
	return s, nil
}

func newAssembler(system System, cfg StreamConfig) *Assembler {
	a := NewAssembler(system.ConfirmedFlush, cfg.PartBytes, cfg.Keys)
	a.noTriggers, a.witness, a.encoding = !system.Triggers, newWitness(system.secret), system.encoding
	a.skipApplied = cfg.SkipApplied
	return a
}

func (cfg *StreamConfig) setDefaults() {
	if cfg.answerTimeout == 0 {
		cfg.answerTimeout = answerTimeout
	}
	if cfg.MaxQueueBytes == 0 {
		cfg.MaxQueueBytes = defaultMaxQueueBytes
	}
	if cfg.RowBytes == 0 {
		cfg.RowBytes = DefaultRowBytes
	}
	if cfg.PartBytes == 0 {
		cfg.PartBytes = DefaultPartBytes
	}
}

// startStream starts both goroutines on a connection that is streaming; Close waits for them.
func startStream(f *frames, cfg StreamConfig, system System) *Stream {
	if cfg.RowBytes > 0 {
		f.longest = cfg.RowBytes
	}
	s := &Stream{
		cfg:       cfg,
		system:    system,
		frames:    f,
		assembler: newAssembler(system, cfg),
		queue:     newQueue(system.ConfirmedFlush, cfg.MaxQueueBytes),
		wake:      make(chan struct{}, 1),
	}
	s.running.Go(s.read)
	s.running.Go(s.sendStatus)
	return s
}

// System describes the source of the stream, as it was when the stream was opened.
func (s *Stream) System() System { return s.system }

// Next waits until the queue holds something and returns its head: at least one transaction or part of a giant, more if together they hold no more
// than maxBytes, in commit order. Transactions stay in the queue and are returned again until Drop; only a marker at the end may then have a higher
// EndLSN. The slice belongs to the caller; the transactions must not be changed. A publisher that wants to record a marker later drops it, remembers
// its EndLSN, and waits for more.
//
// When the stream has failed, Next returns everything that precedes the failure, then the error. Next may be called by one goroutine at a time.
func (s *Stream) Next(ctx context.Context, maxBytes int) ([]*Transaction, error) {
	return s.queue.head(ctx, maxBytes)
}

// Drop removes the transactions that Next returned last, or the first of them.
func (s *Stream) Drop(head []*Transaction) { s.queue.drop(head) }

// Ack lets the server discard the WAL up to a position, which must be recorded in Kafka. Ack does not block: another goroutine sends the position
// immediately, and repeats it in each status update. A position below an acknowledged one, or above what was received, is a bug and panics: after a
// restart, wait until the stream has reached the recorded position. Ack may be called by one goroutine at a time.
func (s *Stream) Ack(upTo LSN) {
	acked, received := s.Acked(), s.Received()
	if upTo < acked || upTo > received {
		panic(fmt.Sprintf("ack %s: acked already up to %s, received up to %s", upTo, acked, received))
	}
	s.acked.Store(uint64(upTo))
	signal(s.wake)
}

// Received returns the end LSN of the newest transaction or keepalive; initially the slot's confirmed position.
func (s *Stream) Received() LSN { return s.queue.received() }

// Acked returns the last position given to Ack; 0 before the first.
func (s *Stream) Acked() LSN { return LSN(s.acked.Load()) }

// Queued returns the number of waiting transactions and the memory they hold.
func (s *Stream) Queued() (transactions, bytes int) { return s.queue.held() }

// TimelineHistory asks, over a separate connection, at which LSN each earlier timeline ended, oldest first.
func (s *Stream) TimelineHistory(ctx context.Context, timeline int32) ([]TimelineSwitch, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.answerTimeout)
	defer cancel()
	conn, err := connectReplication(ctx, s.cfg.ConnString)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return timelineHistory(ctx, conn, timeline)
}

// CheckPublications checks the publications again, over a separate connection. It returns ErrPublicationMissing or ErrPublicationChanged, or an error
// of the connection. It also ends a stream whose server process is gone: if the network has dropped the connection, the reader would notice only
// minutes later, because a server may be silent that long during a giant transaction.
func (s *Stream) CheckPublications(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.answerTimeout)
	defer cancel()
	conn, err := connect(ctx, s.cfg.ConnString)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := checkHolder(ctx, conn, s.cfg.Slot, s.holder); err != nil {
		s.queue.fail(err)
	}
	hash, _, err := publicationHash(ctx, conn)
	if err != nil {
		return err
	}
	if hash != s.system.PublicationHash {
		return fmt.Errorf("%w (hash of %s, %s and its siblings: was %s, is %s)", ErrPublicationChanged,
			RowsPublication, IdentityPublication, s.system.PublicationHash, hash)
	}
	got, err := simpleQuery(ctx, conn, "SELECT "+triggersFireSQL)
	if err != nil {
		return fmt.Errorf("read the event triggers: %w", err)
	}
	if fire := got[0][0] == "t"; fire != s.system.Triggers {
		s.queue.fail(fmt.Errorf("the event triggers of pgtee were switched on or off (now on: %t)", fire)) // the next stream knows who reports DDL from here on
	}
	return nil
}

// Err returns why the stream has ended; nil while it is running.
func (s *Stream) Err() error { return s.queue.failed() }

// Close sends the last Ack, ends the stream so that the server releases the slot, and waits for both goroutines, at most two seconds. Next then
// returns the rest of the queue, and ErrClosed after that.
func (s *Stream) Close() error {
	s.queue.fail(ErrClosed)
	hurry := time.AfterFunc(closeGrace, func() { s.frames.conn.Close() })
	s.running.Wait()
	hurry.Stop()
	if err := s.frames.conn.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// read fills the queue until the stream fails or is closed.
func (s *Stream) read() {
	s.queue.fail(s.receive())
	// The server may still be sending. Closing a connection with unread bytes would also discard the last status update.
	_, _ = io.Copy(io.Discard, s.frames.conn)
}

func (s *Stream) receive() error {
	for {
		kind, body, err := s.frames.next()
		if err != nil {
			return fmt.Errorf("replication connection, after %s: %w", s.Received(), err)
		}
		var t *Transaction
		switch kind {
		case 'd': // CopyData
			t, err = s.copyData(body)
		case 'E': // ErrorResponse
			err = streamError(body)
		case 'N': // NoticeResponse
			err = s.notice(body)
		case 'S', 'A': // ParameterStatus, NotificationResponse
		case 'c', 'C': // CopyDone; CommandComplete, sent by a server that shuts down
			err = errors.New("the server ended the stream")
		default:
			err = fmt.Errorf("unexpected message of kind %q", kind)
		}
		if err != nil {
			return fmt.Errorf("slot %s, after %s: %w", s.cfg.Slot, s.Received(), err)
		}
		if t != nil && !s.queue.push(t) {
			return ErrClosed
		}
	}
}

// notice handles a NoticeResponse: see serverWarning. The server repeats that it waits for standbys for as long as it does.
func (s *Stream) notice(body []byte) error {
	awaited, err := serverWarning(body)
	if awaited != "" && s.cfg.Warn != nil && time.Since(s.warned) > warnInterval {
		s.warned = time.Now()
		s.cfg.Warn("standby-awaited", "the server sends no changes before all standbys in synchronized_standby_slots have them: "+awaited)
	}
	return err
}

// copyData handles an XLogData or a keepalive ("Streaming Replication Protocol" in the PostgreSQL documentation) and returns the transaction that it
// completes, if any.
func (s *Stream) copyData(body []byte) (*Transaction, error) {
	switch {
	case len(body) >= 25 && body[0] == 'w': // LSN of the data, LSN of the end of WAL, server's clock
		return s.assembler.Message(LSN(binary.BigEndian.Uint64(body[1:])), body[25:])
	case len(body) == 18 && body[0] == 'k': // LSN sent so far, server's clock, reply requested
		end, urgent := LSN(binary.BigEndian.Uint64(body[1:])), body[17] != 0
		if urgent {
			if err := s.answer(); err != nil {
				return nil, err
			}
		}
		return s.assembler.Progress(end, urgent), nil
	case len(body) == 0:
		return nil, errors.New("empty CopyData")
	}
	return nil, fmt.Errorf("CopyData of kind %q and %d bytes", body[0], len(body))
}

// answer replies to a keepalive that requests a reply. Status updates are so frequent that a running server has no reason to request one: a server
// that does so repeatedly is shutting down, and waits until everything is acknowledged. If that takes too long, the stream ends, because PostgreSQL
// must not wait for Kafka.
func (s *Stream) answer() error {
	now := time.Now()
	if now.Sub(s.asked) > statusInterval {
		s.askedSince = now
	}
	s.asked = now
	if now.Sub(s.askedSince) > stopPatience {
		return fmt.Errorf("the server is stopping and has waited %s for an acknowledgement: the slot is released", stopPatience)
	}
	signal(s.wake)
	return nil
}

// refusalIn returns the error with which the server has ended the stream, if any. The slot is then free, and the error says why. The connection
// cannot be used afterwards.
func refusalIn(f *frames) error {
	hurry := time.AfterFunc(refusalGrace, func() { f.conn.Close() })
	defer hurry.Stop()
	for {
		kind, body, err := f.next()
		if err != nil {
			return nil
		}
		if kind == 'E' {
			return streamError(body)
		}
	}
}

// streamError decodes an ErrorResponse received while streaming.
func streamError(body []byte) error {
	err := serverError(body)
	switch state := sqlState(err); {
	case state == "42704": // undefined_object: we hold the slot, so it is a publication
		return fmt.Errorf("%w: %w", ErrPublicationMissing, err)
	case state == "22021", state == "22P05": // character_not_in_repertoire, untranslatable_character
		return fmt.Errorf("%w: %w", ErrUndecodable, err)
	case strings.HasPrefix(state, "XX"), strings.HasPrefix(state, "54"), strings.HasPrefix(state, "0A"): // 0A: publications that contradicted each other
		return fmt.Errorf("%w: %w", ErrDecoding, err)
	}
	return err
}

// sendStatus reports the position to the server, every second and when signaled. It is the only writer on the connection. When the queue ends, it
// terminates the session.
func (s *Stream) sendStatus() {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-s.wake:
		case <-s.queue.ended:
			_ = s.write(append(s.status(nil, false), 'X', 0, 0, 0, 4)) // Terminate; the server may be gone
			return
		}
		if err := s.write(s.status(nil, n%statusPing == 0)); err != nil {
			s.queue.fail(fmt.Errorf("send status: %w", err))
			return
		}
	}
}

// status appends a CopyData message with a standby status update: written, flushed and applied LSN,
// clock in microseconds since 2000-01-01, reply requested.
func (s *Stream) status(dst []byte, ping bool) []byte {
	acked := s.Acked() // loaded before received: both only grow, so acked <= received holds in the message
	received := s.Received()
	dst = append(dst, 'd', 0, 0, 0, 4+34, 'r')
	dst = binary.BigEndian.AppendUint64(dst, uint64(received))
	dst = binary.BigEndian.AppendUint64(dst, uint64(acked))
	dst = binary.BigEndian.AppendUint64(dst, uint64(acked))
	dst = binary.BigEndian.AppendUint64(dst, uint64(time.Now().UnixMicro()-946_684_800_000_000))
	if ping {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func (s *Stream) write(message []byte) error {
	if err := s.frames.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := s.frames.conn.Write(message)
	return err
}
