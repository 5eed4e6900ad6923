package debezium

import (
	"bytes"
	"math"
	"strconv"
)

// Dates and times at Debezium's time.precision.mode=adaptive. The text is that of DateStyle ISO,
// with any TimeZone.

const (
	second = 1_000_000 // microseconds
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour

	// maxDays is how far from 1970 microseconds fit into 64 bits: to the year 294246. The last 30
	// years of PostgreSQL's timestamp are beyond it.
	maxDays = math.MaxInt64/day - 1
)

// appendDate: days since 1970-01-01. The infinities are what Debezium makes of them: the days of
// pgjdbc's java.util.Date constants, cut to 32 bits.
func appendDate(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "infinity":
		return append(dst, "2146033979"...), true
	case "-infinity":
		return append(dst, "-2147472691"...), true
	}
	text, bc := cutBC(text)
	days, rest, ok := parseDate(text, bc)
	if !ok || len(rest) > 0 {
		return dst, false
	}
	return strconv.AppendInt(dst, days, 10), true
}

// timeOfDay: time(0..3) is milliseconds, other precisions microseconds since midnight.
func timeOfDay(typmod int32) appendFunc {
	unit := unitOf(typmod)
	return func(dst, text []byte) ([]byte, bool) {
		micros, rest, ok := parseTime(text)
		if !ok || len(rest) > 0 {
			return dst, false
		}
		return strconv.AppendInt(dst, micros/unit, 10), true
	}
}

// timestamp: timestamp(0..3) is milliseconds, other precisions microseconds since 1970, as if UTC.
func timestamp(typmod int32) appendFunc {
	unit := unitOf(typmod)
	infinity, minusInfinity := "9223372036854775807", "-9223372036854775808"
	if unit > 1 {
		infinity, minusInfinity = "9223372036825200000", "-9223372036832400000"
	}
	return func(dst, text []byte) ([]byte, bool) {
		switch string(text) {
		case "infinity":
			return append(dst, infinity...), true
		case "-infinity":
			return append(dst, minusInfinity...), true
		}
		days, micros, rest, ok := parseTimestamp(text)
		if !ok || len(rest) > 0 || days > maxDays || days < -maxDays {
			return dst, false
		}
		return strconv.AppendInt(dst, floorDivide(days*day+micros, unit), 10), true
	}
}

// unitOf returns the microseconds in the unit of time(typmod) and timestamp(typmod).
func unitOf(typmod int32) int64 {
	if typmod >= 0 && typmod <= 3 {
		return 1000
	}
	return 1
}

// timestampZone: "2024-02-29T10:34:56.789123Z", in UTC, with as many digits after the point as the
// type has; "infinity" and "-infinity".
func timestampZone(typmod int32) appendFunc {
	precision := 6
	if typmod >= 0 && typmod < 6 {
		precision = int(typmod)
	}
	return func(dst, text []byte) ([]byte, bool) {
		switch string(text) {
		case "infinity":
			return append(dst, `"infinity"`...), true
		case "-infinity":
			return append(dst, `"-infinity"`...), true
		}
		days, micros, rest, ok := parseTimestamp(text)
		if !ok {
			return dst, false
		}
		offset, ok := parseZone(rest)
		if !ok {
			return dst, false
		}
		return appendInstant(dst, days, micros-offset, precision), true
	}
}

// appendTimeZone: "10:34:56.789Z", in UTC, without trailing zeros. 24:00:00 in UTC stays.
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
	dst = append(dst, '"')
	dst = appendClock(dst, micros)
	if fraction := micros % second; fraction > 0 {
		precision := 6
		for ; fraction%10 == 0; fraction /= 10 {
			precision--
		}
		dst = appendFraction(dst, micros, precision)
	}
	return append(dst, 'Z', '"'), true
}

// appendInstant appends the instant so many microseconds, of any sign, after midnight of a day.
func appendInstant(dst []byte, days, micros int64, precision int) []byte {
	carry := floorDivide(micros, day)
	days, micros = days+carry, micros-carry*day
	year, month, dayOfMonth := civil(days)
	dst = append(dst, '"')
	switch {
	case year < 0:
		dst = append(dst, '-')
		year = -year
	case year > 9999:
		dst = append(dst, '+')
	}
	dst = appendPadded(dst, year, 4)
	dst = append(dst, '-')
	dst = appendPadded(dst, month, 2)
	dst = append(dst, '-')
	dst = appendPadded(dst, dayOfMonth, 2)
	dst = append(dst, 'T')
	dst = appendClock(dst, micros)
	dst = appendFraction(dst, micros, precision)
	return append(dst, 'Z', '"')
}

func appendClock(dst []byte, micros int64) []byte {
	dst = appendPadded(dst, micros/hour, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, micros/minute%60, 2)
	dst = append(dst, ':')
	return appendPadded(dst, micros/second%60, 2)
}

// appendFraction appends the first digits of the microseconds after a point.
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

func floorDivide(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func cutBC(text []byte) ([]byte, bool) { return bytes.CutSuffix(text, []byte(" BC")) }

// parseTimestamp reads "0044-03-15 12:34:56.789+00 BC", up to the zone, as days since 1970 and
// microseconds since midnight.
func parseTimestamp(text []byte) (days, micros int64, rest []byte, ok bool) {
	text, bc := cutBC(text)
	days, rest, ok = parseDate(text, bc)
	if !ok || len(rest) == 0 || rest[0] != ' ' {
		return 0, 0, nil, false
	}
	micros, rest, ok = parseTime(rest[1:])
	return days, micros, rest, ok
}

// parseDate reads "2024-02-29" as days since 1970-01-01 in the proleptic Gregorian calendar.
func parseDate(text []byte, bc bool) (days int64, rest []byte, ok bool) {
	year, text, ok := parseNumber(text, 4, 7, '-')
	if !ok {
		return 0, nil, false
	}
	month, text, ok := parseNumber(text, 2, 2, '-')
	if !ok || month < 1 || month > 12 {
		return 0, nil, false
	}
	dayOfMonth, text, ok := parseNumber(text, 2, 2, 0)
	if !ok || dayOfMonth < 1 || dayOfMonth > 31 {
		return 0, nil, false
	}
	if bc {
		year = 1 - year
	}
	return daysFromCivil(year, month, dayOfMonth), text, true
}

// parseTime reads "12:34:56.789123" as microseconds.
func parseTime(text []byte) (micros int64, rest []byte, ok bool) {
	h, text, ok := parseNumber(text, 2, 2, ':')
	if !ok || h > 24 {
		return 0, nil, false
	}
	m, text, ok := parseNumber(text, 2, 2, ':')
	if !ok || m > 59 {
		return 0, nil, false
	}
	s, text, ok := parseNumber(text, 2, 2, 0)
	if !ok || s > 59 {
		return 0, nil, false
	}
	micros = h*hour + m*minute + s*second
	if len(text) == 0 || text[0] != '.' {
		return micros, text, true
	}
	fraction, rest, ok := parseFraction(text[1:])
	return micros + fraction, rest, ok
}

// parseFraction reads one to six digits after a point as microseconds.
func parseFraction(text []byte) (micros int64, rest []byte, ok bool) {
	size := digits(text)
	if size < 1 || size > 6 {
		return 0, nil, false
	}
	for _, c := range text[:size] {
		micros = micros*10 + int64(c-'0')
	}
	for i := size; i < 6; i++ {
		micros *= 10
	}
	return micros, text[size:], true
}

// parseZone reads "+02", "-05:30", "+00:19:32" as microseconds east of UTC.
func parseZone(text []byte) (offset int64, ok bool) {
	if len(text) == 0 || text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	negative := text[0] == '-'
	text = text[1:]
	for _, unit := range [...]int64{hour, minute, second} {
		n, rest, ok := parseNumber(text, 2, 2, 0)
		if !ok {
			return 0, false
		}
		offset += n * unit
		if len(rest) == 0 {
			text = rest
			break
		}
		if rest[0] != ':' {
			return 0, false
		}
		text = rest[1:]
	}
	if negative {
		offset = -offset
	}
	return offset, len(text) == 0
}

// parseNumber reads at least low and at most high digits, and the byte after, if that is not 0.
func parseNumber(text []byte, low, high int, after byte) (n int64, rest []byte, ok bool) {
	size := digits(text)
	if size < low || size > high {
		return 0, nil, false
	}
	for _, c := range text[:size] {
		n = n*10 + int64(c-'0')
	}
	rest = text[size:]
	if after == 0 {
		return n, rest, true
	}
	if len(rest) == 0 || rest[0] != after {
		return 0, nil, false
	}
	return n, rest[1:], true
}

// daysFromCivil and civil convert between a date and days since 1970-01-01. A year is counted from
// March on, in eras of 400 years.
func daysFromCivil(year, month, dayOfMonth int64) int64 {
	if month <= 2 {
		year--
	}
	era := floorDivide(year, 400)
	yearOfEra := year - era*400
	dayOfYear := (153*((month+9)%12)+2)/5 + dayOfMonth - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return era*146097 + dayOfEra - 719468
}

func civil(days int64) (year, month, dayOfMonth int64) {
	days += 719468
	era := floorDivide(days, 146097)
	dayOfEra := days - era*146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*dayOfYear + 2) / 153
	year, month = yearOfEra+era*400, (shifted+2)%12+1
	if month <= 2 {
		year++
	}
	return year, month, dayOfYear - (153*shifted+2)/5 + 1
}
