package debezium

import (
	"strconv"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
)

// sourceHead is the part of the source block that never changes.
func sourceHead(c *Config) []byte {
	dst := publisher.AppendJSONString([]byte(`{"version":`), c.Version)
	dst = publisher.AppendJSONString(append(dst, `,"connector":"postgresql","name":`...), c.Prefix)
	return append(dst, `,"ts_ms":`...)
}

// sourceTable is the part of the source block that names a table.
func sourceTable(schema, name string) []byte {
	dst := publisher.AppendJSONString([]byte(`,"schema":`), schema)
	dst = publisher.AppendJSONString(append(dst, `,"table":`...), name)
	return append(dst, `,"txId":`...)
}

var noTable = sourceTable("", "")

// appendSource appends the source block: where and when the change was committed.
func (e *Encoder) appendSource(dst []byte, tx *outbox.Transaction, i int, table []byte) []byte {
	lsn := uint64(tx.Changes[i].LSN)
	micros := tx.CommitTime.UnixMicro()
	dst = append(dst, e.source...)
	dst = appendInt(dst, tx.CommitTime.UnixMilli())
	dst = publisher.AppendJSONString(append(dst, `,"snapshot":"false","db":`...), e.config.Database)
	dst = strconv.AppendUint(append(dst, `,"sequence":"[\"`...), uint64(tx.EndLSN), 10)
	dst = strconv.AppendUint(append(dst, `\",\"`...), lsn, 10)
	dst = appendInt(append(dst, `\"]","ts_us":`...), micros)
	dst = appendInt(append(dst, `,"ts_ns":`...), micros)
	dst = append(dst, "000"...)
	dst = append(dst, table...)
	if tx.XID == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendUint(dst, uint64(tx.XID), 10)
	}
	dst = strconv.AppendUint(append(dst, `,"lsn":`...), lsn, 10)
	return append(dst, `,"xmin":null,"origin":null,"origin_lsn":null}`...)
}

// appendTimes appends when the record was made.
func appendTimes(dst []byte, now time.Time) []byte {
	dst = appendInt(append(dst, `,"ts_ms":`...), now.UnixMilli())
	dst = appendInt(append(dst, `,"ts_us":`...), now.UnixMicro())
	return appendInt(append(dst, `,"ts_ns":`...), now.UnixNano())
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
