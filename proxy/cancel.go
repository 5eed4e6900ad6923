package proxy

import (
	"context"
	"io"
	"time"
)

// own records which server the session's CancelRequests go to.
func (p *Proxy) own(st *startup) {
	if st.key == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owners[string(st.key)] = st.server
}

// cancel forwards a CancelRequest to the server that its key came from; an unknown key is ignored, as Postgres
// does. It returns when the server has dealt with it, which clients wait for.
func (p *Proxy) cancel(ctx context.Context, packet []byte) {
	p.counters.cancels.Add(1)
	p.mu.Lock()
	owner, ok := p.owners[string(packet[8:])]
	p.mu.Unlock()
	if !ok {
		return
	}
	server, err := p.connect(ctx, owner)
	if err != nil {
		return
	}
	defer server.Close()
	server.SetDeadline(time.Now().Add(p.config.ConnectTimeout))
	defer context.AfterFunc(ctx, func() { server.SetDeadline(time.Unix(1, 0)) })()
	if _, err := server.Write(packet); err == nil {
		io.Copy(io.Discard, io.LimitReader(server, maxStartupBytes))
	}
}
