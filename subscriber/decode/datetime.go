package decode

import (
	"math"
	"strconv"
)

// Units of times and timestamps per second.
const (
	Milli = 1_000
	Micro = 1_000_000
	Nano  = 1_000_000_000
)

// InfinityDate and MinusInfinityDate are the days since 1970 that represent the infinities, infinityMillis and minusInfinityMillis the milliseconds,
// as in pgjdbc. In smaller units the largest and the smallest int64 represent them.
const (
	InfinityDate, MinusInfinityDate     = 2146033979, -2147472691
	infinityMillis, minusInfinityMillis = 9223372036825200000, -9223372036832400000
)

// AppendDate appends a date, given as days since 1970-01-01, as PostgreSQL reads it.
func AppendDate(dst []byte, days int64) []byte {
	switch days {
	case InfinityDate:
		return append(dst, "infinity"...)
	case MinusInfinityDate:
		return append(dst, "-infinity"...)
	}
	dst, era := AppendDay(dst, days)
	return append(dst, era...)
}

// AppendTime appends a time of day, up to 24:00:00.
func AppendTime(dst []byte, n, perSecond int64) []byte {
	return appendClock(dst, n/perSecond, n%perSecond*(Nano/perSecond))
}

// appendInterval appends an interval in hours, minutes and seconds, as PostgreSQL reads it. The largest and the smallest number stand for the infinities,
// and for what did not fit.
func appendInterval(dst []byte, n, perSecond int64) []byte {
	switch n {
	case math.MaxInt64:
		return append(dst, "infinity"...)
	case math.MinInt64:
		return append(dst, "-infinity"...)
	}
	seconds, fraction := n/perSecond, n%perSecond
	if n < 0 {
		dst, seconds, fraction = append(dst, '-'), -seconds, -fraction
	}
	return appendClock(dst, seconds, fraction*(Nano/perSecond))
}

// AppendTimestamp appends a timestamp, given in units since 1970, as PostgreSQL reads it: in ISO 8601, except for infinities and years before 1. zone
// follows the time of day.
func AppendTimestamp(dst []byte, n, perSecond int64, zone string) []byte {
	high, low := int64(math.MaxInt64), int64(math.MinInt64)
	if perSecond == Milli {
		high, low = infinityMillis, minusInfinityMillis
	}
	switch n {
	case high:
		return append(dst, "infinity"...)
	case low:
		return append(dst, "-infinity"...)
	}
	seconds, fraction := floorDivide(n, perSecond)
	days, second := floorDivide(seconds, 86400)
	dst, era := AppendDay(dst, days)
	dst = appendClock(append(dst, 'T'), second, fraction*(Nano/perSecond))
	return append(append(dst, zone...), era...)
}

func floorDivide(n, by int64) (quotient, rest int64) {
	quotient, rest = n/by, n%by
	if rest < 0 {
		return quotient - 1, rest + by
	}
	return quotient, rest
}

// AppendDay appends the day, given as days since 1970-01-01 in the proleptic Gregorian calendar. It returns the suffix that follows the time of day
// for years before 1, as there is no year 0. After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
func AppendDay(dst []byte, days int64) ([]byte, string) {
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
	dst = append(AppendPadded(dst, year, 4), '-')
	dst = append(AppendPadded(dst, month, 2), '-')
	return AppendPadded(dst, day, 2), suffix
}

// appendClock appends a time of day without the zeros at the end of its fraction.
func appendClock(dst []byte, seconds, nanos int64) []byte {
	dst = append(AppendPadded(dst, seconds/3600, 2), ':')
	dst = append(AppendPadded(dst, seconds/60%60, 2), ':')
	dst = AppendPadded(dst, seconds%60, 2)
	if nanos == 0 {
		return dst
	}
	digits := 9
	for ; nanos%10 == 0; digits-- {
		nanos /= 10
	}
	return AppendPadded(append(dst, '.'), nanos, digits)
}

// AppendPadded appends a number with at least width digits.
func AppendPadded(dst []byte, n int64, width int) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	for i := len(text); i < width; i++ {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}
