package debezium

import (
	"math"
	"strconv"

	"github.com/pgtee/pgtee/publisher/record"
)

// microsPerMonth is the length of a month in Debezium: 365.25 / 12 days.
const microsPerMonth = 2_629_800 * second

// interval returns the codec chosen by interval.handling.mode.
func (c *codecs) interval() codec {
	if c.modes.Intervals == IntervalString {
		return codec{append: appendISOInterval, schema: named(record.String, "io.debezium.time.Interval"), zero: `"P0Y0M0DT0H0M0S"`}
	}
	return codec{append: appendInterval, schema: named(record.Int64, "io.debezium.time.MicroDuration"), zero: "0", lossy: "use --interval-handling-mode string"}
}

// appendInterval encodes "1 year 2 mons -3 days +04:05:06.789" (IntervalStyle postgres) as microseconds, for interval.handling.mode=numeric. A value
// that does not fit into 64 bits, including the infinities of PostgreSQL 17, becomes the largest or smallest number.
func appendInterval(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "infinity":
		return strconv.AppendInt(dst, math.MaxInt64, 10), true
	case "-infinity":
		return strconv.AppendInt(dst, math.MinInt64, 10), true
	}
	var micros int64 // may overflow in between; estimate shows whether the result does
	var estimate float64
	for {
		count, unit, rest, ok := parseIntervalPart(text)
		if !ok {
			return dst, false
		}
		micros += count * unit
		estimate += float64(count) * float64(unit)
		if len(rest) == 0 {
			break
		}
		if rest[0] != ' ' {
			return dst, false
		}
		text = rest[1:]
	}
	switch {
	case estimate >= math.MaxInt64:
		micros = math.MaxInt64
	case estimate <= math.MinInt64:
		micros = math.MinInt64
	}
	return strconv.AppendInt(dst, micros, 10), true
}

// parseIntervalPart reads "-2 mons" or "+04:05:06.789" as a count and its unit in microseconds.
func parseIntervalPart(text []byte) (count, unit int64, rest []byte, ok bool) {
	negative := len(text) > 0 && text[0] == '-'
	if negative || len(text) > 0 && text[0] == '+' {
		text = text[1:]
	}
	count, rest, ok = parseNumber(text, 1, 10, 0)
	if !ok || len(rest) == 0 {
		return 0, 0, nil, false
	}
	if rest[0] == ':' {
		count, rest, ok = parseHours(count, rest[1:])
		unit = 1
	} else {
		unit, rest, ok = parseIntervalUnit(rest)
	}
	if negative {
		count = -count
	}
	return count, unit, rest, ok
}

// parseHours reads the "05:06.789" after the hours, which have no upper limit.
func parseHours(hours int64, text []byte) (micros int64, rest []byte, ok bool) {
	m, text, ok := parseNumber(text, 2, 2, ':')
	if !ok || m > 59 {
		return 0, nil, false
	}
	s, text, ok := parseNumber(text, 2, 2, 0)
	if !ok || s > 59 || hours > math.MaxInt64/hour-1 {
		return 0, nil, false
	}
	micros = hours*hour + m*minute + s*second
	if len(text) == 0 || text[0] != '.' {
		return micros, text, true
	}
	fraction, rest, ok := parseFraction(text[1:])
	return micros + fraction, rest, ok
}

func parseIntervalUnit(text []byte) (micros int64, rest []byte, ok bool) {
	text = text[1:]
	size := 0
	for size < len(text) && text[size] >= 'a' && text[size] <= 'z' {
		size++
	}
	switch string(text[:size]) {
	case "year", "years":
		micros = 12 * microsPerMonth
	case "mon", "mons":
		micros = microsPerMonth
	case "day", "days":
		micros = day
	}
	return micros, text[size:], micros > 0
}

// intervalParts are the parts of an interval, as printed by IntervalStyle postgres.
type intervalParts struct{ years, months, days, micros int64 }

// parseInterval reads an interval. It returns false for the infinities too.
func parseInterval(text []byte) (parts intervalParts, ok bool) {
	for {
		count, unit, rest, ok := parseIntervalPart(text)
		if !ok {
			return parts, false
		}
		switch unit {
		case 12 * microsPerMonth:
			parts.years = count
		case microsPerMonth:
			parts.months = count
		case day:
			parts.days = count
		default:
			parts.micros = count
		}
		if len(rest) == 0 {
			return parts, true
		}
		if rest[0] != ' ' {
			return parts, false
		}
		text = rest[1:]
	}
}

// appendISOInterval encodes an interval as "P1Y2M-3DT4H5M6.789S". It keeps the parts as IntervalStyle postgres prints them, and the infinities of
// PostgreSQL 17 as text.
func appendISOInterval(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "infinity", "-infinity":
		return appendText(dst, text)
	}
	parts, ok := parseInterval(text)
	if !ok {
		return dst, false
	}
	micros := parts.micros
	dst = appendInt(append(dst, '"', 'P'), parts.years)
	dst = appendInt(append(dst, 'Y'), parts.months)
	dst = appendInt(append(dst, 'M'), parts.days)
	dst = appendInt(append(dst, 'D', 'T'), micros/hour)
	dst = appendInt(append(dst, 'H'), micros/minute%60)
	dst = append(dst, 'M')
	if micros%minute < 0 {
		dst = append(dst, '-')
	}
	micros = max(micros%minute, -micros%minute)
	dst = appendInt(dst, micros/second)
	dst = appendShortFraction(dst, micros)
	return append(dst, 'S', '"'), true
}
