package proxy

// A server that receives copy data ignores each Sync in front of its end ("COPY Operations", PostgreSQL documentation
// 55.2.6), unless the COPY fails before the server has read that Sync.

// startCopy is called when the head begins to receive copy data.
func (p *pending) startCopy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.copyingIn = true
	p.moved.Broadcast()
}

// starvesLocked reports whether the head receives copy data whose end has not been sent.
func (p *pending) starvesLocked() bool {
	for i := 1; p.copyingIn && i < p.size; i++ {
		if p.at(i).kind == copyEnd {
			return false
		}
	}
	return p.copyingIn
}

// endCopy is called when the head has ended its copy-in: the server has ignored each Sync that was sent before
// the copy data ended. It returns how many, and the group of the last one.
func (p *pending) endCopy() (ignored int, last uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.copyingIn = false
	p.moved.Broadcast()
	for i := 1; i < p.size; i++ {
		switch e := p.at(i); e.kind {
		case 'S':
			ignored, last = ignored+1+int(e.more), e.group+e.more
			p.ignored = last
			p.discardLocked(e)
			*e = entry{}
		case copyEnd:
			if e.more > 0 {
				e.more--
			} else {
				*e = entry{}
			}
			return ignored, last
		}
	}
	return ignored, last
}

// revive takes the ReadyForQuery of a Sync that endCopy has removed, and reports whether the session shall end now.
func (p *pending) revive(status byte, group uint32) (drained bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skipping = false
	return p.answerLocked(status, max(p.answered, group))
}
