package pgoutput

import "encoding/binary"

// Tuple is one row as pgoutput sends it (TupleData in the PostgreSQL documentation, "Logical Replication Message Formats"): int16 count, then per
// column a kind byte and, for 't' and 'b', an int32 length and the bytes. Parse has checked every length, so reading a Tuple cannot fail. It is a
// slice of the transaction's buffer and valid as long as the transaction.
type Tuple []byte

// Kinds of a column in a Tuple.
const (
	Null      = 'n'
	Unchanged = 'u' // a TOASTed value that the statement did not change: not in the WAL
	Text      = 't'
	Binary    = 'b'

	// Omitted is not part of the protocol: it marks a value that was too long to be kept in memory and is replaced by its length in OmittedBytes.
	Omitted = 'x'

	OmittedBytes = 8
)

// Len returns the number of columns; a nil Tuple has none.
func (t Tuple) Len() int {
	if len(t) == 0 {
		return 0
	}
	return int(binary.BigEndian.Uint16(t))
}

// Columns returns an iterator positioned before the first column:
//
//	for c := t.Columns(); c.Next(); {
//		use(c.Kind(), c.Value())
//	}
func (t Tuple) Columns() Columns {
	if len(t) == 0 {
		return Columns{}
	}
	return Columns{rest: t[2:]}
}

// Columns iterates over the columns of a Tuple, in the order of Relation.Columns.
type Columns struct {
	rest  []byte
	kind  byte
	value []byte
}

// Next moves to the next column and reports whether there is one.
func (c *Columns) Next() bool {
	if len(c.rest) == 0 {
		return false
	}
	c.kind, c.value = c.rest[0], nil
	if c.kind != Text && c.kind != Binary && c.kind != Omitted {
		c.rest = c.rest[1:]
		return true
	}
	end := 5 + int(binary.BigEndian.Uint32(c.rest[1:]))
	c.value = c.rest[5:end:end]
	c.rest = c.rest[end:]
	return true
}

// Kind returns Null, Unchanged, Text, Binary or Omitted.
func (c *Columns) Kind() byte { return c.kind }

// Value returns the bytes of a Text or Binary column as a slice of the Tuple, which is not nil even if empty. For Null and Unchanged it returns nil,
// for Omitted the length of the value, big-endian.
func (c *Columns) Value() []byte { return c.value }
