package outbox

import (
	"fmt"
	"strings"
)

// To plan a query PostgreSQL reads the expressions of the table's indexes and extended statistics, and evaluates their constant parts. Functions that
// a table's owner has created then run with the privileges of the reader, whether the expression or an SQL function in it calls them. A table is therefore
// not read if an expression uses a function or operator owned by a role that is neither a superuser, nor the reader's own role, nor trusted by
// configuration. An index created between this check and the query is not detected.

// strangersSQL lists functions in expressions of a table's indexes and statistics, with their owners. Its second parameter is a list of role names.
const strangersSQL = `SELECT DISTINCT format('%%s of role %%I', p.oid::regprocedure, o.rolname)
	FROM pg_depend AS d
	JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
		OR d.refclassid = 'pg_operator'::regclass AND p.oid = (SELECT x.oprcode FROM pg_operator AS x WHERE x.oid = d.refobjid)
	JOIN pg_roles AS o ON o.oid = p.proowner
	WHERE (d.classid = 'pg_class'::regclass AND d.objid IN (SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid = %[1]d AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
		OR d.classid = 'pg_statistic_ext'::regclass AND d.objid IN (SELECT s.oid FROM pg_statistic_ext AS s WHERE s.stxrelid = %[1]d))
	  AND p.oid >= 16384 AND NOT o.rolsuper AND o.rolname NOT IN (current_user%[2]s)`

// checkStrangers returns an error if planning a query of the table may run a function of a role that is not trusted.
func (r *tableConn) checkStrangers(t *source, s *Span) error {
	trusted := ""
	for _, role := range r.reader.trusted {
		trusted += "," + quoteLiteral(role)
	}
	got, err := r.query(fmt.Sprintf(strangersSQL, s.Table, trusted))
	if err != nil || len(got) == 0 {
		return err
	}
	var names []string
	for _, row := range got {
		names = append(names, row[0])
	}
	return fmt.Errorf("%w: an index or a statistics object of %s calls %s, which PostgreSQL may run with the publisher's rights: if that role may have them, start the publisher with --snapshot-trust-owner ROLE, "+
		"else have a superuser own the function", ErrTableRefused, t.name, strings.Join(names, ", "))
}
