package apply

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"

	"github.com/pgtee/pgtee/subscriber/decode"
)

func readPoint(f *form, dst, json []byte) ([]byte, error) {
	if json[0] != '{' {
		return readText(f, dst, json)
	}
	return appendNumbers(dst, "(", ")", json, "x", "y"), nil
}

func readLine(f *form, dst, json []byte) ([]byte, error) {
	if json[0] != '{' {
		return readText(f, dst, json)
	}
	return appendNumbers(dst, "{", "}", json, "a", "b", "c"), nil
}

func readCircle(f *form, dst, json []byte) ([]byte, error) {
	if json[0] != '{' {
		return readText(f, dst, json)
	}
	dst = appendNumbers(append(dst, '<'), "(", ")", decode.Field(json, "center"), "x", "y")
	dst = append(append(dst, ','), bytes.Trim(decode.Field(json, "radius"), `"`)...)
	return append(dst, '>'), nil
}

// appendNumbers appends number fields of an object. NaN and the infinities are JSON strings.
func appendNumbers(dst []byte, open, end string, object []byte, names ...string) []byte {
	dst = append(dst, open...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, bytes.Trim(decode.Field(object, name), `"`)...)
	}
	return append(dst, end...)
}

// readGeometry reads well-known binary (OGC 06-103r4). The extensions hold the PostgreSQL type, and whether a path is closed.
func readGeometry(f *form, dst, json []byte) ([]byte, error) {
	if json[0] != '{' {
		return readText(f, dst, json)
	}
	raw, err := base64.StdEncoding.AppendDecode(nil, bytes.Trim(decode.Field(json, "wkb"), `"`))
	if err != nil {
		return dst, fmt.Errorf("wkb: %w", err)
	}
	points, err := wkbPoints(raw)
	if err != nil {
		return dst, err
	}
	extensions := decode.Field(json, "extensions")
	open, end := byte('('), byte(')')
	switch kind := decode.Unquoted(decode.Field(extensions, "type")); kind {
	case "lseg":
		open, end = '[', ']'
	case "path":
		if decode.Unquoted(decode.Field(extensions, "closed")) != "true" {
			open, end = '[', ']'
		}
	case "box": // corners 0 and 2 of the ring are opposite each other
		if len(points) < 3 {
			return dst, fmt.Errorf("box of %d points", len(points))
		}
		dst = append(appendPoint(dst, points[0]), ',')
		return appendPoint(dst, points[2]), nil
	case "polygon": // the last point of the ring repeats the first
		if last := len(points) - 1; last > 0 && points[last] == points[0] {
			points = points[:last]
		}
	default:
		return dst, fmt.Errorf("geometry of type %q", kind)
	}
	dst = append(dst, open)
	for i, p := range points {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendPoint(dst, p)
	}
	return append(dst, end), nil
}

func appendPoint(dst []byte, p [2]float64) []byte {
	dst = appendFloat(append(dst, '('), p[0])
	dst = appendFloat(append(dst, ','), p[1])
	return append(dst, ')')
}

func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// wkbPoints returns the points of a little-endian line (2) or polygon of one ring (3).
func wkbPoints(raw []byte) ([][2]float64, error) {
	malformed := fmt.Errorf("wkb %.40x: want a little-endian line or a polygon of one ring", raw)
	if len(raw) < 9 || raw[0] != 1 {
		return nil, malformed
	}
	kind, body := binary.LittleEndian.Uint32(raw[1:]), raw[5:]
	if kind == 3 {
		if binary.LittleEndian.Uint32(body) != 1 || len(body) < 8 {
			return nil, malformed
		}
		body = body[4:]
	}
	count := binary.LittleEndian.Uint32(body)
	body = body[4:]
	if kind != 2 && kind != 3 || uint64(len(body)) != uint64(count)*16 {
		return nil, malformed
	}
	points := make([][2]float64, 0, count)
	for ; len(body) > 0; body = body[16:] {
		points = append(points, [2]float64{
			math.Float64frombits(binary.LittleEndian.Uint64(body)),
			math.Float64frombits(binary.LittleEndian.Uint64(body[8:])),
		})
	}
	return points, nil
}

// readPostGIS reads EWKB, which PostGIS accepts in hexadecimal.
func readPostGIS(f *form, dst, json []byte) ([]byte, error) {
	if json[0] != '{' {
		return readText(f, dst, json)
	}
	raw, err := base64.StdEncoding.AppendDecode(nil, bytes.Trim(decode.Field(json, "wkb"), `"`))
	if err != nil {
		return dst, fmt.Errorf("wkb: %w", err)
	}
	return hex.AppendEncode(dst, raw), nil
}

// readHstore reads a JSON object, or a string that contains one.
func readHstore(f *form, dst, json []byte) ([]byte, error) {
	object := json
	if json[0] == '"' {
		var err error
		if object, err = decode.AppendUnquoted(nil, json); err != nil {
			return dst, err
		}
	}
	if len(object) == 0 || object[0] != '{' {
		return append(dst, object...), nil
	}
	first := true
	err := decode.Fields(object, func(name, value []byte) error {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		key, err := decode.AppendUnquoted(nil, append(append([]byte{'"'}, name...), '"'))
		if err != nil {
			return err
		}
		dst = append(appendHstoreText(dst, key), "=>"...)
		if string(value) == "null" {
			dst = append(dst, "NULL"...)
			return nil
		}
		text, err := decode.AppendUnquoted(nil, value)
		dst = appendHstoreText(dst, text)
		return err
	})
	return dst, err
}

func appendHstoreText(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// readVector copies the JSON array, which pgvector reads directly.
func readVector(_ *form, dst, json []byte) ([]byte, error) {
	return append(dst, bytes.Trim(json, `"`)...), nil
}

// readSparse converts {"dimensions":5,"vector":[[1,1.5],[3,2.0]]} to {1:1.5,3:2.0}/5.
func readSparse(f *form, dst, json []byte) ([]byte, error) {
	if json[0] != '{' {
		return readText(f, dst, json)
	}
	dst = append(dst, '{')
	s := decode.Scanner{Text: decode.Field(json, "vector")}
	s.Take('[')
	for first := true; s.Next() == '[' || s.Next() == ','; first = false {
		s.Take(',')
		pair, err := s.Value()
		if err != nil || len(pair) < 2 {
			return dst, decode.ErrJSON
		}
		if !first {
			dst = append(dst, ',')
		}
		index, value, _ := bytes.Cut(pair[1:len(pair)-1], []byte(","))
		dst = append(append(append(dst, index...), ':'), value...)
	}
	return append(append(dst, '}', '/'), decode.Field(json, "dimensions")...), nil
}
