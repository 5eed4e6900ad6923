package publisher

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// MissedPolicy says what happens when UPDATEs and DELETEs of a table could not be captured for some time.
type MissedPolicy string

const (
	MissedResync MissedPolicy = "resync" // the topic is emptied by a record of op t, then every row comes afresh
	MissedHalt   MissedPolicy = "halt"
	MissedWarn   MissedPolicy = "warn" // only
)

// ResyncHeader names the header of the record of op t that a resync, not a TRUNCATE, has made: the id of the resync.
const ResyncHeader = "pgtee-resync"

// tellMissed says what is missing, and reports whether a resync is to make up for it.
func (p *Publisher) tellMissed(s *outbox.SignalRecord) (resync bool, err error) {
	var tables []string
	for _, name := range s.Tables {
		if schema, table, _ := strings.Cut(name, "."); p.cfg.Shape.Includes(schema, table) && !matchesAny(p.cfg.EventTables, name) {
			tables = append(tables, name)
		}
	}
	if len(tables) == 0 {
		return false, nil
	}
	p.missed += len(tables)
	resync = p.cfg.OnMissed == MissedResync && p.cfg.Snapshot.Open != nil
	if p.cfg.OnMissed == MissedHalt {
		return false, &Halt{ErrMissed, "of " + strings.Join(tables, ", ") + " some UPDATE and DELETE are missing up to here",
			"start with --on-missed resync, which publishes these tables afresh, or with --on-missed warn, which goes on without"}
	}
	s.Tables = tables
	text := "changes of tables are not in the stream up to here, from here on they are"
	if resync {
		text += "; the tables are published afresh"
	}
	p.cfg.Log.Warn(text, zap.Strings("tables", tables), zap.String("id", s.ID))
	return resync, nil
}

// joinResync adds tables to a resync that waits for its turn: so a storm of them takes no more room in the progress record than
// their names.
func (c *copier) joinResync(tables []string) bool {
	for i := range c.state.Copies {
		copy := &c.state.Copies[i]
		if copy.Resync && !copy.Emptied && len(copy.Conditions) == 0 && strings.HasPrefix(copy.ID, outbox.MissedPrefix) {
			names := append(slices.Clone(copy.Tables), tables...)
			slices.Sort(names)
			copy.Tables, copy.Until = slices.Compact(names), 0
			c.dirty = true
			if c.current() == copy {
				c.abandon()
			}
			return true
		}
	}
	return false
}

// describe asks for the tables of a resync, whose topics are to be emptied.
func (c *copier) describe(work *Copy) {
	if c.describing != 0 || c.emptying != nil {
		return
	}
	var roots []uint32
	for _, t := range c.todo {
		roots = append(roots, t.Root)
	}
	slices.Sort(roots)
	c.describing = c.next()
	c.reader.Describe(c.describing, slices.Compact(roots))
}

// appendEmptying appends the records that empty the topics of a resync, once it is known what they are. Recording
// begins anew behind them: then every transaction that is in the stream before them is visible to whatever is read, and
// the changes of every other come behind them.
func (p *Publisher) appendEmptying(next Position) error {
	c := p.copier
	if c.emptying == nil || p.goesOn {
		return nil
	}
	work := c.current()
	tx := outbox.Transaction{CommitLSN: next.EndLSN, EndLSN: next.EndLSN, CommitTime: p.now(), Changes: make([]outbox.Change, 1)}
	p.batch.Begin(&tx)
	for _, relation := range c.emptying {
		tx.Changes[0] = outbox.Change{Op: outbox.Truncate, Note: -1, LSN: next.EndLSN, Relation: relation, Mark: outbox.MarkIncremental}
		p.batch.atRead(strconv.AppendUint([]byte("snapshot."+work.ID+".t"), uint64(relation.OID), 10))
		first := p.batch.Len()
		if err := p.appendFitting(&tx, 0); err != nil {
			return fmt.Errorf("empty the topic of table %s.%s: %w", relation.Schema, relation.Name, err)
		}
		for i := first; i < p.batch.Len(); i++ {
			p.batch.Header(ResyncHeader, []byte(work.ID))
		}
	}
	work.Emptied, c.dirty = true, true
	c.abandon()
	c.start()
	return nil
}
