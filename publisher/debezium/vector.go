package debezium

import (
	"bytes"
	"slices"

	"github.com/pgtee/pgtee/publisher/record"
)

// vectors encodes the types of pgvector. It must be used by one goroutine at a time.
type vectors struct{ items []sparseItem }

type sparseItem struct {
	index int64
	value float64
}

var schemaSparseVector = structOf("io.debezium.data.SparseDoubleVector", "Sparse double vector",
	member("dimensions", schemaOf(record.Int16)),
	member("vector", mapOf(schemaOf(record.Int16), schemaOf(record.Double))))

func arrayNamed(name string, item record.SchemaType) record.Schema {
	s := named(record.Array, name)
	items := schemaOf(item)
	s.Items = &items
	return s
}

func (v *vectors) double(dst, text []byte) ([]byte, bool) { return appendVector(dst, text, 64) }
func (v *vectors) float(dst, text []byte) ([]byte, bool)  { return appendVector(dst, text, 32) }

// appendVector encodes "[1,2.5,-3]".
func appendVector(dst, text []byte, size int) ([]byte, bool) {
	text, ok := cutBrackets(text, '[', ']')
	if !ok || len(text) == 0 {
		return dst, false
	}
	separator := byte('[')
	for more := true; more; separator = ',' {
		var number []byte
		number, text, more = bytes.Cut(text, []byte(","))
		f, ok := parseFloat(number, size)
		if !ok {
			return dst, false
		}
		dst = appendJavaFloat(append(dst, separator), f, size)
	}
	return append(dst, ']'), true
}

// maxSparse is the largest dimension and index that Debezium's 16-bit fields can hold.
const maxSparse = 1<<15 - 1

// sparse encodes "{1:1.5,3:2}/5" as {"dimensions":5,"vector":[[1,1.5],[3,2.0]]}. Kafka Connect writes a map whose keys are not strings as a JSON
// array of pairs.
func (v *vectors) sparse(dst, text []byte) ([]byte, bool) {
	vector, size, ok := bytes.Cut(text, []byte("/"))
	if !ok {
		return dst, false
	}
	dimensions, rest, ok := parseNumber(size, 1, 5, 0)
	if !ok || len(rest) > 0 || dimensions > maxSparse || !v.read(vector) {
		return dst, false
	}
	v.sort()
	dst = appendInt(append(dst, `{"dimensions":`...), dimensions)
	dst = append(dst, `,"vector":[`...)
	for i, item := range v.items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendInt(append(dst, '['), item.index)
		dst = appendJavaFloat(append(dst, ','), item.value, 64)
		dst = append(dst, ']')
	}
	return append(dst, ']', '}'), true
}

func (v *vectors) read(text []byte) bool {
	v.items = v.items[:0]
	text, ok := cutBrackets(text, '{', '}')
	if !ok {
		return false
	}
	for more := len(text) > 0; more; {
		var item []byte
		item, text, more = bytes.Cut(text, []byte(","))
		index, number, ok := parseNumber(item, 1, 5, ':')
		if !ok || index > maxSparse {
			return false
		}
		f, ok := parseFloat(number, 64)
		if !ok {
			return false
		}
		v.items = append(v.items, sparseItem{index, f})
	}
	return true
}

// sort orders the items as Debezium's java.util.HashMap does, whose initial number of buckets is the number of items, rounded up to a power of two.
func (v *vectors) sort() {
	buckets := int64(1)
	for buckets < int64(len(v.items)) {
		buckets *= 2
	}
	if int64(len(v.items)) > buckets*3/4 {
		buckets *= 2
	}
	slices.SortStableFunc(v.items, func(a, b sparseItem) int { return int(a.index&(buckets-1)) - int(b.index&(buckets-1)) })
}

func cutBrackets(text []byte, open, end byte) ([]byte, bool) {
	if len(text) < 2 || text[0] != open || text[len(text)-1] != end {
		return nil, false
	}
	return text[1 : len(text)-1], true
}
