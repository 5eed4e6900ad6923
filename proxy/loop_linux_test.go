//go:build !386

package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// flood is more than the kernel takes for somebody who does not read.
var flood = bytes.Join([][]byte{
	answer("CopyOutResponse"),
	bytes.Repeat(answer("CopyData "+strings.Repeat("x", 100_000)), 320),
	answer("CopyDone", "CommandComplete COPY", "ReadyForQuery I"),
}, nil)

// loopServer answers each Query: "flood" with much copy data, "wait" when it is released, anything else at once.
type loopServer struct {
	net.Listener
	greeting []byte
	release  chan struct{}
}

// listenLoop starts one, on a TCP port or a Unix socket.
func listenLoop(t *testing.T, network string) *loopServer {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "socket")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s := &loopServer{ln, newStage(t, nil).serverStart(), make(chan struct{})}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

func (s *loopServer) serve(conn net.Conn) {
	defer conn.Close()
	if _, err := readPacket(conn); err != nil {
		return
	}
	conn.Write(s.greeting)
	b := &buffer{}
	for b.read(conn) == nil {
		for {
			m, ok, err := b.message()
			if err != nil || !ok || !m.whole() {
				break
			}
			if m.kind == 'Q' {
				s.answer(conn, m.body)
			}
			b.pass(m)
			b.done = b.next
		}
	}
}

func (s *loopServer) answer(conn net.Conn, text []byte) {
	var lines []string
	switch {
	case bytes.Contains(text, []byte("flood")):
		conn.Write(flood)
		return
	case answerToProbe(text) != nil:
		lines = answerToProbe(text)[:2:2]
	case isNote(string(text)):
		lines = []string{"RowDescription note", "DataRow x", "CommandComplete `SELECT 1`"}
	case bytes.Contains(text, []byte("nonsense")):
		lines = []string{"ParseComplete", "CommandComplete `SELECT 1`"}
	case bytes.Contains(text, []byte("VACUUM")):
		<-s.release
		lines = []string{"CommandComplete VACUUM"}
	default:
		lines = []string{"CommandComplete `SELECT 1`"}
	}
	conn.Write(answer(append(lines, "ReadyForQuery I")...))
}

// serveLoop starts a proxy with one loop in front of the server.
func serveLoop(t *testing.T, server net.Listener, log *zap.Logger) (*Proxy, net.Listener) {
	t.Helper()
	before := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	p, front, served := serve(t, Config{Key: testKey, Outbox: OutboxMessage, Log: log}, server)
	t.Cleanup(func() {
		p.closeNow()
		<-served
		p.running.Wait()
	})
	return p, front
}

// Neither a client that does not read nor a request that has to wait for the server keeps the sessions of the same
// loop from going on.
func TestLoopGoesOnWithoutWhoWaits(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			server := listenLoop(t, network)
			p, front := serveLoop(t, server, nil)
			other := connect(t, front)

			deaf := connect(t, front)
			send(t, deaf, "Query `SELECT 'flood'`")
			slow := connect(t, front)
			send(t, slow, "Query VACUUM") // its note comes after the answer: the next request waits for both
			send(t, slow, "Query `SELECT 1`")
			for range 1000 {
				ask(t, other, "Query `SELECT 1`", 'Z')
			}
			close(server.release)
			want := answer("CommandComplete VACUUM", "ReadyForQuery I", "CommandComplete `SELECT 1`", "ReadyForQuery I")
			got := make([]byte, len(want))
			if _, err := io.ReadFull(slow, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the slow one hears %q, %v", got, err)
			}
			if got, err := io.ReadAll(io.LimitReader(deaf, int64(len(flood)))); !bytes.Equal(got, flood) || err != nil {
				t.Errorf("%d bytes of the flood or others, %v", len(got), err)
			}
			ask(t, deaf, "Query `SELECT 1`", 'Z')
			if n := len(p.loops.all); n != 1 {
				t.Errorf("%d loops", n)
			}
		})
	}
}

// slowLog takes a line when it is released.
type slowLog struct{ entered, release chan struct{} }

func (l slowLog) Write(p []byte) (int, error) {
	close(l.entered)
	<-l.release
	return len(p), nil
}

// A log that nobody takes keeps only the session that has something to say.
func TestLoopGoesOnWhileALogIsStuck(t *testing.T) {
	log := slowLog{make(chan struct{}), make(chan struct{})}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(log), zap.WarnLevel)
	_, front := serveLoop(t, listenLoop(t, "tcp"), zap.New(core))
	release := sync.OnceFunc(func() { close(log.release) })
	t.Cleanup(release)
	other, odd := connect(t, front), connect(t, front)
	send(t, odd, "Query `SELECT 'nonsense'`")
	<-log.entered
	ask(t, other, "Query `SELECT 1`", 'Z')
	release()
	ask(t, odd, "", 'Z')
	ask(t, odd, "Query `SELECT 1`", 'Z')
}

// Whoever ends a session, nothing is left of it; and nothing of the loops when the proxy is shut down.
func TestLoopLeavesNothingBehind(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			before := descriptors(t)
			server := listenLoop(t, network)
			p, front := serveLoop(t, server, nil)
			leaving, shut, deaf, idle := connect(t, front), connect(t, front), connect(t, front), connect(t, front)
			ask(t, leaving, "Query `SELECT 1`", 'Z')
			leaving.Close()
			closeWrite(shut)
			if rest, err := io.ReadAll(shut); len(rest) > 0 || err != nil {
				t.Errorf("after its last byte a client hears %q, %v", rest, err)
			}
			shut.Close()
			send(t, deaf, "Query `SELECT 'flood'`")
			io.ReadFull(deaf, make([]byte, 1<<20))

			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { ended <- p.Shutdown(ctx) }()
			if body := ask(t, idle, "", 'E'); string(errorField(body, 'C')) != "57P01" {
				t.Errorf("the idle session hears %q", body)
			}
			if rest, err := io.ReadAll(idle); len(rest) > 0 || err != nil {
				t.Errorf("and then %q, %v", rest, err)
			}
			cancel() // the flood is cut off
			<-ended
			for _, conn := range []io.Closer{deaf, idle, server, front} {
				conn.Close()
			}
			for late := time.Now().Add(10 * time.Second); descriptors(t) > before; runtime.Gosched() {
				if time.Now().After(late) {
					t.Fatalf("%d descriptors are open, %d were", descriptors(t), before)
				}
			}
		})
	}
}

// A request that came with the startup packet may wait for its answer when the session ends.
func TestLoopEndsWhoWaitsFromTheBeginning(t *testing.T) {
	for _, end := range []string{"by the server", "by the proxy"} {
		t.Run(end, func(t *testing.T) {
			server := listen(t)
			asked := make(chan net.Conn, 1)
			go func() {
				conn, err := server.Accept()
				if err != nil {
					return
				}
				readPacket(conn)
				conn.Write(newStage(t, nil).serverStart())
				io.ReadFull(conn, make([]byte, len("Q....VACUUM.")))
				asked <- conn
			}()
			p, front := serveLoop(t, server, nil)
			client, err := net.Dial("tcp", front.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			vacuum, _ := encode(nil, clientShapes, "Query VACUUM")
			client.Write(append(message3(annInShop), vacuum...))
			conn := <-asked
			defer conn.Close()
			if end == "by the server" {
				conn.Close()
			} else {
				p.closeNow()
			}
			client.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.ReadAll(client); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the session does not end")
			}
		})
	}
}

// However sessions end, nothing is left of them: by either side in the middle of anything, by limits, by a shutdown.
func TestLoopUnderStress(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			server := listenLoop(t, network)
			close(server.release)
			before, goroutines := descriptors(t), runtime.NumGoroutine()
			random := rand.New(rand.NewPCG(1, 2))
			for range 10 {
				p, front, served := serve(t, Config{Key: testKey, Outbox: OutboxMessage,
					Limits: Limits{Idle: 40 * time.Millisecond, Query: 50 * time.Millisecond}}, server)
				var clients sync.WaitGroup
				for range 40 {
					r := rand.New(rand.NewPCG(random.Uint64(), 0))
					clients.Go(func() { behaveBadly(front, r) })
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(50+random.IntN(200))*time.Millisecond)
				<-ctx.Done()
				p.Shutdown(ctx)
				cancel()
				<-served
				clients.Wait()
			}
			for late := time.Now().Add(20 * time.Second); descriptors(t) > before || runtime.NumGoroutine() > goroutines; runtime.Gosched() {
				if time.Now().After(late) {
					t.Fatalf("%d descriptors and %d goroutines, %d and %d before", descriptors(t), runtime.NumGoroutine(), before, goroutines)
				}
			}
		})
	}
}

// behaveBadly sends requests, some of them halves, reads slowly, and leaves at any time by any way.
func behaveBadly(front net.Listener, r *rand.Rand) {
	conn, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Duration(r.IntN(150)) * time.Millisecond))
	conn.Write(message3(annInShop))
	requests := []string{"Query `SELECT 1`", "Query VACUUM", "Query `SELECT 'flood'`", "Query `DELETE FROM t`"}
	var sent []byte
	for range 1 + r.IntN(20) {
		sent, _ = encode(sent, clientShapes, requests[r.IntN(len(requests))])
	}
	conn.Write(sent[:len(sent)-r.IntN(8)])
	b := make([]byte, 32<<10)
	for read := 1 + r.IntN(100); read > 0 && err == nil; read-- {
		_, err = conn.Read(b)
	}
	switch r.IntN(3) {
	case 0:
		conn.(*net.TCPConn).SetLinger(0)
	case 1:
		closeWrite(conn)
		io.Copy(io.Discard, conn)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
