package publisher

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
)

// composer holds what compose keeps from one transaction to the next, and the buffers that it reuses.
type composer struct {
	notes   *notes       // of the transaction being composed: the Authors of the batch
	audit   audit        // of that transaction
	order   []int        // publishing order of its changes
	columns knownColumns // of tables, as last described in the stream
}

// compose appends the records of the transactions after position, up to which Kafka already has everything. It returns next, advanced past the last
// transaction.
func (p *Publisher) compose(ctx context.Context, transactions []*outbox.Transaction, position, next Position) (Position, error) {
	for _, tx := range transactions {
		if err := p.resendCheck.observe(tx); err != nil {
			return next, err
		}
		if position.holds(tx) {
			continue
		}
		if next.Ordinal > 0 && !tx.IsMarker() && tx.CommitLSN != next.EndLSN {
			return next, halt.New(halt.ErrDiverged, fmt.Sprintf("%d changes of the transaction that commits at %s are in Kafka, but the server sends the transaction that commits at %s", next.Ordinal, next.EndLSN, tx.CommitLSN), repairDiverged)
		}
		p.urgent = p.urgent || tx.Urgent
		if p.wanted(tx) {
			if err := p.copier.Observe(ctx, tx); err != nil {
				return next, err
			}
			if err := p.append(ctx, tx, position); err != nil {
				return next, fmt.Errorf("transaction %d that commits at %s: %w", tx.XID, tx.CommitLSN, err)
			}
		}
		next = position.after(next, tx)
	}
	return next, nil
}

// wanted reports whether a transaction is published. Markers are not published. A transaction with notes but no rows is published only with
// AuditEmpty, or if the note is the only trace of its command: one that cannot run in a block, or TRUNCATE (which may affect only a partition). A
// giant is always published.
func (p *Publisher) wanted(tx *outbox.Transaction) bool {
	return !tx.Whole() || len(tx.Changes) > 0 || len(tx.Notes) > 0 && p.cfg.AuditEmpty ||
		slices.ContainsFunc(tx.Notes, func(n note.Note) bool { return isOutsideBlock(n) || p.composer.notes.command(&n) == "TRUNCATE" })
}

// isOutsideBlock reports whether a note was written after its command, which cannot run in a transaction block.
func isOutsideBlock(n note.Note) bool { return n.Flags&note.FlagOutsideBlock != 0 }

// append appends the records of one transaction: BEGIN, the changes, END, and the audit record. Records of a giant are sent before it is complete,
// but become visible only with Publish. Changes that are already published are composed again and discarded, so that counters and known columns end
// up as they were when those changes were published.
func (p *Publisher) append(ctx context.Context, tx *outbox.Transaction, position Position) error {
	out, parts := position.publishedOf(tx)
	if tx.Part == 0 {
		p.giant.beginWritten = false
	}
	p.giant.goesOn = tx.More
	if tx.More && tx.UpTo() > out && p.giant.opened.IsZero() {
		p.giant.opened = p.now()
	}
	p.batch.Begin(tx)
	p.batch.Part = parts
	p.composer.audit.add(tx, p.composer.notes)
	p.tracing.add(tx, p.composer.notes, p.batch, out, p.now)
	p.composer.order = arrange(p.composer.order[:0], tx)
	for _, i := range p.composer.order {
		if err := p.appendChange(ctx, tx, i, out); err != nil {
			return err
		}
		if p.batch.Bytes() < p.part {
			continue
		}
		if err := p.sendPart(ctx); err != nil {
			return err
		}
	}
	if tx.More {
		return nil
	}
	return p.finish(ctx, tx, parts)
}

// finish appends END and the audit record. parts is the number of Kafka transactions that hold earlier changes of the transaction.
func (p *Publisher) finish(ctx context.Context, tx *outbox.Transaction, parts int) error {
	if p.giant.beginWritten {
		if err := p.bracket(ctx, tx, "end", p.format.End); err != nil {
			return err
		}
	}
	p.appendAudit(tx, parts)
	p.since.transactions++
	p.giant.opened = time.Time{}
	return nil
}

// sendPart sends the records of the batch. They become visible with the next Publish.
func (p *Publisher) sendPart(ctx context.Context) error {
	p.since.sent += p.batch.Len()
	p.tracing.send(p.batch, p.now)
	if err := p.log.Send(ctx, p.batch); err != nil {
		return err
	}
	p.since.batch(p.batch)
	p.batch.Reset()
	return nil
}

// bracket appends the format's BEGIN or END record, if it has one.
func (p *Publisher) bracket(ctx context.Context, tx *outbox.Transaction, name string, append func(context.Context, *record.Batch, *outbox.Transaction) error) error {
	p.batch.Mark(name)
	if err := append(ctx, p.batch, tx); err != nil {
		return record.Unencoded("the "+name+" of the transaction", err)
	}
	return nil
}

// isEvent reports whether a change counts as an event in the transaction metadata (BEGIN and END).
func isEvent(op outbox.Op) bool { return op != outbox.DDL && op != outbox.Event && op != outbox.Signal }

// appendChange appends the records of a change, unless it is among the first `out` changes, which are already published.
func (p *Publisher) appendChange(ctx context.Context, tx *outbox.Transaction, i, out int) error {
	c, start := &tx.Changes[i], p.batch.Here()
	if !p.giant.beginWritten && isEvent(c.Op) {
		p.giant.beginWritten = true
		if err := p.bracket(ctx, tx, "begin", p.format.Begin); err != nil {
			return err
		}
	}
	p.batch.At(tx, i)
	if c.Op == outbox.Signal {
		if c.Ordinal >= out {
			return p.execute(c.Signal)
		}
		return nil
	}
	first := p.batch.Len()
	if err := p.appendFitting(ctx, tx, i); err != nil {
		return err
	}
	switch {
	case c.Ordinal < out:
		p.batch.Cut(start)
	case p.batch.Len() == first:
		p.since.filtered++
	}
	return nil
}

func (p *Publisher) appendRecords(ctx context.Context, tx *outbox.Transaction, i int) error {
	c, first, start := &tx.Changes[i], p.batch.Len(), p.batch.Here()
	switch c.Op {
	case outbox.DDL:
		return p.appendDDL(tx, i)
	case outbox.Event:
		p.appendEvent(tx, i)
	default:
		p.composer.columns.row(c.Relation)
		if err := p.format.Append(ctx, p.batch, tx, i); err != nil {
			return record.Unencoded(record.SourceName(c), err)
		}
	}
	taken := p.owners.claim(p.batch, first, c, p.cfg.Shape, p.cfg.Router)
	if taken == nil {
		return nil
	}
	if c.Relation == nil {
		return halt.New(halt.ErrTopicCollision, taken.Error(), "exclude that table, or give it a topic of its own in the configuration (tables: [{match, topic}])")
	}
	if err := p.cfg.Shape.Rename(c.Relation, taken.Why); err != nil {
		return err
	}
	p.batch.Cut(start)
	return p.appendRecords(ctx, tx, i)
}

// arrange appends the indexes of the changes in publishing order. That is WAL order, except that the DDL record that creates a table precedes the
// table's first row: CREATE TABLE AS writes its rows before the event trigger runs. In a giant, rows of earlier parts have been sent by then, so the
// DDL record precedes only the rows of the last part.
func arrange(order []int, tx *outbox.Transaction) []int {
	creations := creationsIn(tx)
	for i := range tx.Changes {
		c := &tx.Changes[i]
		if creates(c.DDL) {
			if !creations.arranged[i] {
				order = append(order, i)
				creations.arranged[i] = true
			}
			continue
		}
		if c.Relation != nil && creations.of != nil {
			if d, made := creations.of[c.Relation.OID]; made && !creations.arranged[d] {
				order = append(order, d)
				creations.arranged[d] = true
			}
		}
		order = append(order, i)
	}
	return order
}

// creations holds the DDL records of a transaction that create tables.
type creations struct {
	of       map[uint32]int // index of the first such record, by OID of the table
	arranged map[int]bool   // by index of the record
}

func creationsIn(tx *outbox.Transaction) creations {
	var c creations
	for i := range tx.Changes {
		d := tx.Changes[i].DDL
		if !creates(d) {
			continue
		}
		if c.of == nil {
			c = creations{map[uint32]int{}, map[int]bool{}}
		}
		for _, o := range d.Objects {
			if _, known := c.of[o.OID]; !known {
				c.of[o.OID] = i
			}
		}
	}
	return c
}

// creates reports whether a DDL record (nil: none) creates tables.
func creates(d *outbox.DDLRecord) bool {
	return d != nil && (strings.HasPrefix(d.Command, "CREATE TABLE") || d.Command == "SELECT INTO")
}
