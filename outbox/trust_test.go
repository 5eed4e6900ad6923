package outbox

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox/note"
)

// signed makes the payload of a note as a proxy does whose session has this user and server process.
func signed(s *note.Signer, p *note.Payload, user string, pid int32, sql string) string {
	p.Process, p.UserTag = pid, note.UserTag([]byte(user))
	return string(s.Append(nil, p, []byte(sql)))
}

// signedBefore makes it as a proxy of version 2 did, whose HMAC covers user and process.
func signedBefore(master note.MasterKey, p *note.Payload, user string, pid int32, sql string) string {
	raw, _ := base64.StdEncoding.DecodeString(string(master.Signer(p.ProxyID).Append(nil, p, nil)))
	raw = append([]byte{2}, raw[1:66]...)
	key, err := hkdf.Key(sha256.New, master, nil, "pgtee note key "+string(binary.BigEndian.AppendUint32(nil, p.ProxyID)), sha256.Size)
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(raw)
	mac.Write(append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(len(user))), uint32(pid)), user...))
	mac.Write([]byte(sql))
	return base64.StdEncoding.EncodeToString(append(append(raw, mac.Sum(nil)[:16]...), sql...))
}

// witnessed returns what pgtee.sign() writes in a transaction.
func witnessed(xid XID, note, user, role string, pid int32, sql []byte) string {
	values := []string{"n", note, user, role, string(binary.BigEndian.AppendUint32(nil, uint32(pid))), "psql", string(sql), fmt.Sprint(uint64(xid) + 1<<32)}
	return string(sign(signedNote, testWitnessKey, values...))
}

// What each way to send a note is worth. The notes of one transaction are apart by spaces: first who the server says sends it, then whose note it is
// (b: bob's session, in process 7; r: his session of before, in the same process; e: another one of his, in process 8), and how:
// = as a witnessed message, - as a plain one, / as a row, ! as a plain copy of a witnessed one.
func TestTrust(t *testing.T) {
	another := note.MasterKey("another")
	for _, test := range []struct{ name, notes, want string }{
		{"the proxy's own, signed", "bob7=b1", "verified"},
		{"a row", "bob7/b1", "verified"},
		{"what follows", "bob7=b1 bob7-b2 bob7-b3", "verified verified verified"},
		{"what follows a row", "bob7/b1 bob7-b2", "verified verified"},
		{"bound again, as behind ROLLBACK TO", "bob7=b1 bob7=b2", "verified verified"},
		{"a number twice", "bob7=b1 bob7-b1", "verified replayed"},
		{"an earlier number", "bob7=b2 bob7-b1", "verified replayed"},
		{"an earlier number, of an older transaction than another that has come", "bob7=b3 bob7-b2 bob7=b1", "verified replayed replayed"},
		{"a plain note by itself", "bob7-b1", "unbound"},
		{"a copy of a witnessed one", "bob7!b1", "forged"},
		{"a copy of a row, behind one's own", "bob7/e1 bob7!b1", "forged forged"},
		{"another session's, called for in one's own", "bob8=b1", "forged"},
		{"another session's, in a row", "bob8/b1", "forged"},
		{"another session's, behind one's own", "bob8=e1 bob8-b1", "verified forged"},
		{"one's own, behind a stolen one", "bob8=b1 bob8=e1 bob8-e2", "forged verified verified"},
		{"another user in the same process", "eve7=b1", "user changed"},
		{"another user, of whom the proxy says that it does not know", "eve7=a1", "verified"},
		{"what follows that", "eve7=b1 eve7-b2", "user changed user changed"},
		{"behind a pooler", "bob9=p1 bob9-p2", "pooler pooler"},
		{"another key", "bob7=x1", "forged"},
		{"an older proxy's row", "bob7/o1 bob7-o2", "verified verified"},
		{"an older proxy's message", "bob7-o1", "unbound"},
		{"an older proxy's, in another's hands", "eve7-o1", "forged"},
	} {
		w := &wal{t: t, keys: []note.MasterKey{another, testKey}}
		w.begin(100).relation(3, Schema, "outbox", outboxColumns...)
		for word := range strings.FieldsSeq(test.notes) {
			var user, how, whose string
			var pid int32
			var counter uint32
			user, how, whose = word[:3], word[4:5], word[5:6]
			fmt.Sscan(word[3:4], &pid)
			fmt.Sscan(word[6:], &counter)
			p, signer, older := testPayload(note.FlagSQL), testSigner, false
			p.Counter, p.Session = counter, note.SessionID(whose[0])
			switch how {
			case "=":
				p.Flags |= note.FlagSigned
			case "/":
				p.Flags |= note.FlagRow
			case "!":
				p.Flags |= note.FlagSigned | note.FlagRow
			}
			process := int32(7)
			switch whose {
			case "e":
				process = 8
			case "a":
				p.Flags |= note.FlagAnyUser
			case "p":
				p.Flags |= note.FlagPooled
			case "x":
				signer = note.MasterKey("unknown").Signer(p.ProxyID)
			case "o":
				older = true
			}
			m := signed(signer, p, "bob", process, "select 1")
			if older {
				m = signedBefore(testKey, p, "bob", process, "select 1")
			}
			switch how {
			case "=":
				w.message(note.MessagePrefix, witnessed(100, m, user, "r", pid, nil))
			case "/":
				w.insert(3, outboxRow('n', m, user, "r", pid, nil)...)
			default:
				w.message(note.MessagePrefix, recordMessage(m, user, "r", pid, nil))
			}
		}
		var got []string
		for _, m := range w.commit().Notes {
			word := m.Trust.Reason()
			switch m.Trust {
			case note.Verified:
				word = "verified"
			case note.Forged:
				word = "forged"
			case note.Replayed:
				word = "replayed"
			}
			got = append(got, word)
		}
		if got := strings.Join(got, " "); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// A signed message counts in its own transaction only, and without a key nothing is verified.
func TestTrustOfTransactions(t *testing.T) {
	m := signed(testSigner, testPayload(note.FlagSQL|note.FlagSigned), "bob", 7, "select 1")
	for _, test := range []struct {
		name, message string
		keys          []note.MasterKey
		want          note.Trust
	}{
		{"its own", witnessed(5, m, "bob", "r", 7, nil), []note.MasterKey{testKey}, note.Verified},
		{"another one", witnessed(6, m, "bob", "r", 7, nil), []note.MasterKey{testKey}, note.Forged},
		{"no keys", witnessed(5, m, "bob", "r", 7, nil), nil, note.Unverified},
		{"a DDL record for a note", "\x02" + string(sign(emittedVersion, testWitnessKey, "n", "4294967301", "bob", "\x00\x00\x00\x07", "a", "b", "c"))[1:], []note.MasterKey{testKey}, note.Forged},
	} {
		w := &wal{t: t, keys: test.keys}
		if got := w.begin(5).message(note.MessagePrefix, test.message).commit().Notes[0].Trust; got != test.want {
			t.Errorf("%s: trust %d, want %d", test.name, got, test.want)
		}
	}
}
