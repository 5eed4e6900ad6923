package outbox

import "encoding/binary"

// pgtee's own functions send information to the publisher in logical messages signed by pgtee.emit() (sql/emit.sql): byte 1, the HMAC-SHA256 of the
// rest, and record_send() of ROW(kind text, transaction id text, user bytea, pid int, application bytea, body bytea, payload bytea).

const emittedVersion = 1

// isEmitted reports whether a message with pgtee's prefix has that form. A note begins with another byte.
func isEmitted(content []byte) bool { return len(content) > 0 && content[0] == emittedVersion }

// emitted handles a message in that form. Without the secret, nobody can forge it or move it to another transaction: a message that is not signed for
// this transaction has no effect, and is counted as a forged note.
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
	record, ok := a.witness.open(content)
	if !ok {
		return "", c, false
	}
	var values [7][]byte
	if !readRecord(record, values[:]) || len(values[3]) != 4 || !a.isCurrentXID(values[1]) {
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
