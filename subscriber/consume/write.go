package consume

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// write writes a batch in one transaction: rows, dead letters, and the positions of the partitions. If the table refuses the batch, write halves it
// under a savepoint until the single refused record is found. If the definition of the table has changed meanwhile, the error is errTableChanged.
func (t *target) write(ctx context.Context, b *batch) error {
	err := t.transact(ctx, b)
	if err == nil || t.conn.IsClosed() {
		return err
	}
	if t.conn.TxStatus() != 'I' {
		if failed := t.exec(ctx, "ROLLBACK"); failed != nil {
			return errors.Join(err, failed)
		}
	}
	if _, changed := postgres.Query(ctx, t.conn, sameTable, t.cfg.Schema, t.cfg.Table, t.table.version); postgres.State(changed) == divisionByZero {
		return errTableChanged
	}
	if postgres.State(err) == divisionByZero {
		return errFenced
	}
	return err
}

// divisionByZero is the SQLSTATE with which sameTable and advanceFence fail.
const divisionByZero = "22012"

const (
	begin     = "BEGIN; SET CONSTRAINTS ALL IMMEDIATE"
	savepoint = "SAVEPOINT r" // to which settle rolls back; this releases row locks that were taken after it

	// What runs while rows are written is code of the table: triggers, defaults, constraints. It has the search_path of role and database.
	theirPath = "SET LOCAL search_path TO DEFAULT"
	ownPath   = "SET LOCAL search_path = pg_catalog"
)

func (t *target) transact(ctx context.Context, b *batch) error {
	if err := t.exec(ctx, begin+"; "+theirPath+"; "+savepoint); err != nil {
		return err
	}
	if err := t.settle(ctx, b, false); err != nil {
		return err
	}
	pipeline := t.conn.StartPipeline(ctx)
	pipeline.SendQueryParams(ownPath, nil, nil, nil, nil)
	t.bury(pipeline, b)
	pipeline.SendQueryParams(sameTable, [][]byte{[]byte(t.cfg.Schema), []byte(t.cfg.Table), []byte(t.table.version)}, nil, nil, nil)
	t.advance(pipeline, b)
	pipeline.SendQueryParams("COMMIT", nil, nil, nil, nil)
	_, err := postgres.Results(t.conn, pipeline)
	return err
}

// maxUnclear is how often rows may be refused with an unclear error before the table has taken any.
const maxUnclear = 100

// settle writes the rows of a batch and marks rows that the table refuses as dead. An unclear error is attributed to the row if the table accepts
// other rows; others says that it has.
func (t *target) settle(ctx context.Context, b *batch, others bool) error {
	if b.doubt != nil && !others {
		return b.doubt
	}
	t.rows = b.alive(t.rows[:0])
	open := [][]int32{t.rows}
	var doubt error // of a row that is dead only if the table takes others
	unclear := 0
	for len(open) > 0 {
		rows := open[len(open)-1]
		open = open[:len(open)-1]
		suspect, err := t.try(ctx, b, rows)
		if err == nil {
			others = true
			if len(rows) < len(t.rows) {
				err = t.exec(ctx, t.table.keepSQL())
			}
			if err != nil {
				return err
			}
			continue
		}
		if isUnclear(err) {
			doubt = err
			unclear++
		} else if !isBadRecord(err) {
			return err
		}
		if !others && unclear > maxUnclear {
			break
		}
		if failed := t.exec(ctx, "ROLLBACK TO SAVEPOINT r"); failed != nil {
			return failed
		}
		if len(rows) > 1 {
			open = append(open, split(rows, suspect)...)
			continue
		}
		one := &b.rows[rows[0]]
		one.dead, one.state = reasonOf(err), postgres.State(err)
	}
	if !others {
		return doubt
	}
	return nil
}

// split splits refused rows: around the row that the server has named, otherwise in halves. The last part returned is tried first.
func split(rows []int32, suspect int32) (parts [][]int32) {
	at, found := slices.BinarySearch(rows, suspect)
	if !found {
		middle := len(rows) / 2
		return [][]int32{rows[middle:], rows[:middle]}
	}
	for _, some := range [][]int32{rows[at+1:], rows[at : at+1], rows[:at]} {
		if len(some) > 0 {
			parts = append(parts, some)
		}
	}
	return parts
}

// try writes rows, which are in the order of the records: one COPY for each shape of line and, if the table has a key, from the stage into the table.
// suspect is the row at which COPY stopped, -1 if it is not known.
func (t *target) try(ctx context.Context, b *batch, rows []int32) (suspect int32, err error) {
	t.sorted = append(t.sorted[:0], rows...)
	slices.SortStableFunc(t.sorted, func(i, j int32) int { return b.rows[i].shape.compare(b.rows[j].shape) })
	deletes := false
	for rest := t.sorted; len(rest) > 0; {
		s, n := b.rows[rest[0]].shape, 1
		for n < len(rest) && b.rows[rest[n]].shape == s {
			n++
		}
		if _, err := t.conn.CopyFrom(ctx, &lineReader{b: b, rows: rest[:n]}, t.table.copySQL(s)); err != nil {
			return suspectOf(err, rest[:n]), err
		}
		rest, deletes = rest[n:], deletes || s.deletes
	}
	if t.table.keys == 0 || len(rows) == 0 {
		return -1, nil
	}
	take := t.table.upsertSQL()
	if deletes { // first: they may make room for unique values
		take = t.table.deleteSQL() + "; " + take
	}
	return -1, t.exec(ctx, take)
}

// lineReader reads the lines of rows. Adjacent lines are read in one piece.
type lineReader struct {
	b    *batch
	rows []int32
	left []byte
}

func (r *lineReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(r.left) == 0 {
			if len(r.rows) == 0 {
				break
			}
			r.left = r.piece()
		}
		copied := copy(p[n:], r.left)
		n, r.left = n+copied, r.left[copied:]
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *lineReader) piece() []byte {
	first := &r.b.rows[r.rows[0]]
	end, i := first.end, 1
	for i < len(r.rows) && r.b.rows[r.rows[i]].start == end {
		end = r.b.rows[r.rows[i]].end
		i++
	}
	r.rows = r.rows[i:]
	return r.b.arena[first.start:end]
}
