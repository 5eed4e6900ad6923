package outbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// What pgtee's own functions tell the publisher are logical messages that pgtee.emit() has signed (sql/emit.sql): byte 1,
// HMAC-SHA256 of what follows, and record_send() of ROW(kind text, transaction id text, user bytea, pid int,
// application bytea, body bytea, payload bytea).

const (
	emittedVersion = 1
	secretBytes    = 2 * sha256.BlockSize // the key of HMAC, xored with ipad and with opad
)

// isEmitted reports whether a message with our prefix has that form. A note begins with another byte.
func isEmitted(content []byte) bool { return len(content) > 0 && content[0] == emittedVersion }

// emitted takes such a message. Whoever does not know the secret can forge none, nor take one over into another
// transaction: what is not signed for this one tells of nothing, and is counted as a forged note.
func (a *Assembler) emitted(lsn LSN, content []byte) {
	kind, columns, ok := a.readEmitted(content)
	if !ok {
		a.note(lsn, &noteColumns{})
		return
	}
	switch kind {
	case "d":
		a.ddl(lsn, columns.payload)
	case "e":
		a.event(lsn, &columns)
	case "s":
		a.signal(lsn, &columns)
	}
}

func (a *Assembler) readEmitted(content []byte) (kind string, c noteColumns, ok bool) {
	if len(content) < 1+sha256.Size || len(a.secret) != secretBytes {
		return "", c, false
	}
	signature, record := content[1:1+sha256.Size], content[1+sha256.Size:]
	inner := sha256.New()
	inner.Write(a.secret[:sha256.BlockSize])
	inner.Write(record)
	outer := sha256.New()
	outer.Write(a.secret[sha256.BlockSize:])
	outer.Write(inner.Sum(nil))
	var values [7][]byte
	if !hmac.Equal(outer.Sum(nil), signature) || !readRecord(record, values[:]) || len(values[3]) != 4 {
		return "", c, false
	}
	xid, err := strconv.ParseUint(string(values[1]), 10, 64)
	if err != nil || XID(xid) != a.current.XID { // without its epoch
		return "", c, false
	}
	return string(values[0]), noteColumns{
		user:        values[2],
		pid:         int32(binary.BigEndian.Uint32(values[3])),
		application: values[4],
		payload:     values[5],
		sql:         values[6],
	}, true
}
