package apply

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// phase is one of the steps in which the rows of a batch are written. Steps that free unique values precede steps that use them.
type phase byte

const (
	deletes  phase = iota // rows that must exist
	purges                // rows that may exist
	updates               // rows that must exist
	mendings              // rows that may exist
	ghosts                // rows that must not exist
	upserts
	inserts
	phases
)

// removes reports whether a phase deletes rows and needs no values; byKey reports whether it finds rows by key.
func (p phase) removes() bool { return p == deletes || p == purges || p == ghosts }
func (p phase) byKey() bool   { return p < upserts }

var phasesOf = [...][]phase{
	inserted: {inserts}, updated: {updates}, deleted: {deletes}, replaced: {deletes, inserts}, transient: {ghosts},
	upserted: {upserts}, corrected: {mendings}, forgotten: {purges},
}

// group is rows of one table that one statement can write, because they have values for the same columns.
type group struct {
	part    *tableBatch
	columns []int // columns with values
	moved   bool
	rows    []int32
}

// groups sorts the rows of a batch into groups. It is reused for the next batch.
type groups struct {
	list  [phases][]*group
	byKey map[string]*group
	spare []*group
	key   []byte
}

func (g *groups) reset() {
	clear(g.byKey)
	for p := range g.list {
		for _, one := range g.list[p] {
			if cap(one.rows) < 1<<18 {
				g.spare = append(g.spare, one)
			}
		}
		g.list[p] = g.list[p][:0]
	}
}

func (g *groups) sort(b *batch) {
	if g.byKey == nil {
		g.byKey = map[string]*group{}
	}
	g.reset()
	for _, part := range b.tablesInOrder() {
		clear(g.byKey)
		for i := range part.rows {
			row := &part.rows[i]
			for _, p := range phasesOf[row.fate] {
				g.put(p, part, i, row)
			}
		}
	}
}

func (g *groups) put(p phase, part *tableBatch, i int, row *netRow) {
	g.key = append(g.key[:0], byte(p), 0)
	if !p.removes() {
		if row.moved {
			g.key[1] = 1
		}
		for _, v := range part.row(i) {
			if v.kind == absent {
				g.key = append(g.key, 0)
			} else {
				g.key = append(g.key, 1)
			}
		}
	}
	found := g.byKey[string(g.key)]
	if found == nil {
		if n := len(g.spare); n > 0 {
			found, g.spare = g.spare[n-1], g.spare[:n-1]
		} else {
			found = &group{}
		}
		*found = group{part: part, moved: g.key[1] == 1, columns: found.columns[:0], rows: found.rows[:0]}
		for c, has := range g.key[2:] {
			if has == 1 && part.table.columns[c].writable() {
				found.columns = append(found.columns, c)
			}
		}
		g.byKey[string(g.key)] = found
		g.list[p] = append(g.list[p], found)
	}
	found.rows = append(found.rows, int32(i))
}

const (
	maxStatementRows  = 2_000
	maxPipelinedBytes = 1 << 20
	fewRows           = 200 // up to this number of rows an INSERT is sent in the pipeline instead of a COPY
)

// suspicion is an error of a batch that may be a conflict. Its changes must be written one by one to find out.
type suspicion struct{ error }

func (s suspicion) Unwrap() error { return s.error }

// expectation is the number of rows that a statement must affect; -1: any number.
type expectation struct {
	phase phase
	table *table
	rows  int64
}

// rows writes the rows of a batch.
func (t *target) rows(ctx context.Context, b *batch) error {
	if err := t.boundPrepared(ctx); err != nil {
		return err
	}
	t.groups.sort(b)
	var expected []expectation
	if err := t.prepareAll(ctx, b); err != nil {
		return err
	}
	pipeline := t.conn.StartPipeline(ctx)
	if !t.inside {
		pipeline.SendQueryParams("BEGIN", nil, nil, nil, nil)
		expected = append(expected, expectation{rows: -1})
		t.inside = true
		if !t.replica {
			pipeline.SendQueryParams("SET CONSTRAINTS ALL DEFERRED", nil, nil, nil, nil)
			expected = append(expected, expectation{rows: -1})
		}
	}
	var err error
	sent := 0
	for p, list := range t.groups.list {
		for _, g := range list {
			if phase(p) == inserts && len(g.rows) > fewRows {
				continue
			}
			if expected, err = t.sendGroup(pipeline, b, phase(p), g, expected, &sent); err != nil {
				return err
			}
		}
	}
	counts, err := postgres.Results(t.conn, pipeline)
	if err != nil {
		return suspect(err)
	}
	for i, e := range expected {
		if e.rows >= 0 && i < len(counts) && counts[i] != e.rows {
			return suspicion{fmt.Errorf("table %s: %d rows of %d", e.table.plain, counts[i], e.rows)}
		}
	}
	for _, g := range t.groups.list[inserts] {
		if len(g.rows) > fewRows {
			if err := t.copy(ctx, b, g); err != nil {
				return suspect(err)
			}
		}
	}
	return nil
}

// suspect turns errors caused by data into a suspicion, and returns errors of the connection unchanged.
func suspect(err error) error {
	switch state := postgres.State(err); {
	case len(state) != 5:
		return err
	case strings.HasPrefix(state, "22"), strings.HasPrefix(state, "23"), strings.HasPrefix(state, "42"), strings.HasPrefix(state, "P0"), state == "21000", state == "44000":
		return suspicion{err}
	}
	return err
}

// sqlOf returns the statements that write a group.
func (t *target) sqlOf(p phase, g *group) []string {
	table, keys := g.part.table, g.part.keys
	switch p {
	case deletes, purges, ghosts:
		return []string{deleteSQL(table, keys, nil)}
	case updates, mendings:
		return []string{updateSQL(table, keys, nil, g.columns, g.moved)}
	case upserts:
		if keys == nil {
			return []string{insertSQL(table, g.columns)}
		}
		if !table.upserts(keys) {
			return []string{deleteSQL(table, keys, nil), insertSQL(table, g.columns)}
		}
		return []string{upsertSQL(table, keys, g.columns)}
	}
	return []string{insertSQL(table, g.columns)}
}

// prepareAll prepares statements that are not prepared yet, because that cannot be done within a pipeline.
func (t *target) prepareAll(ctx context.Context, b *batch) error {
	for p, list := range t.groups.list {
		for _, g := range list {
			if phase(p) == inserts && len(g.rows) > fewRows || (phase(p) == updates || phase(p) == mendings) && nothingToSet(g) {
				continue
			}
			for _, sql := range t.sqlOf(phase(p), g) {
				if _, err := t.prepare(ctx, sql); err != nil {
					return suspect(err)
				}
			}
		}
	}
	return nil
}

// nothingToSet reports whether an update only has values for key columns.
func nothingToSet(g *group) bool {
	return !g.moved && len(settable(g.part.table, g.part.keys, g.columns, false)) == 0
}

func (t *target) sendGroup(pipeline *pgconn.Pipeline, b *batch, p phase, g *group, expected []expectation, sent *int) ([]expectation, error) {
	for from := 0; from < len(g.rows); from += maxStatementRows {
		rows := g.rows[from:min(from+maxStatementRows, len(g.rows))]
		for _, sql := range t.sqlOf(p, g) {
			e := expectation{p, g.part.table, -1}
			switch p {
			case deletes, updates, inserts:
				e.rows = int64(len(rows))
			case ghosts:
				e.rows = 0
			}
			if p == updates && nothingToSet(g) || p == mendings && nothingToSet(g) {
				continue
			}
			isDelete := strings.HasPrefix(sql, "DELETE")
			params := t.params(b, g, rows, p.byKey() || isDelete, !isDelete && !p.removes(), p == updates || p == mendings)
			for _, param := range params {
				*sent += len(param)
			}
			pipeline.SendQueryPrepared(t.prepared[sql], params, binaryFormat, nil)
			expected = append(expected, e)
			if *sent > maxPipelinedBytes {
				*sent = 0
				if err := pipeline.Flush(); err != nil {
					return expected, err
				}
			}
		}
	}
	return expected, nil
}

var binaryFormat = []int16{1}

const textOID = 25 // pg_type.dat

// params returns arrays of text in binary format, one per column: first those of the keys, then those of the columns to be set or inserted. They are
// valid until the next call.
func (t *target) params(b *batch, g *group, rows []int32, keys, values, setting bool) [][]byte {
	columns := g.columns
	if setting {
		columns = settable(g.part.table, g.part.keys, g.columns, g.moved)
	}
	n := 0
	if keys {
		n = len(g.part.keys)
	}
	if values {
		n += len(columns)
	}
	for len(t.scratch) < n {
		t.scratch = append(t.scratch, nil)
	}
	params := t.scratch[:n] // a pipeline copies its parameters
	for i := range params {
		params[i] = beginArray(params[i][:0], len(rows))
	}
	for _, i := range rows {
		at := 0
		if keys {
			origin := g.part.rows[i].origin
			keyParts(b.arena[origin.start:origin.end], func(text []byte) {
				params[at] = appendItem(params[at], text)
				at++
			})
		}
		if !values {
			continue
		}
		row := g.part.row(int(i))
		for _, c := range columns {
			params[at] = appendValue(params[at], b, row[c])
			at++
		}
	}
	return params
}

// beginArray appends the head of a one-dimensional text[] (array_recv in PostgreSQL's arrayfuncs.c).
func beginArray(dst []byte, n int) []byte {
	for _, word := range []uint32{1, 1, textOID, uint32(n), 1} { // dimensions, has NULLs, type, length, lower bound
		dst = binary.BigEndian.AppendUint32(dst, word)
	}
	return dst
}

func appendItem(dst, text []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(text))), text...)
}

// appendPart appends a part of a key: see keyParts.
func appendPart(dst, text []byte) []byte {
	if text == nil {
		return binary.BigEndian.AppendUint32(dst, nullPart)
	}
	return appendItem(dst, text)
}

func appendValue(dst []byte, b *batch, v value) []byte {
	if v.kind != isText {
		return binary.BigEndian.AppendUint32(dst, 0xFFFFFFFF)
	}
	return appendItem(dst, b.arena[v.start:v.end])
}

// copy writes rows with COPY in text format, which PostgreSQL supports for every type.
func (t *target) copy(ctx context.Context, b *batch, g *group) error {
	tag, err := t.conn.CopyFrom(ctx, &copyReader{b: b, g: g}, copySQL(g.part.table, g.columns))
	if err == nil && tag.RowsAffected() != int64(len(g.rows)) {
		return suspicion{fmt.Errorf("table %s: COPY has taken %d rows of %d", g.part.table.plain, tag.RowsAffected(), len(g.rows))}
	}
	return err
}

// copyReader produces the lines of a COPY while it is read.
type copyReader struct {
	b    *batch
	g    *group
	next int
	line []byte
	at   int
}

func (r *copyReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if r.at == len(r.line) {
			if r.next == len(r.g.rows) {
				if n == 0 {
					return 0, io.EOF
				}
				break
			}
			r.line, r.at = r.appendRow(r.line[:0]), 0
		}
		copied := copy(p[n:], r.line[r.at:])
		n, r.at = n+copied, r.at+copied
	}
	return n, nil
}

func (r *copyReader) appendRow(dst []byte) []byte {
	row := r.g.part.row(int(r.g.rows[r.next]))
	r.next++
	for i, c := range r.g.columns {
		if i > 0 {
			dst = append(dst, '\t')
		}
		v := row[c]
		if v.kind != isText {
			dst = append(dst, '\\', 'N')
			continue
		}
		dst = postgres.AppendCopyText(dst, r.b.arena[v.start:v.end])
	}
	return append(dst, '\n')
}
