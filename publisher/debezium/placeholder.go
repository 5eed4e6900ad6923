package debezium

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"github.com/pgtee/pgtee/publisher/record"
)

// placeholders is what Debezium writes for an unchanged TOAST value, as JSON, by kind of type. "" means null.
type placeholders struct {
	raw      string // p, the placeholder
	text     string // "p"
	bytes    string // the bytes of p in the binary mode; p itself for hex
	texts    string // ["p"]
	byteses  string // the array of bytes
	codes    string // [112]: the bytes of p, signed as in Java
	uuids    string // ["..."]: the name-based UUID of p
	pair     string // {"p":"p"}
	pairText string // "{\"p\":\"p\"}"
	all      Placeholders
}

// Placeholders is every JSON that may stand for an unchanged TOAST value.
type Placeholders [][]byte

// Include reports whether the JSON of a value looks like one of them.
func (p Placeholders) Include(json []byte) bool {
	return slices.ContainsFunc(p, func(one []byte) bool { return bytes.Equal(one, json) })
}

// Placeholders returns those of the modes.
func (m *Modes) Placeholders() Placeholders { return m.placeholders().all }

func (m *Modes) placeholders() placeholders {
	octets := m.placeholder()
	raw := string([]rune(octets)) // as Java reads octets that are not UTF-8
	p := placeholders{raw: raw, text: string(record.AppendJSONString(nil, raw))}
	if p.bytes = p.text; m.Binary != BinaryHex {
		p.bytes = string(m.Binary.append(nil, []byte(octets)))
	}
	p.texts, p.byteses = "["+p.text+"]", "["+p.bytes+"]"
	p.codes = "[" + signedCodes(octets) + "]"
	p.uuids = `["` + nameUUID(octets) + `"]`
	p.pair = "{" + p.text + ":" + p.text + "}"
	p.pairText = string(record.AppendJSONString(nil, p.pair))
	for _, json := range []string{p.text, p.bytes, p.texts, p.byteses, p.codes, p.uuids, p.pair, p.pairText} {
		p.all = append(p.all, []byte(json))
	}
	return p
}

func signedCodes(s string) string {
	var codes []byte
	for i := range len(s) {
		if i > 0 {
			codes = append(codes, ',')
		}
		codes = strconv.AppendInt(codes, int64(int8(s[i])), 10)
	}
	return string(codes)
}

// nameUUID is java.util.UUID.nameUUIDFromBytes: version 3 without a name space (RFC 9562, section 5.3).
func nameUUID(s string) string {
	sum := md5.Sum([]byte(s))
	sum[6] = sum[6]&0x0F | 0x30
	sum[8] = sum[8]&0x3F | 0x80
	h := hex.EncodeToString(sum[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}
