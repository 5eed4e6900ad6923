package integration

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/proxy"
)

// wire is a session of which the test sees every byte.
type wire struct {
	address   string
	encrypted bool
	conn      net.Conn
	key       []byte // body of BackendKeyData
}

// dial opens a connection, with TLS if the session has it.
func (w *wire) dial() (net.Conn, error) {
	conn, err := net.Dial("tcp", w.address)
	if err != nil || !w.encrypted {
		return conn, err
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	request, _ := (&pgproto3.SSLRequest{}).Encode(nil)
	conn.Write(request)
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[0] != 'S' {
		return nil, fmt.Errorf("TLS is refused with %q: %v", answer, err)
	}
	return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}), nil
}

// openWire begins a session. Protocol 3.2 brings long keys.
func openWire(address string, encrypted bool, minor uint16, database string) (*wire, error) {
	w := &wire{address: address, encrypted: encrypted}
	var err error
	if w.conn, err = w.dial(); err != nil {
		return nil, err
	}
	w.conn.SetDeadline(time.Now().Add(time.Minute))
	startup, _ := (&pgproto3.StartupMessage{ProtocolVersion: 3<<16 | uint32(minor),
		Parameters: map[string]string{"user": "postgres", "database": database}}).Encode(nil)
	if _, err := w.conn.Write(startup); err != nil {
		return nil, err
	}
	for {
		kind, body, err := readMessage(w.conn)
		if err != nil {
			return nil, err
		}
		switch kind {
		case 'K':
			w.key = body
		case 'E':
			return nil, fmt.Errorf("refused: %q", body)
		case 'Z':
			w.conn.SetDeadline(time.Time{})
			return w, nil
		}
	}
}

func readMessage(from io.Reader) (kind byte, body []byte, err error) {
	var header [5]byte
	if _, err := io.ReadFull(from, header[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(header[1:])-4)
	_, err = io.ReadFull(from, body)
	return header[0], body, err
}

// cancel sends a CancelRequest and waits until it has been dealt with, as libpq does.
func (w *wire) cancel() error {
	conn, err := w.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	packet := binary.BigEndian.AppendUint32(nil, uint32(8+len(w.key)))
	packet = binary.BigEndian.AppendUint32(packet, 80877102)
	if _, err := conn.Write(append(packet, w.key...)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// run sends messages and returns what comes up to the ReadyForQuery.
func (w *wire) run(messages ...pgproto3.FrontendMessage) (string, error) {
	var encoded []byte
	for _, m := range messages {
		encoded, _ = m.Encode(encoded)
	}
	if _, err := w.conn.Write(encoded); err != nil {
		return "", err
	}
	return hear(w.conn, "Z")
}

// storm is many sessions whose statements are cancelled, beside some that nobody cancels.
type storm struct {
	*tap
	workers, bystanders, cancels int // cancels of each worker
	sent                         atomic.Int64
	over                         atomic.Bool
}

// TestCancelStorm is run in full by make cancel-storm. Each cancel ends a statement of the session that it was sent
// for, or nothing; and when all is over, nothing is left of it.
func TestCancelStorm(t *testing.T) {
	server := must(t, sharedPostgres[18])
	own := newAuthority(t, t.TempDir()).sign("storm", "127.0.0.1")
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	address, p := serve(t, proxy.Config{Servers: []proxy.Server{{Address: server.Address()}}, Key: make([]byte, 32), SQLText: true, TLS: own.shown("")})
	s := &storm{tap: &tap{server.Address(), address, server.URL, p}, workers: 40, bystanders: 6, cancels: 25}
	if n, err := strconv.Atoi(os.Getenv("CANCELS")); err == nil {
		s.cancels = n
	}
	s.setup(t)
	s.admin(t, t.Context(), tapDatabase, bytesSchema)
	started := time.Now()
	s.rage(t)
	t.Logf("%d cancels of %d sessions in %s", s.sent.Load(), s.workers, time.Since(started).Round(time.Second))
	loops := (runtime.GOMAXPROCS(0) + 1) / 2 // of the proxy: a goroutine and three files each
	err := harness.Eventually(30*time.Second, func(context.Context) error {
		if open := p.Stats().SessionsOpen; open != 0 {
			return fmt.Errorf("%d sessions are left", open)
		}
		if n := runtime.NumGoroutine(); n > goroutines+4+loops { // those of the listener
			return fmt.Errorf("%d goroutines, %d before", n, goroutines)
		}
		if n := openFiles(t); n > files+1+3*loops {
			return fmt.Errorf("%d open files, %d before", n, files)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func openFiles(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// rage runs them all.
func (s *storm) rage(t *testing.T) {
	var workers, bystanders sync.WaitGroup
	for i := range s.bystanders {
		bystanders.Go(func() {
			if err := s.stand(i); err != nil {
				t.Errorf("a session that nobody cancels: %v", err)
			}
		})
	}
	for i := range s.workers {
		workers.Go(func() {
			if err := s.work(i); err != nil {
				t.Errorf("worker %d: %v", i, err)
			}
		})
	}
	workers.Wait()
	s.over.Store(true)
	bystanders.Wait()
}

// stand writes until the storm is over. Nothing it does may be cancelled.
func (s *storm) stand(i int) error {
	w, err := openWire(s.proxied, i%2 == 1, uint16(i/2%2)*2, tapDatabase)
	if err != nil {
		return err
	}
	defer w.conn.Close()
	for !s.over.Load() {
		for _, messages := range [][]pgproto3.FrontendMessage{
			{&pgproto3.Query{String: "INSERT INTO t SELECT 1, pg_sleep(0.01)::text"}},
			append(once("INSERT INTO t SELECT 2, pg_sleep(0.01)::text"), sync_),
		} {
			if got, err := w.run(messages...); err != nil || !strings.Contains(got, "INSERT 0 1") {
				return fmt.Errorf("%s (%v)", got, err)
			}
		}
	}
	return nil
}

// work has its statements cancelled, until it has sent all its cancels.
func (s *storm) work(i int) error {
	w, err := openWire(s.proxied, i%2 == 1, uint16(i/2%2)*2, tapDatabase)
	if err != nil {
		return err
	}
	defer w.conn.Close()
	if long := len(w.key) > 8; long != (i/2%2 == 1) {
		return fmt.Errorf("a key of %d bytes", len(w.key))
	}
	const slow = "INSERT INTO t SELECT 3, pg_sleep(60)::text"
	endless := [][]pgproto3.FrontendMessage{
		{&pgproto3.Query{String: slow}},
		append(once(slow), sync_),
		{&pgproto3.Query{String: "INSERT INTO t VALUES (4, 'x'); " + slow + "; SELECT 1"}},
	}
	vacuums := [][]pgproto3.FrontendMessage{{&pgproto3.Query{String: "VACUUM parent"}}, append(once("VACUUM parent"), sync_)}
	for round := 0; s.sent.Load() < int64(s.workers*s.cancels); round++ {
		if got, err := s.cancelled(w, endless[round%len(endless)]); err != nil || !strings.Contains(got, "57014") || strings.Contains(got, "pgtee") {
			return fmt.Errorf("%s (%v)", got, err)
		}
		if got, err := s.cancelled(w, vacuums[round%len(vacuums)]); err != nil ||
			!strings.Contains(got, "57014") && !strings.Contains(got, "VACUUM") || strings.Contains(got, "pgtee") {
			return fmt.Errorf("%s (%v)", got, err)
		}
	}
	return nil
}

// cancelled sends cancels until the messages have been answered.
func (s *storm) cancelled(w *wire, messages []pgproto3.FrontendMessage) (got string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, err = w.run(messages...)
	}()
	for {
		if err := w.cancel(); err != nil {
			return "", fmt.Errorf("cancel: %w", err)
		}
		s.sent.Add(1)
		select {
		case <-done:
			return got, err
		default:
		}
	}
}
