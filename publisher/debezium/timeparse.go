package debezium

import "bytes"

// This file reads dates and times as PostgreSQL prints them with DateStyle ISO, in any TimeZone.

const (
	second = 1_000_000 // microseconds
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

func floorDivide(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func cutBC(text []byte) ([]byte, bool) { return bytes.CutSuffix(text, []byte(" BC")) }

// parseTimestamp reads "0044-03-15 12:34:56.789+00 BC", up to the time zone, as days since 1970 and microseconds since midnight.
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

// parseFraction reads one to six digits after the decimal point as microseconds.
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

// parseNumber reads low to high digits, and after them the byte after, unless that is 0.
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

// daysFromCivil and civil convert between a date and days since 1970-01-01. Years start in March and are grouped into eras of 400 years.
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
