package proxy

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A request that follows the slow one does not reach the server while the CancelRequest is on its way: it would
// be cancelled in the slow one's place. Other sessions do not wait for it.
func TestQueryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Query: time.Second, Idle: 3 * time.Second}})
		slow, idle := h.enter("slow", annInShop), h.enter("idle", annInShop)
		slow.says("Query `SELECT slow`")
		time.Sleep(1500 * time.Millisecond)
		cancel := newActor(<-h.dialed)
		defer cancel.close()
		synctest.Wait()
		if request, _ := cancel.heard(); !strings.HasSuffix(string(request), "slow") {
			t.Fatalf("CancelRequest %q", request)
		}
		slow.answers(`CommandComplete "SELECT 1"`, "ReadyForQuery I")
		slow.heard()
		slow.says("Query `SELECT next`")
		if _, got := slow.heard(); strings.Contains(got, "next") {
			t.Error("the next query passes while the CancelRequest is on its way")
		}
		time.Sleep(2500 * time.Millisecond)
		if got, _ := idle.heard(); !strings.Contains(got, "57P05") {
			t.Errorf("the idle session hears %q", got)
		}
		cancel.conn.Close()
		if _, got := slow.heard(); !strings.Contains(got, "next") {
			t.Error("the next query does not pass after the CancelRequest")
		}
	})
}

// A replication stream is one request that never ends; between two of them the subscriber may take its time.
func TestReplicationHasTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Query: time.Second, Idle: time.Second}})
		stream := h.enter("abcd", annInShop+"replication\x00database\x00")
		time.Sleep(time.Minute)
		stream.says("Query `START_REPLICATION SLOT s LOGICAL 0/0`")
		time.Sleep(time.Minute)
		if _, got := stream.heard(); len(h.dialed) != 0 || !strings.Contains(got, "START") {
			t.Errorf("the stream is cancelled, or its session ended before: the server hears %q", got)
		}
	})
}

// A session that logs in is looked at by the limits of time meanwhile: for the race detector.
func TestLimitsDuringLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Query: time.Second}})
		client, near := net.Pipe()
		defer client.Close()
		h.proxy.open(context.Background(), near)
		go io.Copy(io.Discard, client)
		client.Write(message3(annInShop))
		server := <-h.dialed
		defer server.Close()
		go io.Copy(io.Discard, server)
		time.Sleep(250 * time.Millisecond) // as the ticker
		server.Write(newStage(t, nil).serverStart())
		time.Sleep(time.Minute)
	})
}

// A request that comes in the moment in which the session ends makes the server end first: the client is told all
// the same.
func TestRequestAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Limits: Limits{Idle: time.Hour}})
		g := h.enter("abcd", annInShop)
		for _, s := range h.proxy.list() {
			s.pending.drain() // and not yet: interrupt
		}
		g.says("Query `SELECT 1`")
		if got, _ := g.heard(); !strings.Contains(got, "57P01") {
			t.Errorf("the client hears %q", got)
		}
	})
}
