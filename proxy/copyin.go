package proxy

// A server that receives copy data ignores each Sync in front of its end ("COPY Operations", PostgreSQL documentation
// 55.2.6), unless the COPY fails before the server has read that Sync. It looks at nothing but copy data while it reads, not
// even at a CancelRequest (CopyGetData in copyfromparse.c, ProcessClientReadInterrupt in postgres.c): a COPY fails before
// it has read anything, or when it has read copy data or their end. Other messages in their place end the session.

// copyData is a CopyData: whatever Sync came before it may be ignored.
func (s *session) copyData(m message) error {
	if s.synced {
		s.synced = false
		s.pending.dataSent()
	}
	s.up.pass(m)
	return nil
}

// dataSent tells that copy data follow the last request.
func (p *pending) dataSent() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size > 0 && p.at(p.size-1).kind == 'S' {
		p.at(p.size - 1).passed = p.at(p.size-1).more + 1
	}
}

// startCopy is called when the head begins to receive copy data.
func (p *pending) startCopy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.copyingIn = true
	p.moved.Broadcast()
}

// starvesLocked reports whether the head receives copy data, and nothing was sent that ends them, well or badly.
func (p *pending) starvesLocked() bool {
	for i := 1; p.copyingIn && i < p.size; i++ {
		if kind := p.at(i).kind; kind != 'S' && kind != 0 {
			return false
		}
	}
	return p.copyingIn
}

// endCopy is called when the head has ended its copy-in: the server has ignored each Sync that was sent before the copy data
// ended. If the COPY has failed, it may have done so with those that have copy data behind them. They are removed, and
// endCopy returns how many they are, and the group of the last one.
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
		default: // of another group
			return ignored, last
		}
	}
	return ignored, last
}

// endsDataLocked reports whether the next request, from i on, is the end of copy data.
func (p *pending) endsDataLocked(i int) bool {
	for i < p.size && p.at(i).kind == 0 {
		i++
	}
	return i < p.size && p.at(i).kind == copyEnd
}

// revive takes the ReadyForQuery of a Sync that endCopy has removed, and reports whether the session shall end now.
func (p *pending) revive(status byte, group uint32) (drained bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skipping = false
	return p.answerLocked(status, max(p.answered, group))
}
