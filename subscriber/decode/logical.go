package decode

import (
	"strconv"
	"strings"
)

// Logical is the logical type of a number or of bytes in a schema: a date, a time, an interval, a decimal. The zero value means none.
type Logical struct {
	kind      logicalKind
	perSecond int64 // units of a time, timestamp or interval
	zone      bool  // a timestamp with a time zone
	Scale     int   // for a decimal
}

type logicalKind uint8

const (
	noLogical logicalKind = iota
	date
	clock
	timestamp
	duration
	decimal
	variable // a decimal with its own scale
)

// logicals has the logical types by their names in Avro (specification, Logical Types), Kafka Connect and Debezium.
var logicals = map[string]Logical{
	"date":                   {kind: date},
	"time-millis":            {kind: clock, perSecond: Milli},
	"time-micros":            {kind: clock, perSecond: Micro},
	"timestamp-millis":       {kind: timestamp, perSecond: Milli, zone: true},
	"timestamp-micros":       {kind: timestamp, perSecond: Micro, zone: true},
	"timestamp-nanos":        {kind: timestamp, perSecond: Nano, zone: true},
	"local-timestamp-millis": {kind: timestamp, perSecond: Milli},
	"local-timestamp-micros": {kind: timestamp, perSecond: Micro},
	"local-timestamp-nanos":  {kind: timestamp, perSecond: Nano},
	"decimal":                {kind: decimal},

	"org.apache.kafka.connect.data.Date":      {kind: date},
	"org.apache.kafka.connect.data.Time":      {kind: clock, perSecond: Milli},
	"org.apache.kafka.connect.data.Timestamp": {kind: timestamp, perSecond: Milli, zone: true},
	"org.apache.kafka.connect.data.Decimal":   {kind: decimal},

	"io.debezium.time.Date":           {kind: date},
	"io.debezium.time.Time":           {kind: clock, perSecond: Milli},
	"io.debezium.time.MicroTime":      {kind: clock, perSecond: Micro},
	"io.debezium.time.NanoTime":       {kind: clock, perSecond: Nano},
	"io.debezium.time.Timestamp":      {kind: timestamp, perSecond: Milli},
	"io.debezium.time.MicroTimestamp": {kind: timestamp, perSecond: Micro},
	"io.debezium.time.NanoTimestamp":  {kind: timestamp, perSecond: Nano},
	"io.debezium.time.MicroDuration":  {kind: duration, perSecond: Micro},
	"io.debezium.time.NanoDuration":   {kind: duration, perSecond: Nano},
	"io.debezium.time.Year":           {},

	"io.debezium.data.VariableScaleDecimal": {kind: variable},
}

// UnknownSchema is the name of a schema whose numbers mean something that is not known here. It is the error for such a number: taken as it is, it would
// be a wrong value.
type UnknownSchema string

func (u UnknownSchema) Error() string {
	return "a number of schema " + string(u) + ", which is not known"
}

// IsUnknown reports whether name is an UnknownSchema.
func IsUnknown(name string) bool {
	_, known := logicals[name]
	return !known && strings.HasPrefix(name, "io.debezium.")
}

// LogicalOf returns the logical type with this name; scale is that of a decimal.
func LogicalOf(name string, scale int) (l Logical, known bool) {
	l, known = logicals[name]
	l.Scale = scale
	return l, known
}

// IsDecimal reports whether the bytes are a decimal.
func (l Logical) IsDecimal() bool { return l.kind == decimal }

// IsVariableDecimal reports whether the values are objects for AppendVariableDecimal.
func (l Logical) IsVariableDecimal() bool { return l.kind == variable }

// Type returns the corresponding PostgreSQL type.
func (l Logical) Type() string {
	switch l.kind {
	case date:
		return "date"
	case clock:
		return "time"
	case duration:
		return "interval"
	case decimal, variable:
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
		return AppendTime(dst, n, l.perSecond)
	case timestamp:
		zone := ""
		if l.zone {
			zone = "Z"
		}
		return AppendTimestamp(dst, n, l.perSecond, zone)
	case duration:
		return appendInterval(dst, n, l.perSecond)
	}
	return strconv.AppendInt(dst, n, 10)
}
