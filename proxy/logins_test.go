package proxy

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// Clients that do not answer the server hold no more than the limit allows, and not for long while others wait.
func TestLoginsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Logins: 3, Login: time.Minute}})
		slow := h.knock(annInShop) // the server is
		slow.meet()
		for range 2 {
			g := h.knock(annInShop)
			g.meet()
			g.answers("Authentication 3")
			time.Sleep(time.Second)
		}
		ann := h.knock(annInShop)
		time.Sleep(2900 * time.Millisecond)
		if len(h.dialed) != 0 {
			t.Fatal("a fourth login while three take place")
		}
		time.Sleep(1200 * time.Millisecond)
		ann.meet()
		ann.welcome("abcd")
		if got, _ := ann.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") {
			t.Errorf("after the first has lost its turn: %q", got)
		}
		slow.welcome("efgh")
		if got, _ := slow.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") {
			t.Errorf("who does not owe an answer: %q", got)
		}
	})
}

// Clients that never say a word keep nobody waiting for more than a second, however many they are, and are closed soon.
func TestSilentClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Logins: 8, Login: time.Minute}})
		for range 30 {
			h.knock("")
		}
		ann := h.knock(annInShop)
		time.Sleep(4 * time.Second) // 31 come at the same moment, and 8 a second are let in
		ann.meet()
		ann.welcome("abcd")
		if got, _ := ann.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") {
			t.Errorf("the client hears %q", got)
		}
		time.Sleep(11 * time.Second)
		if left := len(h.proxy.list()); left != 1 {
			t.Errorf("%d sessions are left, want that of ann", left)
		}
	})
}

// Nobody who has come from one address takes the places of others.
func TestSilentClientsOfOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newStrangers(8, zap.NewNop())
		var closed []string
		for _, c := range []struct {
			name, from string
			at         time.Duration
		}{
			{"other", "10.1.1.1:1", 0},
			{"first", "[2001:db8::1]:1", 0},
			{"second", "[2001:db8::2]:1", 0},
			{"third", "[2001:db8::3]:1", courtesy / 2}, // the first has still time
			{"fourth", "[2001:db8::4]:1", 2 * courtesy},
		} {
			near, far := net.Pipe()
			defer near.Close()
			s := &session{client: far, from: netip.MustParseAddrPort(c.from), cancel: func() { closed = append(closed, c.name) }}
			if !l.enter(s, time.Time{}.Add(c.at)) {
				t.Fatal("nobody is served")
			}
		}
		synctest.Wait()
		if len(closed) != 1 || closed[0] != "first" || len(l.crowd) != 4 {
			t.Errorf("closed: %q, %d are left", closed, len(l.crowd))
		}
	})
}

// However many of one address log in and say nothing, one from another address waits no longer than for the first of them.
func TestMuteLoginsOfOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Logins: 8, Login: time.Minute}})
		go func() { // the server asks everybody for a password
			for conn := range h.dialed {
				server := newActor(conn)
				server.say <- answer("Authentication 3")
				h.Cleanup(server.close)
			}
		}()
		for range 30 {
			h.knockFrom("10.1.1.1:1", annInShop)
			time.Sleep(courtesy / 4)
		}
		ann := h.knockFrom("10.2.2.2:1", annInShop)
		time.Sleep(answerLasts + 2*lookEvery)
		if got, _ := ann.client.heard(); len(got) == 0 {
			t.Error("the server does not hear of the other")
		}
		if left := len(h.proxy.list()); left > 15 { // 8 log in, 2 wait, and 4 arrive during the courtesy period
			t.Errorf("%d sessions are left", left)
		}
		close(h.dialed)
	})
}

// The login timeout ends the wait for a turn, too.
func TestLoginTimeoutBoundsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Logins: 1, Login: 30 * time.Second}})
		h.knock(annInShop).meet() // and the server says nothing
		for range 3 {
			time.Sleep(time.Second)
			h.knock(annInShop)
		}
		go func() {
			for range h.dialed {
			}
		}()
		time.Sleep(31 * time.Second)
		if left := len(h.proxy.list()); left != 0 {
			t.Errorf("%d sessions are left", left)
		}
		close(h.dialed)
	})
}

// A CancelRequest passes however many clients do not answer the server.
func TestCancelBesideLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Logins: 1}})
		h.enter("abcd", annInShop)
		mute := h.knock(annInShop)
		mute.meet()
		mute.answers("Authentication 3")
		for range 3 {
			h.knock("")
		}
		cancel := h.canceller()
		time.Sleep(5 * time.Second)
		cancel.meet()
		synctest.Wait()
		if got, _ := cancel.server.heard(); string(got) != cancelAbcd {
			t.Errorf("the server hears %q", got)
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
