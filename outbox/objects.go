package outbox

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// outboxTables are the tables with the notes, the parent first; a publication of rows that lists tables must list them.
var outboxTables = []string{"pgtee.outbox", "pgtee.outbox_0", "pgtee.outbox_1", "pgtee.outbox_2"}

// queueColumns are the columns of each of them, as outboxSQL prints them.
const queueColumns = `kind "char" NOT NULL, at timestamp with time zone NOT NULL DEFAULT, note text, user_name name, role_name name, pid integer, application text, sql bytea`

// outboxSQL returns a row for each table $1 of the outbox: its columns, empty if it does not exist; whether it is a child of the first one, unlogged,
// under a row security that applies to its owner, and in the publication of rows.
const outboxSQL = `
	SELECT coalesce((SELECT string_agg(format('%I %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
	           CASE WHEN a.attnotnull THEN ' NOT NULL' END, CASE WHEN a.atthasdef THEN ' DEFAULT' END), ', ' ORDER BY a.attnum)
	           FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), ''),
	       EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid AND i.inhparent = to_regclass('pgtee.outbox')),
	       coalesce(c.relpersistence = 'u', false), coalesce(c.relrowsecurity AND c.relforcerowsecurity, false),
	       EXISTS (SELECT FROM pg_publication AS p WHERE p.pubname = '` + RowsPublication + `' AND ` + ourPublications + `
	           AND (p.puballtables OR EXISTS (SELECT FROM pg_publication_rel AS m WHERE m.prpubid = p.oid AND m.prrelid = c.oid)))
	FROM unnest($1::text[]) WITH ORDINALITY AS t (name, place) LEFT JOIN pg_class AS c ON c.oid = to_regclass(t.name) ORDER BY t.place`

// outboxTable is one of outboxTables as it is.
type outboxTable struct {
	name                                  string
	columns                               string // "": it does not exist
	child, unlogged, secured, isPublished bool
}

// unfit reports whether setup must create the table anew: it does not exist, or a note may not fit into it. It is only a queue.
func (t outboxTable) unfit() bool {
	return t.columns != queueColumns || t.child != (t.name != outboxTables[0])
}

// defect describes what is wrong with the table, and the consequence; "" if the table is as setup creates it. published reports whether the publication
// of rows exists: without it nothing is published, and that the publication lacks the table is not a defect of the table.
func (t outboxTable) defect(published bool) string {
	const fails = "the first write of a transaction fails in every third hour, or in each"
	switch {
	case t.columns == "":
		return "does not exist: " + fails
	case t.unfit():
		return "has other columns, or is not a child of " + outboxTables[0] + ": " + fails
	case t.secured:
		return "has row security that applies to its owner: unless that is a superuser, " + fails
	case t.unlogged:
		return "is unlogged: notes in it are not in the WAL, so writes are not attributed"
	case published && !t.isPublished:
		return "is not in publication " + RowsPublication + ": notes in it are not published, so writes are not attributed"
	}
	return ""
}

// publicRoutines are those that PUBLIC may execute: clients' sessions call the first four; the others only read catalogs, or check their caller
// themselves (see demand_publisher() in sql/rotate.sql).
var publicRoutines = []string{
	"pgtee.note(text, name)", "pgtee.sign(text, name)", "pgtee.put(integer, name, boolean, boolean)", "pgtee.ready()",
	"pgtee.confirmed(xid)", "pgtee.tables(oid[])", "pgtee.published()", "pgtee.narrowed()", "pgtee.virtual(oid)", "pgtee.unsent(oid, int2[])", `pgtee.listings("char")`,
	"pgtee.wrong()", "pgtee.sweep(oid[])", "pgtee.rotate()", "pgtee.confirm(xid8)", `pgtee.past("char", oid, pg_lsn)`,
}

// withPublic inserts publicRoutines.
func withPublic(sql string) string {
	return strings.ReplaceAll(sql, "{{public}}", strings.Join(publicRoutines, ", "))
}

var routineName = regexp.MustCompile(`(?m)^CREATE OR REPLACE (?:FUNCTION|PROCEDURE) pgtee\.(\w+)`)

// routines returns the names of the routines that some SQL creates, each once per list of arguments.
func routines(sql string) (names []string) {
	for _, m := range routineName.FindAllStringSubmatch(sql, -1) {
		names = append(names, m[1])
	}
	return names
}

// missingSQL returns which of the routines $1, a name for each list of arguments, do not exist.
const missingSQL = `SELECT w.name FROM (SELECT name, count(*) AS many FROM unnest($1::text[]) AS name GROUP BY name) AS w
	WHERE w.many > (SELECT count(*) FROM pg_proc AS p WHERE p.pronamespace = to_regnamespace('pgtee') AND p.proname = w.name) ORDER BY 1`

// privateSQL returns which of the routines $1 exist and may not be executed by PUBLIC, and the schema if PUBLIC may not use it.
const privateSQL = `SELECT 'USAGE on schema pgtee' WHERE NOT has_schema_privilege('public', 'pgtee', 'USAGE')
	UNION ALL SELECT 'EXECUTE on ' || name FROM unnest($1::text[]) AS name WHERE NOT has_function_privilege('public', to_regprocedure(name), 'EXECUTE')`

// inspectOutbox compares the schema with what setup creates. The role must have USAGE on it.
func (s *serverState) inspectOutbox(ctx context.Context, conn *pgconn.PgConn) error {
	got, err := rows(ctx, conn, outboxSQL, textArray(outboxTables))
	if err != nil {
		return err
	}
	s.outbox = nil
	for i, row := range got {
		s.outbox = append(s.outbox, outboxTable{outboxTables[i], row[0], row[1] == "t", row[2] == "t", row[3] == "t", row[4] == "t"})
	}
	if s.missingRoutines, err = column(ctx, conn, missingSQL, textArray(routines(schemaSQL()))); err != nil {
		return err
	}
	s.private, err = column(ctx, conn, privateSQL, textArray(publicRoutines))
	return err
}

// column returns the only column of a query.
func column(ctx context.Context, conn *pgconn.PgConn, sql string, args ...string) (values []string, err error) {
	got, err := rows(ctx, conn, sql, args...)
	for _, row := range got {
		values = append(values, row[0])
	}
	return values, err
}

// textArray returns the literal of an array.
func textArray(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = `"` + strings.ReplaceAll(v, `"`, `\"`) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}

// reportOutbox reports how the schema differs from what setup of this version creates.
func (s *serverState) reportOutbox(again string, r *Report) {
	if s.ready != strconv.Itoa(objectsVersion) { // schema-older or schema-newer says so
		return
	}
	_, published := s.publication(RowsPublication)
	for _, t := range s.outbox {
		if defect := t.defect(published); defect != "" {
			r.disturbs("outbox-altered", Problem, again, "table %s %s", t.name, defect)
		}
	}
	if len(s.missingRoutines) > 0 {
		r.disturbs("routines-missing", Problem, again, "schema pgtee lacks %s: writes may get no notes, and publishing may fail", strings.Join(s.missingRoutines, ", "))
	}
	if len(s.private) > 0 {
		r.disturbs("public-privilege", Problem, again, "PUBLIC lacks %s: writes of other roles get no notes, or fail in sessions that are open", strings.Join(s.private, ", "))
	}
}

// outboxSQLs returns the SQL that corrects the tables of the outbox: before those that do not exist are created, and after that.
func (s *serverState) outboxSQLs() (before, after string) {
	var unfit []string
	for _, t := range s.outbox {
		switch {
		case t.unfit():
			unfit = append(unfit, t.name)
			continue
		case t.unlogged:
			after += fmt.Sprintf("ALTER TABLE %s SET LOGGED;\n", t.name)
		}
		if t.secured {
			after += fmt.Sprintf("ALTER TABLE %s NO FORCE ROW LEVEL SECURITY;\n", t.name)
		}
	}
	if slices.Contains(unfit, outboxTables[0]) {
		unfit = outboxTables
	}
	if len(unfit) > 0 {
		before = "DROP TABLE IF EXISTS " + strings.Join(unfit, ", ") + ";\n"
	}
	return before, after
}

// unpublishedOutbox returns the tables of the outbox that a publication of rows that lists tables must get.
func (s *serverState) unpublishedOutbox() (names []string) {
	anew := len(s.outbox) > 0 && s.outbox[0].unfit()
	for _, t := range s.outbox {
		if anew || t.unfit() || !t.isPublished {
			names = append(names, t.name)
		}
	}
	return names
}
