//go:build !race

// The race detector has pools forget what they hold.

package proxy

import (
	"io"
	"net"
	"runtime"
	"testing"
)

const (
	idleSessions = 500
	idleBytes    = 15 << 10 // of heap and stacks, for a session that waits
)

// An idle session holds little memory: no buffers, small stacks. With TLS its library's own come on top.
func TestIdleSessions(t *testing.T) {
	server := listen(t)
	go greetAll(t, server)
	before := memory()
	direct := begin(t, server.Addr().String())
	pairs := memory() - before // a client and a server, which the test holds in the other cases as well
	runtime.KeepAlive(direct)
	for name, config := range map[string]Config{
		"forwarding": {Outbox: OutboxOff},
		"with notes": {Key: testKey, SQLText: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, front, served := serve(t, config, server)
			before := memory()
			proxied := begin(t, front.Addr().String())
			each := (memory() - before - pairs) / idleSessions
			t.Logf("an idle session holds %d bytes", each)
			if each > idleBytes {
				t.Errorf("more than %d", idleBytes)
			}
			runtime.KeepAlive(proxied)
			p.closeNow()
			<-served
			p.running.Wait()
		})
	}
}

// greetAll lets every client in, and holds the connections.
func greetAll(t *testing.T, ln net.Listener) {
	greeting := newStage(t, nil).serverStart()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.ReadFull(conn, make([]byte, len(message3(annInShop))))
		conn.Write(greeting)
		go func() {
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				conn.Write(answer(sameSchema...))
			}
		}()
	}
}

// memory is what the heap and the stacks hold, in bytes.
func memory() int {
	for range 3 { // pools, finalizers, stacks that shrink
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc + stats.StackInuse)
}

// begin begins sessions.
func begin(t *testing.T, address string) (conns []net.Conn) {
	t.Cleanup(func() {
		for _, conn := range conns {
			conn.Close()
		}
	})
	greeting := newStage(t, nil).serverStart()
	for range idleSessions {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		conn.Write(message3(annInShop))
		if _, err := io.ReadFull(conn, make([]byte, len(greeting))); err != nil {
			t.Fatal(err)
		}
	}
	return conns
}
