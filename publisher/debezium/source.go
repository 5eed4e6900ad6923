package debezium

import (
	"strconv"
	"time"

	"github.com/pgtee/pgtee/outbox"

	"github.com/pgtee/pgtee/publisher/record"
)

// sourceHead is the constant part of the source block.
func sourceHead(c *Config) []byte {
	dst := record.AppendJSONString([]byte(`{"version":`), c.Version)
	dst = record.AppendJSONString(append(dst, `,"connector":"postgresql","name":`...), c.Prefix)
	return append(dst, `,"ts_ms":`...)
}

// sourceTable is the part of the source block that names a table.
func sourceTable(schema, name string) []byte {
	dst := record.AppendJSONString([]byte(`,"schema":`), schema)
	dst = record.AppendJSONString(append(dst, `,"table":`...), name)
	return append(dst, `,"txId":`...)
}

var noTable = sourceTable("", "")

// appendSource appends the source block: where and when the change was committed.
func (e *Encoder) appendSource(dst []byte, tx *outbox.Transaction, i int, table []byte) []byte {
	lsn := uint64(tx.Changes[i].LSN)
	micros := tx.CommitTime.UnixMicro()
	dst = append(dst, e.source...)
	dst = appendInt(dst, tx.CommitTime.UnixMilli())
	dst = append(append(dst, `,"snapshot":"`...), tx.Changes[i].Mark.String()...)
	dst = record.AppendJSONString(append(dst, `","db":`...), e.config.Database)
	dst = appendSequence(append(dst, `,"sequence":"[`...), tx, &tx.Changes[i])
	dst = appendInt(append(dst, `]","ts_us":`...), micros)
	dst = appendInt(append(dst, `,"ts_ns":`...), micros)
	dst = append(dst, "000"...)
	dst = append(dst, table...)
	if tx.XID == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendUint(dst, uint64(tx.XID), 10)
	}
	dst = append(dst, `,"lsn":`...)
	if tx.Changes[i].Mark == outbox.MarkIncremental {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendUint(dst, lsn, 10)
	}
	return append(dst, `,"xmin":null,"origin":null,"origin_lsn":null}`...)
}

// appendSequence appends the positions of the commit and of the change, as far as Debezium has them: rows of a snapshot have no commit position,
// those of an incremental snapshot no position at all.
func appendSequence(dst []byte, tx *outbox.Transaction, c *outbox.Change) []byte {
	switch c.Mark {
	case outbox.NoMark:
		dst = strconv.AppendUint(append(dst, `\"`...), uint64(tx.CommitLSN), 10)
		dst = append(dst, `\",`...)
	case outbox.MarkIncremental:
		return append(dst, "null,null"...)
	default:
		dst = append(dst, "null,"...)
	}
	dst = strconv.AppendUint(append(dst, `\"`...), uint64(c.LSN), 10)
	return append(dst, `\"`...)
}

// appendTimes appends when the record was made.
func appendTimes(dst []byte, now time.Time) []byte {
	dst = appendInt(append(dst, `,"ts_ms":`...), now.UnixMilli())
	dst = appendInt(append(dst, `,"ts_us":`...), now.UnixMicro())
	return appendInt(append(dst, `,"ts_ns":`...), now.UnixNano())
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
