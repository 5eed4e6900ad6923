package apply

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// obstacle is a unique index, or the index of an exclusion constraint, that does not take the row of a change because of other rows. It may be the index of
// a partition, and have expressions or a predicate: PostgreSQL names only the index, and its definition tells how to find those rows.
type obstacle struct {
	table     string   // of the index, quoted for SQL
	predicate string   // of the rows in the index
	keys      []string // columns and expressions, as SQL in which columns have no prefix
	operators []string // of the keys: a row is in the way if all are true
	columns   []int    // of the applied table, that keys and predicate use; their values in the change are known
	distinct  bool     // NULL is never equal to NULL
}

// maxObstacles bounds how many constraints are cleared for one change.
const maxObstacles = 100

// obstacleQuery returns a row for each key of an index. The operators of an exclusion constraint are its own, those of a unique index belong to the operator class.
const obstacleQuery = `SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.relname), coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), 'true'),
  pg_catalog.pg_get_indexdef(i.indexrelid, k.n, false) || CASE WHEN i.indcollation[k.n - 1] = 0 THEN '' ELSE ' COLLATE ' || i.indcollation[k.n - 1]::pg_catalog.regcollation END,
  (SELECT 'OPERATOR(' || pg_catalog.quote_ident(s.nspname) || '.' || o.oprname || ')' FROM pg_catalog.pg_operator AS o JOIN pg_catalog.pg_namespace AS s ON s.oid = o.oprnamespace
    WHERE o.oid = coalesce(x.conexclop[k.n], (SELECT a.amopopr FROM pg_catalog.pg_opclass AS c JOIN pg_catalog.pg_amop AS a ON a.amopfamily = c.opcfamily AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
      WHERE c.oid = i.indclass[k.n - 1] AND a.amopstrategy = 3))),
  coalesce(pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct', 'false'),
  (SELECT pg_catalog.string_agg(a.attname, pg_catalog.chr(1)) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum > 0
    AND (a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1]) OR EXISTS (SELECT FROM pg_catalog.pg_depend AS d
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid AND d.refclassid = d.classid AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)))
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint AS x ON x.conindid = i.indexrelid AND x.conrelid = i.indrelid AND x.contype IN ('p', 'u', 'x'), pg_catalog.generate_series(1, i.indnkeyatts) AS k(n)
WHERE n.nspname = $1 AND c.relname = $2 ORDER BY k.n`

// obstacleOf returns the index that refuses a change; nil if there is none, or if the change does not have the values that the index depends on.
func (t *target) obstacleOf(ctx context.Context, c *change, found *conflict) (*obstacle, error) {
	if found.kind != "insert_exists" && found.kind != "update_exists" {
		return nil, nil
	}
	rows, err := postgres.Query(ctx, t.conn, obstacleQuery, found.schema, found.constraint)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	o := &obstacle{table: rows[0][0], predicate: rows[0][1], distinct: rows[0][4] == "false"}
	for _, row := range rows {
		if row[3] == "" {
			return nil, nil
		}
		o.keys, o.operators = append(o.keys, row[2]), append(o.operators, row[3])
	}
	for name := range strings.SplitSeq(rows[0][5], "\x01") {
		i, there := c.table.byName[name]
		if !there || i >= len(c.row) || c.row[i].kind == absent {
			return nil, nil
		}
		o.columns = append(o.columns, i)
	}
	return o, nil
}

// where returns a condition for rows t of the table that are in the way of a change, and its parameters. The row that an UPDATE changes is not.
func (o *obstacle) where(b *batch, c *change) (condition string, params [][]byte) {
	others := ""
	if c.op == 'u' && c.keys != nil {
		others = fmt.Sprintf(" AND NOT EXISTS (SELECT FROM %s WHERE %s)", unnested(len(c.keys)), sameKey(c.table, c.keys, b.arena[c.key.start:c.key.end]))
		params = rowParams(b, b.arena[c.key.start:c.key.end], nil, nil)
	}
	var values, keys, same []string
	for i, column := range o.columns {
		values = append(values, fmt.Sprintf("%s AS %s", c.table.columns[column].cast(fmt.Sprintf("x.c%d", len(params)+i)), c.table.columns[column].quoted))
	}
	for i, key := range o.keys {
		keys = append(keys, fmt.Sprintf("%s AS k%d", key, i))
		equal := fmt.Sprintf("o.k%d %s n.k%[1]d", i, o.operators[i])
		if !o.distinct {
			equal = fmt.Sprintf("(%s OR o.k%d IS NULL AND n.k%[2]d IS NULL)", equal, i)
		}
		same = append(same, equal)
	}
	params = append(params, rowParams(b, nil, c.row, o.columns)...)
	list := strings.Join(keys, ", ")
	return fmt.Sprintf("t.ctid = ANY (ARRAY(SELECT o.place FROM (SELECT ctid AS place, %s FROM ONLY %s WHERE %s) AS o, (SELECT %s FROM (SELECT %s FROM %s) AS n) AS n WHERE %s))%s",
		list, o.table, o.predicate, list, strings.Join(values, ", "), unnested(len(params)), strings.Join(same, " AND "), others), params
}

// removeObstacles deletes the rows in the way of a change, and returns their number. The change can be tried again then.
func (t *target) removeObstacles(ctx context.Context, b *batch, c *change, o *obstacle) (int64, error) {
	condition, params := o.where(b, c)
	result := t.conn.ExecParams(ctx, fmt.Sprintf("DELETE FROM ONLY %s AS t WHERE %s", o.table, condition), params, nil, formatOf(params), nil).Read()
	if result.Err != nil {
		return 0, result.Err
	}
	return result.CommandTag.RowsAffected(), t.exec(ctx, "RELEASE SAVEPOINT change; SAVEPOINT change")
}

// readExisting reads a row in the way of a change.
func (t *target) readExisting(ctx context.Context, b *batch, c *change, found *conflict) error {
	o, err := t.obstacleOf(ctx, c, found)
	if err != nil || o == nil {
		return err
	}
	condition, params := o.where(b, c)
	result := t.conn.ExecParams(ctx, fmt.Sprintf("SELECT pg_catalog.to_jsonb(t)::pg_catalog.text FROM ONLY %s AS t WHERE %s LIMIT 1", o.table, condition), params, nil, formatOf(params), nil).Read()
	if result.Err == nil && len(result.Rows) == 1 {
		found.existing = string(result.Rows[0][0])
	}
	return result.Err
}
