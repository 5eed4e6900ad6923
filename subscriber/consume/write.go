package consume

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// write writes a batch in one transaction: rows, dead letters, and the positions of the partitions. If the table refuses the batch, write halves it
// under a savepoint until the single refused record is found.
func (t *target) write(ctx context.Context, b *batch) error {
	err := t.transact(ctx, b)
	if err != nil && !t.conn.IsClosed() && t.conn.TxStatus() != 'I' {
		if failed := t.exec(ctx, "ROLLBACK"); failed != nil {
			return errors.Join(err, failed)
		}
	}
	return err
}

func (t *target) transact(ctx context.Context, b *batch) error {
	if err := t.exec(ctx, "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; SAVEPOINT r"); err != nil {
		return err
	}
	if err := t.settle(ctx, b); err != nil {
		return err
	}
	pipeline := t.conn.StartPipeline(ctx)
	t.bury(pipeline, b)
	t.advance(pipeline, b)
	pipeline.SendQueryParams("COMMIT", nil, nil, nil, nil)
	_, err := postgres.Results(t.conn, pipeline)
	if postgres.State(err) == "22012" {
		return errFenced
	}
	return err
}

// part is a range of rows of a batch: from is included, to is not.
type part struct{ from, to int }

// settle writes the rows of a batch and marks rows that the table refuses as dead.
func (t *target) settle(ctx context.Context, b *batch) error {
	open := []part{{0, len(b.rows)}}
	for len(open) > 0 {
		p := open[len(open)-1]
		open = open[:len(open)-1]
		suspect, err := t.try(ctx, b, p)
		whole := p.to-p.from == len(b.rows)
		switch {
		case err == nil && whole:
		case err == nil:
			err = t.exec(ctx, "RELEASE SAVEPOINT r; SAVEPOINT r")
		case isBadRecord(err):
			refused := err
			if err = t.exec(ctx, "ROLLBACK TO SAVEPOINT r"); err != nil {
				return err
			}
			if p.to-p.from == 1 {
				b.rows[p.from].dead, b.rows[p.from].state = reasonOf(refused), postgres.State(refused)
				continue
			}
			open = append(open, split(p, suspect)...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// split splits a refused part: around the row that the server has named, otherwise in halves. The last part returned is tried first.
func split(p part, suspect int) []part {
	var parts []part
	if suspect < p.from || suspect >= p.to {
		middle := (p.from + p.to) / 2
		return []part{{middle, p.to}, {p.from, middle}}
	}
	for _, some := range []part{{suspect + 1, p.to}, {suspect, suspect + 1}, {p.from, suspect}} {
		if some.from < some.to {
			parts = append(parts, some)
		}
	}
	return parts
}

// isBadRecord reports whether an error may be caused by a row: its content, or a constraint or trigger that refuses it.
func isBadRecord(err error) bool {
	switch state := postgres.State(err); {
	case state == "21000", state == "P0001", state == "42804", state == "44000":
		return true
	default:
		return strings.HasPrefix(state, "22") || strings.HasPrefix(state, "23") || strings.HasPrefix(state, "54")
	}
}

const maxReasonBytes = 2000

// reasonOf returns the server's message, with the place that it names.
func reasonOf(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return err.Error()
	}
	reason := answer.Message
	if answer.Detail != "" {
		reason += " (" + answer.Detail + ")"
	}
	if place := copyPlace.FindStringSubmatch(answer.Where); place != nil && place[2] != "" {
		reason += ", column " + place[2]
	}
	return strings.ToValidUTF8(reason[:min(len(reason), maxReasonBytes)], "")
}

// copyPlace matches the line, and possibly the column, of a COPY that the server refuses.
var copyPlace = regexp.MustCompile(`(?m)^COPY .*, line (\d+)(?:, column ([^:\n]+))?`)

// try writes a part. suspect is the row at which COPY stopped, -1 if it is not known.
func (t *target) try(ctx context.Context, b *batch, p part) (suspect int, err error) {
	if t.table.keys == 0 {
		for mask := range masksOf(b, p) {
			if suspect, err = t.copy(ctx, b, t.rowsOf(b, p, mask, false), t.table.copySQL(t.table.name, mask)); err != nil {
				return suspect, err
			}
		}
		return -1, nil
	}
	t.lastOfKeys(b, p)
	used := p.from > 0 // the stage is empty at the start of a transaction
	deleted := false
	for i := p.from; i < p.to && !deleted; i++ {
		deleted = b.rows[i].deletes && b.rows[i].dead == ""
	}
	if deleted {
		if suspect, err = t.stage(ctx, b, t.rowsOf(b, p, 0, true), t.table.copyKeysSQL(), t.table.deleteSQL(), &used); err != nil {
			return suspect, err
		}
	}
	for mask := range masksOf(b, p) {
		if suspect, err = t.stage(ctx, b, t.rowsOf(b, p, mask, false), t.table.copySQL(stage, mask), t.upsert(mask), &used); err != nil {
			return suspect, err
		}
	}
	return -1, nil
}

// stage copies rows into the stage and moves them from there into the table.
func (t *target) stage(ctx context.Context, b *batch, rows []int32, copySQL, takeSQL string, used *bool) (int, error) {
	if len(rows) == 0 {
		return -1, nil
	}
	if *used {
		if err := t.exec(ctx, "TRUNCATE "+stage); err != nil {
			return -1, err
		}
	}
	*used = true
	if suspect, err := t.copy(ctx, b, rows, copySQL); err != nil {
		return suspect, err
	}
	return -1, t.exec(ctx, takeSQL)
}

func (t *target) upsert(mask uint64) string {
	sql, known := t.upserts[mask]
	if !known {
		sql = t.table.upsertSQL(mask)
		t.upserts[mask] = sql
	}
	return sql
}

// masksOf returns the masks of the rows of a part.
func masksOf(b *batch, p part) map[uint64]bool {
	masks := map[uint64]bool{}
	for i := p.from; i < p.to; i++ {
		if r := &b.rows[i]; r.dead == "" && !r.deletes {
			masks[r.mask] = true
		}
	}
	return masks
}

// rowsOf selects the rows of a part that go into one statement. They are valid until the next call.
func (t *target) rowsOf(b *batch, p part, mask uint64, deletes bool) []int32 {
	t.selected = t.selected[:0]
	for i := p.from; i < p.to; i++ {
		r := &b.rows[i]
		if r.dead == "" && r.deletes == deletes && (deletes || r.mask == mask) && (t.table.keys == 0 || t.isLast(b, i)) {
			t.selected = append(t.selected, int32(i))
		}
	}
	return t.selected
}

var keySeed = maphash.MakeSeed()

// lastOfKeys finds the last row for each key in a part: earlier rows of the key have no effect.
func (t *target) lastOfKeys(b *batch, p part) {
	clear(t.seen)
	for i := p.from; i < p.to; i++ {
		if b.rows[i].dead == "" {
			t.seen[t.slotOf(b, i)] = int32(i)
		}
	}
}

// slotOf returns the slot of a key in seen: at its hash, or after other keys with the same hash.
func (t *target) slotOf(b *batch, i int) uint64 {
	key := b.key(&b.rows[i])
	for h := maphash.Bytes(keySeed, key); ; h++ {
		j, taken := t.seen[h]
		if !taken || bytes.Equal(b.key(&b.rows[j]), key) {
			return h
		}
	}
}

func (t *target) isLast(b *batch, i int) bool { return t.seen[t.slotOf(b, i)] == int32(i) }

// copy writes the lines of rows. suspect is the row at which the server stopped.
func (t *target) copy(ctx context.Context, b *batch, rows []int32, sql string) (suspect int, err error) {
	if len(rows) == 0 {
		return -1, nil
	}
	if _, err = t.conn.CopyFrom(ctx, &lineReader{b: b, rows: rows}, sql); err != nil {
		return suspectOf(err, rows), err
	}
	return -1, nil
}

// suspectOf returns the row whose line an error names, -1 if it names none.
func suspectOf(err error, rows []int32) int {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return -1
	}
	place := copyPlace.FindStringSubmatch(answer.Where)
	if place == nil {
		return -1
	}
	line, _ := strconv.Atoi(place[1])
	if line < 1 || line > len(rows) {
		return -1
	}
	return int(rows[line-1])
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
