package debezium

import (
	"errors"
	"strconv"

	"github.com/pgtee/pgtee/publisher/record"
)

// plain appends the envelope for human readers:
//
//	{"op":"read"|"insert"|"update"|"delete"|"truncate","table":"public.orders","key":{…},"row":{…},"old":{…},
//	 "commit_time":"2025-01-31T12:00:00.123456Z","xid":731,"lsn":"0/16B3748","who":{…}}
//
// row is the row after the change. old is what the WAL has of the row before it: nothing, its key, or all of it, depending on the replica identity. A
// delete has only old. Columns that are not in the WAL are left out. lsn is the start of the transaction's commit record, who is the pgtee block.
// Values have the forms of plainModes.
func (w *writer) plain(op byte, key int, before, after *row) error {
	if w.config.Framing != nil {
		return errPlainSchema
	}
	b := w.batch
	w.scratch = append(w.scratch[:0], "null"...)
	if key != record.Null {
		w.scratch = append(w.scratch[:0], b.Buf[key:]...)
	}
	b.Buf = append(append(b.Buf, `{"op":"`...), plainOps[op]...)
	b.Buf = append(append(b.Buf, `","table":`...), w.table.name...)
	b.Buf = append(append(b.Buf, `,"key":`...), w.scratch...)
	b.Buf = w.table.appendRow(append(b.Buf, `,"row":`...), after, nil)
	b.Buf = w.table.appendRow(append(b.Buf, `,"old":`...), before, nil)
	b.Buf = record.AppendJSONTime(append(b.Buf, `,"commit_time":`...), w.tx.CommitTime)
	b.Buf = strconv.AppendUint(append(b.Buf, `,"xid":`...), uint64(w.tx.XID), 10)
	b.Buf = append(append(b.Buf, `,"lsn":"`...), w.tx.CommitLSN.String()...)
	b.Buf = append(b.Buf, `","who":`...)
	b.Buf = append(b.AppendPgtee(b.Buf, w.tx, w.index), '}')
	return nil
}

var errPlainSchema = errors.New("the envelope plain has no schema: choose the format json, or another envelope")

var plainOps = map[byte]string{'r': "read", 'c': "insert", 'u': "update", 'd': "delete", 't': "truncate"}

// plainModes returns m with forms for human readers wherever m has Debezium's default.
func plainModes(m Modes) Modes {
	if m.Decimals == DecimalPrecise {
		m.Decimals = DecimalString
	}
	if m.Times == TimeAdaptive {
		m.Times = TimeISOString
	}
	if m.Binary == BinaryBytes {
		m.Binary = BinaryHex
	}
	if m.Intervals == IntervalNumeric {
		m.Intervals = IntervalString
	}
	return m
}
