package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
)

// mute is a server that accepts connections and does not answer, with login: from the second query on. accepted receives a value for each connection.
func mute(t *testing.T, login bool) (url string, accepted chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	accepted = make(chan struct{}, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			if login {
				backend := pgproto3.NewBackend(conn, conn)
				if _, err := backend.ReceiveStartupMessage(); err != nil {
					continue // a request to cancel
				}
				backend.Send(&pgproto3.AuthenticationOk{})
				backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
				if err := backend.Flush(); err != nil {
					continue
				}
				if _, err := backend.Receive(); err != nil { // the settings of the session
					continue
				}
				backend.Send(&pgproto3.CommandComplete{CommandTag: []byte("SET")})
				backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
				_ = backend.Flush()
			}
			accepted <- struct{}{}
		}
	}()
	return "postgres://u:" + secret + "@" + listener.Addr().String() + "/x?sslmode=disable", accepted
}

// TestMuteServer: commands end, and say why, while PostgreSQL accepts connections and answers nothing.
func TestMuteServer(t *testing.T) {
	answerTime = 200 * time.Millisecond
	t.Cleanup(func() { answerTime = 30 * time.Second })
	broker, err := embedded.StartBroker(embedded.BrokerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	for login, want := range map[bool]string{false: "cannot reach PostgreSQL at 127.0.0.1:", true: "PostgreSQL has not answered within 200ms"} {
		url, _ := mute(t, login)
		for _, args := range [][]string{
			{"check", "--postgres", url}, {"status", "--postgres", url, "--kafka", broker.Address()},
			{"snapshot", "start", "--table", "t", "--postgres", url, "--kafka", broker.Address()},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			var stdout, stderr strings.Builder
			code := run(ctx, args, &stdout, &stderr)
			if ctx.Err() != nil || code < 2 || !strings.Contains(stdout.String()+stderr.String(), want) {
				t.Errorf("%s: exit code %d, output %s%s, want %q", args[0], code, stdout.String(), stderr.String(), want)
			}
			cancel()
		}
	}
}

// TestStatusInterrupted: only --watch ends without an error when it is stopped.
func TestStatusInterrupted(t *testing.T) {
	broker, err := embedded.StartBroker(embedded.BrokerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	for watch, want := range map[bool]int{false: 2, true: 0} {
		url, accepted := mute(t, false)
		args := []string{"status", "--postgres", url, "--kafka", broker.Address()}
		if watch {
			args = append(args, "--watch")
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-accepted
			cancel()
		}()
		var stdout, stderr strings.Builder
		if code := run(ctx, args, &stdout, &stderr); code != want || strings.Contains(stderr.String(), "interrupted") != (want != 0) {
			t.Errorf("--watch %v: exit code %d, want %d: %s", watch, code, want, stderr.String())
		}
	}
}

// TestWatchGoesOn: a look that fails does not end --watch.
func TestWatchGoesOn(t *testing.T) {
	broker, err := embedded.StartBroker(embedded.BrokerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	for _, format := range []string{"--json=false", "--json"} {
		watching := start(t, "status", "--watch", format, "--postgres", "postgres://u:"+secret+"@127.0.0.1:1/x", "--kafka", broker.Address())
		said := func() string { return watching.stdout.String() + watching.stderr.String() }
		watching.eventually("a second look", func() bool { return strings.Count(said(), "UNKNOWN: database x: cannot reach PostgreSQL") > 1 })
		if format == "--json" && watching.stdout.String() != "" {
			t.Errorf("among the lines of JSON: %s", watching.stdout.String())
		}
		if got := watching.stop(); got.code != exitOK || strings.Contains(said(), secret) {
			t.Errorf("--watch: %+v", got)
		}
	}
}
