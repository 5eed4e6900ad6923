package harness

import (
	"io"
	"net"
	"testing"
	"time"
)

// relayToEcho returns a relay before a server that sends back what it gets.
func relayToEcho(t *testing.T) *Relay {
	t.Helper()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the listener
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	r, err := NewRelay()
	if err != nil {
		t.Fatal(err)
	}
	r.Serve(echo.Addr().String())
	t.Cleanup(func() { r.Close(); echo.Close() })
	return r
}

// dialRelay connects and exchanges one byte, so that the link stands.
func dialRelay(t *testing.T, r *Relay) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	say(t, conn, "x")
	hear(t, conn, "x")
	return conn
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q (%v), want %q", got, err, want)
	}
}

func TestRelayCutsInsideAMessage(t *testing.T) {
	r := relayToEcho(t)
	conn := dialRelay(t, r)
	r.Cut(8) // bytes of both directions: five there, three back
	say(t, conn, "hello")
	got, err := io.ReadAll(conn)
	if len(got) > 3 || err == nil {
		t.Errorf("read %q (%v), want no more than three bytes and a reset", got, err)
	}
}

func TestRelayHoldsWhatIsFrozen(t *testing.T) {
	r := relayToEcho(t)
	old := dialRelay(t, r)
	r.Freeze(Downstream)
	say(t, old, "held")
	fresh, err := net.Dial("tcp", r.Address) // accepted all the same
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	fresh.SetDeadline(time.Now().Add(20 * time.Second))
	say(t, fresh, "new")
	r.Heal()
	hear(t, old, "held")
	hear(t, fresh, "new")
}

func TestRelayLetsTheTargetVanish(t *testing.T) {
	r := relayToEcho(t)
	conn := dialRelay(t, r)
	r.Vanish(Downstream)
	say(t, conn, "lost") // nobody says that the other end is gone
	r.Heal()
	if got, err := io.ReadAll(conn); len(got) > 0 || err == nil {
		t.Errorf("read %q (%v), want a reset", got, err)
	}
}

func TestRelayForgetsOpenLinksOnly(t *testing.T) {
	r := relayToEcho(t)
	old := dialRelay(t, r)
	r.Forget()
	say(t, old, "lost")
	dialRelay(t, r) // which hears its byte
	if err := old.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(old); len(got) > 0 || err == nil {
		t.Errorf("read %q (%v), want nothing before the relay has ended", got, err)
	}
}
