package debezium

import (
	"math"
	"strconv"

	"github.com/pgtee/pgtee/publisher/record"
)

// temporal returns the codec of a date, time or interval type.
func (c *codecs) temporal(oid uint32, typmod int32) codec {
	if c.modes.Times == TimeStructured {
		return c.structured(oid, typmod)
	}
	var found codec
	switch oid {
	case oidDate:
		found = c.date()
	case oidTime:
		found = c.timeOfDay(typmod)
	case oidTimestamp:
		found = c.timestamp(typmod)
	case oidTimeTZ:
		found = codec{append: appendTimeZone, schema: named(record.String, "io.debezium.time.ZonedTime"), zero: `"00:00:00Z"`,
			lossy: "use --time-precision-mode structured, or the type timestamptz"}
	case oidTimestampTZ:
		found = codec{append: timestampZone(typmod), schema: named(record.String, "io.debezium.time.ZonedTimestamp"), zero: `"1970-01-01T00:00:00Z"`}
	case oidInterval:
		found = c.interval()
	}
	if c.modes.Times == TimeConnect && (oid == oidTime || oid == oidTimestamp) && !milliseconds(typmod) {
		found.lossy = "use --time-precision-mode adaptive"
	}
	found.defaults = defaultForms[oid]
	return found
}

func (c *codecs) date() codec {
	found := codec{append: appendDate, schema: named(record.Int32, "io.debezium.time.Date"), zero: "0", unavailableArray: c.placeholders.codes}
	switch c.modes.Times {
	case TimeConnect:
		found.schema.Name = "org.apache.kafka.connect.data.Date"
	case TimeISOString:
		return codec{append: appendISODate, schema: named(record.String, "io.debezium.time.IsoDate"), zero: `"1970-01-01Z"`}
	}
	return found
}

// milliseconds reports whether time.precision.mode=adaptive uses milliseconds for a time or timestamp with this typmod, which is its precision.
func milliseconds(typmod int32) bool { return typmod >= 0 && typmod <= 3 }

// Units of times and timestamps per second.
const (
	milli = 1_000
	micro = 1_000_000
	nano  = 1_000_000_000
)

func (c *codecs) timeOfDay(typmod int32) codec {
	number := func(t record.SchemaType, name string, unit int64) codec {
		return codec{append: timeOfDay(unit), schema: named(t, name), zero: "0"}
	}
	switch mode := c.modes.Times; {
	case mode == TimeISOString:
		return codec{append: appendISOTime, schema: named(record.String, "io.debezium.time.IsoTime"), zero: `"00:00:00Z"`}
	case mode == TimeConnect:
		return number(record.Int32, "org.apache.kafka.connect.data.Time", milli)
	case mode == TimeNanoseconds:
		return number(record.Int64, "io.debezium.time.NanoTime", nano)
	case mode == TimeAdaptive && milliseconds(typmod):
		return number(record.Int32, "io.debezium.time.Time", milli)
	}
	return number(record.Int64, "io.debezium.time.MicroTime", micro)
}

func (c *codecs) timestamp(typmod int32) codec {
	number := func(name string, unit int64) codec {
		return codec{append: timestamp(unit), schema: named(record.Int64, name), zero: "0"}
	}
	switch mode := c.modes.Times; {
	case mode == TimeISOString:
		return codec{append: appendISOTimestamp, schema: named(record.String, "io.debezium.time.IsoTimestamp"), zero: `"1970-01-01T00:00:00Z"`}
	case mode == TimeConnect:
		return number("org.apache.kafka.connect.data.Timestamp", milli)
	case mode == TimeNanoseconds:
		return number("io.debezium.time.NanoTimestamp", nano)
	case mode != TimeMicroseconds && milliseconds(typmod):
		return number("io.debezium.time.Timestamp", milli)
	}
	return number("io.debezium.time.MicroTimestamp", micro)
}

// Days since 1970 that Debezium uses for the infinities: those of pgjdbc's java.util.Date constants, truncated to 32 bits.
const (
	infinityDate      = 2146033979
	minusInfinityDate = -2147472691
)

// appendDate encodes a date as days since 1970-01-01.
func appendDate(dst, text []byte) ([]byte, bool) {
	days, ok := parseWholeDate(text)
	return strconv.AppendInt(dst, days, 10), ok
}

// appendISODate encodes a date as "2024-02-29Z".
func appendISODate(dst, text []byte) ([]byte, bool) {
	days, ok := parseWholeDate(text)
	dst = appendCivil(append(dst, '"'), days)
	return append(dst, 'Z', '"'), ok
}

func parseWholeDate(text []byte) (days int64, ok bool) {
	switch string(text) {
	case "infinity":
		return infinityDate, true
	case "-infinity":
		return minusInfinityDate, true
	}
	text, bc := cutBC(text)
	days, rest, ok := parseDate(text, bc)
	return days, ok && len(rest) == 0
}

// timeOfDay returns an encoder of times as the time since midnight; unit is the number of units per second.
func timeOfDay(unit int64) appendFunc {
	return func(dst, text []byte) ([]byte, bool) {
		micros, rest, ok := parseTime(text)
		n, _ := count(0, micros, unit)
		return strconv.AppendInt(dst, n, 10), ok && len(rest) == 0
	}
}

// appendISOTime encodes a time as "10:34:56.789Z", without trailing zeros. 24:00:00 is kept.
func appendISOTime(dst, text []byte) ([]byte, bool) {
	micros, rest, ok := parseTime(text)
	return appendZulu(append(dst, '"'), micros), ok && len(rest) == 0
}

// timestamp returns an encoder of timestamps as the time since 1970, as if they were in UTC; unit is the number of units per second. The infinities
// are the largest and smallest numbers, in milliseconds those of java.util.Date.
func timestamp(unit int64) appendFunc {
	infinity, minusInfinity := int64(math.MaxInt64), int64(math.MinInt64)
	if unit == milli {
		infinity, minusInfinity = 9223372036825200000, -9223372036832400000
	}
	return func(dst, text []byte) ([]byte, bool) {
		switch string(text) {
		case "infinity":
			return strconv.AppendInt(dst, infinity, 10), true
		case "-infinity":
			return strconv.AppendInt(dst, minusInfinity, 10), true
		}
		days, micros, rest, ok := parseTimestamp(text)
		if !ok || len(rest) > 0 {
			return dst, false
		}
		n, ok := count(days, micros, unit)
		return strconv.AppendInt(dst, n, 10), ok && n != infinity && n != minusInfinity
	}
}

// count converts days since 1970 and microseconds since midnight to units. It returns false if the result does not fit into 64 bits.
func count(days, micros, unit int64) (int64, bool) {
	perDay := unit * (day / second)
	rest := micros / (second / min(unit, second)) * max(unit/second, 1)
	if limit := math.MaxInt64 / perDay; days > limit || days < -limit-1 {
		return 0, false
	}
	if days >= 0 {
		n := days*perDay + rest
		return n, n >= 0
	}
	n := (days+1)*perDay + (rest - perDay) // neither part is less than the sum
	return n, n < 0
}

// appendISOTimestamp encodes a timestamp as "2024-02-29T10:34:56.789Z", without trailing zeros. The infinities are the extreme values of
// java.util.Date.
func appendISOTimestamp(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "infinity":
		return append(dst, `"+292278994-08-16T23:00:00Z"`...), true
	case "-infinity":
		return append(dst, `"-292275055-05-16T23:00:00Z"`...), true
	}
	days, micros, rest, ok := parseTimestamp(text)
	days, micros = days+micros/day, micros%day
	dst = append(appendCivil(append(dst, '"'), days), 'T')
	return appendZulu(dst, micros), ok && len(rest) == 0
}

// timestampZone encodes a timestamptz as "2024-02-29T10:34:56.789123Z", in UTC, with as many digits after the decimal point as the type has. The
// infinities are "infinity" and "-infinity".
func timestampZone(typmod int32) appendFunc {
	precision := 6
	if typmod >= 0 && typmod < 6 {
		precision = int(typmod)
	}
	return func(dst, text []byte) ([]byte, bool) {
		switch string(text) {
		case "infinity", "-infinity":
			return appendText(dst, text)
		}
		days, micros, rest, ok := parseTimestamp(text)
		if !ok {
			return dst, false
		}
		offset, ok := parseZone(rest)
		if !ok {
			return dst, false
		}
		micros -= offset
		carry := floorDivide(micros, day)
		dst = append(appendCivil(append(dst, '"'), days+carry), 'T')
		micros -= carry * day
		dst = appendFraction(appendClock(dst, micros), micros, precision)
		return append(dst, 'Z', '"'), true
	}
}

// appendTimeZone encodes a timetz as "10:34:56.789Z", in UTC, without trailing zeros. 24:00:00 in UTC is kept.
func appendTimeZone(dst, text []byte) ([]byte, bool) {
	micros, rest, ok := parseTime(text)
	if !ok {
		return dst, false
	}
	offset, ok := parseZone(rest)
	if !ok {
		return dst, false
	}
	if offset != 0 || micros > day {
		micros = ((micros-offset)%day + day) % day
	}
	return appendZulu(append(dst, '"'), micros), true
}

// appendCivil appends a day since 1970 as an ISO 8601 date: "2024-02-29", "-0043-03-15", "+10000-01-01".
func appendCivil(dst []byte, days int64) []byte {
	year, month, dayOfMonth := civil(days)
	switch {
	case year < 0:
		dst = append(dst, '-')
		year = -year
	case year > 9999:
		dst = append(dst, '+')
	}
	dst = append(appendPadded(dst, year, 4), '-')
	dst = append(appendPadded(dst, month, 2), '-')
	return appendPadded(dst, dayOfMonth, 2)
}

// appendZulu appends a time of day without trailing zeros, and the closing quote.
func appendZulu(dst []byte, micros int64) []byte {
	dst = appendShortFraction(appendClock(dst, micros), micros)
	return append(dst, 'Z', '"')
}

func appendClock(dst []byte, micros int64) []byte {
	dst = appendPadded(dst, micros/hour, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, micros/minute%60, 2)
	dst = append(dst, ':')
	return appendPadded(dst, micros/second%60, 2)
}

// appendFraction appends a decimal point and the first precision digits of the microseconds.
func appendFraction(dst []byte, micros int64, precision int) []byte {
	if precision == 0 {
		return dst
	}
	fraction := micros % second
	for i := precision; i < 6; i++ {
		fraction /= 10
	}
	return appendPadded(append(dst, '.'), fraction, precision)
}

// appendPadded appends n >= 0 with at least width digits.
func appendPadded(dst []byte, n int64, width int) []byte {
	for limit := int64(math.Pow10(width - 1)); limit > 1 && n < limit; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, n, 10)
}

// appendShortFraction appends a decimal point and the microseconds, without trailing zeros.
func appendShortFraction(dst []byte, micros int64) []byte {
	fraction, precision := micros%second, 6
	if fraction == 0 {
		return dst
	}
	for ; fraction%10 == 0; fraction /= 10 {
		precision--
	}
	return appendFraction(dst, micros, precision)
}
