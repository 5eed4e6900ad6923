package debezium

import (
	"bytes"
	"math"
	"strconv"
)

// appendInteger returns the encoder of int2, int4, int8 and oid, whose text is already a JSON number.
func appendInteger(bits int) appendFunc {
	return func(dst, text []byte) ([]byte, bool) {
		number := text
		if len(number) > 0 && number[0] == '-' {
			number = number[1:]
		}
		const most = 19 // digits
		if len(number) == 0 || len(number) > most || digits(number) != len(number) || number[0] == '0' && len(text) > 1 {
			return dst, false
		}
		n, err := strconv.ParseInt(string(text), 10, bits)
		return strconv.AppendInt(dst, n, 10), err == nil
	}
}

func appendBool(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "t":
		return append(dst, "true"...), true
	case "f":
		return append(dst, "false"...), true
	}
	return dst, false
}

func appendFloat4(dst, text []byte) ([]byte, bool) { return appendFloat(dst, text, 32) }
func appendFloat8(dst, text []byte) ([]byte, bool) { return appendFloat(dst, text, 64) }

func appendFloat(dst, text []byte, size int) ([]byte, bool) {
	f, ok := parseFloat(text, size)
	if !ok {
		return dst, false
	}
	return appendJavaFloat(dst, f, size), true
}

// parseFloat reads the output of float4out and float8out. Unlike strconv it accepts no hexadecimal numbers, no underscores and no other names of
// infinity.
func parseFloat(text []byte, size int) (float64, bool) {
	switch string(text) {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	for _, c := range text {
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(string(text), size)
	return f, err == nil
}

// appendJavaFloat appends f as Java's Double.toString and Float.toString (JDK 19 and later) print it, since Debezium's JSON has that form: 1.5,
// 100.0, 1.0E10, 4.9E-324. NaN and the infinities are JSON strings.
func appendJavaFloat(dst []byte, f float64, size int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	start := len(dst)
	if abs := math.Abs(f); abs == 0 || abs >= 1e-3 && abs < 1e7 {
		dst = strconv.AppendFloat(dst, f, 'f', -1, size)
		if bytes.IndexByte(dst[start:], '.') < 0 {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, size)
	if bytes.IndexByte(dst[start:], '.') < 0 { // Java prints at least two digits, and then the nearest number of two digits
		dst = strconv.AppendFloat(dst[:start], f, 'e', 1, size)
	}
	return javaExponent(dst, start)
}

// javaExponent changes the "e+07" at the end of dst[start:] to "E7".
func javaExponent(dst []byte, start int) []byte {
	mark := start + bytes.IndexByte(dst[start:], 'e')
	exponent := 0
	for _, c := range dst[mark+2:] {
		exponent = exponent*10 + int(c-'0')
	}
	if dst[mark+1] == '-' {
		exponent = -exponent
	}
	dst = append(dst[:mark], 'E')
	return strconv.AppendInt(dst, int64(exponent), 10)
}
