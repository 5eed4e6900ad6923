package outbox

import (
	"fmt"
	"strings"
)

// To plan a query PostgreSQL looks at the expressions of the table's indexes and extended statistics, and computes what it takes
// for constant in them: a function that their owner has made runs with the rights of whoever reads, f(1) as much as one that
// a function of SQL calls. So a table is not read if a function or operator in them belongs to a role that is neither a superuser, nor the
// reader's own, nor named as trusted. An index that is made between this look and the query escapes it.

// strangersSQL names functions in expressions of a table's indexes and statistics, and their owners. Its second parameter is a
// list of names.
const strangersSQL = `SELECT DISTINCT format('%%s of role %%I', p.oid::regprocedure, o.rolname)
	FROM pg_depend AS d
	JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
		OR d.refclassid = 'pg_operator'::regclass AND p.oid = (SELECT x.oprcode FROM pg_operator AS x WHERE x.oid = d.refobjid)
	JOIN pg_roles AS o ON o.oid = p.proowner
	WHERE (d.classid = 'pg_class'::regclass AND d.objid IN (SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid = %[1]d AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
		OR d.classid = 'pg_statistic_ext'::regclass AND d.objid IN (SELECT s.oid FROM pg_statistic_ext AS s WHERE s.stxrelid = %[1]d))
	  AND p.oid >= 16384 AND NOT o.rolsuper AND o.rolname NOT IN (current_user%[2]s)`

// checkStrangers is an error if to plan a query of the table may run a function of a role that is not trusted.
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
