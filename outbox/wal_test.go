package outbox

import (
	"encoding/binary"
	"testing"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// wal writes pgoutput messages, as a server would, into an Assembler of its own.
type wal struct {
	t          testing.TB
	tolerant   bool // keep the first error instead of failing
	partBytes  int
	keys       []note.MasterKey
	noTriggers bool
	assembler  *Assembler
	err        error
	done       *Transaction
	at         LSN  // commit record of the open transaction
	last       LSN  // end of the last one
	sent       LSN  // messages since
	adjacent   bool // the next message has the LSN of the last one
}

func (w *wal) send(message []byte) *wal {
	w.t.Helper()
	if w.assembler == nil {
		if w.partBytes == 0 {
			w.partBytes = 1 << 30
		}
		w.assembler = NewAssembler(0, w.partBytes, w.keys)
		w.assembler.noTriggers = w.noTriggers
		w.assembler.witness = newWitness(testSecret)
	}
	if w.err != nil {
		return w
	}
	if !w.adjacent {
		w.sent++
	}
	w.adjacent = false
	w.done, w.err = w.assembler.Message(w.last+w.sent, message)
	if w.err != nil && !w.tolerant {
		w.t.Fatal(w.err)
	}
	return w
}

func (w *wal) begin(xid XID) *wal {
	w.t.Helper()
	w.at = w.last + 100
	return w.send(beginMessage(w.at, xid))
}

func (w *wal) commit() *Transaction {
	w.t.Helper()
	w.last, w.sent = w.at+48, 0
	w.end(w.at, w.last)
	return w.done
}

func (w *wal) end(at, end LSN) *wal {
	w.t.Helper()
	return w.send(commitMessage(at, end))
}

func (w *wal) relation(oid uint32, schema, name string, columns ...string) *wal {
	w.t.Helper()
	return w.send(relationMessage(oid, schema, name, columns...))
}

func (w *wal) insert(oid uint32, values ...string) *wal {
	w.t.Helper()
	return w.send(insertMessage(oid, values...))
}

func (w *wal) update(oid uint32, values ...string) *wal {
	w.t.Helper()
	message := insertMessage(oid, values...)
	message[0] = 'U'
	return w.send(message)
}

func (w *wal) truncate(oids ...uint32) *wal {
	w.t.Helper()
	message := binary.BigEndian.AppendUint32([]byte{'T'}, uint32(len(oids)))
	message = append(message, 0)
	for _, oid := range oids {
		message = binary.BigEndian.AppendUint32(message, oid)
	}
	return w.send(message)
}

func (w *wal) message(prefix, content string) *wal {
	w.t.Helper()
	return w.send(logicalMessage(prefix, content))
}

func beginMessage(at LSN, xid XID) []byte {
	message := binary.BigEndian.AppendUint64([]byte{'B'}, uint64(at))
	message = binary.BigEndian.AppendUint64(message, 1_000_000)
	return binary.BigEndian.AppendUint32(message, uint32(xid))
}

func commitMessage(at, end LSN) []byte {
	message := binary.BigEndian.AppendUint64([]byte{'C', 0}, uint64(at))
	message = binary.BigEndian.AppendUint64(message, uint64(end))
	return binary.BigEndian.AppendUint64(message, 1_000_000)
}

func relationMessage(oid uint32, schema, name string, columns ...string) []byte {
	message := binary.BigEndian.AppendUint32([]byte{'R'}, oid)
	message = append(message, schema+"\x00"+name+"\x00d"...)
	message = binary.BigEndian.AppendUint16(message, uint16(len(columns)))
	for i, column := range columns {
		key := byte(0)
		if i == 0 {
			key = 1
		}
		message = append(message, key)
		message = append(message, column+"\x00"...)
		message = append(message, "\x00\x00\x00\x19\xff\xff\xff\xff"...)
	}
	return message
}

// null is the value that insertMessage writes as SQL null.
const null = "\x00null"

func insertMessage(oid uint32, values ...string) []byte {
	message := binary.BigEndian.AppendUint32([]byte{'I'}, oid)
	message = append(message, 'N')
	message = binary.BigEndian.AppendUint16(message, uint16(len(values)))
	for _, value := range values {
		if value == null {
			message = append(message, pgoutput.Null)
			continue
		}
		message = append(message, pgoutput.Text)
		message = binary.BigEndian.AppendUint32(message, uint32(len(value)))
		message = append(message, value...)
	}
	return message
}

func logicalMessage(prefix, content string) []byte {
	message := append([]byte{'M', 1}, 0, 0, 0, 0, 0, 0, 0, 9)
	message = append(message, prefix+"\x00"...)
	message = binary.BigEndian.AppendUint32(message, uint32(len(content)))
	return append(message, content...)
}
