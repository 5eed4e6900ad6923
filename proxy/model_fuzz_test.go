package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
)

var modelTexts = []string{
	"", "SELECT 1", "SELECT public.f()", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2) RETURNING id",
	"INSERT INTO fail VALUES (1)", "SELCT", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s",
	"COMMIT AND CHAIN", "VACUUM t", "CALL p()", "DISCARD ALL", "DEALLOCATE ALL", "UPDATE t SET v = 1", "COPY t FROM STDIN (FREEZE)", "COPY t FROM STDIN",
}

// modelScript turns bytes into what a client sends; nil stands for a pause in which everything is answered.
func modelScript(seed []byte) (messages [][]byte) {
	next := func(n int) int {
		if len(seed) == 0 {
			return 0
		}
		b := int(seed[0])
		seed = seed[1:]
		return b % n
	}
	names := []string{`""`, "a", "b"}
	say := func(format string, args ...any) {
		p, err := encode(nil, clientShapes, fmt.Sprintf(format, args...))
		if err != nil {
			panic(err)
		}
		messages = append(messages, p)
	}
	data := func(synced bool) {
		for range 1 + next(2) {
			if synced {
				say("Sync")
			}
			say("CopyData %s", []string{"good", "bad"}[next(2)])
		}
		say("%s", []string{"CopyDone", "CopyFail no"}[next(2)])
	}
	for len(seed) > 0 && len(messages) < 200 {
		text := modelTexts[next(len(modelTexts))]
		switch kind := next(12); kind {
		case 0, 1, 2:
			for range next(3) {
				text += "; " + modelTexts[next(len(modelTexts)-1)]
			}
			say("Query %q", text)
			if last := messages[len(messages)-1]; bytes.Contains(last, []byte("STDIN;")) || bytes.Contains(last, []byte("STDIN\x00")) || bytes.Contains(last, []byte("FREEZE")) && next(2) == 0 {
				data(kind == 2)
			}
		case 3, 4, 5:
			say("Parse %s %q \"\\x00\\x00\"", names[next(3)], text)
		case 6:
			say(`Bind %s %s "\x00\x00\x00\x00\x00\x00"`, names[next(3)], names[next(3)])
		case 7:
			name := names[next(3)]
			say("Parse %s %q \"\\x00\\x00\"", name, text)
			say(`Bind "" %s "\x00\x00\x00\x00\x00\x00"`, name)
			say(`Execute "" %d`, next(2))
			if text == "COPY t FROM STDIN" || strings.HasPrefix(text, "COPY") && next(2) == 0 {
				data(next(2) == 0)
				say("Sync")
			}
		case 8:
			say("%s %s %s", []string{"Describe", "Close"}[next(2)], []string{"S", "P"}[next(2)], names[next(3)])
		case 9:
			say("Execute %s %d", names[next(3)], next(3))
		case 10:
			say("Sync")
		case 11:
			if next(3) == 0 {
				say("FunctionCall x")
			} else {
				messages = append(messages, nil)
			}
		}
	}
	say("Sync")
	return messages
}

// FuzzModel compares what a client sees of a model of PostgreSQL with and without the proxy between them.
func FuzzModel(f *testing.F) {
	f.Add([]byte("\x03\x00\x00\x07\x00\x03\x07\x01\x00\x0a\x0a\x12\x07\x00\x00\x01\x01\x0b\x0d\x01\x00"))
	f.Fuzz(func(t *testing.T, seed []byte) {
		messages := modelScript(seed)
		m := newModel()
		for _, p := range messages {
			if p != nil {
				m.handle(p[0], p[headerBytes:])
			}
		}
		got, stats, faults := throughProxy(t, messages)
		if want := decode("b", serverShapes, m.out, bytes.Clone); got != want || stats.LostReplies > 0 || len(faults) > 0 {
			script := ""
			for _, p := range messages {
				script += decode("F", clientShapes, p, bytes.Clone)
			}
			t.Errorf("%+v %q\n%s\n%s", stats, faults, script, difference(want, got))
		}
	})
}

// throughProxy lets the model answer on the other side of a session.
func throughProxy(t *testing.T, messages [][]byte) (seen string, stats Stats, faults []string) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(p []byte) [][]byte { return [][]byte{p} })
		s.model = newModel()
		s.start()
		defer s.close()
		for _, p := range messages {
			if p == nil {
				synctest.Wait()
			} else {
				s.client.say <- p
			}
		}
		synctest.Wait()
		p, _ := s.client.heard()
		seen, stats = decode("b", serverShapes, p, bytes.Clone), s.proxy.Stats()
		faults = s.model.ledger.faults
		for _, one := range s.proxy.list() {
			if one.pending.mu.Lock(); !s.model.copying && !s.model.ended && !one.pending.ready {
				faults = append(faults, "everything is answered, and the session does not count as idle")
			}
			one.pending.mu.Unlock()
		}
	})
	return seen, stats, faults
}

// serveModel answers until the connection ends, and begins with the common start.
func serveModel(conn net.Conn, m *model, start []byte) {
	packet := make([]byte, 256)
	if _, err := io.ReadFull(conn, packet[:4]); err != nil {
		return
	}
	if _, err := io.ReadFull(conn, packet[4:packet[3]]); err != nil {
		return
	}
	m.out = start
	b := &buffer{}
	for {
		if _, err := conn.Write(m.out); err != nil {
			return
		}
		if m.out = m.out[:0]; m.ended {
			conn.Close()
			return
		}
		if err := b.read(conn); err != nil {
			return
		}
		for !m.ended {
			p, ok, err := b.message()
			if err != nil || !ok || !p.whole() {
				break
			}
			if lines := answerToProbe(p.body); p.kind == 'Q' && lines != nil {
				m.out = append(m.out, answer(lines...)...)
			} else {
				m.handle(p.kind, p.body)
			}
			b.pass(p)
		}
		b.done = b.next
	}
}
