package proxy

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"testing"
	"testing/synctest"
)

var splicePattern = regexp.MustCompile(`SELECT pgtee\.note\('[A-Za-z0-9+/=]*',current_user\);|/\*[A-Za-z0-9+/=]*\*/;CALL pgtee\.put\('[0-9]+',current_user,true,false\);`)

// withoutNotes takes out what the proxy has added.
func withoutNotes(p []byte) (out []byte) {
	for _, m := range messagesOf(p) {
		switch {
		case bytes.Contains(m, []byte("pgtee_00000001")):
		case m[0] == 'Q':
			plain := splicePattern.ReplaceAll(m, nil)
			if added := len(m) - len(plain); added > 0 {
				binary.BigEndian.PutUint32(plain[1:], binary.BigEndian.Uint32(m[1:])-uint32(added))
			}
			out = append(out, plain...)
		default:
			out = append(out, m...)
		}
	}
	return out
}

// FuzzRequests sends anything in pieces of any size: without our notes, the server receives the same bytes, as
// far as the proxy did not have to wait for an answer.
func FuzzRequests(f *testing.F) {
	for _, line := range []string{"Query `INSERT INTO t VALUES (1); DELETE FROM t`", "Query `COPY t FROM STDIN`", "CopyData x", "Sync", "Terminate"} {
		p, err := encode(nil, clientShapes, line)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p, byte(3))
	}
	write, _ := encode(nil, clientShapes, "Parse s `UPDATE t SET v = $1` `\x00\x00`")
	write, _ = encode(write, clientShapes, "Bind p s `\x00\x00\x00\x00\x00\x00`")
	write, _ = encode(write, clientShapes, "Execute p 0")
	f.Add(write, byte(7))
	f.Fuzz(func(t *testing.T, sent []byte, piece byte) {
		if len(sent) > 3000 || bytes.Contains(sent, []byte("pgtee")) {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, func(p []byte) [][]byte { return [][]byte{p} })
			s.start()
			defer s.close()
			for rest := sent; len(rest) > 0; {
				n := min(int(piece)+1, len(rest))
				s.client.say <- rest[:n]
				rest = rest[n:]
			}
			synctest.Wait()
			heard, _ := s.server.heard()
			if got := withoutNotes(heard); !bytes.HasPrefix(sent, got) {
				t.Errorf("sent %q, arrived without notes %q", sent, got)
			}
		})
	})
}
