package outbox

import (
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox/note"
)

// Which statement each row is said to be of: a row is named like the statement that wrote it, ? is of none, nobody of none but with the role of its note, - not even of a session.
func TestAuthor(t *testing.T) {
	for _, test := range []struct {
		stream, want string
		parts        bool // in parts, too
	}{
		{"a", "-", false},
		{"+one a b +two c", "one one two", true},
		{"a one+", "one", false},
		{"a one+ b two+", "one two", false},
		{"one+ a b two+ c", "two two ?", false},
		{"a +one b", "? one", false},
		{"a one+ b +two c", "one ? two", false},
		{"+one a two+ b", "? ?", false}, // of one or two
		{"+one a +? b", "one nobody", false},
		{"+one +? a +two b", "nobody two", true},
		{"a ?+ b one+ c ?+", "nobody one nobody", false},
		{"a !forged b", "- forged", false},
		{"a one+ b !forged+ c", "one ? forged", false},
		{"+one a ~b +two c", "one two two", true}, // b stands directly behind the note in the log
		{"+one ~a two+ +three b", "? three", false},
		{"a ~b one+ ~c +two d", "one ? two two", false},
	} {
		for partBytes := 2000; partBytes > 0; partBytes -= 10 {
			if got := authors(t, test.stream, partBytes); got != test.want {
				t.Errorf("%s, in parts of %d: %s, want %s", test.stream, partBytes, got, test.want)
			}
			if !test.parts { // a note that follows claims nothing of what has gone out
				break
			}
		}
	}
}

// authors has a transaction assembled, and says which statement each of its rows is said to be of.
func authors(t *testing.T, stream string, partBytes int) string {
	w := &wal{t: t, keys: []note.MasterKey{testKey}, partBytes: partBytes}
	w.begin(1).relation(1, "public", "t", "a")
	var got []string
	take := func(tx *Transaction) {
		if tx == nil {
			return
		}
		for _, c := range tx.Changes {
			switch {
			case c.Note < 0:
				got = append(got, "-")
			case tx.Notes[c.Note].Nameless() && len(tx.Notes[c.Note].Role) > 0:
				got = append(got, "nobody")
			case tx.Notes[c.Note].Nameless():
				if n := &tx.Notes[c.Note]; string(n.User) != "bob" || len(n.Application) > 0 || n.Actor != nil {
					t.Errorf("%s: a row that no note covers is of %+v", stream, n)
				}
				got = append(got, "?")
			default:
				got = append(got, string(tx.Notes[c.Note].SQL))
			}
		}
	}
	for i, word := range strings.Fields(stream) {
		sql := strings.Trim(word, "+!~")
		if sql == strings.Trim(word, "~") {
			take(w.insert(1, sql).done)
			w.adjacent = sql != word
			continue
		}
		payload := testPayload(note.FlagSQL)
		payload.Counter = uint32(i + 1)
		if sql == "?" {
			payload.Flags |= note.FlagNameless
		}
		if strings.HasSuffix(word, "+") {
			payload.Flags |= note.FlagClaimsPrevious
		}
		signer := testSigner
		if strings.HasPrefix(word, "!") {
			signer = note.MasterKey("another key").Signer(payload.ProxyID)
		}
		take(w.message(note.MessagePrefix, recordMessage(signed(signer, payload, "bob", 7, sql), "bob", "r", 7, nil)).done)
	}
	take(w.commit())
	return strings.Join(got, " ")
}
