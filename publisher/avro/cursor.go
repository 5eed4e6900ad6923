package avro

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// cursor reads a JSON payload once, from front to back, and writes its Avro binary encoding (Avro specification, "Binary Encoding").
type cursor struct {
	in  []byte
	at  int // next byte of in
	out []byte
}

// mismatch is the error for a payload that does not match its schema. It never quotes the payload.
type mismatch struct {
	path string // of the field: "after.price"; "": the whole payload
	want string // "an int32"
	at   int    // offset in the payload
}

func (m *mismatch) Error() string {
	place := "the payload"
	if m.path != "" {
		place = "field " + m.path
	}
	return fmt.Sprintf("%s does not follow its schema: want %s at byte %d", place, m.want, m.at)
}

// inside adds the name of a field to a mismatch in that field.
func inside(name string, err error) error {
	if m, ok := err.(*mismatch); ok && m.path == "" {
		m.path = name
	} else if ok {
		m.path = name + "." + m.path
	}
	return err
}

func (c *cursor) want(what string) error { return &mismatch{want: what, at: c.at} }

// write writes the value at the cursor, which must be of type n.
func (c *cursor) write(n *node) error {
	c.space()
	if n.nullable {
		if c.skip("null") {
			c.out = append(c.out, n.null)
			return nil
		}
		c.out = append(c.out, n.value)
	}
	switch n.kind {
	case toInt:
		return c.integer(n.bits)
	case toFloat:
		return c.float(n.bits)
	case toBoolean:
		return c.boolean()
	case toString:
		return c.string()
	case toBytes:
		return c.bytes()
	case toArray:
		return c.items(n.items, '[', ']')
	case toMap:
		return c.items(n.items, '{', '}')
	case toEntry:
		return c.entry(n.fields)
	default:
		return c.record(n.fields, n.sparse)
	}
}

func (c *cursor) integer(bits int) error {
	start := c.at
	n, err := strconv.ParseInt(c.number(), 10, bits)
	if err != nil {
		c.at = start
		return c.want("an int" + strconv.Itoa(bits))
	}
	c.out = binary.AppendVarint(c.out, n)
	return nil
}

func (c *cursor) float(bits int) error {
	start := c.at
	f, special := c.special()
	if !special {
		var err error
		if f, err = strconv.ParseFloat(c.number(), bits); err != nil {
			c.at = start
			return c.want("a number of " + strconv.Itoa(bits) + " bits")
		}
	}
	if bits == 32 {
		c.out = binary.LittleEndian.AppendUint32(c.out, math.Float32bits(float32(f)))
	} else {
		c.out = binary.LittleEndian.AppendUint64(c.out, math.Float64bits(f))
	}
	return nil
}

// javaNaN is the NaN that Java writes (Double.doubleToLongBits); Go's NaN differs in the last bit.
const javaNaN = 0x7ff8000000000000

// special reads NaN and the infinities, which are not JSON numbers.
func (c *cursor) special() (float64, bool) {
	switch {
	case c.skip(`"NaN"`):
		return math.Float64frombits(javaNaN), true
	case c.skip(`"Infinity"`):
		return math.Inf(1), true
	case c.skip(`"-Infinity"`):
		return math.Inf(-1), true
	}
	return 0, false
}

func (c *cursor) boolean() error {
	switch {
	case c.skip("true"):
		c.out = append(c.out, 1)
	case c.skip("false"):
		c.out = append(c.out, 0)
	default:
		return c.want("a boolean")
	}
	return nil
}

func (c *cursor) string() error {
	start := c.at
	raw, escaped, ok := c.quoted()
	if !ok {
		c.at = start
		return c.want("a string")
	}
	if !escaped {
		c.out = append(binary.AppendVarint(c.out, int64(len(raw))), raw...)
		return nil
	}
	at := len(c.out)
	if c.out, ok = unescape(c.out, raw); !ok {
		c.at = start
		return c.want("a string of whole characters")
	}
	c.insert(at, len(c.out)-at)
	return nil
}

var standard = base64.StdEncoding.Strict()

func (c *cursor) bytes() error {
	start := c.at
	raw, escaped, ok := c.quoted()
	if ok && !escaped {
		at := len(c.out)
		out, err := standard.AppendDecode(c.out, raw)
		if err == nil {
			c.out = out
			c.insert(at, len(out)-at)
			return nil
		}
	}
	c.at = start
	return c.want("base64 of bytes")
}

// items writes an array, or an object as a map, in a single block, as Java's encoder does.
func (c *cursor) items(item *node, open, end byte) error {
	if !c.next(open) {
		return c.want("an array or object that starts with " + string(open))
	}
	at, count := len(c.out), 0
	for !c.next(end) {
		if count > 0 && !c.next(',') {
			return c.want("a comma or " + string(end))
		}
		if open == '{' {
			if err := c.key(); err != nil {
				return err
			}
		}
		if err := c.write(item); err != nil {
			return err
		}
		count++
	}
	if count > 0 {
		c.insert(at, count)
	}
	c.out = append(c.out, 0)
	return nil
}

// key writes the key of a map entry.
func (c *cursor) key() error {
	c.space()
	if err := c.string(); err != nil {
		return err
	}
	if !c.next(':') {
		return c.want("a colon")
	}
	return nil
}

func (c *cursor) record(fields []field, sparse bool) error {
	if !c.next('{') {
		return c.want("an object")
	}
	first := true
	for i := range fields {
		f, before := &fields[i], c.at
		if !first && !c.next(',') || !c.field(f) {
			if !sparse || !f.node.nullable {
				return c.want("the field " + strconv.Quote(f.name))
			}
			c.at = before
			c.out = append(c.out, f.node.null) // the payload leaves the field out
			continue
		}
		first = false
		if err := c.write(f.node); err != nil {
			return inside(f.name, err)
		}
	}
	if !c.next('}') {
		return c.want("the end of an object")
	}
	return nil
}

// entry writes an array of key and value as a record.
func (c *cursor) entry(fields []field) error {
	for i := range fields {
		if !c.next("[,"[i]) {
			return c.want("an array of key and value")
		}
		if err := c.write(fields[i].node); err != nil {
			return inside(fields[i].name, err)
		}
	}
	if !c.next(']') {
		return c.want("the end of an array")
	}
	return nil
}

// field skips the name of f and the colon after it.
func (c *cursor) field(f *field) bool {
	c.space()
	if bytes.HasPrefix(c.in[c.at:], f.key) {
		c.at += len(f.key)
		return true
	}
	raw, _, ok := c.quoted()
	if !ok {
		return false
	}
	end := len(c.out)
	name, ok := unescape(c.out, raw)
	return ok && string(name[end:]) == f.name && c.next(':')
}

// insert inserts a count in front of the output written since at.
func (c *cursor) insert(at, count int) {
	var length [binary.MaxVarintLen64]byte
	n := binary.PutVarint(length[:], int64(count))
	c.out = slices.Insert(c.out, at, length[:n]...)
}
