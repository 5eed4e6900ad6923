package integration

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/pgtee/pgtee/proxy"
)

// serve starts a proxy in this process. At the end of the test it is shut down, and no session may be left.
func serve(t *testing.T, config proxy.Config) (address string, p *proxy.Proxy) {
	t.Helper()
	p, err := proxy.New(config)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(context.Background(), listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, proxy.ErrProxyClosed) {
			t.Errorf("serve: %v", err)
		}
		if open := p.Stats().SessionsOpen; open != 0 {
			t.Errorf("%d sessions are left", open)
		}
	})
	return listener.Addr().String(), p
}
