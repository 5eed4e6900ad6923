package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox"
)

// compose appends to the batch what Kafka, whose position is given, does not hold yet. It returns
// next, moved behind the last of the transactions.
func (p *Publisher) compose(ctx context.Context, transactions []*outbox.Transaction, position, next Position) (Position, error) {
	for _, tx := range transactions {
		if tx.EndLSN <= position.EndLSN {
			continue
		}
		next.EndLSN = max(next.EndLSN, tx.EndLSN)
		p.urgent = p.urgent || tx.Urgent
		if !p.wanted(tx) {
			continue
		}
		next.XID, next.CommitTime = tx.XID, tx.CommitTime
		p.copier.observe(tx)
		if err := p.append(ctx, tx); err != nil {
			return next, fmt.Errorf("transaction %d that ends at %s: %w", tx.XID, tx.EndLSN, err)
		}
		p.composed++
	}
	return next, nil
}

// wanted says whether a transaction is to be published: not a progress marker, nor notes without a row, save
// that of a command which ran outside of any transaction block: it alone says who ran it.
func (p *Publisher) wanted(tx *outbox.Transaction) bool {
	return len(tx.Changes) > 0 || slices.ContainsFunc(tx.Notes, isAfter) || len(tx.Notes) > 0 && p.cfg.AuditEmpty
}

// isAfter says whether a note tells of a command that ran before it, outside of any transaction block.
func isAfter(n outbox.Note) bool { return n.Flags&outbox.FlagAfter != 0 }

// append appends the records of one transaction: its changes between their brackets, then its audit record. Those of a giant one
// are sent in parts; nobody sees them before Publish.
func (p *Publisher) append(ctx context.Context, tx *outbox.Transaction) error {
	p.batch.Begin(tx)
	if err := p.bracket(tx, "begin", p.format.Begin); err != nil {
		return err
	}
	p.order = arrange(p.order[:0], tx)
	for _, i := range p.order {
		if err := p.appendChange(tx, i); err != nil {
			return err
		}
		if p.batch.Bytes() < p.part {
			continue
		}
		if err := p.sendPart(ctx); err != nil {
			return unpublished(Position{EndLSN: tx.EndLSN}, err)
		}
	}
	if err := p.bracket(tx, "end", p.format.End); err != nil {
		return err
	}
	p.appendAudit(tx)
	return nil
}

// sendPart sends what is in the batch; nobody sees it before Publish.
func (p *Publisher) sendPart(ctx context.Context) error {
	p.sent += p.batch.Len()
	if err := p.log.Send(ctx, p.batch); err != nil {
		return err
	}
	p.refused += p.batch.refused
	p.batch.Reset()
	return nil
}

// bracket appends what the format says where a transaction begins or ends.
func (p *Publisher) bracket(tx *outbox.Transaction, name string, append func(*Batch, *outbox.Transaction) error) error {
	p.batch.mark(name)
	if err := append(p.batch, tx); err != nil {
		return unencoded("the "+name+" of the transaction", err)
	}
	return nil
}

func (p *Publisher) appendChange(tx *outbox.Transaction, i int) error {
	p.batch.At(tx, i)
	c := &tx.Changes[i]
	if c.Op == outbox.DDL {
		return p.appendDDL(tx, i)
	}
	if c.Op == outbox.Signal {
		p.signal(c.Signal)
		return nil
	}
	p.columns.row(c.Relation)
	first := p.batch.Len()
	if c.Op == outbox.Event {
		p.appendEvent(tx, i)
		return p.owners.claim(p.batch, first, c, p.cfg.Shape, p.cfg.Router)
	}
	err := p.format.Append(p.batch, tx, i)
	if err != nil {
		return unencoded(sourceName(c), err)
	}
	if p.batch.Len() == first {
		p.filtered++
	}
	return p.owners.claim(p.batch, first, c, p.cfg.Shape, p.cfg.Router)
}

// unencoded says what an error of the format means: to be tried again, if it was an outage (of the catalog, of
// a schema registry), else a halt.
func unencoded(what string, err error) error {
	var outage interface{ Temporary() bool }
	if errors.As(err, &outage) && outage.Temporary() {
		return fmt.Errorf("%s: %w", what, err)
	}
	var stop *Halt
	if errors.As(err, &stop) {
		return err
	}
	return &Halt{ErrEncode, fmt.Sprintf("%s: %v", what, err), "exclude the table or report the defect; nothing is skipped meanwhile"}
}

// arrange appends the indexes of the changes in the order in which they are published: that of the
// log, save that the DDL record which makes a table comes before the table's first row. CREATE TABLE
// AS writes its rows before the event trigger runs.
func arrange(order []int, tx *outbox.Transaction) []int {
	var creations []int // not yet in order
	for i := range tx.Changes {
		if creates(tx.Changes[i].DDL) {
			creations = append(creations, i)
		}
	}
	for i := range tx.Changes {
		c := &tx.Changes[i]
		if creates(c.DDL) && !slices.Contains(creations, i) {
			continue
		}
		first := slices.IndexFunc(creations, func(d int) bool {
			return d == i || c.Relation != nil && makes(tx.Changes[d].DDL, c.Relation.OID)
		})
		if first >= 0 && creations[first] != i {
			order = append(order, creations[first])
		}
		if first >= 0 {
			creations = slices.Delete(creations, first, first+1)
		}
		order = append(order, i)
	}
	return order
}

// creates says whether a DDL record (nil: none) makes tables.
func creates(d *outbox.DDLRecord) bool {
	return d != nil && (strings.HasPrefix(d.Command, "CREATE TABLE") || d.Command == "SELECT INTO")
}

func makes(d *outbox.DDLRecord, table uint32) bool {
	for _, o := range d.Objects {
		if o.OID == table {
			return true
		}
	}
	return false
}

// sourceName says what a change is of, for errors and owners of topics.
func sourceName(c *outbox.Change) string {
	if c.Relation == nil {
		return "logical messages"
	}
	return "table " + c.Relation.Schema + "." + c.Relation.Name
}
