package proxy

import (
	"cmp"
	"crypto/tls"

	"go.uber.org/zap"
)

// direction is one of the two directions of a session.
type direction struct {
	buffer  *buffer
	process func() error // handles the buffered messages
	read    func() error // reads more messages into the buffer
	end     func(error)  // called with the reason why there are no more messages
}

// repeat processes and reads messages until one side ends.
func (d *direction) repeat() {
	err := d.process()
	for err == nil {
		if err = d.read(); err == nil {
			err = d.process()
		}
	}
	d.end(err)
}

// upstream is the direction from the client to the server.
func (s *session) upstream(ended chan<- error) direction {
	return direction{
		buffer: &s.up,
		process: func() error {
			if err := s.handleRequests(); err != nil {
				return err
			}
			return s.up.flush(s.server)
		},
		read: func() error {
			s.stopWatching()
			if err := s.up.read(s.client); err != nil {
				return err
			}
			return s.checkRest()
		},
		end: func(err error) {
			s.up.release()
			s.endRequests()
			ended <- err
		},
	}
}

// endRequests closes the server connection for writing. It sends a TLS close_notify, and closes the TCP connection below TLS for writing, which is all
// that the server checks for while it executes a request. After a Terminate it sends no close_notify: PostgreSQL would exit without reading it, the
// kernel resets a connection that has unread bytes, and replies in flight would be lost.
func (s *session) endRequests() {
	server := s.server
	if encrypted, ok := server.(*tls.Conn); ok {
		if !s.terminated {
			encrypted.CloseWrite()
		}
		server = encrypted.NetConn()
	}
	closeWrite(server)
}

// handleRequests handles each buffered message of the client.
func (s *session) handleRequests() error {
	for {
		m, ok, err := s.up.message()
		if err != nil {
			s.up.passAll()
			return nil
		}
		if !ok {
			return nil
		}
		r := &requests[m.kind]
		if r.whole && !s.up.holds(m) {
			return nil
		}
		if r.act == nil {
			s.up.pass(m)
		} else if err := r.act(s, m); err != nil {
			return err
		}
		if len(s.up.out) > maxBufferBytes {
			if err := s.up.flush(s.server); err != nil {
				return err
			}
		}
	}
}

// expect records a request that will get a reply.
func (s *session) expect(e entry) error {
	if err := s.makeRoom(); err != nil {
		return err
	}
	return s.pending.push(e)
}

// makeRoom waits for replies while the queue is full. First it flushes everything that is buffered.
func (s *session) makeRoom() error {
	if s.pending.hasRoom() {
		return nil
	}
	if err := s.up.flush(s.server); err != nil {
		return err
	}
	s.pending.awaitRoom()
	return nil
}

// downstream is the direction from the server to the client.
func (s *session) downstream(ended chan<- error) direction {
	return direction{
		buffer: &s.down,
		process: func() error {
			handled := s.handleReplies()
			if err := s.down.flush(s.client); err != nil {
				return err
			}
			if handled == nil && s.replies.drained {
				return errDrained
			}
			return handled
		},
		read: func() error {
			err := s.down.read(s.server)
			if err == nil {
				return nil
			}
			return cmp.Or(s.pending.reason(), err)
		},
		end: func(err error) {
			s.down.release()
			ended <- err
		},
	}
}

// handleReplies handles each buffered message of the server.
func (s *session) handleReplies() error {
	for {
		m, ok, err := s.down.message()
		if err != nil {
			s.down.passAll()
			return nil
		}
		if !ok || s.replies.needsWhole(m.kind) && !s.down.holds(m) {
			return nil
		}
		if m.kind == 'S' {
			s.recordParameter(m.body)
		}
		if err := s.reply(m); err != nil {
			return err
		}
	}
}

// recordParameter records a ParameterStatus.
func (s *session) recordParameter(body []byte) {
	if name, value, ok := parameterStatus(body); ok {
		s.pending.settings.Store(s.pending.settings.Load().with(name, value))
	}
}

// reply carries out the verdict on one server message.
func (s *session) reply(m message) error {
	if s.replies.gaveUp {
		s.down.pass(m)
		return nil
	}
	if s.replies.releases(m.kind) {
		s.down.cut()
		s.down.out = append(s.down.out, s.replies.kept...)
		s.replies.kept = s.replies.kept[:0]
	}
	switch s.replies.next(m.kind, m.body) {
	case pass:
		s.down.pass(m)
	case keep:
		s.replies.kept = appendMessage(s.replies.kept[:0], m.kind, func(dst []byte) []byte { return append(dst, m.body...) })
		s.down.drop(m)
	case drop:
		s.down.drop(m)
	case inspect:
		s.inspect(m)
	case lost:
		return s.lose(m)
	}
	return nil
}

// inspect forwards an error or notice as the client would have received it without a note.
func (s *session) inspect(m message) {
	if isFatal(m.body) {
		s.down.pass(m)
		return
	}
	if m.kind == 'N' {
		s.inspectNotice(m)
		return
	}
	if s.replies.head.question != nil {
		s.down.drop(m)
		s.replies.fail()
		return
	}
	if cause := s.replies.cause; cause != nil && !s.replies.hidden() && m.whole() && string(errorField(m.body, 'C')) == failedBlock {
		s.down.replaced(m)
		s.down.out = append(s.down.out, cause...)
		s.replies.fail()
		return
	}
	ours, at := s.replies.blame(m.body)
	if !m.whole() { // longer than the buffer: it cannot be rewritten
		ours, at = false, position{}
	}
	finishing := s.replies.head.visibility == finish || s.replies.head.visibility == hush
	switch {
	case !ours && !finishing && at.value == 0 && s.replies.runsOurs() && m.whole():
		s.down.replaced(m)
		s.down.out = appendWithoutContext(s.down.out, m.body)
	case !ours && !finishing && at.value == 0:
		s.down.pass(m)
	case !ours && !finishing:
		s.down.replaced(m)
		s.down.out = appendMoved(s.down.out, m.kind, m.body, at.value)
	default:
		s.noteFailed(m, finishing)
	}
	s.replies.fail()
}

// inspectNotice passes a notice about the request at the head.
func (s *session) inspectNotice(m message) {
	if !m.whole() { // longer than the buffer: it cannot be rewritten
		s.down.pass(m)
		return
	}
	_, at := s.replies.blame(m.body)
	s.down.replaced(m)
	s.down.out = appendNotice(s.down.out, m.body, at.value)
}

// noteFailed handles the error of a note.
func (s *session) noteFailed(m message, hidden bool) {
	code := errorField(m.body, 'C')
	s.warn("a note failed", zap.String("finding", "note-failed"), zap.ByteString("sqlstate", code), zap.String("database", s.started.database))
	s.proxy.counters.noteErrors.Add(1)
	missing := missesOutbox(code) || string(code) == "42703" // a column of its tables
	switch kind := s.replies.head.kind; {
	case kind == 'B' || kind == 'E': // perhaps the error of another statement of that name, which a function of the client has created: no proof that the outbox is missing
		s.pending.unprepare()
		switch {
		case missing:
			s.database.suspect()
		case string(code) == "42501": // PUBLIC has lost the privilege to call pg_logical_emit_message()
			s.database.emits.Store(false)
		}
	case missing:
		s.database.forget()
	}
	if hidden {
		s.down.drop(m)
		if s.replies.head.visibility == hush && m.whole() {
			s.replies.cause = appendNoteError(nil, m.body)
		}
		return
	}
	s.down.replaced(m)
	s.down.out = appendOurError(s.down.out, m.body)
}

// lose handles a reply that matches no request. If nothing was hidden from the client, bytes pass untouched from now on; otherwise the session
// cannot go on. Nor can it in a transaction block, whose further writes would be attributed to its last note.
func (s *session) lose(m message) error {
	s.proxy.counters.lost.Add(1)
	s.warn("the server's replies do not match the requests; no more notes in this session",
		zap.String("finding", "replies-lost"), zap.String("message", string(m.kind)), zap.String("head", string(s.replies.head.kind)))
	status, _ := s.pending.lastReady()
	if !s.pending.lose() || status != 'I' && s.database.isReady() || s.replies.hiding || len(s.replies.kept) > 0 {
		return lostError()
	}
	s.replies.gaveUp = true
	s.down.pass(m)
	return nil
}

// warn logs from the reply side. Logging may block, so warn lets other sessions continue.
func (s *session) warn(text string, fields ...zap.Field) {
	if s.leaveLoop != nil {
		s.leaveLoop()
	}
	s.log.Warn(text, fields...)
}
