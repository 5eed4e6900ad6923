package outbox

import (
	"encoding/binary"
	"fmt"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// A field can be a gigabyte long, and the server sends it in a single message. No Kafka record can be that large, so the value is not kept in memory
// either: a message of the stream, or a row of COPY, that exceeds the limit is read in pieces, and each value that does not fit is replaced by its
// length (pgoutput.Omitted).

// DefaultRowBytes is the default limit for one message in memory.
const DefaultRowBytes = 8 << 20

// smallBytes is the length up to which a value is kept even if other values have used up the limit, until such short values together exceed the limit
// once more. Key columns are not longer than this.
const smallBytes = 4 << 10

// maxPrefixBytes is the length to which the prefix of an oversized logical message is cut.
const maxPrefixBytes = 256

// digest reads an oversized message and keeps what fits.
type digest struct {
	frames *frames
	left   int // bytes of the message not yet read
	room   int // bytes of values that may still be kept
	kept   []byte
}

// digest returns the shortened body of a message of this size, of which the frames have read no more than the length field.
func (f *frames) digest(size int) (kind byte, body []byte, err error) {
	d := digest{frames: f, left: size, room: f.longest}
	header, err := d.take(5)
	if err != nil {
		return 0, nil, err
	}
	if kind = header[0]; kind != 'd' {
		return 0, nil, fmt.Errorf("message of kind %q and %d bytes", kind, size)
	}
	err = f.shorten(&d)
	if err == nil && d.left != 0 {
		err = fmt.Errorf("%w: %d bytes after its end", pgoutput.ErrMalformed, d.left)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("message of %d bytes: %w", size, err)
	}
	return kind, d.kept, nil
}

// data reads an XLogData with a row or a logical message.
func (d *digest) data() error {
	const header = 1 + 8 + 8 + 8 // 'w', LSN of the data, LSN of the end of WAL, server's clock
	if err := d.copy(header + 1); err != nil {
		return err
	}
	switch kind := pgoutput.Kind(d.kept[header]); kind {
	case pgoutput.KindInsert, pgoutput.KindUpdate, pgoutput.KindDelete:
		return d.row()
	case pgoutput.KindLogical:
		return d.logical()
	default:
		return fmt.Errorf("%w: too long for a %s", pgoutput.ErrMalformed, kind)
	}
}

// row reads what follows the kind: the OID of the relation, and up to two tuples, each after its marker.
func (d *digest) row() error {
	if err := d.copy(4); err != nil {
		return err
	}
	for d.left > 0 {
		if err := d.copy(1); err != nil {
			return err
		}
		if err := d.tuple(); err != nil {
			return err
		}
	}
	return nil
}

func (d *digest) tuple() error {
	if err := d.copy(2); err != nil {
		return err
	}
	for n := binary.BigEndian.Uint16(d.kept[len(d.kept)-2:]); n > 0; n-- {
		if err := d.copy(1); err != nil {
			return err
		}
		if kind := d.kept[len(d.kept)-1]; kind != pgoutput.Text && kind != pgoutput.Binary {
			continue
		}
		omitted, err := d.value()
		if err != nil {
			return err
		}
		if omitted {
			d.kept[len(d.kept)-1-4-pgoutput.OmittedBytes] = pgoutput.Omitted
		}
	}
	return nil
}

// logical reads what follows the kind: flags, LSN, prefix, content.
func (d *digest) logical() error {
	flags := len(d.kept)
	if err := d.copy(1 + 8); err != nil {
		return err
	}
	cut, err := d.prefix()
	if err != nil {
		return err
	}
	if cut {
		d.room = -d.frames.longest - 1 // keep no content, however short: with a truncated prefix, the message could be mistaken for another one
	}
	omitted, err := d.value()
	if omitted {
		d.kept[flags] |= pgoutput.FlagOmitted
	}
	return err
}

// prefix reads up to and including a zero byte. cut reports whether a part of the prefix was left out.
func (d *digest) prefix() (cut bool, err error) {
	for n := 0; ; n++ {
		b, err := d.take(1)
		switch {
		case err != nil:
			return false, err
		case b[0] == 0 || n < maxPrefixBytes:
			d.kept = append(d.kept, b[0])
		}
		if b[0] == 0 {
			return n > maxPrefixBytes, nil
		}
	}
}

// value reads a length and that many bytes. It keeps them, or replaces them by an eight-byte length.
func (d *digest) value() (omitted bool, err error) {
	length, err := d.take(4)
	if err != nil {
		return false, err
	}
	n := int(int32(binary.BigEndian.Uint32(length)))
	if n < 0 || n > d.left {
		return false, fmt.Errorf("%w: value of %d bytes", pgoutput.ErrMalformed, n)
	}
	if d.takes(n) {
		d.room -= n
		d.kept = append(d.kept, length...)
		return false, d.copy(n)
	}
	d.kept = binary.BigEndian.AppendUint32(d.kept, pgoutput.OmittedBytes)
	d.kept = binary.BigEndian.AppendUint64(d.kept, uint64(n))
	return true, d.skip(n)
}

// takes reports whether a value of n bytes may be kept.
func (d *digest) takes(n int) bool {
	return n <= d.room || n <= smallBytes && n <= d.room+d.frames.longest
}

// copied reads a row in COPY text format.
func (d *digest) copied() error {
	start, size, escaped := len(d.kept), 0, false // of a field
	for d.left > 0 {
		piece, err := d.take(min(d.left, framesBytes/2))
		if err != nil {
			return err
		}
		for _, b := range piece {
			switch {
			case b == '\t' || b == '\n':
				d.endField(start, size)
				d.kept = append(d.kept, b)
				start, size = len(d.kept), 0
				continue
			case b == '\\' && !escaped:
				escaped = true
			default:
				escaped = false
				size++
			}
			if d.takes(size) {
				d.kept = append(d.kept, b)
			}
		}
	}
	d.endField(start, size)
	return nil
}

// endField replaces a field that does not fit by its length.
func (d *digest) endField(start, size int) {
	if d.takes(size) {
		d.room -= size
		return
	}
	d.kept = appendOmitted(d.kept[:start], size)
}

// copy keeps the next n bytes.
func (d *digest) copy(n int) error {
	for n > 0 {
		piece, err := d.take(min(n, framesBytes/2))
		if err != nil {
			return err
		}
		d.kept = append(d.kept, piece...)
		n -= len(piece)
	}
	return nil
}

func (d *digest) skip(n int) error {
	for n > 0 {
		piece, err := d.take(min(n, framesBytes/2))
		if err != nil {
			return err
		}
		n -= len(piece)
	}
	return nil
}

// take returns the next n bytes, at most half of a buffer. They are valid until the next call.
func (d *digest) take(n int) ([]byte, error) {
	if n > d.left {
		return nil, fmt.Errorf("%w: %d bytes, %d left", pgoutput.ErrMalformed, n, d.left)
	}
	if err := d.frames.need(n); err != nil {
		return nil, err
	}
	f := d.frames
	piece := f.buffer[f.start : f.start+n]
	f.start += n
	d.left -= n
	return piece, nil
}
