package outbox

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Queries for the catalog as seen by the transaction of a pass. The session's search_path is only pg_catalog.

// publishedSQL lists the OIDs of the tables published by pgtee_rows, partitioned tables by their root. A partition is published under its own
// name while a DETACH CONCURRENTLY of it has not finished, and if its root is unlogged. It reads only catalogs: the view
// pg_publication_tables opens each table, and would wait for a client's DDL while holding a snapshot that other sessions wait for.
const publishedSQL = `SELECT c.oid FROM pg_class AS c JOIN pg_publication AS p ON p.pubname = '` + RowsPublication + `'
	WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384
	  AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pgtee', 'pg_catalog', 'information_schema'))
	  AND (p.puballtables OR EXISTS (SELECT FROM pg_publication_rel AS m WHERE m.prpubid = p.oid AND m.prrelid = c.oid))
	  AND (NOT c.relispartition OR ` + rootSQL + ` = c.oid)`

// rootSQL is SQL over pg_class AS c: the OID of the table under whose name its rows are published.
const rootSQL = `coalesce((SELECT r.oid FROM pg_partition_ancestors(c.oid) WITH ORDINALITY AS a (relid, place) JOIN pg_class AS r ON r.oid = a.relid AND r.relpersistence = 'p'
	ORDER BY a.place DESC LIMIT 1), c.oid)`

// listSQL lists the tables published by pgtee_rows, each leaf partition by itself, and a partitioned table without leaves: it has no rows, but a topic
// that a resync empties.
const listSQL = `WITH RECURSIVE tree AS (
		SELECT published.oid, published.oid AS root FROM (` + publishedSQL + `) AS published
		UNION ALL SELECT i.inhrelid, tree.root FROM tree JOIN pg_class AS parent ON parent.oid = tree.oid AND parent.relkind = 'p' JOIN pg_inherits AS i ON i.inhparent = tree.oid AND NOT i.inhdetachpending)
	SELECT c.oid, r.oid, n.nspname, r.relname, c.reltuples::int8
	FROM tree JOIN pg_class AS c ON c.oid = tree.oid
	JOIN pg_class AS r ON r.oid = tree.root JOIN pg_namespace AS n ON n.oid = r.relnamespace
	WHERE c.relpersistence = 'p' AND (c.relkind = 'r' OR c.relkind = 'p' AND c.oid = r.oid
		AND NOT EXISTS (SELECT FROM tree AS part JOIN pg_class AS leaf ON leaf.oid = part.oid WHERE part.root = r.oid AND leaf.relkind = 'r' AND leaf.relpersistence = 'p'))
	ORDER BY c.oid`

// nameSQL returns the name of a table with an OID.
const nameSQL = `SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %d AND c.relkind IN ('r', 'p')`

// beginSQL locks the table before it takes the snapshot: a command that rewrites or empties the table is either visible in the snapshot, or waits
// until the rows are read. Without the lock, a reader can see the table empty at a time when it never was ("Caveats" of MVCC in the PostgreSQL
// documentation). Before PostgreSQL 16 a rule can turn a table into a view, which would run its owner's functions.
const beginSQL = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE ONLY %[1]s IN ACCESS SHARE MODE;
	SELECT (%[2]s::regclass::oid = %[3]d AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = %[3]d AND c.relkind IN ('r', 'p') AND ` + rootSQL + ` = %[4]d))::text, pg_current_snapshot(), pg_current_wal_insert_lsn(), extract(epoch FROM clock_timestamp()) * 1000000,
		pg_relation_size(%[3]d) / current_setting('block_size')::int8, pg_relation_filenode(%[3]d)`

// relationSQL describes a table as pgoutput does: replica identity, then its columns.
const relationSQL = `SELECT n.nspname, c.relname, c.relreplident::text, a.attname, a.atttypid, a.atttypmod,
		(c.relreplident = 'f' OR a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))::text,
		CASE WHEN a.atttypid >= 10000 THEN tn.nspname END, CASE WHEN a.atttypid >= 10000 THEN t.typname END
	FROM pg_class AS c
	JOIN pg_namespace AS n ON n.oid = c.relnamespace
	LEFT JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
		AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)
	LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND %[2]s
	LEFT JOIN LATERAL (WITH RECURSIVE base (oid, of) AS (
			SELECT y.oid, CASE WHEN y.typtype = 'd' THEN y.typbasetype ELSE 0 END FROM pg_type AS y WHERE y.oid = a.atttypid
			UNION ALL SELECT y.oid, CASE WHEN y.typtype = 'd' THEN y.typbasetype ELSE 0 END FROM base AS b JOIN pg_type AS y ON y.oid = b.of)
		SELECT base.oid FROM base WHERE base.of = 0) AS b ON true
	LEFT JOIN pg_type AS t ON t.oid = b.oid
	LEFT JOIN pg_namespace AS tn ON tn.oid = t.typnamespace
	WHERE c.oid = %[1]d ORDER BY a.attnum`

// Generated columns are not in the stream, unless PostgreSQL 18 is configured to publish them. Publications have column lists and row filters since
// PostgreSQL 15.
const (
	columns14 = `a.attgenerated = ''`
	columns15 = columns14 + ` AND ` + listed
	columns18 = `CASE WHEN EXISTS (SELECT FROM pg_publication AS p WHERE p.pubname = '` + RowsPublication + `' AND p.pubgencols = 's') THEN a.attgenerated IN ('', 's')
		WHEN EXISTS (` + listing + ` AND l.prattrs IS NOT NULL) THEN true ELSE a.attgenerated = '' END AND ` + listed
	listing = `SELECT FROM pg_publication_rel AS l JOIN pg_publication AS p ON p.oid = l.prpubid WHERE p.pubname = '` + RowsPublication + `' AND l.prrelid = c.oid`
	listed  = `NOT EXISTS (` + listing + ` AND l.prattrs IS NOT NULL AND a.attnum <> ALL (l.prattrs))`

	filterSQL = `SELECT pg_get_expr(l.prqual, l.prrelid) FROM pg_publication_rel AS l JOIN pg_publication AS p ON p.oid = l.prpubid
		WHERE p.pubname = '` + RowsPublication + `' AND l.prrelid = %d AND l.prqual IS NOT NULL`
)

// keysSQL lists the columns of the indexes in whose order a table may be read, the primary key first. The indexes are unique; the third column
// reports whether a column is free of nulls. Indexes on composite types, and on user-defined arrays and ranges, are excluded, because reading a
// constant of such a type may run the checks of domains. Further columns are: the column as an expression with the index's collation, the operators
// for "comes before", "comes after" and "equals" in the index's order, and the position of nulls in it.
const keysSQL = `SELECT i.indexrelid, a.attname,
		(a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint AS v WHERE v.conrelid = a.attrelid AND v.contype = 'n' AND v.conkey = ARRAY[a.attnum] AND NOT v.convalidated))::text,
		format('%%I', a.attname) || coalesce((SELECT format(' COLLATE %%I.%%I', s.nspname, l.collname) FROM pg_collation AS l
			JOIN pg_namespace AS s ON s.oid = l.collnamespace WHERE l.oid = k.collated AND l.oid <> a.attcollation), ''),
		op.less_than, op.greater_than, op.equal_to, CASE k.option & 2 WHEN 2 THEN 'FIRST' ELSE 'LAST' END, format('%%s/%%s/%%s', a.atttypid, k.class, k.collated)
	FROM pg_index AS i
	JOIN pg_class AS c ON c.oid = i.indexrelid
	JOIN pg_am AS m ON m.oid = c.relam
	CROSS JOIN LATERAL unnest(i.indkey, i.indclass, i.indcollation, i.indoption) WITH ORDINALITY AS k (attnum, class, collated, option, place)
	JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
	JOIN pg_opclass AS o ON o.oid = k.class
	CROSS JOIN LATERAL (SELECT
			min(name) FILTER (WHERE strategy = CASE k.option & 1 WHEN 1 THEN 5 ELSE 1 END) AS less_than,
			min(name) FILTER (WHERE strategy = CASE k.option & 1 WHEN 1 THEN 1 ELSE 5 END) AS greater_than,
			min(name) FILTER (WHERE strategy = 3) AS equal_to
		FROM (SELECT x.amopstrategy AS strategy, format('OPERATOR(%%I.%%s)', n.nspname, p.oprname) AS name
			FROM pg_amop AS x JOIN pg_operator AS p ON p.oid = x.amopopr JOIN pg_namespace AS n ON n.oid = p.oprnamespace
			WHERE x.amopfamily = o.opcfamily AND x.amoplefttype = o.opcintype AND x.amoprighttype = o.opcintype) AS x) AS op
	WHERE i.indrelid = %d AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
	  AND m.amname = 'btree' AND k.place <= i.indnkeyatts
	  AND NOT EXISTS (SELECT FROM unnest(i.indclass) AS c (oid) JOIN pg_opclass AS x ON x.oid = c.oid
		WHERE x.opcintype IN ('record'::regtype, 'anyarray'::regtype, 'anyrange'::regtype, 'anymultirange'::regtype)
		  AND EXISTS (SELECT FROM pg_attribute AS u WHERE u.attrelid = i.indrelid AND u.attnum = ANY (i.indkey) AND u.atttypid >= 16384))
	ORDER BY i.indisprimary DESC, i.indisreplident DESC, c.relname, k.place`

// source is what a pass knows about its table.
type source struct {
	name     string // quoted for SQL
	visible  Visible
	at       LSN
	micros   int64 // the server's clock
	blocks   int64
	file     string // file node number, which changes when the table is rewritten
	relation *pgoutput.Relation
	filter   string   // row filter of the publication; "": every row
	wanted   string   // condition of the span; "": every row
	key      keyOrder // order in which the table is read, or columns by which rows are looked up; nil: ctid
	order    keyOrder // with a lookup by key: the order in which the table is read
	texts    bool     // no index can be used for key: its values are compared as text
}

// begin opens the transaction of a pass and describes the table.
func (r *tableConn) begin(s *Span) (*source, error) {
	named, err := r.query(fmt.Sprintf(nameSQL, s.Table))
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return nil, ErrTableGone
	}
	t := &source{name: named[0][0]}
	got, err := r.query(fmt.Sprintf(beginSQL, t.name, quoteLiteral(t.name), s.Table, s.Root))
	if err != nil {
		return nil, err
	}
	if len(got) != 1 || got[0][0] != "true" {
		return nil, fmt.Errorf("%s was renamed just now", t.name)
	}
	if t.visible, err = ParseVisible(got[0][1]); err != nil {
		return nil, err
	}
	if t.at, err = pgoutput.ParseLSN(got[0][2]); err != nil {
		return nil, err
	}
	seconds, _, _ := strings.Cut(got[0][3], ".")
	t.micros, _ = strconv.ParseInt(seconds, 10, 64)
	t.blocks, _ = strconv.ParseInt(got[0][4], 10, 64)
	t.file = got[0][5]
	if err := r.checkStrangers(t, s); err != nil {
		return nil, err
	}
	return t, r.describe(t, s)
}

// relation describes a table as it is in the stream.
func (r *tableConn) relation(oid uint32) (*pgoutput.Relation, error) {
	condition := columns14
	switch {
	case r.version >= 18:
		condition = columns18
	case r.version >= 15:
		condition = columns15
	}
	got, err := r.query(fmt.Sprintf(relationSQL, oid, condition))
	if err != nil {
		return nil, err
	}
	if len(got) == 0 {
		return nil, ErrTableGone
	}
	return r.reader.intern(relationOf(oid, got)), nil
}

func (r *tableConn) describe(t *source, s *Span) (err error) {
	if t.relation, err = r.relation(s.Root); err != nil {
		return err
	}
	if r.version >= 15 {
		filters, err := r.query(fmt.Sprintf(filterSQL, s.Root))
		if err != nil {
			return err
		}
		if len(filters) > 0 {
			t.filter = filters[0][0]
		}
	}
	if s.Condition != nil {
		if t.wanted, err = s.Condition(t.relation); err != nil {
			return fmt.Errorf("%w: %w", ErrCondition, err)
		}
	}
	keys, err := r.query(fmt.Sprintf(keysSQL, s.Table))
	if err != nil {
		return err
	}
	t.key = chooseOrder(t.relation, keys)
	for _, place := range [][][]byte{s.After, s.UpTo} {
		if place != nil && !t.key.has(t.file, place) {
			return fmt.Errorf("%s: %w", t.name, ErrOtherKey)
		}
	}
	if s.Keys != nil {
		return t.lookUpBy(s.By)
	}
	return nil
}

// relationOf returns the Relation for rows of relationSQL.
func relationOf(oid uint32, rows [][]string) *pgoutput.Relation {
	relation := &pgoutput.Relation{OID: oid, Schema: rows[0][0], Name: rows[0][1], Identity: rows[0][2][0], Columns: []pgoutput.Column{}}
	for _, row := range rows {
		if row[4] == "" {
			continue // the table has no columns
		}
		typeOID, _ := strconv.ParseUint(row[4], 10, 32)
		modifier, _ := strconv.ParseInt(row[5], 10, 32)
		relation.Columns = append(relation.Columns, pgoutput.Column{
			Name: row[3], Type: uint32(typeOID), TypeMod: int32(modifier), Key: row[6] == "true", TypeSchema: row[7], TypeName: row[8],
		})
	}
	return relation
}

// copySQL returns the COPY of a span. In ctid order, the span ends before block upTo.
func (t *source) copySQL(s *Span, limit int, upTo int64) string {
	var sql strings.Builder
	sql.WriteString("COPY (SELECT " + t.columns())
	if t.key == nil {
		if len(t.relation.Columns) > 0 {
			sql.WriteByte(',')
		}
		sql.WriteString("ctid")
	}
	sql.WriteString(t.from())
	if t.key == nil {
		if s.After != nil {
			fmt.Fprintf(&sql, " AND ctid > %s", quoteLiteral(string(s.After[1])))
		}
		fmt.Fprintf(&sql, " AND ctid < '(%d,0)'", upTo)
	} else {
		if s.After != nil {
			sql.WriteString(" AND " + t.key.after(s.After[1:]))
		}
		fmt.Fprintf(&sql, " ORDER BY %s LIMIT %d", t.key, limit)
	}
	sql.WriteString(") TO STDOUT")
	return sql.String()
}

// columns lists the published columns.
func (t *source) columns() string {
	names := make([]string, len(t.relation.Columns))
	for i, c := range t.relation.Columns {
		names[i] = c.Name
	}
	return strings.Join(quoteAll(names), ",")
}

// from returns the FROM clause with the conditions that every row must satisfy.
func (t *source) from() string {
	sql := " FROM ONLY " + t.name + " WHERE true"
	for _, condition := range []string{t.filter, t.wanted} {
		if condition != "" {
			sql += " AND (" + condition + ")"
		}
	}
	return sql
}

func quoteAll(names []string) []string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quoteIdentifier(name)
	}
	return quoted
}
