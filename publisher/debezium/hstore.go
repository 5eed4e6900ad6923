package debezium

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/pgtee/pgtee/publisher/record"
)

// hstores encodes hstore with the keys in the iteration order of Debezium's java.util.HashMap. It must be used by one goroutine at a time.
type hstores struct {
	pairs []pair
	text  []byte // unescaped keys and values
	json  []byte
}

type pair struct {
	key, value []byte // value is nil for NULL
	hash       uint32
}

// hstore returns the codec chosen by hstore.handling.mode.
func (c *codecs) hstore() codec {
	if c.modes.Hstore == HstoreMap {
		schema := mapOf(schemaOf(record.String), optional(schemaOf(record.String)))
		return codec{append: c.hstores.object, schema: schema, zero: "{}", unavailable: c.placeholders.pair}
	}
	return codec{append: c.hstores.jsonString, schema: named(record.String, nameJSON), zero: `"{}"`, unavailable: c.placeholders.pairText}
}

// jsonString appends the JSON object as a JSON string.
func (h *hstores) jsonString(dst, text []byte) ([]byte, bool) {
	var ok bool
	h.json, ok = h.object(h.json[:0], text)
	return record.AppendJSONString(dst, h.json), ok
}

func (h *hstores) object(dst, text []byte) ([]byte, bool) {
	if !h.parse(text) {
		return dst, false
	}
	h.sort()
	dst = append(dst, '{')
	for i, p := range h.pairs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(record.AppendJSONString(dst, p.key), ':')
		if p.value == nil {
			dst = append(dst, "null"...)
		} else {
			dst = record.AppendJSONString(dst, p.value)
		}
	}
	return append(dst, '}'), true
}

// parse reads the output of hstore_out: "a"=>"1", "b c"=>"x\"y", "n"=>NULL
func (h *hstores) parse(text []byte) bool {
	h.pairs, h.text = h.pairs[:0], h.text[:0]
	for first := true; len(text) > 0; first = false {
		if !first {
			var ok bool
			if text, ok = bytes.CutPrefix(text, []byte(", ")); !ok {
				return false
			}
		}
		p, rest, ok := h.parsePair(text)
		if !ok {
			return false
		}
		h.pairs = append(h.pairs, p)
		text = rest
	}
	return true
}

func (h *hstores) parsePair(text []byte) (p pair, rest []byte, ok bool) {
	if text, ok = bytes.CutPrefix(text, []byte(`"`)); !ok {
		return p, nil, false
	}
	if p.key, text, ok = unquote(&h.text, text); !ok {
		return p, nil, false
	}
	p.hash = javaHash(p.key)
	if rest, ok = bytes.CutPrefix(text, []byte("=>NULL")); ok {
		return p, rest, true
	}
	if text, ok = bytes.CutPrefix(text, []byte(`=>"`)); !ok {
		return p, nil, false
	}
	p.value, rest, ok = unquote(&h.text, text)
	return p, rest, ok
}

// sort orders the pairs by HashMap bucket. Pairs of one bucket keep their insertion order.
func (h *hstores) sort() {
	buckets := hashBuckets(len(h.pairs))
	slices.SortStableFunc(h.pairs, func(a, b pair) int {
		return int(a.hash&(buckets-1)) - int(b.hash&(buckets-1))
	})
}

// hashBuckets returns the number of buckets of a HashMap: at least 16, doubled whenever it is three quarters full.
func hashBuckets(entries int) uint32 {
	buckets := uint32(16)
	for entries > int(buckets)*3/4 {
		buckets *= 2
	}
	return buckets
}

// javaHash is String.hashCode() with the bit spreading of HashMap.
func javaHash(key []byte) uint32 {
	var hash uint32
	for len(key) > 0 {
		r, size := utf8.DecodeRune(key)
		key = key[size:]
		if r >= 0x10000 { // two UTF-16 code units
			r -= 0x10000
			hash = hash*31 + 0xD800 + uint32(r>>10)
			r = 0xDC00 + r&0x3FF
		}
		hash = hash*31 + uint32(r)
	}
	return hash ^ hash>>16
}
