package outbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// sign makes what pgtee.emit() and pgtee.sign() make, with Go's own HMAC.
func sign(kind byte, key []byte, values ...string) []byte {
	record := binary.BigEndian.AppendUint32(nil, uint32(len(values)))
	for _, value := range values {
		record = append(binary.BigEndian.AppendUint32(append(record, 0, 0, 0, 17), uint32(len(value))), value...)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(record)
	return append(append([]byte{kind}, mac.Sum(nil)...), record...)
}

// testWitnessKey is the key of HMAC that is in testSecret.
var testWitnessKey = func() (key []byte) {
	for i := range sha256.BlockSize {
		key = append(key, byte(7*i))
	}
	return key
}()

var testSecret = func() (secret []byte) {
	for _, pad := range []byte{0x36, 0x5c} {
		for _, b := range testWitnessKey {
			secret = append(secret, b^pad)
		}
	}
	return secret
}()

func TestEmitted(t *testing.T) {
	key, secret := testWitnessKey, testSecret
	ddl := []string{"d", "4294967303", "ann", "\x00\x00\x00\x07", "psql", `{"command": "CREATE TABLE"}`, ""} // of transaction 7, in the second epoch
	with := func(i int, value string) []string {
		changed := append([]string{}, ddl...)
		changed[i] = value
		return changed
	}
	altered := sign(emittedVersion, key, ddl...)
	altered[len(altered)-1] ^= 1
	for name, test := range map[string]struct {
		content []byte
		secret  []byte
		want    Op // 0: a forged note
	}{
		"a DDL record":           {sign(emittedVersion, key, ddl...), secret, DDL},
		"an event":               {sign(emittedVersion, key, with(0, "e")...), secret, Event},
		"a signal":               {sign(emittedVersion, key, with(0, "s")...), secret, Signal},
		"of another transaction": {sign(emittedVersion, key, with(1, "4294967304")...), secret, 0},
		"another key":            {sign(emittedVersion, key[1:], ddl...), secret, 0},
		"altered":                {altered, secret, 0},
		"no secret":              {sign(emittedVersion, key, ddl...), nil, 0},
		"too short":              {[]byte{emittedVersion}, secret, 0},
		"a column less":          {sign(emittedVersion, key, ddl[:6]...), secret, 0},
		"no number":              {sign(emittedVersion, key, with(1, "seven")...), secret, 0},
	} {
		a := NewAssembler(0, DefaultPartBytes, nil)
		a.witness = newWitness(test.secret)
		a.begin(&pgoutput.Begin{CommitLSN: 16, CommitTime: time.Unix(0, 0), XID: 7})
		if err := a.logical(1, &pgoutput.Logical{Transactional: true, Prefix: []byte(note.MessagePrefix), Content: test.content}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tx, err := a.commit(&pgoutput.Commit{CommitLSN: 16, EndLSN: 32})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch {
		case test.want == 0 && (len(tx.Changes) != 0 || len(tx.Notes) != 1 || tx.Notes[0].Trust != note.Forged):
			t.Errorf("%s: %d changes, notes %+v, want a forged note", name, len(tx.Changes), tx.Notes)
		case test.want != 0 && (len(tx.Changes) != 1 || tx.Changes[0].Op != test.want || len(tx.Notes) != 0):
			t.Errorf("%s: changes %+v, want one %c", name, tx.Changes, test.want)
		}
	}
}

// What any client can write is never more than a forged note.
func FuzzEmitted(f *testing.F) {
	f.Add(sign(emittedVersion, make([]byte, 64), "d", "7", "ann", "\x00\x00\x00\x07", "psql", "{}", ""))
	f.Add([]byte{emittedVersion})
	f.Fuzz(func(t *testing.T, content []byte) {
		a := NewAssembler(0, DefaultPartBytes, nil)
		a.witness = newWitness([]byte(strings.Repeat("not that of the seeds ", 6))[:secretBytes])
		a.begin(&pgoutput.Begin{CommitLSN: 16, CommitTime: time.Unix(0, 0), XID: 7})
		a.emitted(1, content)
		tx, err := a.commit(&pgoutput.Commit{CommitLSN: 16, EndLSN: 32})
		if err != nil || len(tx.Changes) != 0 || len(tx.Notes) != 1 || tx.Notes[0].Trust != note.Forged {
			t.Fatalf("%v, %+v", err, tx)
		}
	})
}
