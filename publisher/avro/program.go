package avro

import (
	"fmt"

	"github.com/pgtee/pgtee/publisher/record"
)

// kind says what a node writes.
type kind byte

const (
	toInt kind = iota // int and long
	toFloat
	toBoolean
	toString
	toBytes
	toArray
	toMap
	toRecord
	toEntry // of a map whose keys are not required strings: a record, and in the payload an array of key and value
)

// node is one step of the program that converts a JSON payload to an Avro body: the type of the value at one place. A program is compiled once per
// schema and never changes.
type node struct {
	kind   kind
	bits   int     // size for toInt and toFloat
	fields []field // for toRecord and toEntry, in the order of the payload
	sparse bool    // for toRecord: the payload leaves out fields that are null
	items  *node   // for toArray and toMap

	nullable    bool
	null, value byte // union indexes of null and of the value, as Avro encodes them
}

// field is a field of a record.
type field struct {
	name string
	key  []byte // what precedes the value in a payload without white space: `"name":`
	node *node
}

var kinds = map[record.SchemaType]node{
	record.Int8:    {kind: toInt, bits: 8},
	record.Int16:   {kind: toInt, bits: 16},
	record.Int32:   {kind: toInt, bits: 32},
	record.Int64:   {kind: toInt, bits: 64},
	record.Float:   {kind: toFloat, bits: 32},
	record.Double:  {kind: toFloat, bits: 64},
	record.Boolean: {kind: toBoolean},
	record.String:  {kind: toString},
	record.Bytes:   {kind: toBytes},
	record.Array:   {kind: toArray},
	record.Map:     {kind: toMap},
	record.Struct:  {kind: toRecord},
}

// Union indexes are zigzag longs (Avro specification, "Binary Encoding", Unions).
const (
	firstBranch  = 0
	secondBranch = 2
)

// compile compiles s. It must order unions as schemaText does.
func compile(s *record.Schema, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the schema nests deeper than %d levels", maxDepth)
	}
	n, known := kinds[s.Type]
	if !known {
		return nil, fmt.Errorf("unknown schema type %q", s.Type)
	}
	if s.Optional {
		def, err := defaultOf(s)
		if err != nil {
			return nil, err
		}
		n.nullable, n.null, n.value = true, firstBranch, secondBranch
		if def != nil {
			n.null, n.value = secondBranch, firstBranch
		}
	}
	return &n, n.compileInside(s, depth)
}

// compileInside compiles the parts of n.
func (n *node) compileInside(s *record.Schema, depth int) (err error) {
	of := s.Items
	switch {
	case n.kind == toMap && !hasTextKeys(s):
		n.kind, n.items = toArray, &node{kind: toEntry}
		entry, err := entryOf(s)
		if err != nil {
			return err
		}
		return n.items.compileInside(entry, depth+1)
	case n.kind == toMap:
		of = s.Values
	}
	if n.kind == toArray || n.kind == toMap {
		if of == nil {
			return fmt.Errorf("a schema of type %s has no schema of its items or values", s.Type)
		}
		n.items, err = compile(of, depth+1)
		return err
	}
	n.sparse = s.Sparse
	for _, f := range s.Fields {
		inside, err := compile(f.Schema, depth+1)
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		n.fields = append(n.fields, field{f.Name, append(appendQuoted(nil, f.Name), ':'), inside})
	}
	return nil
}

// transcode appends the Avro body of a payload to dst. It allocates only to grow dst.
func (n *node) transcode(dst, payload []byte) ([]byte, error) {
	c := cursor{in: payload, out: dst}
	if err := c.write(n); err != nil {
		return dst, err
	}
	c.space()
	if c.at != len(c.in) {
		return dst, c.want("the end of the payload")
	}
	return c.out, nil
}
