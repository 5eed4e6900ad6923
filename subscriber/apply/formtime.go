package apply

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/pgtee/pgtee/subscriber/decode"
)

func readDate(f *form, dst, json []byte) ([]byte, error) {
	days, isNumber, err := number(json)
	if err != nil || !isNumber {
		return orText(f, dst, json, err)
	}
	return decode.AppendDate(dst, days), nil
}

func readTime(f *form, dst, json []byte) ([]byte, error) {
	n, isNumber, err := number(json)
	if err != nil || !isNumber {
		return orText(f, dst, json, err)
	}
	return decode.AppendTime(dst, n, f.unit), nil
}

func readTimestamp(f *form, dst, json []byte) ([]byte, error) {
	n, isNumber, err := number(json)
	if err != nil || !isNumber {
		return orText(f, dst, json, err)
	}
	return decode.AppendTimestamp(dst, n, f.unit, ""), nil
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
		return dst, fmt.Errorf("date or time %.40q: %w: is --time-precision-mode that of the publisher?", json, err)
	}
	return readText(f, dst, json)
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
	for days, infinity := range map[int64]string{decode.InfinityDate: "infinity", decode.MinusInfinityDate: "-infinity"} {
		text, era := decode.AppendDay(nil, days)
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
		return append(decode.AppendPadded(dst, year, 4), text[dash:]...), nil
	}
	return append(append(decode.AppendPadded(dst, 1-year, 4), text[dash:]...), " BC"...), nil
}
