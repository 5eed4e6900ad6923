package proxy

// While a server receives copy data, it ignores each Sync before the end of the data ("COPY Operations", PostgreSQL documentation 55.2.6), unless the
// COPY fails before the server has read that Sync. While reading, it reacts to nothing but copy data, not even to a CancelRequest (CopyGetData in
// copyfromparse.c, ProcessClientReadInterrupt in postgres.c): a COPY fails either before it has read anything, or when it has read copy data or their
// end. Any other message in between ends the session.

// copyData handles CopyData: the server may ignore a Sync that came before it.
func (s *session) copyData(m message) error {
	if s.synced {
		s.synced = false
		s.pending.dataSent()
	}
	s.up.pass(m)
	return nil
}

// dataSent records that copy data follow the last request.
func (p *pending) dataSent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size > 0 && p.at(p.size-1).kind == 'S' {
		p.at(p.size - 1).passed = p.at(p.size-1).more + 1
	}
}

// startCopy is called when the request at the head begins to receive copy data.
func (p *pending) startCopy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.copyingIn = true
	p.moved.Broadcast()
}

// starvesLocked reports whether the request at the head receives copy data and nothing has been sent that ends them, by success or failure.
func (p *pending) starvesLocked() bool {
	for i := 1; p.copyingIn && i < p.size; i++ {
		if kind := p.at(i).kind; kind != 'S' && kind != 0 {
			return false
		}
	}
	return p.copyingIn
}

// endCopy is called when the copy-in of the request at the head has ended. The server has ignored each Sync that was sent before the end of the copy
// data; if the COPY has failed, it may have ignored those followed by copy data. endCopy removes them and returns their number and the group of the
// last one.
func (p *pending) endCopy(failed bool) (ignored int, last uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.copyingIn = false
	p.moved.Broadcast()
	for i := 1; i < p.size; i++ {
		switch e := p.at(i); e.kind {
		case 0:
		case 'S':
			count := e.more + 1
			if failed && !p.endsDataLocked(i+1) {
				count = e.passed
			}
			if count > 0 {
				ignored, last = ignored+int(count), e.group+count-1
				p.ignored = last
			}
			if count <= e.more {
				e.more, e.group, e.passed = e.more-count, e.group+count, 0
				return ignored, last
			}
			p.discardLocked(e)
			*e = entry{}
		case copyEnd:
			if e.more > 0 {
				e.more--
			} else {
				*e = entry{}
			}
			return ignored, last
		default: // belongs to another group
			return ignored, last
		}
	}
	return ignored, last
}

// endsDataLocked reports whether the next request, starting at i, ends the copy data.
func (p *pending) endsDataLocked(i int) bool {
	for i < p.size && p.at(i).kind == 0 {
		i++
	}
	return i < p.size && p.at(i).kind == copyEnd
}

// revive handles the ReadyForQuery of a Sync that endCopy has removed, and reports whether the session must end now.
func (p *pending) revive(status byte, group uint32) (drained bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skipping = false
	return p.answerLocked(status, max(p.answered, group))
}
