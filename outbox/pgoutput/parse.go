package pgoutput

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ErrMalformed means that a message violates the protocol.
var ErrMalformed = errors.New("malformed pgoutput message")

// Parse decodes data, one complete message, into m. For a kind that protocol version 1 does not have, the error names the kind. Parse checks every
// length in the message.
func Parse(data []byte, m *Message) error {
	if len(data) == 0 {
		return fmt.Errorf("%w: empty", ErrMalformed)
	}
	m.Kind = Kind(data[0])
	c := cursor{rest: data[1:]}
	switch m.Kind {
	case KindInsert, KindUpdate, KindDelete:
		c.row(m.Kind, &m.Row)
	case KindBegin:
		m.Begin = Begin{CommitLSN: c.lsn(), CommitTime: c.time(), XID: XID(c.uint32())}
	case KindCommit:
		c.byte() // flags, none defined
		m.Commit = Commit{CommitLSN: c.lsn(), EndLSN: c.lsn(), CommitTime: c.time()}
	case KindRelation:
		m.Relation = c.relation()
	case KindTruncate:
		m.Truncate = c.truncated()
	case KindLogical:
		m.Logical = c.logical()
	case KindType:
		m.Type = Type{OID: c.uint32(), Schema: c.namespace(), Name: c.text()}
	case KindOrigin:
		m.Origin = Origin{CommitLSN: c.lsn(), Name: c.text()}
	default:
		return fmt.Errorf("%w: unknown kind %s, protocol version 1 has none such", ErrMalformed, m.Kind)
	}
	if c.failed || len(c.rest) != 0 {
		return fmt.Errorf("%w: %s of %d bytes, error %d bytes before its end", ErrMalformed, m.Kind, len(data), len(c.rest))
	}
	return nil
}

// cursor reads a message from its start. The first read that finds too few bytes sets failed; every later one returns a zero value.
type cursor struct {
	rest   []byte
	failed bool
}

// take returns the next n bytes, or nil.
func (c *cursor) take(n int) []byte {
	if c.failed || n < 0 || n > len(c.rest) {
		c.failed = true
		return nil
	}
	taken := c.rest[:n:n]
	c.rest = c.rest[n:]
	return taken
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (c *cursor) lsn() LSN { return LSN(c.uint64()) }

// time reads a time in microseconds since 2000-01-01.
func (c *cursor) time() time.Time {
	const epoch = 946_684_800_000_000 // 2000-01-01 in microseconds since 1970
	return time.UnixMicro(int64(c.uint64()) + epoch).UTC()
}

// text reads a zero-terminated string.
func (c *cursor) text() []byte {
	end := bytes.IndexByte(c.rest, 0)
	text := c.take(end)
	c.take(1)
	return text
}

// counted reads an int32 length and that many bytes.
func (c *cursor) counted() []byte {
	return c.take(int(int32(c.uint32())))
}

func (c *cursor) logical() Logical {
	flags := c.byte()
	l := Logical{Transactional: flags&1 != 0, LSN: c.lsn(), Prefix: c.text(), Content: c.counted()}
	if flags&FlagOmitted == 0 {
		return l
	}
	if len(l.Content) != OmittedBytes {
		c.failed = true
		return Logical{}
	}
	l.Omitted, l.Content = binary.BigEndian.Uint64(l.Content), nil
	return l
}

func (c *cursor) row(kind Kind, row *Row) {
	*row = Row{RelationOID: c.uint32()}
	marker := c.byte()
	if kind != KindInsert && (marker == 'K' || marker == 'O') {
		row.OldKind = marker
		row.Old = c.tuple()
		if kind == KindDelete {
			return
		}
		marker = c.byte()
	}
	if kind == KindDelete || marker != 'N' {
		c.failed = true
		return
	}
	row.New = c.tuple()
}

// tuple reads a TupleData and returns its bytes.
func (c *cursor) tuple() Tuple {
	start := c.rest
	for n := c.uint16(); n > 0 && !c.failed; n-- {
		switch c.byte() {
		case Null, Unchanged:
		case Text, Binary:
			c.counted()
		case Omitted:
			if len(c.counted()) != OmittedBytes {
				c.failed = true
			}
		default:
			c.failed = true
		}
	}
	length := len(start) - len(c.rest)
	return Tuple(start[:length:length])
}

// namespace reads the name of a schema. The protocol sends an empty string for pg_catalog.
func (c *cursor) namespace() []byte {
	if name := c.text(); len(name) > 0 {
		return name
	}
	return pgCatalog
}

var pgCatalog = []byte("pg_catalog")

func (c *cursor) relation() *Relation {
	r := &Relation{OID: c.uint32(), Schema: string(c.namespace()), Name: string(c.text()), Identity: c.byte()}
	const shortest = 1 + 1 + 4 + 4 // flags, empty name, type, modifier
	n := int(c.uint16())
	if n*shortest > len(c.rest) {
		c.failed = true
		return nil
	}
	r.Columns = make([]Column, n)
	for i := range r.Columns {
		r.Columns[i] = Column{
			Key: c.byte()&1 != 0, Name: string(c.text()), Type: c.uint32(), TypeMod: int32(c.uint32()),
		}
	}
	return r
}

func (c *cursor) truncated() Truncated {
	n := int(int32(c.uint32()))
	options := c.byte()
	if n < 0 || n > len(c.rest)/4 {
		c.failed = true
		return Truncated{}
	}
	return Truncated{Options: options, oids: c.take(4 * n)}
}
