package proxy

import "sync/atomic"

// work counts what was done for one session, or for all of a proxy.
type work struct{ queries, notes, injected atomic.Int64 }

func (s *session) countQuery() {
	s.work.queries.Add(1)
	s.proxy.counters.queries.Add(1)
}

func (s *session) countNote() {
	s.work.notes.Add(1)
	s.proxy.counters.notes.Add(1)
}

func (s *session) countInjected(bytes int) {
	s.work.injected.Add(int64(bytes))
	s.proxy.counters.injected.Add(int64(bytes))
}

// counters count the events of all sessions of a proxy.
type counters struct {
	work
	total, open, unattributed, refused     atomic.Int64
	noteErrors, lost, oversize, unreadable atomic.Int64
	cancels                                atomic.Int64
}

// Stats counts what a proxy has done since its start.
type Stats struct {
	SessionsOpen         int64
	SessionsTotal        int64 // connections accepted, including those of cancel requests
	SessionsUnattributed int64 // sessions in a database without an outbox, or where notes are impossible
	SessionsRefused      int64 // sessions refused for lack of an outbox
	Queries              int64 // Query messages, and portals that have begun to run
	Notes                int64 // notes sent
	InjectedBytes        int64 // bytes sent for notes
	NoteErrors           int64 // server errors caused by a note
	LostReplies          int64 // sessions whose replies matched no request: no notes from then on
	OversizeTexts        int64 // SQL texts longer than the buffer, of which only the beginning was parsed
	UnreadableTexts      int64 // SQL texts that the lexer cannot read to the end: the rest counts as a write
	Cancels              int64
}

// Stats may be called at any time.
func (p *Proxy) Stats() Stats {
	c := &p.counters
	return Stats{
		SessionsOpen:         c.open.Load(),
		SessionsTotal:        c.total.Load(),
		SessionsUnattributed: c.unattributed.Load(),
		SessionsRefused:      c.refused.Load(),
		Queries:              c.queries.Load(),
		Notes:                c.notes.Load(),
		InjectedBytes:        c.injected.Load(),
		NoteErrors:           c.noteErrors.Load(),
		LostReplies:          c.lost.Load(),
		OversizeTexts:        c.oversize.Load(),
		UnreadableTexts:      c.unreadable.Load(),
		Cancels:              c.cancels.Load(),
	}
}
