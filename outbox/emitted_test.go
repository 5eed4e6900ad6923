package outbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// sign makes what pgtee.emit() makes, with Go's own HMAC.
func sign(key []byte, values ...string) []byte {
	record := binary.BigEndian.AppendUint32(nil, uint32(len(values)))
	for _, value := range values {
		record = append(binary.BigEndian.AppendUint32(append(record, 0, 0, 0, 17), uint32(len(value))), value...)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(record)
	return append(append([]byte{emittedVersion}, mac.Sum(nil)...), record...)
}

func TestEmitted(t *testing.T) {
	key := make([]byte, sha256.BlockSize)
	for i := range key {
		key[i] = byte(7 * i)
	}
	var secret []byte
	for _, pad := range []byte{0x36, 0x5c} {
		for _, b := range key {
			secret = append(secret, b^pad)
		}
	}
	ddl := []string{"d", "4294967303", "ann", "\x00\x00\x00\x07", "psql", `{"command": "CREATE TABLE"}`, ""} // of transaction 7, in the second epoch
	with := func(i int, value string) []string {
		changed := append([]string{}, ddl...)
		changed[i] = value
		return changed
	}
	altered := sign(key, ddl...)
	altered[len(altered)-1] ^= 1
	for name, test := range map[string]struct {
		content []byte
		secret  []byte
		want    Op // 0: a forged note
	}{
		"a DDL record":           {sign(key, ddl...), secret, DDL},
		"an event":               {sign(key, with(0, "e")...), secret, Event},
		"a signal":               {sign(key, with(0, "s")...), secret, Signal},
		"of another transaction": {sign(key, with(1, "4294967304")...), secret, 0},
		"another key":            {sign(key[1:], ddl...), secret, 0},
		"altered":                {altered, secret, 0},
		"no secret":              {sign(key, ddl...), nil, 0},
		"too short":              {[]byte{emittedVersion}, secret, 0},
		"a column less":          {sign(key, ddl[:6]...), secret, 0},
		"no number":              {sign(key, with(1, "seven")...), secret, 0},
	} {
		a := NewAssembler(0, DefaultPartBytes, nil)
		a.secret = test.secret
		a.begin(&pgoutput.Begin{CommitLSN: 16, CommitTime: time.Unix(0, 0), XID: 7})
		if err := a.logical(1, &pgoutput.Logical{Transactional: true, Prefix: []byte(MessagePrefix), Content: test.content}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tx, err := a.commit(&pgoutput.Commit{CommitLSN: 16, EndLSN: 32})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch {
		case test.want == 0 && (len(tx.Changes) != 0 || len(tx.Notes) != 1 || tx.Notes[0].Trust != Forged):
			t.Errorf("%s: %d changes, notes %+v, want a forged note", name, len(tx.Changes), tx.Notes)
		case test.want != 0 && (len(tx.Changes) != 1 || tx.Changes[0].Op != test.want || len(tx.Notes) != 0):
			t.Errorf("%s: changes %+v, want one %c", name, tx.Changes, test.want)
		}
	}
}

// What any client can write is never more than a forged note.
func FuzzEmitted(f *testing.F) {
	f.Add(sign(make([]byte, 64), "d", "7", "ann", "\x00\x00\x00\x07", "psql", "{}", ""))
	f.Add([]byte{emittedVersion})
	f.Fuzz(func(t *testing.T, content []byte) {
		a := NewAssembler(0, DefaultPartBytes, nil)
		a.secret = []byte(strings.Repeat("not that of the seeds ", 6))[:secretBytes]
		a.begin(&pgoutput.Begin{CommitLSN: 16, CommitTime: time.Unix(0, 0), XID: 7})
		a.emitted(1, content)
		tx, err := a.commit(&pgoutput.Commit{CommitLSN: 16, EndLSN: 32})
		if err != nil || len(tx.Changes) != 0 || len(tx.Notes) != 1 || tx.Notes[0].Trust != Forged {
			t.Fatalf("%v, %+v", err, tx)
		}
	})
}
