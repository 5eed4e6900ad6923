package decode

import (
	"strconv"
	"time"
)

// Logical is the logical type of a number or of bytes in a schema: a date, a time, a decimal. The zero value means none.
type Logical struct {
	kind  logicalKind
	unit  time.Duration // for times and timestamps
	zone  bool          // a timestamp with a time zone
	Scale int           // for a decimal
}

type logicalKind uint8

const (
	noLogical logicalKind = iota
	date
	clock
	timestamp
	decimal
)

// logicals has the logical types by their names in Avro (specification, Logical Types), Kafka Connect and Debezium.
var logicals = map[string]Logical{
	"date":                   {kind: date},
	"time-millis":            {kind: clock, unit: time.Millisecond},
	"time-micros":            {kind: clock, unit: time.Microsecond},
	"timestamp-millis":       {kind: timestamp, unit: time.Millisecond, zone: true},
	"timestamp-micros":       {kind: timestamp, unit: time.Microsecond, zone: true},
	"timestamp-nanos":        {kind: timestamp, unit: time.Nanosecond, zone: true},
	"local-timestamp-millis": {kind: timestamp, unit: time.Millisecond},
	"local-timestamp-micros": {kind: timestamp, unit: time.Microsecond},
	"local-timestamp-nanos":  {kind: timestamp, unit: time.Nanosecond},
	"decimal":                {kind: decimal},

	"org.apache.kafka.connect.data.Date":      {kind: date},
	"org.apache.kafka.connect.data.Time":      {kind: clock, unit: time.Millisecond},
	"org.apache.kafka.connect.data.Timestamp": {kind: timestamp, unit: time.Millisecond, zone: true},
	"org.apache.kafka.connect.data.Decimal":   {kind: decimal},

	"io.debezium.time.Date":           {kind: date},
	"io.debezium.time.Time":           {kind: clock, unit: time.Millisecond},
	"io.debezium.time.MicroTime":      {kind: clock, unit: time.Microsecond},
	"io.debezium.time.NanoTime":       {kind: clock, unit: time.Nanosecond},
	"io.debezium.time.Timestamp":      {kind: timestamp, unit: time.Millisecond},
	"io.debezium.time.MicroTimestamp": {kind: timestamp, unit: time.Microsecond},
	"io.debezium.time.NanoTimestamp":  {kind: timestamp, unit: time.Nanosecond},
}

// LogicalOf returns the logical type with this name; scale is that of a decimal.
func LogicalOf(name string, scale int) (l Logical, known bool) {
	l, known = logicals[name]
	l.Scale = scale
	return l, known
}

// IsDecimal reports whether the bytes are a decimal.
func (l Logical) IsDecimal() bool { return l.kind == decimal }

// Type returns the corresponding PostgreSQL type.
func (l Logical) Type() string {
	switch l.kind {
	case date:
		return "date"
	case clock:
		return "time"
	case decimal:
		return "numeric"
	}
	if l.zone {
		return "timestamptz"
	}
	return "timestamp"
}

// AppendNumber appends the value that a number represents, as PostgreSQL reads it.
func (l Logical) AppendNumber(dst []byte, n int64) []byte {
	switch l.kind {
	case date:
		return AppendDate(dst, n)
	case clock:
		return AppendTime(dst, n, l.perSecond())
	case timestamp:
		zone := ""
		if l.zone {
			zone = "Z"
		}
		return AppendTimestamp(dst, n, l.perSecond(), zone)
	}
	return strconv.AppendInt(dst, n, 10)
}

func (l Logical) perSecond() int64 { return int64(time.Second / l.unit) }
