package outbox

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// next returns where the transactions end that Next has.
func next(t *testing.T, s *Stream) []LSN {
	t.Helper()
	head, err := s.Next(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return ends(head)
}

func TestStreamAcksOnlyOnAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWalsender(t, StreamConfig{})
		messages, end := w.transaction("x")
		if err := w.send(messages...); err != nil {
			t.Fatal(err)
		}
		if got := next(t, s); !slices.Equal(got, []LSN{end}) {
			t.Fatalf("got transactions to %v, want %s", got, end)
		}
		time.Sleep(5*time.Second + time.Millisecond)
		got := w.answers()
		if want := (status{written: end}); len(got) != 5 || got[4] != want {
			t.Fatalf("status updates in 5 s: %+v, want 5 like %+v", got, want)
		}
		dropUpTo(s.queue, end)
		s.Ack(end)
		synctest.Wait() // no time passes
		if got, want := w.answers(), (status{written: end, flushed: end, applied: end}); len(got) != 1 || got[0] != want {
			t.Errorf("after Ack: %+v, want %+v", got, want)
		}
		if s.Acked() != end || s.Received() != end {
			t.Errorf("acked %s, received %s, want both %s", s.Acked(), s.Received(), end)
		}
	})
}

func TestStreamKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWalsender(t, StreamConfig{})
		_ = w.send(keepalive(w.last, 0), keepalive(w.last-1, 0)) // nothing new
		synctest.Wait()
		if n, _ := s.Queued(); n != 0 || len(w.answers()) != 0 {
			t.Errorf("%d queued after keepalives that say nothing new", n)
		}
		for range 1000 {
			w.last += 8
			_ = w.send(keepalive(w.last, 0))
		}
		synctest.Wait()
		if got := w.answers(); len(got) != 0 {
			t.Errorf("answers nobody asked for: %+v", got)
		}
		_ = w.send(keepalive(w.last, 1))
		synctest.Wait()
		if got, want := w.answers(), (status{written: w.last}); len(got) != 1 || got[0] != want {
			t.Errorf("got %+v at once, want %+v", got, want)
		}
		if got := next(t, s); !slices.Equal(got, []LSN{w.last}) {
			t.Errorf("queue ends at %v, want one marker at %s", got, w.last)
		}
	})
}

// A server that stops asks again and again, until everything is acked: it gets its slot back.
func TestStreamEndsForServerThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWalsender(t, StreamConfig{})
		for range 49 { // 4.9 s
			_ = w.send(keepalive(w.last, 1))
			time.Sleep(100 * time.Millisecond)
		}
		if s.Err() != nil {
			t.Fatalf("ended after 4.9 s: %v", s.Err())
		}
		time.Sleep(2 * time.Second) // a pause: that was not a server that stops
		for range 60 {
			if s.Err() != nil {
				break
			}
			_ = w.send(keepalive(w.last, 1))
			time.Sleep(100 * time.Millisecond)
		}
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("after 6 s of requests: %v", err)
		}
		head, err := s.Next(t.Context(), 1<<20)
		if err != nil || len(head) != 1 || !head[0].Urgent {
			t.Errorf("got %d transactions, %v, want an urgent marker", len(head), err)
		}
	})
}

// The walEnd of a keepalive inside a transaction is behind its commit, and says nothing for sure.
func TestStreamKeepaliveInTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWalsender(t, StreamConfig{})
		messages, end := w.transaction("x")
		_ = w.send(slices.Insert(messages, 3, pgproto3.BackendMessage(keepalive(end-1, 1)))...)
		if got := next(t, s); !slices.Equal(got, []LSN{end}) {
			t.Errorf("queue ends at %v, want %s only", got, end)
		}
	})
}

func TestStreamBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWalsender(t, StreamConfig{MaxQueueBytes: 600_000})
		const total = 10
		var want []LSN
		sent := 0
		go func() {
			for range total {
				messages, end := w.transaction(strings.Repeat("x", 300_000))
				if w.send(messages...) != nil {
					return
				}
				want = append(want, end)
				sent++
			}
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		n, bytes := s.Queued()
		if n != 2 || bytes < 600_000 || bytes > 1_200_000 || sent == total {
			t.Errorf("%d transactions of %d bytes in the queue, %d sent, want 2 and the server to wait", n, bytes, sent)
		}
		if got := w.answers(); len(got) < 59 {
			t.Errorf("%d status updates in a minute with a full queue", len(got))
		}
		var got []LSN
		for len(got) < total {
			for _, end := range next(t, s) {
				got = append(got, end)
				dropUpTo(s.queue, end)
				synctest.Wait()
			}
		}
		synctest.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// Each way in which a stream ends: first what came whole, then an error that tells.
func TestStreamFails(t *testing.T) {
	warning := &pgproto3.NoticeResponse{Severity: "WARNUNG", SeverityUnlocalized: "WARNING", Code: "42704", Message: "skipped loading publication: pgtee_rows"}
	tests := []struct {
		name    string
		message pgproto3.BackendMessage
		is      error
		want    string
	}{
		{"warning", warning, ErrServerWarning, "skipped loading publication"},
		{"internal error", &pgproto3.ErrorResponse{Severity: "ERROR", Code: "XX000", Message: "unexpected duplicate for tablespace 0, relfilenode 59453"}, ErrDecoding, "59453"},
		{"row of more than 1 GB", &pgproto3.ErrorResponse{Severity: "ERROR", Code: "54000", Message: "string buffer exceeds maximum allowed length"}, ErrDecoding, "maximum allowed"},
		{"undecodable", &pgproto3.ErrorResponse{Severity: "ERROR", Code: "22P05", Message: "no equivalent"}, ErrUndecodable, "no equivalent"},
		{"publication missing", &pgproto3.ErrorResponse{Severity: "ERROR", Code: "42704", Message: `publication "pgtee_rows" does not exist`}, ErrPublicationMissing, "pgtee_rows"},
		{"shutdown", &pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P01", Message: "terminating connection"}, nil, "57P01"},
		{"end of copy", &pgproto3.CopyDone{}, nil, "ended the stream"},
		{"unknown message", &pgproto3.ReadyForQuery{TxStatus: 'I'}, nil, "unexpected message of kind 'Z'"},
		{"unknown CopyData", &pgproto3.CopyData{Data: []byte("x")}, nil, "CopyData of kind 'x'"},
		{"empty CopyData", &pgproto3.CopyData{}, nil, "empty CopyData"},
		{"short keepalive", &pgproto3.CopyData{Data: []byte("k1234567")}, nil, "CopyData of kind 'k'"},
		{"pgoutput", walData(1, []byte("I\x00\x00\x00\x09N\x00\x00")), nil, "outside of a transaction"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, s := newWalsender(t, StreamConfig{Slot: "test_slot"})
				messages, end := w.transaction("x")
				_ = w.send(append(messages, test.message)...)
				if got := next(t, s); !slices.Equal(got, []LSN{end}) {
					t.Fatalf("got transactions to %v, want %s", got, end)
				}
				dropUpTo(s.queue, end)
				_, err := s.Next(t.Context(), 1)
				if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) ||
					!strings.Contains(err.Error(), "slot test_slot, after "+end.String()) {
					t.Errorf("got %v, want %q and slot and position", err, test.want)
				}
				s.Ack(end) // may come after the end of the stream
			})
		})
	}
}

func TestStreamIgnoresWhatIsNoWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWalsender(t, StreamConfig{})
		messages, end := w.transaction("x")
		_ = w.send(&pgproto3.NoticeResponse{SeverityUnlocalized: "NOTICE"}, &pgproto3.ParameterStatus{Name: "a", Value: "b"}, &pgproto3.NotificationResponse{})
		_ = w.send(messages...)
		if got := next(t, s); !slices.Equal(got, []LSN{end}) {
			t.Errorf("got transactions to %v, want %s", got, end)
		}
	})
}

// The server sends a warning for as long as a standby is away, and then the changes.
func TestStreamWaitsForStandbys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		w, s := newWalsender(t, StreamConfig{Warn: func(finding, text string) { told = append(told, finding+": "+text) }})
		for range 100 {
			_ = w.send(&pgproto3.NoticeResponse{SeverityUnlocalized: "WARNING", Code: "55000", Routine: "StandbySlotsHaveCaughtup",
				Message: `replication slot "sb1" specified in parameter "synchronized_standby_slots" does not have active_pid`})
			time.Sleep(time.Second)
		}
		messages, end := w.transaction("x")
		_ = w.send(messages...)
		if got := next(t, s); !slices.Equal(got, []LSN{end}) {
			t.Errorf("got transactions to %v, want %s", got, end)
		}
		if len(told) != 2 || !strings.HasPrefix(told[0], "standby-awaited: ") || !strings.Contains(told[0], `"sb1"`) {
			t.Errorf("told %q, want two warnings in 100 seconds", told)
		}
	})
}

// Wherever the connection is cut, a transaction is there whole or not at all.
func TestStreamCut(t *testing.T) {
	var raw []byte
	messages, _ := (&walsender{t: t, last: 0x100}).transaction("x")
	for _, message := range messages {
		raw, _ = message.Encode(raw)
	}
	for n := range len(raw) + 1 {
		synctest.Test(t, func(t *testing.T) {
			w, s := newWalsender(t, StreamConfig{})
			_, _ = w.conn.Write(raw[:n])
			w.conn.Close()
			head, err := s.Next(t.Context(), 1)
			if whole := n == len(raw); whole != (len(head) == 1) || whole != (err == nil) {
				t.Errorf("cut after %d of %d bytes: %d transactions, %v", n, len(raw), len(head), err)
			}
		})
	}
}

// A server that is silent is asked to answer, and given up after a while.
func TestStreamSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWalsender(t, StreamConfig{})
		start := time.Now()
		_, err := s.Next(t.Context(), 1)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != serverSilence {
			t.Errorf("got %v after %s, want a timeout after %s", err, time.Since(start), serverSilence)
		}
		pings := 0
		for _, answer := range w.answers() {
			if answer.ping {
				pings++
			}
		}
		if want := int(serverSilence/statusInterval) / statusPing; pings < want-1 || pings > want {
			t.Errorf("the server was asked %d times, want %d", pings, want)
		}
	})
}

func TestStreamClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWalsender(t, StreamConfig{MaxQueueBytes: 1})
		go func() { // the reader waits for room, and the server for the reader
			for range 5 {
				messages, _ := w.transaction(strings.Repeat("x", 100_000))
				if w.send(messages...) != nil {
					return
				}
			}
		}()
		synctest.Wait()
		received := s.Received()
		dropUpTo(s.queue, received)
		s.Ack(received)
		start := time.Now()
		if err := s.Close(); err != nil || time.Since(start) > closeGrace {
			t.Errorf("closed after %s: %v", time.Since(start), err)
		}
		synctest.Wait()
		answers := w.answers()
		if !w.terminated || len(answers) == 0 || answers[len(answers)-1].flushed != received {
			t.Errorf("terminated %t, last update %+v, want one that acks %s", w.terminated, answers, received)
		}
		for range 2 { // what came before Close may still be in the queue
			if _, err := s.Next(t.Context(), 1); err == nil {
				dropUpTo(s.queue, 1<<40)
			} else if !errors.Is(err, ErrClosed) {
				t.Errorf("got %v, want ErrClosed", err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

// A server that neither reads nor writes any more does not keep Close waiting.
func TestStreamCloseStuckServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		s := startStream(newFrames(client), StreamConfig{MaxQueueBytes: 1, PartBytes: 1}, System{})
		time.Sleep(3 * time.Second) // a status update is stuck
		start := time.Now()
		_ = s.Close()
		if waited := time.Since(start); waited != closeGrace {
			t.Errorf("closed after %s, want %s", waited, closeGrace)
		}
	})
}

func TestAckPanics(t *testing.T) {
	tests := map[string]func(s *Stream){
		"above received":   func(s *Stream) { s.Ack(s.Received() + 1) },
		"below an earlier": func(s *Stream) { s.Ack(0x100); s.Ack(0xFF) },
	}
	for name, ack := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, s := newWalsender(t, StreamConfig{})
				defer func() {
					if said, _ := recover().(string); !strings.Contains(said, "0/100") {
						t.Errorf("got panic %q, want one with both positions", said)
					}
				}()
				ack(s)
			})
		})
	}
}
