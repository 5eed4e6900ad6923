package outbox

import (
	"encoding/binary"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// walsender is the server's end of a replication connection, after START_REPLICATION: it sends what a
// test tells it to and remembers what the stream answers. The connection has no buffers: send returns
// when the stream has read everything.
type walsender struct {
	t    *testing.T
	conn net.Conn
	last LSN

	mu         sync.Mutex
	statuses   []status
	terminated bool
}

// status is a standby status update.
type status struct {
	written, flushed, applied LSN
	ping                      bool
}

// newWalsender starts a Stream on a connection to a walsender, for a synctest bubble.
func newWalsender(t *testing.T, cfg StreamConfig) (*walsender, *Stream) {
	client, server := net.Pipe()
	w := &walsender{t: t, conn: server, last: 0x100}
	cfg.setDefaults()
	stream := startStream(newFrames(client), cfg, System{ConfirmedFlush: w.last})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.listen()
	}()
	t.Cleanup(func() {
		server.Close()
		stream.Close()
		<-ended
	})
	return w, stream
}

func (w *walsender) listen() {
	backend := pgproto3.NewBackend(w.conn, w.conn)
	for {
		message, err := backend.Receive()
		if err != nil {
			return
		}
		switch message := message.(type) {
		case *pgproto3.CopyData:
			w.remember(message.Data)
		case *pgproto3.Terminate:
			w.mu.Lock()
			w.terminated = true
			w.mu.Unlock()
			w.conn.Close()
		}
	}
}

func (w *walsender) remember(update []byte) {
	if len(update) != 34 || update[0] != 'r' {
		w.t.Errorf("status update %x", update)
		return
	}
	position := func(i int) LSN { return LSN(binary.BigEndian.Uint64(update[i:])) }
	w.mu.Lock()
	defer w.mu.Unlock()
	w.statuses = append(w.statuses, status{position(1), position(9), position(17), update[33] == 1})
}

// answers returns the status updates since the last call.
func (w *walsender) answers() []status {
	w.mu.Lock()
	defer w.mu.Unlock()
	statuses := w.statuses
	w.statuses = nil
	return statuses
}

func (w *walsender) send(messages ...pgproto3.BackendMessage) error {
	var raw []byte
	for _, message := range messages {
		var err error
		if raw, err = message.Encode(raw); err != nil {
			w.t.Error(err)
			return err
		}
	}
	_, err := w.conn.Write(raw)
	return err
}

// transaction returns the messages of a transaction with one row, and where it ends.
func (w *walsender) transaction(value string) ([]pgproto3.BackendMessage, LSN) {
	at := w.last + 0x20
	w.last = at + 0x30
	return []pgproto3.BackendMessage{
		walData(at, beginMessage(at, 7)),
		walData(at, relationMessage(1, "public", "t", "a")),
		walData(at, insertMessage(1, value)),
		walData(at, commitMessage(at, w.last)),
	}, w.last
}

func walData(at LSN, message []byte) *pgproto3.CopyData {
	data := binary.BigEndian.AppendUint64([]byte{'w'}, uint64(at))
	data = binary.BigEndian.AppendUint64(data, uint64(at))
	data = binary.BigEndian.AppendUint64(data, 0)
	return &pgproto3.CopyData{Data: append(data, message...)}
}

func keepalive(end LSN, reply byte) *pgproto3.CopyData {
	data := binary.BigEndian.AppendUint64([]byte{'k'}, uint64(end))
	data = binary.BigEndian.AppendUint64(data, 0)
	return &pgproto3.CopyData{Data: append(data, reply)}
}
