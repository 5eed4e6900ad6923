package outbox

import (
	"strings"
	"testing"
)

// Which statement each row is said to be of: a row is named like the statement that wrote it, ? is of none, - not even of a session.
func TestAuthor(t *testing.T) {
	for _, test := range []struct{ stream, want string }{
		{"a", "-"},
		{"+one a b +two c", "one one two"},
		{"a one+", "one"},
		{"a one+ b two+", "one two"},
		{"one+ a b two+ c", "two two ?"},
		{"a +one b", "? one"},
		{"a one+ b +two c", "one ? two"},
		{"+one a two+ b", "? ?"}, // of one or two
		{"+one a +? b", "one ?"},
		{"+one +? a +two b", "? two"},
		{"a ?+ b one+ c ?+", "? one ?"},
		{"a !forged b", "- forged"},
		{"a one+ b !forged+ c", "one ? forged"},
		{"+one a ~b +two c", "one two two"}, // b stands directly behind the note in the log
		{"+one ~a two+ +three b", "? three"},
		{"a ~b one+ ~c +two d", "one ? two two"},
	} {
		w := &wal{t: t, keys: []MasterKey{testKey}}
		w.begin(1).relation(1, "public", "t", "a")
		for i, word := range strings.Fields(test.stream) {
			sql := strings.Trim(word, "+!~")
			payload := testPayload(FlagSQL)
			payload.Counter = uint32(i + 1)
			switch {
			case sql == strings.Trim(word, "~"):
				w.insert(1, sql)
				w.adjacent = sql != word
				continue
			case sql == "?":
				payload.Flags |= FlagNameless
			}
			if strings.HasSuffix(word, "+") {
				payload.Flags |= FlagBehind
			}
			user := "bob"
			text := string(testSigner.Append(nil, payload, []byte(user), 7, []byte(sql)))
			if strings.HasPrefix(word, "!") {
				user = "eve"
			}
			w.message(MessagePrefix, recordMessage(text, user, "r", 7, nil))
		}
		var got []string
		tx := w.commit()
		for _, c := range tx.Changes {
			switch {
			case c.Note < 0:
				got = append(got, "-")
			case tx.Notes[c.Note].Nameless():
				got = append(got, "?")
			default:
				got = append(got, string(tx.Notes[c.Note].SQL))
			}
		}
		if line := strings.Join(got, " "); line != test.want {
			t.Errorf("%s: %s, want %s", test.stream, line, test.want)
		}
	}
}
