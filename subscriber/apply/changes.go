package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// statement is an SQL statement that writes a change, with its parameters.
type statement struct {
	sql    string
	params [][]byte
	rows   int64 // number of rows it must affect; -1: any number
}

// statementsOf returns the statements that write a change exactly as in the stream.
func (t *target) statementsOf(b *batch, c *change) []statement {
	known := presentColumns(c.table, c.row)
	insert := statement{insertSQL(c.table, known), rowParams(b, nil, c.row, known), 1}
	if c.keys == nil {
		switch c.op {
		case 'u':
			if c.renumbers(b) {
				return []statement{t.rewrite(b, c)}
			}
			return []statement{t.wholeRow(b, c, "UPDATE")}
		case 'd':
			return []statement{t.wholeRow(b, c, "DELETE")}
		}
		return []statement{insert}
	}
	key := b.arena[c.key.start:c.key.end]
	remove := statement{deleteSQL(c.table, c.keys, key), rowParams(b, key, nil, nil), 1}
	switch {
	case c.op == 'd':
		if c.table.loading {
			remove.rows = -1
		}
		return []statement{remove}
	case c.op == 'u':
		set := settable(c.table, c.keys, known, c.moved)
		if len(set) == 0 {
			return nil
		}
		return []statement{{updateSQL(c.table, c.keys, key, known, c.moved), rowParams(b, key, c.row, set), 1}}
	case c.op == 'r' || c.table.loading:
		if c.table.upserts(c.keys) && !hasNull(key) { // a unique index may allow several NULLs
			return []statement{{upsertSQL(c.table, c.keys, known), rowParams(b, nil, c.row, known), -1}}
		}
		remove.rows = -1
		return []statement{remove, insert}
	}
	return []statement{insert}
}

// lack says what the target needs and the record of a change does not have; "": nothing.
func (c *change) lack() string {
	switch {
	case c.cut || !c.finds() && headerOf(c.record, headerLeftOut) != nil:
		return "lacks values that were too large for its record"
	case !c.finds():
		return "has neither a key nor the whole row before the change"
	}
	return ""
}

// finds reports whether it is known which row a change belongs to.
func (c *change) finds() bool { return c.keys != nil || c.old != nil || c.op != 'u' && c.op != 'd' }

// presentColumns returns the columns for which a row has values, except those that only the server may set.
func presentColumns(t *table, row []value) (columns []int) {
	for i := range row {
		if row[i].kind != absent && t.columns[i].writable() {
			columns = append(columns, i)
		}
	}
	return columns
}

// rowParams returns the parameters for one row.
func rowParams(b *batch, key []byte, row []value, columns []int) (params [][]byte) {
	keyParts(key, func(text []byte) { params = append(params, appendPart(beginArray(nil, 1), text)) })
	for _, c := range columns {
		params = append(params, appendValue(beginArray(nil, 1), b, row[c]))
	}
	return params
}

// wholeRow returns a statement that finds a row of a table without a key by all its values, and updates or deletes exactly one of the matching rows.
func (t *target) wholeRow(b *batch, c *change, verb string) statement {
	var conditions []string
	var params [][]byte
	for i, v := range c.old {
		column := &c.table.columns[i]
		switch {
		case v.kind == absent || column.generated:
			continue
		case v.kind == isNull:
			conditions = append(conditions, fmt.Sprintf("o.%s IS NULL", column.quoted))
			continue
		}
		x := fmt.Sprintf("x.c%d", len(params))
		params = append(params, appendValue(beginArray(nil, 1), b, v))
		conditions = append(conditions, column.sameAs("o", x))
	}
	compared := len(params)
	var set []string
	if verb == "UPDATE" {
		for _, i := range settable(c.table, nil, presentColumns(c.table, c.row), true) {
			column := &c.table.columns[i]
			if column.identity { // has its value: see renumbers
				continue
			}
			set = append(set, fmt.Sprintf("%s = %s", column.quoted, column.cast(fmt.Sprintf("n.c%d", len(params)))))
			params = append(params, appendValue(beginArray(nil, 1), b, c.row[i]))
		}
	}
	list := "(SELECT) AS x"
	if len(params) > 0 {
		list = unnested(len(params))
	}
	found := fmt.Sprintf("(SELECT o.tableoid AS r, o.ctid AS p FROM %s AS o, %s WHERE %s LIMIT 1) AS f", c.table.own, list, strings.Join(append(conditions, "true"), " AND "))
	where := " WHERE t.ctid = f.p AND t.tableoid = f.r"
	if verb == "DELETE" {
		return statement{fmt.Sprintf("DELETE FROM %s AS t USING %s%s", c.table.own, found, where), params[:compared], 1}
	}
	return statement{fmt.Sprintf("UPDATE %s AS t SET %s FROM %s, %s%s", c.table.own, strings.Join(set, ", "), found, strings.Replace(list, " AS x(", " AS n(", 1), where), params, 1}
}

// rewrite returns a statement for an UPDATE of a column GENERATED ALWAYS AS IDENTITY: it deletes the row and inserts the new one.
func (t *target) rewrite(b *batch, c *change) statement {
	var remove statement
	if c.keys == nil {
		remove = t.wholeRow(b, c, "DELETE")
	} else {
		key := b.arena[c.key.start:c.key.end]
		remove = statement{deleteSQL(c.table, c.keys, key), rowParams(b, key, nil, nil), 1}
	}
	known := presentColumns(c.table, c.row)
	return statement{rewriteSQL(c.table, remove, known), append(slices.Clone(remove.params), rowParams(b, nil, c.row, known)...), 1}
}

// renumbers reports whether an UPDATE of a table without a key sets a column GENERATED ALWAYS AS IDENTITY to another value.
func (c *change) renumbers(b *batch) bool {
	for i := range c.table.columns {
		before, after := c.old[i], c.row[i]
		if c.table.columns[i].identity && after.kind != absent && string(b.arena[before.start:before.end]) != string(b.arena[after.start:after.end]) {
			return true
		}
	}
	return false
}

// changes writes changes one after another, without determining which of them causes an error.
func (t *target) changes(ctx context.Context, b *batch) error {
	if err := t.boundPrepared(ctx); err != nil {
		return err
	}
	var list []statement
	for i := range b.changes {
		if lack := b.changes[i].lack(); lack != "" {
			return suspicion{fmt.Errorf("a change of table %s %s", b.changes[i].table.plain, lack)}
		}
		for _, s := range t.statementsOf(b, &b.changes[i]) {
			if _, err := t.prepare(ctx, s.sql); err != nil {
				return suspect(err)
			}
			list = append(list, s)
		}
	}
	pipeline := t.conn.StartPipeline(ctx)
	first := t.begin(pipeline)
	sent := 0
	for _, s := range list {
		pipeline.SendQueryPrepared(t.prepared[s.sql], s.params, formatOf(s.params), nil)
		for _, p := range s.params {
			sent += len(p)
		}
		if sent > maxPipelinedBytes {
			sent = 0
			if err := pipeline.Flush(); err != nil {
				return err
			}
		}
	}
	counts, err := postgres.Results(t.conn, pipeline)
	if err != nil {
		return suspect(err)
	}
	for i, s := range list {
		if s.rows >= 0 && counts[first+i] != s.rows {
			return suspicion{fmt.Errorf("a change affected %d rows", counts[first+i])}
		}
	}
	return nil
}

// formatOf returns the format of parameters: binary, if there are any.
func formatOf(params [][]byte) []int16 {
	if len(params) == 0 {
		return nil
	}
	return binaryFormat
}

// begin opens a transaction unless one is open, and returns the number of results to expect.
func (t *target) begin(pipeline *pgconn.Pipeline) (results int) {
	if t.inside {
		return 0
	}
	t.inside = true
	pipeline.SendQueryParams("BEGIN", nil, nil, nil, nil)
	if t.replica {
		return 1
	}
	pipeline.SendQueryParams("SET CONSTRAINTS ALL DEFERRED", nil, nil, nil, nil)
	return 2
}

// open opens a transaction, unless one is open.
func (t *target) open(ctx context.Context) error {
	if t.inside {
		return nil
	}
	pipeline := t.conn.StartPipeline(ctx)
	t.begin(pipeline)
	_, err := postgres.Results(t.conn, pipeline)
	return err
}

// oneByOne writes changes one by one, each under a savepoint, so that the change that causes a conflict can be named.
func (t *target) oneByOne(ctx context.Context, b *batch) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for i := range b.changes {
		if err := t.boundPrepared(ctx); err != nil {
			return err
		}
		if err := t.writeOne(ctx, b, &b.changes[i]); err != nil {
			return err
		}
	}
	if !t.saved {
		return nil
	}
	t.saved = false
	return t.exec(ctx, "RELEASE SAVEPOINT change")
}

// writeOne writes a change and resolves its conflict, if any. It releases the savepoint of the preceding change and sets its own in the same round trip;
// its own stays until the next change.
func (t *target) writeOne(ctx context.Context, b *batch, c *change) error {
	var list []statement
	lack := c.lack()
	if lack == "" {
		list = t.statementsOf(b, c)
	}
	for _, s := range list {
		if _, err := t.prepare(ctx, s.sql); err != nil {
			return t.unprepared(c, err)
		}
	}
	pipeline := t.conn.StartPipeline(ctx)
	first := 1
	if t.saved {
		pipeline.SendQueryParams("RELEASE SAVEPOINT change", nil, nil, nil, nil)
		first = 2
	}
	pipeline.SendQueryParams("SAVEPOINT change", nil, nil, nil, nil)
	for _, s := range list {
		pipeline.SendQueryPrepared(t.prepared[s.sql], s.params, formatOf(s.params), nil)
	}
	counts, err := postgres.Results(t.conn, pipeline)
	t.saved = true
	found, err := t.conflictIn(c, list, counts, first, err)
	if err == nil && found == nil {
		found, err = t.lateConflict(ctx, b, c)
	}
	if err == nil && lack != "" {
		found = &conflict{kind: "incomplete", message: lack}
	}
	if err != nil || found == nil {
		return err
	}
	found.tried = list
	if err := t.exec(ctx, "ROLLBACK TO SAVEPOINT change"); err != nil {
		return err
	}
	if found.kind == "update_missing" && c.keys != nil && (c.table.fixed(c.keys) || c.moved && c.table.fixed(nil)) {
		if found, err = t.try(ctx, c, []statement{t.rewrite(b, c)}); err != nil || found == nil {
			return err
		}
		if err := t.exec(ctx, "ROLLBACK TO SAVEPOINT change"); err != nil {
			return err
		}
	}
	return t.settle(ctx, b, c, found)
}

// unprepared is the error for a statement that the target refuses to prepare. The transaction has failed as well.
func (t *target) unprepared(c *change, err error) error {
	var refused *pgconn.PgError
	if suspected := (suspicion{}); !errors.As(suspect(err), &suspected) || !errors.As(err, &refused) {
		return err
	}
	return t.haltFor(c, conflictOf(c, refused))
}

// try runs statements and returns the conflict that they cause, nil if there is none.
func (t *target) try(ctx context.Context, c *change, list []statement) (*conflict, error) {
	for _, s := range list {
		rows, err := t.run(ctx, s)
		found, err := t.conflictIn(c, []statement{s}, []int64{rows}, 0, err)
		if found != nil {
			found.tried = list
		}
		if err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}

func (t *target) run(ctx context.Context, s statement) (int64, error) {
	name, err := t.prepare(ctx, s.sql)
	if err != nil {
		return 0, err
	}
	result := t.conn.ExecPrepared(ctx, name, s.params, formatOf(s.params), nil).Read()
	return result.CommandTag.RowsAffected(), result.Err
}

// overwrite changes the target to match the stream, if possible, and returns what it did.
func (t *target) overwrite(ctx context.Context, b *batch, c *change, found *conflict) (action string, err error) {
	switch found.kind {
	case "delete_missing":
		return "nothing to delete", nil
	case "incomplete":
		if !c.finds() {
			return "skipped: the stream does not say which row", nil
		}
		again, err := t.try(ctx, c, t.statementsOf(b, c))
		if err != nil || again == nil {
			return "written without the values that the record lacks", err
		}
		return t.overwrite(ctx, b, c, again)
	case "update_missing":
		if !c.whole {
			return "skipped: the stream does not have the whole row", nil
		}
		again, err := t.insertWhole(ctx, b, c)
		if err != nil || again == nil {
			return "inserted", err
		}
		return t.overwrite(ctx, b, c, again)
	}
	for range maxObstacles {
		if err := t.exec(ctx, "ROLLBACK TO SAVEPOINT change"); err != nil {
			return "", err
		}
		o, err := t.obstacleOf(ctx, c, found)
		if err != nil {
			return "", err
		}
		if o == nil {
			break
		}
		removed, err := t.removeObstacles(ctx, b, c, o)
		refused, err := t.conflictIn(c, nil, nil, 0, err)
		switch {
		case err != nil:
			return "", err
		case refused != nil: // other rows of the target refer to it
			return "", t.halt(ctx, c, refused)
		case removed == 0:
			return "", t.halt(ctx, c, found)
		}
		again, err := t.try(ctx, c, found.tried)
		if err != nil || again == nil {
			return "the row that was there is replaced", err
		}
		found = again
	}
	return "", t.halt(ctx, c, found)
}

// hasAll reports whether a row has known values other than NULL for all the columns.
func hasAll(row []value, columns []int) bool {
	return !slices.ContainsFunc(columns, func(i int) bool { return i >= len(row) || row[i].kind != isText })
}
