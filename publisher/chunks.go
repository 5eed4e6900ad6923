package publisher

import (
	"context"
	"fmt"
	"strconv"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/filter"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// maxChunksBytes bounds the rows of table copies in one Kafka transaction, because the stream waits until that transaction ends.
const maxChunksBytes = 16 << 20

// appendChunks appends the rows of chunks whose LSN the stream has reached: all transactions up to next are in the batch or already published. The
// progress of the copies becomes part of next, and so of the same Kafka transaction.
func (p *Publisher) appendChunks(ctx context.Context, next Position) (Position, error) {
	c := p.copier
	if err := p.executeSignals(); err != nil {
		return next, err
	}
	c.Turn(next.EndLSN)
	if err := p.appendEmptying(ctx, next); err != nil {
		return next, err
	}
	bytes := 0
	for chunk := c.Ready(next.EndLSN); !p.giant.goesOn && chunk != nil && bytes < maxChunksBytes; chunk = c.Ready(next.EndLSN) {
		bytes += chunk.Bytes()
		if err := p.appendChunk(ctx, chunk); err != nil {
			return next, fmt.Errorf("rows of table %d, read at %s: %w", chunk.Table, chunk.At, err)
		}
		c.Turn(next.EndLSN)
	}
	next.Snapshots = c.State()
	p.stats.snapshot(c.Stats())
	return next, nil
}

// appendChunk appends the rows of a chunk that the stream has not overtaken.
func (p *Publisher) appendChunk(ctx context.Context, chunk *snapshot.HeldChunk) error {
	c := p.copier
	what, relation := c.Judge(chunk)
	if what == snapshot.ReadAgain {
		c.Again(chunk.Table)
		return nil
	}
	rows := p.beginRows(ctx, chunk, relation)
	var err error
	if rows.filter, err = c.Filter(chunk); err != nil {
		return err
	}
	if what == snapshot.Publish {
		if err := c.Merge(chunk, relation, rows.add); err != nil {
			return err
		}
	}
	if err := rows.end(); err != nil {
		return err
	}
	c.Published(chunk)
	return nil
}

// chunkRows appends the rows of a chunk, each wrapped in a synthetic transaction.
type chunkRows struct {
	*Publisher
	ctx   context.Context
	copy  *snapshot.Copy
	chunk *snapshot.HeldChunk
	tx    outbox.Transaction
	fresh bool   // no row of the table has been published yet
	done  int    // number of rows appended
	id    []byte // event id of the next record
	fixed int    // length of the part of id that is the same for all rows

	filter *filter.Filter // condition of the copy; nil: every row
	row    filter.TupleRow

	waiting pgoutput.Tuple // held back until the next row arrives, since the last row has a different mark
	number  int
}

func (p *Publisher) beginRows(ctx context.Context, chunk *snapshot.HeldChunk, relation *pgoutput.Relation) *chunkRows {
	work := p.copier.Current()
	r := &p.rows
	*r = chunkRows{Publisher: p, ctx: ctx, copy: work, chunk: chunk, row: r.row, fresh: !p.copier.Begun(work, chunk.Table), id: r.id[:0], tx: outbox.Transaction{
		CommitLSN: chunk.At, EndLSN: chunk.At, CommitTime: chunk.Time, Changes: []outbox.Change{{Op: outbox.Read, Note: -1, LSN: chunk.At, Relation: relation}},
	}}
	if work.Initial {
		r.tx.XID = outbox.XID(chunk.Visible.Xmax - 1)
	}
	r.id = append(append(append(r.id, "snapshot."...), work.ID...), '.')
	r.fixed = len(r.id)
	p.batch.Begin(&r.tx)
	return r
}

// add takes row number i of the chunk. A row for which the condition cannot be evaluated, because a value was too long to be kept, is published.
func (r *chunkRows) add(i int, row pgoutput.Tuple) error {
	if r.filter != nil {
		if truth := r.filter.Match(r.row.Read(row)); truth != filter.True && truth != filter.Unknown {
			return nil
		}
	}
	if err := r.flush(outbox.MarkTrue); err != nil {
		return err
	}
	r.waiting, r.number = row, i
	return nil
}

// end appends the last row.
func (r *chunkRows) end() error {
	return r.flush(r.copier.LastMark(r.chunk))
}

// flush appends the row held back, if there is one.
func (r *chunkRows) flush(mark outbox.SnapshotMark) error {
	if r.waiting == nil {
		return nil
	}
	row := &r.tx.Changes[0]
	row.New, row.Mark = r.waiting, r.mark(mark)
	r.waiting = nil
	r.done++
	r.id = strconv.AppendInt(r.id[:r.fixed], r.copy.RowsDone+int64(r.number), 10)
	r.batch.AtRead(r.id)
	if err := r.appendFitting(r.ctx, &r.tx, 0); err != nil {
		return err
	}
	if r.batch.Bytes() < r.part {
		return nil
	}
	return r.sendPart(r.ctx)
}

// mark returns Debezium's mark for a row of an initial snapshot: its place among all rows, or among the rows of its table.
func (r *chunkRows) mark(mark outbox.SnapshotMark) outbox.SnapshotMark {
	switch {
	case !r.copy.Initial:
		return outbox.MarkIncremental
	case mark != outbox.MarkTrue:
		return mark
	case r.copy.RowsDone == 0 && r.done == 0:
		return outbox.MarkFirst
	case r.fresh && r.done == 0:
		return outbox.MarkFirstOfTable
	}
	return outbox.MarkTrue
}

// appendEmptying appends the records that empty the topics of a resync, once its tables are known.
func (p *Publisher) appendEmptying(ctx context.Context, next Position) error {
	c := p.copier
	if c.Emptying() == nil || p.giant.goesOn {
		return nil
	}
	work := c.Current()
	tx := outbox.Transaction{CommitLSN: next.EndLSN, EndLSN: next.EndLSN, CommitTime: p.now(), Changes: make([]outbox.Change, 1)}
	p.batch.Begin(&tx)
	for _, relation := range c.Emptying() {
		tx.Changes[0] = outbox.Change{Op: outbox.Truncate, Note: -1, LSN: next.EndLSN, Relation: relation, Mark: outbox.MarkIncremental}
		p.batch.AtRead(strconv.AppendUint([]byte("snapshot."+work.ID+".t"), uint64(relation.OID), 10))
		first := p.batch.Len()
		if err := p.appendFitting(ctx, &tx, 0); err != nil {
			return fmt.Errorf("empty the topic of table %s.%s: %w", relation.Schema, relation.Name, err)
		}
		for i := first; i < p.batch.Len(); i++ {
			p.batch.Header(record.ResyncHeader, []byte(work.ID))
		}
	}
	c.Emptied()
	return nil
}
