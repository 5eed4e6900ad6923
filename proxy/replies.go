package proxy

import "bytes"

// verdict says what to do with a message of the server.
type verdict byte

const (
	pass    verdict = iota
	drop            // the client does not see it
	keep            // the client sees it once the transaction has committed
	inspect         // an error or notice about the request at the head
	lost            // it matches no request
)

// replies matches messages of the server with the requests that expect them.
type replies struct {
	pending *pending
	head    entry // of the queue, if known
	known   bool

	results    int    // of the Query at the head: number of completed statements
	spliced    int    // how many of these were spliced in
	hiding     bool   // the result of a spliced-in statement is arriving
	noted      bool   // its row has arrived: an error from here on is that of the commit
	behindOurs bool   // the last answered request of the group is the proxy's
	completed  bool   // a statement of the group has completed
	failed     bool   // a statement of the group has failed
	ignored    int    // number of Syncs whose ReadyForQuery may still come: a copy has failed, and no other reply has come since
	last       uint32 // group of the last of these Syncs
	gaveUp     bool   // replies are no longer matched with requests
	drained    bool   // the session ends now: it was idle and draining at the last ReadyForQuery

	// kept is a message that the proxy holds back, and drops if an error comes first; empty if there is none. It is the CommandComplete of a
	// statement with a note after it: in the client's own Query it would come only after the commit, which may fail. Or it is the RowDescription of a
	// Describe: if the client's Query is a CALL or EXPLAIN, it would come after the notices.
	kept []byte
	// cause is the error of a note in a group of its own, which has failed the client's block. The client gets it in place of the error that its next
	// request then gets. nil: there is none.
	cause []byte
}

// releases reports whether this message must follow the kept one.
func (r *replies) releases(kind byte) bool {
	switch {
	case len(r.kept) == 0:
		return false
	case kind == 'Z' || kind == 'S' || kind == 'A':
		return true
	case kind == 'N' && r.kept[0] == 'C': // duration of the Query: the commit has ended
		return r.head.kind == 'Q' && !r.isOurs()
	}
	return r.kept[0] == 'T' && (kind == 'D' || kind == 'C')
}

// needsWhole reports whether the handling of a server message depends on its body.
func (r *replies) needsWhole(kind byte) bool {
	switch kind {
	case 'T', 'C', 'Z', 'S', 'E', 'N':
		return true
	case 'D':
		return r.known && r.head.question != nil
	}
	return false
}

// next decides about one message; body is the part of it that the buffer holds.
func (r *replies) next(kind byte, body []byte) verdict {
	switch kind {
	case '1', '2', '3', 'n', 't', 'T', 'D', 'C', 'I', 's', 'V', 'Z', 'G', 'H', 'W':
		known := r.look()
		switch {
		case kind != 'Z':
			r.ignored = 0
		case r.ignored > 0 && !(known && (r.head.kind == 'S' || r.head.kind == 'Q' && r.failed)):
			return r.revive(body)
		}
		if !known {
			return lost
		}
		return r.match(kind, body)
	case 'N':
		if r.look() {
			return r.notice(body)
		}
	case 'E':
		if r.look() {
			return inspect
		}
	}
	return pass
}

// notice decides about a NoticeResponse.
func (r *replies) notice(body []byte) verdict {
	switch {
	case r.dropsNotice(body):
		return drop
	case len(r.head.splices)+len(r.head.borrowed) > 0:
		return inspect
	}
	return pass
}

// look reads the head of the queue.
func (r *replies) look() bool {
	if !r.known {
		r.head, r.known = r.pending.first()
	}
	return r.known
}

func (r *replies) match(kind byte, body []byte) verdict {
	switch r.head.kind {
	case 'Q':
		return r.query(kind, body)
	case 'E':
		return r.execute(kind, body)
	case 'F':
		if kind == 'Z' {
			return r.ready(body)
		}
		return matched(kind == 'V')
	case 'S':
		if kind == 'Z' {
			return r.ready(body)
		}
	case 'P':
		if kind == '1' {
			if r.hidden() {
				r.pending.parsed(r.head.generation)
			}
			r.head.statement.succeed()
			return r.pop()
		}
	case 'B':
		if kind == '2' {
			return r.pop()
		}
	case 'C':
		if kind == '3' {
			return r.pop()
		}
	case 'D':
		switch kind {
		case 't':
			return pass
		case 'T':
			if r.pop(); r.head.keeps {
				return keep
			}
			return pass
		case 'n':
			return r.pop()
		}
	}
	return lost
}

func matched(yes bool) verdict {
	if yes {
		return pass
	}
	return lost
}

// hidden reports whether the request at the head is the proxy's.
func (r *replies) hidden() bool {
	return r.head.visibility == swallow || r.head.visibility == finish || r.head.visibility == hush
}

// pop removes a request that has succeeded.
func (r *replies) pop() verdict {
	r.pending.pop()
	r.known = false
	r.behindOurs = r.hidden()
	if r.behindOurs || r.head.visibility == mute {
		return drop
	}
	return pass
}

func (r *replies) execute(kind byte, body []byte) verdict {
	switch kind {
	case 'D':
		if r.hidden() {
			return drop
		}
		return pass
	case 'G':
		r.pending.startCopy()
		return pass
	case 'H', 'W':
		return pass
	case 'C', 'I', 's':
		r.complete(body)
		if r.pop(); r.head.keeps {
			return keep
		} else if r.hidden() {
			return drop
		}
		return pass
	}
	return lost
}

// complete handles the side effects of a statement that has completed.
func (r *replies) complete(tag []byte) {
	r.completed = true
	if r.head.statement != nil && string(tag) == "PREPARE\x00" {
		r.head.statement.succeed()
		r.head.statement = r.head.statement.next
	}
	if r.pending.copyingIn {
		r.pending.endCopy(false)
	}
	if bytes.HasPrefix(tag, []byte("DEALLOCATE ALL")) || bytes.HasPrefix(tag, []byte("DISCARD ALL")) {
		r.pending.unprepare()
	}
}

func (r *replies) query(kind byte, body []byte) verdict {
	switch kind {
	case 'Z':
		return r.ready(body)
	case 'T':
		if r.isOurs() {
			r.hiding = isNoteResult(body)
			if !r.hiding {
				return lost
			}
		}
	case 'C':
		return r.result(body)
	case 'G':
		r.pending.startCopy()
	case 'D', 'I', 'H', 'W':
		if r.noted = r.hiding; r.head.question != nil && kind == 'D' {
			r.head.question.take(onlyValue(body))
		}
	default:
		return lost
	}
	if r.hiding || r.hidden() {
		return drop
	}
	return pass
}

// result handles the end of a statement of the Query at the head.
func (r *replies) result(tag []byte) verdict {
	ours := r.isOurs()
	if ours != r.hiding {
		return lost
	}
	r.complete(tag)
	r.results++
	if ours {
		r.spliced++
		r.hiding, r.noted = false, false
	}
	switch {
	case ours || r.hidden():
		return drop
	case r.isOurs() && r.head.splices[r.spliced].closes:
		return keep
	}
	return pass
}

// isOurs reports whether the statement of the Query that runs now was spliced in.
func (r *replies) isOurs() bool {
	return r.spliced < len(r.head.splices) && r.head.splices[r.spliced].result == r.results
}

// isNoteResult reports whether a RowDescription is that of SELECT pgtee.note(…) or pgtee.sign(…): one column with this name.
func isNoteResult(body []byte) bool {
	return bytes.HasPrefix(body, []byte("\x00\x01note\x00")) || bytes.HasPrefix(body, []byte("\x00\x01sign\x00"))
}

// ready handles the ReadyForQuery of the request at the head.
func (r *replies) ready(body []byte) verdict {
	if len(body) != 1 || r.hiding {
		return lost
	}
	if r.head.question != nil {
		r.head.question.done(r.failed)
	}
	succeeded := r.completed && !r.failed && body[0] == 'I'
	r.known, r.results, r.spliced, r.completed, r.failed, r.behindOurs = false, 0, 0, false, false, false
	if r.head.visibility == withhold && r.pending.settle(succeeded) {
		return drop
	}
	r.drained = r.pending.readyForQuery(body[0])
	if r.head.visibility == hush {
		return drop
	}
	r.cause = nil
	return pass
}

// revive handles the ReadyForQuery of a Sync that was considered ignored, although the copy had failed before the server read it. While a Sync is at
// the head, its ReadyForQuery cannot be distinguished from that of an ignored Sync: each counts as that of the head, and those left over at the end come
// here. The ReadyForQuery of a failed Query at the head also comes first.
func (r *replies) revive(body []byte) verdict {
	if len(body) != 1 {
		return lost
	}
	r.ignored--
	r.completed, r.failed = false, false
	r.drained = r.pending.revive(body[0], r.last-uint32(r.ignored))
	return pass
}

// fail is called after an ErrorResponse has been handled.
func (r *replies) fail() {
	r.ignored, r.kept = 0, r.kept[:0]
	if r.pending.copyingIn {
		r.ignored, r.last = r.pending.endCopy(true)
	}
	r.failed = true
	switch r.head.kind {
	case 'Q', 'F', 'S': // a ReadyForQuery follows
		r.hiding, r.noted = false, false
		r.head.statement.fail()
	default:
		r.pending.skip()
		r.known = false
	}
}

// runsOurs reports whether the server is running a note.
func (r *replies) runsOurs() bool { return r.head.visibility == swallow || r.isOurs() && !r.noted }

// blame decides whether the error for the request at the head is the proxy's or the client's, and where it points in the client's text. The position of
// an error while the client's own statement runs may be one in another text, such as that of a PREPARE.
func (r *replies) blame(body []byte) (ours bool, at position) {
	code := errorField(body, 'C')
	if len(r.head.splices)+len(r.head.borrowed) > 0 {
		at = r.head.positionOf(body, r.results, r.spliced)
	}
	running := r.isOurs() && !r.noted
	switch {
	case len(r.head.splices) == 0:
		return r.head.visibility != forward && r.head.visibility != withhold && r.head.visibility != mute && !blamesClient(code), at
	case at.ours && (running || r.parsing() && string(code) == syntaxError):
		return true, position{}
	case at.value > 0:
		return false, at
	}
	return running && !blamesClient(code) && (!r.parsing() || refusesNote(code)), at
}

// parsing reports whether the server may still be parsing the text of the Query at the head, which it does before anything else. Some errors of the
// parser have no position.
func (r *replies) parsing() bool { return r.results == 0 && !r.hiding }
