package apply

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// Units of times and timestamps per second.
const (
	milli = 1_000
	micro = 1_000_000
	nano  = 1_000_000_000
)

// Days since 1970 and milliseconds that represent the infinities: those of pgjdbc's constants.
const (
	infinityDate, minusInfinityDate     = 2146033979, -2147472691
	infinityMillis, minusInfinityMillis = 9223372036825200000, -9223372036832400000
)

func readDate(f *form, dst, json []byte) ([]byte, error) {
	days, isNumber, err := number(json)
	if err != nil || !isNumber {
		return orText(f, dst, json, err)
	}
	switch days {
	case infinityDate:
		return append(dst, "infinity"...), nil
	case minusInfinityDate:
		return append(dst, "-infinity"...), nil
	}
	dst, era := appendDate(dst, days)
	return append(dst, era...), nil
}

func readTime(f *form, dst, json []byte) ([]byte, error) {
	n, isNumber, err := number(json)
	if err != nil || !isNumber {
		return orText(f, dst, json, err)
	}
	return appendClock(dst, n/f.unit, n%f.unit*(nano/f.unit)), nil
}

func readTimestamp(f *form, dst, json []byte) ([]byte, error) {
	n, isNumber, err := number(json)
	if err != nil || !isNumber {
		return orText(f, dst, json, err)
	}
	high, low := int64(math.MaxInt64), int64(math.MinInt64)
	if f.unit == milli {
		high, low = infinityMillis, minusInfinityMillis
	}
	switch n {
	case high:
		return append(dst, "infinity"...), nil
	case low:
		return append(dst, "-infinity"...), nil
	}
	seconds, fraction := floorDivide(n, f.unit)
	days, second := floorDivide(seconds, 86400)
	dst, era := appendDate(dst, days)
	dst = appendClock(append(dst, ' '), second, fraction*(nano/f.unit))
	return append(dst, era...), nil
}

// number reads a JSON number. A string is PostgreSQL's own text.
func number(json []byte) (n int64, isNumber bool, err error) {
	if json[0] == '"' {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(string(json), 10, 64)
	return n, err == nil, err
}

func orText(f *form, dst, json []byte, err error) ([]byte, error) {
	if err != nil {
		return dst, fmt.Errorf("date or time %.40q: %w: does --time-precision-mode say what the publisher's does?", json, err)
	}
	return readText(f, dst, json)
}

func floorDivide(n, by int64) (quotient, rest int64) {
	quotient, rest = n/by, n%by
	if rest < 0 {
		return quotient - 1, rest + by
	}
	return quotient, rest
}

// appendDate appends the day, given as days since 1970-01-01 in the proleptic Gregorian calendar. It returns the suffix that follows the time of day
// for years before 1, as there is no year 0. After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
func appendDate(dst []byte, days int64) ([]byte, string) {
	era, day := floorDivide(days+719468, 146097)
	yearOfEra := (day - day/1460 + day/36524 - day/146096) / 365
	day -= 365*yearOfEra + yearOfEra/4 - yearOfEra/100
	month := (5*day + 2) / 153
	day -= (153*month+2)/5 - 1
	year := yearOfEra + era*400
	if month < 10 {
		month += 3
	} else {
		month -= 9
		year++
	}
	suffix := ""
	if year <= 0 {
		year, suffix = 1-year, " BC"
	}
	dst = append(appendPadded(dst, year, 4), '-')
	dst = append(appendPadded(dst, month, 2), '-')
	return appendPadded(dst, day, 2), suffix
}

func appendClock(dst []byte, seconds, nanos int64) []byte {
	dst = append(appendPadded(dst, seconds/3600, 2), ':')
	dst = append(appendPadded(dst, seconds/60%60, 2), ':')
	dst = appendPadded(dst, seconds%60, 2)
	if nanos == 0 {
		return dst
	}
	return appendPadded(append(dst, '.'), nanos/1000, 6)
}

func appendPadded(dst []byte, n int64, width int) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	for i := len(text); i < width; i++ {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}

// readZoned reads ISO 8601 with a year 0, and a sign before negative years and years of more than four digits: "-0043-03-15T12:00:00Z".
func readZoned(f *form, dst, json []byte) ([]byte, error) {
	if len(json) < 2 || json[0] != '"' {
		return dst, fmt.Errorf("timestamp with time zone %.40q: want a string", json)
	}
	return appendISO(dst, json[1:len(json)-1])
}

func readISODate(_ *form, dst, json []byte) ([]byte, error) {
	start := len(dst)
	dst, err := appendISO(dst, bytes.TrimSuffix(bytes.Trim(json, `"`), []byte("Z")))
	if err != nil {
		return dst, err
	}
	for days, infinity := range map[int64]string{infinityDate: "infinity", minusInfinityDate: "-infinity"} {
		text, era := appendDate(nil, days)
		if string(dst[start:]) == string(text)+era {
			return append(dst[:start], infinity...), nil
		}
	}
	return dst, nil
}

func readISOTimestamp(_ *form, dst, json []byte) ([]byte, error) {
	switch string(json) {
	case `"+292278994-08-16T23:00:00Z"`:
		return append(dst, "infinity"...), nil
	case `"-292275055-05-16T23:00:00Z"`:
		return append(dst, "-infinity"...), nil
	}
	return appendISO(dst, bytes.TrimSuffix(bytes.Trim(json, `"`), []byte("Z")))
}

// appendISO converts the year of an ISO 8601 date to PostgreSQL's form and copies the rest.
func appendISO(dst, text []byte) ([]byte, error) {
	sign := byte(0)
	if len(text) > 0 && (text[0] == '+' || text[0] == '-') {
		sign, text = text[0], text[1:]
	}
	dash := bytes.IndexByte(text, '-')
	if dash < 0 { // infinity
		if sign == '-' {
			dst = append(dst, '-')
		}
		return append(dst, text...), nil
	}
	year, err := strconv.ParseInt(string(text[:dash]), 10, 64)
	if err != nil {
		return dst, fmt.Errorf("date %.40q: %w", text, err)
	}
	if sign == '-' {
		year = -year
	}
	if year > 0 {
		return append(appendPadded(dst, year, 4), text[dash:]...), nil
	}
	return append(append(appendPadded(dst, 1-year, 4), text[dash:]...), " BC"...), nil
}
