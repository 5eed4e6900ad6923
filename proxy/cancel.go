package proxy

import (
	"context"
	"io"
	"time"
)

// own records whose CancelRequests bring the session's key.
func (p *Proxy) own(s *session) {
	if s.started.key == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owners[string(s.started.key)] = s
}

// cancel forwards a CancelRequest to the server that its key came from; an unknown key is ignored, as Postgres
// does. It returns when the server has dealt with it, which clients wait for.
func (p *Proxy) cancel(ctx context.Context, packet []byte) {
	p.counters.cancels.Add(1)
	p.mu.Lock()
	owner := p.owners[string(packet[8:])]
	p.mu.Unlock()
	if owner == nil || !owner.pending.startCancel() {
		return
	}
	defer owner.pending.endCancel()
	server, err := p.connect(ctx, owner.started.server)
	if err != nil {
		return
	}
	defer server.Close()
	server.SetDeadline(time.Now().Add(owner.terms.ConnectTimeout))
	defer context.AfterFunc(ctx, func() { server.SetDeadline(time.Unix(1, 0)) })()
	if _, err := server.Write(packet); err == nil {
		io.Copy(io.Discard, io.LimitReader(server, maxStartupBytes))
	}
}
