package verdict

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"time"
)

// text turns a JSON value, decoded with UseNumber and not null, into input for the input function of the column's PostgreSQL type. A string in a form
// that has no strings is PostgreSQL's own text, for a value that Debezium's type cannot represent.
func (f *Form) text(value any) (string, error) {
	switch v := value.(type) {
	case bool:
		if f.name == formBit {
			return map[bool]string{false: "0", true: "1"}[v], nil
		}
		return strconv.FormatBool(v), nil
	case json.Number:
		return f.number(v)
	case string:
		return f.string(v)
	case map[string]any:
		return f.object(v)
	case []any:
		if f.name != formArray {
			return "", fmt.Errorf("an array where form %q has none", f.name)
		}
		return f.array(v)
	}
	return "", fmt.Errorf("a %T is not a JSON value", value)
}

func (f *Form) number(n json.Number) (string, error) {
	switch f.name {
	case "", formBytes: // not bytes: an integer or a float
		return n.String(), nil
	}
	count, err := n.Int64()
	if err != nil {
		return "", fmt.Errorf("form %q: %w", f.name, err)
	}
	switch f.name {
	case formDate:
		return dateText(count), nil
	case formTime:
		return clockText(count * 1000), nil
	case formMicroTime:
		return clockText(count), nil
	case formTimestamp:
		return stampText(count, 9223372036825200000, -9223372036832400000, time.UnixMilli), nil
	case formMicroStamp:
		return stampText(count, math.MaxInt64, math.MinInt64, time.UnixMicro), nil
	case formMicroDuration:
		return durationText(count), nil
	}
	return "", fmt.Errorf("a number where form %q has none", f.name)
}

func (f *Form) string(s string) (string, error) {
	switch f.name {
	case formZonedStamp:
		return zonedText(s)
	case formISODate:
		return isoDateText(s)
	case formISOStamp:
		if infinity, ok := map[string]string{"+292278994-08-16T23:00:00Z": "infinity", "-292275055-05-16T23:00:00Z": "-infinity"}[s]; ok {
			return infinity, nil // pgjdbc's constants
		}
		return zonedText(s)
	case formHstore:
		return hstoreText(s)
	case formBytes:
		raw, err := base64.StdEncoding.DecodeString(s)
		return fmt.Sprintf(`\x%x`, raw), err
	case formHex:
		return `\x` + s, nil
	case formDecimalText: // as Debezium names them in Java
		if special, ok := map[string]string{"NAN": "NaN", "POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}[s]; ok {
			return special, nil
		}
	case formBits:
		raw, err := base64.StdEncoding.DecodeString(s)
		return bitText(raw, f.length), err
	case formDecimal:
		if s == "NaN" { // not base64, which has at least four characters
			return s, nil
		}
		return decimalText(s, f.scale)
	}
	return s, nil
}

func (f *Form) object(o map[string]any) (string, error) {
	switch f.name {
	case formVariable:
		scale, err := o["scale"].(json.Number).Int64()
		if err != nil {
			return "", err
		}
		return decimalText(o["value"].(string), int(scale))
	case formPoint:
		return fmt.Sprintf("(%v,%v)", o["x"], o["y"]), nil
	case formLine:
		return fmt.Sprintf("{%v,%v,%v}", o["a"], o["b"], o["c"]), nil
	case formCircle:
		center := o["center"].(map[string]any)
		return fmt.Sprintf("<(%v,%v),%v>", center["x"], center["y"], o["radius"]), nil
	case formGeometry:
		return geometryText(o)
	case formHstore:
		text, err := json.Marshal(o)
		if err != nil {
			return "", err
		}
		return hstoreText(string(text))
	}
	return "", fmt.Errorf("an object where form %q has none", f.name)
}

// array returns an array literal; nested arrays are dimensions.
func (f *Form) array(list []any) (string, error) {
	var b strings.Builder
	b.WriteByte('{')
	for i, item := range list {
		if i > 0 {
			b.WriteByte(f.delimiter)
		}
		deeper, dimension := item.([]any)
		switch {
		case item == nil:
			b.WriteString("NULL")
			continue
		case dimension && f.items.name != formArray:
			text, err := f.array(deeper)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			continue
		}
		text, err := f.items.text(item)
		if err != nil {
			return "", fmt.Errorf("item %d: %w", i, err)
		}
		b.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`)
	}
	b.WriteByte('}')
	return b.String(), nil
}

// bitText decodes little-endian bytes.
func bitText(raw []byte, length int) string {
	if length == 0 { // the number of leading zeros is unknown
		length = 8 * len(raw)
	}
	text := make([]byte, length)
	for i := range text {
		bit := byte(0)
		if i/8 < len(raw) {
			bit = raw[i/8] >> (i % 8) & 1
		}
		text[length-1-i] = '0' + bit
	}
	return string(text)
}

// decimalText decodes base64 of a big-endian two's complement number times 10^scale.
func decimalText(s string, scale int) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", fmt.Errorf("decimal: %w", err)
	}
	unscaled := new(big.Int).SetBytes(raw)
	if len(raw) > 0 && raw[0] >= 0x80 {
		unscaled.Sub(unscaled, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	if scale <= 0 {
		return unscaled.String() + strings.Repeat("0", -scale), nil
	}
	sign := ""
	if unscaled.Sign() < 0 {
		sign = "-"
	}
	digits := unscaled.Abs(unscaled).String()
	digits = strings.Repeat("0", max(0, scale+1-len(digits))) + digits
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:], nil
}

// hstoreText decodes a JSON object in a string.
func hstoreText(s string) (string, error) {
	var pairs map[string]*string
	if err := json.Unmarshal([]byte(s), &pairs); err != nil {
		return "", fmt.Errorf("hstore: %w", err)
	}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	var items []string
	for key, value := range pairs {
		text := "NULL"
		if value != nil {
			text = `"` + quote.Replace(*value) + `"`
		}
		items = append(items, `"`+quote.Replace(key)+`"=>`+text)
	}
	sort.Strings(items)
	return strings.Join(items, ","), nil
}

// geometryText decodes well-known binary of OGC 06-103r4; the extensions say which PostgreSQL type it was, and whether a path is closed.
func geometryText(o map[string]any) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(o["wkb"].(string))
	if err != nil {
		return "", fmt.Errorf("wkb: %w", err)
	}
	points, err := wkbPoints(raw)
	if err != nil {
		return "", err
	}
	extensions := o["extensions"].(map[string]any)
	list := strings.Join(points, ",")
	switch extensions["type"] {
	case "lseg":
		return "[" + list + "]", nil
	case "path":
		if extensions["closed"] == "true" {
			return "(" + list + ")", nil
		}
		return "[" + list + "]", nil
	case "box": // corners 0 and 2 of the ring are opposite
		return points[0] + "," + points[2], nil
	case "polygon": // the last point of the ring equals the first
		if last := len(points) - 1; last > 0 && points[last] == points[0] {
			list = strings.Join(points[:last], ",")
		}
		return "(" + list + ")", nil
	}
	return "", fmt.Errorf("geometry of type %v", extensions["type"])
}

// wkbPoints returns the points "(x,y)" of a little-endian line (2) or polygon with one ring (3).
func wkbPoints(raw []byte) ([]string, error) {
	if len(raw) < 9 || raw[0] != 1 {
		return nil, fmt.Errorf("wkb %x: want little-endian", raw)
	}
	kind, body := binary.LittleEndian.Uint32(raw[1:]), raw[5:]
	if kind == 3 {
		if rings := binary.LittleEndian.Uint32(body); rings != 1 {
			return nil, fmt.Errorf("wkb: %d rings", rings)
		}
		body = body[4:]
	}
	count := binary.LittleEndian.Uint32(body)
	body = body[4:]
	if kind != 2 && kind != 3 || len(body) != int(count)*16 {
		return nil, fmt.Errorf("wkb of kind %d: %d points in %d bytes", kind, count, len(body))
	}
	var points []string
	for ; len(body) > 0; body = body[16:] {
		x := math.Float64frombits(binary.LittleEndian.Uint64(body))
		y := math.Float64frombits(binary.LittleEndian.Uint64(body[8:]))
		points = append(points, fmt.Sprintf("(%v,%v)", x, y))
	}
	return points, nil
}
