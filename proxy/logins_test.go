package proxy

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Clients that never say a word hold no more than the limit allows, and not for ever.
func TestLoginsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Logins: 2, Login: 10 * time.Second}})
		h.knock("")
		time.Sleep(time.Second)
		h.knock("")
		time.Sleep(time.Second)
		ann := h.knock(annInShop)
		time.Sleep(7900 * time.Millisecond)
		if len(h.dialed) != 0 || len(h.proxy.list()) != 2 {
			t.Fatalf("%d sessions while two log in", len(h.proxy.list()))
		}
		time.Sleep(200 * time.Millisecond)
		ann.meet()
		ann.welcome("abcd")
		if got, _ := ann.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") {
			t.Errorf("after the first has lost its turn: %q", got)
		}
	})
}

// A server that takes the connection and says nothing does not hold a session for ever, either.
func TestLoginTimeoutBoundsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Login: 30 * time.Second}})
		ann := h.knock(annInShop)
		ann.meet()
		time.Sleep(31 * time.Second)
		if _, closed := ann.client.heard(); !closed || len(h.proxy.list()) != 0 {
			t.Error("the session is still there")
		}
	})
}

// Whoever has not shown a password fills no limit of sessions.
func TestLimitsCountWhoIsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{PerUser: 1}})
		stranger := h.knock(annInShop)
		stranger.meet()
		stranger.answers("Authentication 3")
		stranger.heard()
		ann := h.enter("abcd", annInShop)
		ann.says("Query `SELECT 1`")
		if _, got := ann.heard(); !strings.Contains(got, "SELECT 1") {
			t.Errorf("the server hears %q", got)
		}
		stranger.welcome("efgh")
		if got, _ := stranger.heard(); !strings.Contains(got, "53300") {
			t.Errorf("the second session of the user hears %q", got)
		}
	})
}

// Out of file descriptors the proxy waits longer and longer, and does not spin; then it serves on.
func TestAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{})
		ln := &failingListener{clients: make(chan net.Conn, 1)}
		served := make(chan error, 1)
		go func() { served <- h.proxy.Serve(t.Context(), ln) }()
		time.Sleep(time.Minute)
		if asked := ln.asked.Load(); asked > 100 {
			t.Errorf("%d tries within a minute", asked)
		}
		client, near := net.Pipe()
		defer client.Close()
		ln.clients <- near
		time.Sleep(2 * time.Second)
		if len(h.proxy.list()) != 1 {
			t.Error("the client that came later is not served")
		}
		before := time.Now()
		h.proxy.closeNow()
		if err := <-served; err != ErrProxyClosed || time.Since(before) != 0 {
			t.Errorf("Serve ends after %s: %v", time.Since(before), err)
		}
	})
}

// failingListener has no file descriptor left, but for the clients that are there.
type failingListener struct {
	clients chan net.Conn
	asked   atomic.Int64
}

func (l *failingListener) Accept() (net.Conn, error) {
	l.asked.Add(1)
	select {
	case client := <-l.clients:
		return client, nil
	default:
		return nil, syscall.EMFILE
	}
}

func (l *failingListener) Close() error   { return nil }
func (l *failingListener) Addr() net.Addr { return &net.TCPAddr{} }

// The end of the drain time is the end: not even a CancelRequest that the server does not take is waited for.
func TestShutdownIsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{})
		busy := h.enter("busy", annInShop)
		busy.says("Query `SELECT slow`")
		busy.heard()
		canceller := h.knock("")
		canceller.client.say <- []byte("\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x12\x67busy")
		canceller.meet() // and no answer
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		before := time.Now()
		if err := h.proxy.Shutdown(ctx); err == nil || time.Since(before) != time.Second {
			t.Errorf("after %s: %v", time.Since(before), err)
		}
	})
}
