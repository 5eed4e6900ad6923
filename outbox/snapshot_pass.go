package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// pass is the state of a running Read.
type pass struct {
	reader *TableReader
	text   *Encoding // converts the rows
	span   *Span
	source *source
	limit  int    // number of rows
	upTo   int64  // end block, in ctid order
	key    []int  // key columns, as indexes of Relation.Columns
	chunk  *Chunk // chunk being filled
	rows   int
	bytes  int
	place  []byte // ctid of the last row, if the table is read in ctid order
	ended  bool   // more than limit rows exist
}

func (t *TableReader) read(conn *tableConn, s *Span) error {
	source, err := conn.begin(s)
	if err != nil {
		return err
	}
	p := newPass(t, s, source)
	p.text = conn.encoding
	command := source.copySQL(s, p.limit+1, p.upTo)
	if s.Keys != nil {
		command = source.lookupSQL(s)
	}
	command += "; COMMIT"
	if source.key == nil { // an index must not change the order
		command = "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; " + command
	}
	if err := conn.send(command); err != nil {
		return err
	}
	err = conn.replies(func(kind byte, body []byte) error {
		if kind != 'd' {
			return nil
		}
		return p.row(body)
	})
	if err == nil {
		p.ended = p.ended || source.key == nil && p.upTo < source.blocks
		p.chunk.End = !p.ended
		if p.upTo > 0 && p.ended { // the next pass starts at the next block, whatever the last row was
			p.place = fmt.Appendf(nil, "(%d,0)", p.upTo)
		}
	} else if !errors.Is(err, errStop) {
		return err
	}
	if lost := p.flush(); lost != nil {
		return lost
	}
	return err
}

// try does what a pass does, but reads no row.
func (r *tableConn) try(s *Span) error {
	source, err := r.begin(s)
	if err == nil {
		_, err = r.query(source.copySQL(s, 0, 0))
	}
	err = tableError(s, err)
	if lost := r.rollback(); err == nil {
		err = lost
	}
	return err
}

func newPass(t *TableReader, s *Span, source *source) *pass {
	p := &pass{reader: t, span: s, source: source}
	p.limit = min(max(s.Rows, 1), maxPassRows)
	if s.Keys != nil {
		p.limit = maxPassRows
	}
	for _, key := range source.key {
		p.key = append(p.key, slices.IndexFunc(source.relation.Columns, func(c pgoutput.Column) bool { return c.Name == key.name }))
	}
	if source.key == nil {
		from := int64(0)
		if s.After != nil {
			block, _, _ := bytes.Cut(bytes.TrimPrefix(s.After[1], []byte("(")), []byte(","))
			from, _ = strconv.ParseInt(string(block), 10, 64)
		}
		p.upTo = min(source.blocks, from+min(maxPassBlocks, int64(1+p.limit/64)))
		p.upTo = max(p.upTo, from)
	}
	p.next()
	return p
}

// next starts a chunk.
func (p *pass) next() {
	p.chunk = &Chunk{
		Table: p.span.Table, Relation: p.source.relation, Visible: p.source.visible, At: p.source.at,
		Time: time.UnixMicro(p.source.micros).UTC(),
	}
}

// row handles a row of COPY. A full chunk is delivered only when the next row arrives, so that the last chunk is never empty.
func (p *pass) row(line []byte) error {
	if p.source.key != nil && p.rows == p.limit {
		p.ended = true // this row belongs to the next pass
		return nil
	}
	if len(p.chunk.ends) == maxChunkRows || len(p.chunk.rows) >= maxChunkBytes {
		if err := p.give(); err != nil {
			return err
		}
		p.next()
	}
	c := p.chunk
	if c.rows == nil {
		c.rows = make([]byte, 0, min(maxChunkBytes+maxChunkBytes/8, max(2*len(line), maxChunkRows*len(line))))
	}
	start := len(c.rows)
	columns := len(p.source.relation.Columns)
	rows, rest, err := appendCopied(c.rows, bytes.TrimSuffix(line, []byte("\n")), columns, p.text)
	if err != nil {
		return err
	}
	if p.source.key == nil {
		rest = bytes.TrimPrefix(rest, []byte("\t"))
		p.place = append(p.place[:0], rest...)
		rest = nil
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: more than %d columns", errCopyText, columns)
	}
	c.rows = rows
	c.ends = append(c.ends, len(rows))
	p.rows++
	p.bytes += len(rows) - start
	return nil
}

// last returns the place of the last row of the chunk.
func (p *pass) last() ([][]byte, error) {
	switch {
	case p.span.Keys != nil:
		return nil, nil
	case p.source.key == nil && p.place != nil:
		return p.source.key.place(p.source.file, slices.Clone(p.place)), nil
	case p.source.key == nil || p.chunk.Len() == 0:
		return nil, nil
	}
	values := make([][]byte, len(p.key))
	i := 0
	for column := p.chunk.Row(p.chunk.Len() - 1).Columns(); column.Next(); i++ {
		n := slices.Index(p.key, i)
		if n >= 0 && column.Kind() == pgoutput.Omitted {
			return nil, fmt.Errorf("%s: a key of %d bytes is too long to continue after it", p.source.name, binary.BigEndian.Uint64(column.Value()))
		}
		if n >= 0 {
			values[n] = slices.Clone(column.Value())
		}
	}
	return p.source.key.place(p.source.file, values...), nil
}

// give delivers the chunk while more rows follow. It returns errStop if the pass must end with this chunk, because the pass is long enough or because
// the publisher does not take chunks and the transaction must not stay open.
func (p *pass) give() (err error) {
	if p.chunk.Last, err = p.last(); err != nil {
		return err
	}
	if p.bytes >= maxPassBytes {
		return errStop
	}
	patience := time.NewTimer(sendPatience)
	defer patience.Stop()
	select {
	case p.reader.results <- Reading{Task: p.span.Task, Chunk: p.chunk}:
		return nil
	case <-patience.C:
	case <-p.reader.ctx.Done():
	}
	return errStop
}

// flush delivers the last chunk after the transaction has ended.
func (p *pass) flush() (err error) {
	if p.chunk.Last, err = p.last(); err == nil {
		p.reader.deliver(Reading{Task: p.span.Task, Chunk: p.chunk})
	}
	return err
}
