package proxy

import (
	"context"
	"io"
	"sync"
	"time"
)

// registerKey registers the session under its key for CancelRequests. Before the session has begun, its CancelRequests are ignored.
func (p *Proxy) registerKey(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owners[string(s.started.key)] = s
}

// cancel forwards a CancelRequest to the server that issued its key. It returns when the server has handled the request, since clients wait for that.
func (p *Proxy) cancel(ctx context.Context, packet []byte) {
	p.counters.cancels.Add(1)
	p.mu.Lock()
	owner := p.owners[string(packet[8:])]
	p.mu.Unlock()
	if owner == nil {
		p.cancelElsewhere(ctx, packet)
		return
	}
	if !owner.pending.startCancel(ctx) {
		return
	}
	defer owner.pending.endCancel()
	p.forwardCancel(ctx, owner.started.way(), packet)
}

// cancelElsewhere sends the request to every server, because the session may belong to another proxy behind the same balancer. A server ignores keys
// that are not its own.
func (p *Proxy) cancelElsewhere(ctx context.Context, packet []byte) {
	ways := map[string][]Server{}
	for _, server := range p.hosts.servers {
		ways[server.Address] = append(ways[server.Address], server)
	}
	var sending sync.WaitGroup
	for _, list := range ways {
		sending.Go(func() {
			for _, server := range list {
				if p.forwardCancel(ctx, server, packet) {
					return
				}
			}
		})
	}
	sending.Wait()
}

// forwardCancel reports whether the request could be sent to the server.
func (p *Proxy) forwardCancel(ctx context.Context, to Server, packet []byte) (sent bool) {
	server, err := p.connect(ctx, to)
	if err != nil {
		return false
	}
	defer server.Close()
	server.SetDeadline(time.Now().Add(p.terms.Load().ConnectTimeout))
	defer context.AfterFunc(ctx, func() { server.SetDeadline(time.Unix(1, 0)) })()
	if _, err := server.Write(packet); err != nil {
		return false
	}
	io.Copy(io.Discard, io.LimitReader(server, maxStartupBytes))
	return true
}
