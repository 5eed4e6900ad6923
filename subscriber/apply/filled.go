package apply

import (
	"context"
	"fmt"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// PostgreSQL fills a column that ALTER TABLE adds from its default. If that is more than a constant, the rows of the target would get other values
// than those of the source: numbers in the order in which they are stored, random values, the time.

const lastColumnQuery = `SELECT coalesce(pg_catalog.max(attnum), 0)::pg_catalog.text FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass($1)`

// filledQuery lists the columns behind a number whose defaults may differ from server to server. Defaults are stored as trees of nodes (nodeToString
// in PostgreSQL's outfuncs.c).
const filledQuery = `SELECT coalesce(pg_catalog.string_agg(a.attname, ', ' ORDER BY a.attnum), '')
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum,
  LATERAL (SELECT coalesce(d.adbin, y.typdefaultbin)::pg_catalog.text AS tree) AS e
WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > $2::pg_catalog.int2 AND NOT a.attisdropped AND a.attgenerated = ''
  AND (a.attidentity <> '' OR e.tree ~ '{(SQLVALUEFUNCTION|NEXTVALUEEXPR|COERCEVIAIO) '
    OR EXISTS (SELECT FROM pg_catalog.regexp_matches(e.tree, ':(?:funcid|opfuncid) (\d+)', 'g') AS f JOIN pg_catalog.pg_proc AS p ON p.oid = f[1]::pg_catalog.oid WHERE p.provolatile <> 'i'))`

// lastColumns returns the number of the last column of each table that an ALTER TABLE is about.
func (t *target) lastColumns(ctx context.Context, d *ddlRecord) (map[string]string, error) {
	if d.Command != "ALTER TABLE" {
		return nil, nil
	}
	last := map[string]string{}
	for _, o := range d.Objects {
		if o.Type != "table" {
			continue
		}
		rows, err := postgres.Query(ctx, t.conn, lastColumnQuery, o.Name)
		if err != nil {
			return nil, err
		}
		if rows[0][0] != "0" { // else it has another name in the target so far
			last[o.Name] = rows[0][0]
		}
	}
	return last, nil
}

// checkFilled halts if a command has given rows of the target values that those of the source do not have. last is what lastColumns has returned
// before the command.
func (t *target) checkFilled(ctx context.Context, d *ddlRecord, text string, last map[string]string) error {
	for name, number := range last {
		rows, err := postgres.Query(ctx, t.conn, filledQuery, name, number)
		if err != nil {
			return err
		}
		if rows[0][0] == "" {
			continue
		}
		columns := rows[0][0]
		if rows, err = postgres.Query(ctx, t.conn, fmt.Sprintf("SELECT EXISTS (SELECT FROM %s)::pg_catalog.text", name)); err != nil {
			return err
		}
		if rows[0][0] == "true" {
			return Halt{fmt.Sprintf("%s, run by %s at the source, would fill %s of table %s with other values than there: `%s`", d.Command, d.User, columns, name, text),
				fmt.Sprintf("run it on the target, start with --ddl ignore until it is passed, and request the rows from the publisher again (`INSERT INTO pgtee.signal VALUES ('mine', 'resync', '{\"data-collections\": [\"%s\"]}')`)", name)}
		}
	}
	return nil
}
