package filter

import (
	"bytes"
	"cmp"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// decimal is a number as PostgreSQL prints it: -12.50, 1e+20, NaN, Infinity.
type decimal struct {
	special  int // 2: NaN, which is greater than everything; 1: Infinity; -1: -Infinity; 0: a finite number
	sign     int // -1, 0, 1
	digits   []byte
	point    int // number of digits before the decimal point, without leading zeros
	exponent int
}

// isNumber reports whether compareNumbers can parse a text.
func isNumber(text string) bool {
	_, ok := readDecimal([]byte(text))
	return ok
}

// readDecimal parses a number without allocating: digits is a part of text that includes the decimal point.
func readDecimal(text []byte) (d decimal, ok bool) {
	switch string(text) {
	case "NaN":
		return decimal{special: 2}, true
	case "Infinity":
		return decimal{special: 1}, true
	case "-Infinity":
		return decimal{special: -1}, true
	}
	d.sign = 1
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			d.sign = -1
		}
		text = text[1:]
	}
	if at := bytes.IndexAny(text, "eE"); at >= 0 {
		if d.exponent, ok = readExponent(text[at+1:]); !ok {
			return d, false
		}
		text = text[:at]
	}
	return d.normalise(text)
}

// normalise sets the digits, without zeros at their start and end.
func (d decimal) normalise(text []byte) (decimal, bool) {
	digits := 0
	for i, c := range text {
		if isDigit(c) {
			digits++
		} else if c != '.' || bytes.IndexByte(text[:i], '.') >= 0 {
			return d, false
		}
	}
	whole := bytes.IndexByte(text, '.')
	if whole < 0 {
		whole = len(text)
	} else {
		text = bytes.TrimRight(text, "0")
	}
	d.digits = bytes.TrimLeft(text[:whole], "0")
	d.point = len(d.digits)
	d.digits = text[whole-d.point:]
	if d.point == 0 { // 0.00123: the zeros after the point count negatively
		fraction := bytes.TrimLeft(bytes.TrimPrefix(d.digits, []byte(".")), "0")
		d.point = len(fraction) - len(bytes.TrimPrefix(d.digits, []byte(".")))
		d.digits = fraction
	}
	if len(d.digits) == 0 || len(bytes.Trim(d.digits, "0.")) == 0 {
		d.sign = 0
	}
	return d, digits > 0
}

const maxExponent = 1 << 20

func readExponent(text []byte) (n int, ok bool) {
	sign := 1
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			sign = -1
		}
		text = text[1:]
	}
	for _, c := range text {
		if !isDigit(c) || n > maxExponent {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return sign * n, len(text) > 0
}

// compareNumbers compares two numbers by value, as PostgreSQL compares numeric. A text that is not a number is less than all numbers.
func compareNumbers(a, b []byte) int {
	x, okX := readDecimal(a)
	y, okY := readDecimal(b)
	switch {
	case !okX || !okY:
		return cmp.Compare(truthOf(okX), truthOf(okY))
	case x.special != 0 || y.special != 0:
		return cmp.Compare(x.special, y.special)
	case x.sign != y.sign || x.sign == 0:
		return cmp.Compare(x.sign, y.sign)
	}
	return x.sign * compareMagnitudes(x, y)
}

func compareMagnitudes(x, y decimal) int {
	if order := cmp.Compare(x.point+x.exponent, y.point+y.exponent); order != 0 {
		return order
	}
	for i, j := 0, 0; i < len(x.digits) || j < len(y.digits); {
		var a, b byte
		a, i = nextDigit(x.digits, i)
		b, j = nextDigit(y.digits, j)
		if a != b {
			return cmp.Compare(a, b)
		}
	}
	return 0
}

// nextDigit returns the digit at i, or after the decimal point if that is at i; zero after the last digit.
func nextDigit(digits []byte, i int) (digit byte, next int) {
	if i < len(digits) && digits[i] == '.' {
		i++
	}
	if i >= len(digits) {
		return '0', i
	}
	return digits[i], i + 1
}

// midnight is the end of the text of a timestamp at the start of its day.
const midnight = " 00:00:00"

// timeForms are the forms of a date or timestamp in a filter; a fraction may follow the seconds.
var timeForms = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", time.DateOnly}

var fraction = regexp.MustCompile(`^[^.,]*(\.\d{1,6})?$`)

// printedTime returns a date or timestamp in the form in which PostgreSQL prints it, without its time zone, which must be UTC. It returns false for any
// other text.
func printedTime(text string) (string, bool) {
	if text == "infinity" || text == "-infinity" {
		return text, true
	}
	for _, zone := range []string{"+00:00", "+00", "Z"} {
		if local, found := strings.CutSuffix(text, zone); found && len(local) > len(time.DateOnly) {
			text = local
			break
		}
	}
	if !fraction.MatchString(text) {
		return "", false
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, text); err == nil && t.Year() > 0 {
			if form == time.DateOnly {
				return text, true
			}
			return t.Format("2006-01-02 15:04:05.999999"), true
		}
	}
	return "", false
}

// printedClock returns a time of day in the form in which PostgreSQL prints it; false for any other text.
func printedClock(text string) (string, bool) {
	if text == "24:00:00" {
		return text, true
	}
	for _, form := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(form, text); err == nil && fraction.MatchString(text) {
			return t.Format("15:04:05.999999"), true
		}
	}
	return "", false
}

// compareTimes compares two dates or timestamps in ISO format, in UTC if they have a time zone. Years may have more than four digits, or be BC; a
// date is the start of its day.
func compareTimes(a, b []byte) int {
	yearA, restA := splitYear(a)
	yearB, restB := splitYear(b)
	if order := cmp.Compare(yearA, yearB); order != 0 {
		return order
	}
	return bytes.Compare(restA, restB)
}

const beyondYears = 1 << 30

// splitYear returns the year, negative for BC, and the rest of the text, without a time of midnight.
func splitYear(text []byte) (year int, rest []byte) {
	switch string(text) {
	case "infinity":
		return beyondYears, nil
	case "-infinity":
		return -beyondYears, nil
	}
	rest, before := bytes.CutSuffix(text, []byte(" BC"))
	rest = bytes.TrimSuffix(rest, []byte("+00"))
	for len(rest) > 0 && isDigit(rest[0]) && year < beyondYears/10 {
		year, rest = year*10+int(rest[0]-'0'), rest[1:]
	}
	if before {
		year = -year
	}
	return year, bytes.TrimSuffix(rest, []byte(midnight))
}

// likeMatches reports whether a text matches a LIKE pattern: % matches any run of characters, _ any single character, and a backslash makes the next
// character literal.
func likeMatches(pattern, text []byte) bool {
	var star, resume []byte
	starred := false
	for len(text) > 0 {
		if len(pattern) > 0 && pattern[0] == '%' {
			star, resume, starred = pattern[1:], text, true
			pattern = star
			continue
		}
		if width, step := likeStep(pattern, text); width > 0 {
			pattern, text = pattern[step:], text[width:]
			continue
		}
		if !starred {
			return false
		}
		resume = resume[characterWidth(resume):]
		pattern, text = star, resume
	}
	return len(bytes.TrimLeft(pattern, "%")) == 0
}

// likeStep matches the start of the pattern against the start of text, and returns the lengths consumed of both, 0 for no match.
func likeStep(pattern, text []byte) (width, step int) {
	switch {
	case len(pattern) == 0:
		return 0, 0
	case pattern[0] == '_':
		return characterWidth(text), 1
	case pattern[0] == '\\' && len(pattern) > 1:
		pattern, step = pattern[1:], 1
	}
	if pattern[0] != text[0] {
		return 0, 0
	}
	return 1, step + 1
}

// characterWidth returns the number of bytes of the first UTF-8 character.
func characterWidth(text []byte) int {
	_, width := utf8.DecodeRune(text)
	return width
}
