package proxy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// visibility says which replies to a request the client sees.
type visibility byte

const (
	forward  visibility = iota // all replies: the request is the client's own
	swallow                    // errors only: the request is the proxy's
	withhold                   // all replies, except the ReadyForQuery after success: that of the note takes its place
	finish                     // only the ReadyForQuery, no errors: the request is that note
	mute                       // rows and errors: the request is part of what the proxy sends instead of a Query
	hush                       // nothing
)

// entry is one request whose reply is expected, in the order in which requests are sent.
type entry struct {
	kind       byte // of the request: P B D E C S Q F; c marks the end of copy data; 0 means void
	visibility visibility
	group      uint32     // number of the Sync, Query or FunctionCall that ends its group
	generation uint32     // of the proxy's own Parse: see prepared; ofUnnamed: it creates the unnamed statement
	more       uint32     // for a Sync or copyEnd: how many more follow it directly
	passed     uint32     // how many of this Sync and the `more` after it precede copy data
	splices    []splice   // for a Query: the statements inserted by the proxy
	borrowed   []borrowed // for a Query: prepared statements it executes that another request prepared
	keeps      bool       // for a Describe or Execute: see replies.kept
	question   *question  // for a Query of the proxy that is not a note
	statement  *statement // the statement that the request prepares (for a Query, the first one): the reply side tells it whether that succeeded
}

// joins reports whether e can be counted in the last entry. The server may leave any number of Syncs and ends of copy data without a reply: as
// separate entries they would fill the queue, and no reply would ever empty it.
func (last *entry) joins(e entry) bool {
	return e.kind == last.kind && e.visibility == last.visibility && (e.kind == 'S' || e.kind == copyEnd)
}

const (
	// The server buffers up to 8 KiB of replies until a Flush or Sync. The shortest reply has 5 bytes, so up to 1638 may be outstanding: the limit
	// must be higher.
	maxPending   = 4096
	firstPending = 8

	copyEnd = 'c'

	ofUnnamed = math.MaxUint32
)

// errDrained ends a session that is idle while the proxy shuts down.
var errDrained = drainError()

// errEnded ends the requests of a session whose replies have ended.
var errEnded = errors.New("the server's side of the session has ended")

// pending is the state shared by the request and the reply side of a session: the request side pushes the replies that it expects, the reply side
// pops them and records what the request side must know. mu guards everything below it; copyingIn may be read without it by the reply side.
type pending struct {
	settings atomic.Pointer[settings]

	leave func() // leaves the loop, which other sessions need as well; nil: there is no loop
	watch func() // watches for the client's hang-up until the proxy next reads from it; nil: the loop does this

	mu    sync.Mutex
	moved sync.Cond // signals that entries have been removed, the outcome is known, or the session has ended

	queue
	outcome outcome
	clock   clock
	cancels cancelRequests
	ours    ourStatement
	ddl     ddlWords
	hushed  bool // a group of which the client sees nothing has been sent, and not been answered

	status   byte   // of the last ReadyForQuery
	answered uint32 // group that it answered
	ignored  uint32 // the last group whose Sync the server has ignored
	ready    bool   // the last ReadyForQuery has been received, and nothing has been sent since
	draining bool   // the session ends as soon as it is idle
	ended    error  // why the requests ended; nil: they have not
	hungUp   bool   // the client sends nothing more: its requests no longer wait for replies
	gone     bool   // the client hung up so long ago that the proxy no longer waits for the outcome
}

// queue holds the expected replies in the order of the wire.
type queue struct {
	ring       []entry // length is a power of two
	head, size int
	skipping   bool // the server discards everything up to the next Sync, which has not been sent
	copyingIn  bool // the head receives copy data; written only by the reply side, which may read it without the lock
	lost       bool // a reply matched nothing: bytes pass untouched from now on
}

// outcome is the result of the withheld request; its note waits for this.
type outcome struct {
	settled   bool // the outcome is known
	succeeded bool
	finishing bool // after success, until the note's ReadyForQuery
}

// clock measures how long the session has been idle, or its request running.
type clock struct {
	exempt bool      // from time limits: replication, whose streams are requests that never end
	timed  bool      // time limits apply
	since  time.Time // time of the last ReadyForQuery, or of the first request after it
}

// cancelRequests counts the CancelRequests on their way to the server. They cancel whatever runs when they arrive, so no statement of the proxy may
// run then.
type cancelRequests struct {
	overdue bool // the proxy has sent one for a request that has taken too long
	others  int  // number of those sent by clients
}

func (c *cancelRequests) underWay() bool { return c.overdue || c.others > 0 }

// ddlWords are the words of DDL whose transaction may still be open.
type ddlWords struct {
	words []string
	all   bool   // there were too many of them: every word counts
	group uint32 // of the last of that DDL
	free  func(words []string)
}

// question is a Query of the proxy whose rows it reads.
type question struct {
	take func(value []byte) // called with each value of the only column
	done func(failed bool)
}

// ourStatement is the prepared statement that writes notes.
type ourStatement struct {
	generation uint32 // a new one begins when the client may have removed the statement
	prepared   bool   // the statement of this generation exists: its ParseComplete has been received
}

func newPending() *pending {
	p := &pending{queue: queue{ring: make([]entry, firstPending)}}
	p.moved.L = &p.mu
	return p
}

func (q *queue) at(i int) *entry { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

// push adds the request that is sent next. There must be room. While a CancelRequest for an overdue request is on its way and that request has
// already ended, push waits: otherwise the CancelRequest would cancel e.
func (p *pending) push(e entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.ready && p.cancels.overdue && p.ended == nil {
		p.waitLocked()
	}
	switch {
	case p.ended != nil:
		return p.ended
	case p.lost, e.kind == copyEnd && p.size == 0:
		return nil
	case p.skipping && e.kind != 'S':
		p.discardLocked(&e)
		return nil
	case p.size > 0 && p.at(p.size-1).joins(e):
		p.at(p.size-1).more++
		return nil
	}
	p.skipping = false
	p.hushed = p.hushed || e.visibility == hush
	if p.ready {
		p.ready = false
		p.clock.touch()
	}
	p.append(e)
	return nil
}

// hasRoom must be checked before a push. If there is no room, flush everything to the server, then call awaitRoom.
func (p *pending) hasRoom() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size < maxPending
}

// append adds an entry. There must be room.
func (q *queue) append(e entry) {
	if q.size == len(q.ring) {
		q.grow()
	}
	q.size++
	*q.at(q.size - 1) = e
}

// removeHead removes the head, and reports whether the queue was full before.
func (q *queue) removeHead() (room bool) {
	*q.at(0) = entry{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.size--
	return q.size == maxPending-1
}

func (q *queue) grow() {
	if q.size == maxPending {
		panic(fmt.Sprintf("%d requests await a reply, the limit is %d", q.size+1, maxPending))
	}
	ring := make([]entry, 2*len(q.ring))
	for i := range q.size {
		ring[i] = *q.at(i)
	}
	q.ring, q.head = ring, 0
}

// stepAside lets other sessions of the loop continue while this one blocks.
func (p *pending) stepAside() {
	if p.leave != nil {
		p.leave()
	}
}

// waitLocked waits until moved is signalled.
func (p *pending) waitLocked() {
	p.stepAside()
	if p.watch != nil {
		p.watch()
	}
	p.moved.Wait()
}

// awaitRoom waits until a reply has made room.
func (p *pending) awaitRoom() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.size == maxPending && p.ended == nil && !p.lost {
		p.waitLocked()
	}
}

// hangUp is called when the client has closed its connection. The proxy then closes its connection to the server for writing, so that the server notices
// at once and may cancel its work (client_connection_check_interval). But after that the proxy cannot send a note. If a request is to be followed by a
// note once it has succeeded, the proxy therefore first waits for the outcome, for as long as outcomeLasts.
func (p *pending) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hungUp {
		return
	}
	p.hungUp = true
	p.moved.Broadcast()
	time.AfterFunc(outcomeLasts, p.giveUp)
}

// outcomeLasts is the maximum time for which the proxy waits for an outcome after the client has hung up.
const outcomeLasts = 500 * time.Millisecond

func (p *pending) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.moved.Broadcast()
}

// awaitAnswer waits until group has been answered. It returns early if there will be no answer, because the group's Sync was ignored or because the
// server waits for copy data and rejects anything else, and also once the client has hung up.
func (p *pending) awaitAnswer(group uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for max(p.answered, p.ignored) < group && p.size > 0 && p.ended == nil && !p.lost && !p.hungUp && !p.starvesLocked() {
		p.waitLocked()
	}
}

// awaitOutcome waits until the withheld request has succeeded or failed. After a success it also waits until the CancelRequests that
// were meant for the request have been handled: otherwise they would cancel the note.
func (p *pending) awaitOutcome() (succeeded bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.outcome.settled && p.ended == nil && !p.lost && !p.gone {
		p.waitLocked()
	}
	if !p.outcome.settled {
		return false
	}
	p.outcome.settled = false
	for p.outcome.finishing && p.cancels.underWay() && p.ended == nil && !p.lost {
		p.waitLocked()
	}
	return p.outcome.succeeded && p.ended == nil && !p.lost
}

// lastReady returns the status of the last ReadyForQuery and the group that it answered.
func (p *pending) lastReady() (status byte, group uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status, p.answered
}

// first returns the request that the server is answering. It stays at the head.
func (p *pending) first() (entry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropVoidLocked()
	if p.size == 0 {
		return entry{}, false
	}
	return *p.at(0), true
}

// dropVoidLocked removes entries at the head that expect no reply.
func (p *pending) dropVoidLocked() {
	for p.size > 0 && (p.at(0).kind == copyEnd || p.at(0).kind == 0) {
		p.removeLocked()
	}
}

func (p *pending) removeLocked() {
	if p.removeHead() {
		p.moved.Broadcast()
	}
}

// pop removes the head.
func (p *pending) pop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeLocked()
}

// skip removes everything up to the next Sync: a request of the extended protocol has failed, and the server
// discards what follows ("Extended Query", PostgreSQL documentation 55.2.3).
func (p *pending) skip() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.size > 0 && p.at(0).kind != 'S' {
		p.discardLocked(p.at(0))
		p.removeLocked()
	}
	p.skipping = p.size == 0
	p.moved.Broadcast()
}

// discardLocked handles a request that the server discards.
func (p *pending) discardLocked(e *entry) {
	e.statement.fail()
	if e.visibility == withhold {
		p.outcome.settled, p.outcome.succeeded = true, false
	}
}

// readyForQuery removes the head, whose ReadyForQuery has been received, and reports whether the session must end now.
func (p *pending) readyForQuery(status byte) (drained bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	head := p.at(0)
	group := head.group
	if head.visibility == hush {
		p.hushed = false
	}
	if head.more > 0 {
		head.more--
		head.group++
		head.passed = max(head.passed, 1) - 1
	} else {
		p.removeLocked()
	}
	p.outcome.finishing, p.copyingIn = false, false
	return p.answerLocked(status, group)
}

// answerLocked records the ReadyForQuery of a group, and reports whether the session must end now.
func (p *pending) answerLocked(status byte, group uint32) (drained bool) {
	p.dropVoidLocked()
	p.status, p.answered, p.ready = status, group, p.size == 0
	if status == 'I' && group >= p.ddl.group {
		p.freeWordsLocked()
	}
	p.clock.touch()
	p.moved.Broadcast()
	return p.endIfIdleLocked()
}

// holdWords adds words of DDL in this group, and returns what vocabulary.doubt must add: these words or, once there are too many, those that stand for all.
func (p *pending) holdWords(words []string, group uint32) (added []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := &p.ddl
	d.group = group
	switch {
	case len(words) == 0 || d.all:
		return nil
	case len(d.words)+len(words) > maxDoubtful:
		words, d.all = []string{everyWord, deferredWord, boundWord}, true
	}
	d.words = append(d.words, words...)
	return words
}

// freeWords is called when the session ends.
func (p *pending) freeWords() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freeWordsLocked()
}

// freeWordsLocked is called when no transaction with that DDL is open any more.
func (p *pending) freeWordsLocked() {
	if len(p.ddl.words) > 0 {
		p.ddl.free(p.ddl.words)
		p.ddl.words, p.ddl.all = nil, false
	}
}

// settle records the outcome of the withheld request at the head, and reports whether its note follows. The note follows if the request succeeded;
// the session is not ready until it has run.
func (p *pending) settle(succeeded bool) (noteFollows bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	p.outcome = outcome{settled: true, succeeded: succeeded, finishing: succeeded}
	if succeeded {
		p.removeLocked()
	}
	p.moved.Broadcast()
	return succeeded
}

// begin records the first ReadyForQuery, and reports whether the session must end now.
func (p *pending) begin(status byte) (drained bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.ready = status, true
	p.clock.touch()
	return p.endIfIdleLocked()
}

// drain makes the session end at its next idle point, and reports whether it is idle now.
func (p *pending) drain() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draining = true
	return p.endIfIdleLocked()
}

func (p *pending) endIfIdleLocked() bool {
	if !p.draining || !p.ready || p.status != 'I' || p.lost || p.ended != nil {
		return false
	}
	p.ended = errDrained
	return true
}

// exempts sets whether the session is exempt from time limits.
func (p *pending) exempts(exempt bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock.exempt = exempt
}

// keepTime sets whether time limits apply from now on.
func (p *pending) keepTime(timed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if timed = timed && !p.clock.exempt; timed == p.clock.timed || p.status == 0 {
		return // unchanged, or the session has not begun
	}
	p.clock.timed, p.clock.since = timed, time.Time{}
	p.clock.touch()
}

// touch restarts the measurement.
func (c *clock) touch() {
	if c.timed {
		c.since = time.Now()
	}
}

// over reports whether a limit is exceeded; 0 means no limit.
func (c *clock) over(limit time.Duration, now time.Time) bool {
	return limit > 0 && now.Sub(c.since) > limit
}

// expire reports whether the session ends because it has been idle for too long, or whether its request is slow: then the caller must send a
// CancelRequest, and call cancelled afterwards.
func (p *pending) expire(l *Limits, now time.Time) (ended, slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != nil || p.lost || p.cancels.overdue || p.clock.since.IsZero() {
		return false, false
	}
	over := func(limit time.Duration) bool { return p.clock.over(limit, now) }
	switch {
	case !p.ready:
		if slow = over(l.Query) && !p.outcome.finishing && !p.hushed; slow {
			p.clock.since, p.cancels.overdue = now, true
		}
		return false, slow
	case p.status == 'I' && over(l.Idle):
		p.ended = idleError()
	case p.status != 'I' && over(l.IdleInTransaction):
		p.ended = idleInTransactionError()
	}
	return p.ended != nil, false
}

// startCancel is called before a CancelRequest is sent. It returns false if the running statement is the proxy's and must not be cancelled: the query
// for the outbox before the session begins, or the note after the client's request has succeeded. While the running statement is a
// question of the proxy, or a note in a group of its own, startCancel waits for the answer, or until ctx ends, because the CancelRequest is meant for the
// client's request that follows.
func (p *pending) startCancel(ctx context.Context) bool {
	defer context.AfterFunc(ctx, p.wake)()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.hushed && p.ended == nil && !p.lost && ctx.Err() == nil {
		p.moved.Wait()
	}
	if p.hushed && ctx.Err() != nil || p.outcome.finishing || p.status == 0 {
		return false
	}
	p.cancels.others++
	return true
}

func (p *pending) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved.Broadcast()
}

// endCancel is called when the server has handled that CancelRequest.
func (p *pending) endCancel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancels.others--
	p.moved.Broadcast()
}

// cancelled is called when the server has handled the CancelRequest of an overdue request.
func (p *pending) cancelled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancels.overdue = false
	p.moved.Broadcast()
}

// reason returns why the requests ended, or nil.
func (p *pending) reason() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// refuse ends the session for this reason, unless there is one already.
func (p *pending) refuse(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		p.ended = why
	}
	p.moved.Broadcast()
}

// end ends the request side and wakes it up.
func (p *pending) end() { p.refuse(errEnded) }

// lose stops matching replies with requests. It returns false if replies are expected that the client must not see in full: then the session cannot
// continue.
func (p *pending) lose() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = true
	p.moved.Broadcast()
	for i := range p.size {
		if e := p.at(i); e.visibility != forward || len(e.splices) > 0 {
			return false
		}
	}
	return true
}

func (p *pending) isLost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// preparation reports whether the proxy's prepared statement is known to exist, and returns its generation.
func (p *pending) preparation() (prepared bool, generation uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ours.prepared, p.ours.generation
}

// parsed records the ParseComplete of the proxy's statement.
func (p *pending) parsed(generation uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ours.prepared = p.ours.prepared || generation == p.ours.generation
}

// unprepare records that the proxy's prepared statement may no longer exist.
func (p *pending) unprepare() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ours.generation++
	p.ours.prepared = false
}
