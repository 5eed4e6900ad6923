package apply

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// PostgreSQL fills a column that ALTER TABLE adds from its default, and one whose type changes from the USING expression. If the result differs from
// server to server, the rows of the target would get other values than those of the source: sequence numbers in the order in which the rows are stored,
// random values, the time.

const lastColumnQuery = `SELECT coalesce(pg_catalog.max(attnum), 0)::pg_catalog.text FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass($1)`

// filledQuery lists the columns after a given column number whose defaults may differ from server to server. Defaults are stored as trees of nodes (nodeToString
// in PostgreSQL's outfuncs.c).
const filledQuery = `SELECT coalesce(pg_catalog.string_agg(a.attname, ', ' ORDER BY a.attnum), '')
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum,
  LATERAL (SELECT coalesce(d.adbin, y.typdefaultbin)::pg_catalog.text AS tree) AS e
WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > $2::pg_catalog.int2 AND NOT a.attisdropped AND a.attgenerated = ''
  AND (a.attidentity <> '' OR e.tree ~ '{(SQLVALUEFUNCTION|NEXTVALUEEXPR|COERCEVIAIO) '
    OR EXISTS (SELECT FROM pg_catalog.regexp_matches(e.tree, ':(?:funcid|opfuncid) (\d+)', 'g') AS f JOIN pg_catalog.pg_proc AS p ON p.oid = f[1]::pg_catalog.oid WHERE p.provolatile <> 'i'))`

var (
	typeUsing   = regexp.MustCompile(`(?is)\btype\s.*?\busing\b(.*)`)
	calledNames = regexp.MustCompile(`([\pL_][\pL\pN_$]*)"?\s*\(`)
	currentTime = regexp.MustCompile(`(?i)\b(?:current_(?:time|date|timestamp)|localtime|localtimestamp)\b`)
)

// volatileQuery returns the first of the named functions whose result may differ from call to call.
const volatileQuery = `SELECT coalesce(pg_catalog.min(proname), '') FROM pg_catalog.pg_proc
WHERE proname = ANY (pg_catalog.string_to_array($1, ' ')) AND (provolatile = 'v' OR proname IN ('now', 'transaction_timestamp', 'statement_timestamp'))`

// volatileUsing returns the part of an ALTER TABLE's USING that may differ from server to server; "" for none. The catalog does not keep the expression.
func (t *target) volatileUsing(ctx context.Context, text string) (string, error) {
	using := typeUsing.FindStringSubmatch(text)
	if using == nil {
		return "", nil
	}
	if found := currentTime.FindString(using[1]); found != "" {
		return found, nil
	}
	var names []string
	for _, call := range calledNames.FindAllStringSubmatch(using[1], -1) {
		names = append(names, call[1], strings.ToLower(call[1]))
	}
	rows, err := postgres.Query(ctx, t.conn, volatileQuery, strings.Join(names, " "))
	if err != nil || rows[0][0] == "" {
		return "", err
	}
	return rows[0][0] + "()", nil
}

// lastColumns returns the number of the last column of each table that an ALTER TABLE changes.
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
		if rows[0][0] != "0" { // otherwise the target does not have a table of this name yet
			last[o.Name] = rows[0][0]
		}
	}
	return last, nil
}

// checkFilled halts if a command has filled columns of the target with values that the source does not have. last is what lastColumns has returned
// before the command.
func (t *target) checkFilled(ctx context.Context, d *ddlRecord, text string, last map[string]string) error {
	if len(last) == 0 {
		return nil
	}
	using, err := t.volatileUsing(ctx, text)
	if err != nil {
		return err
	}
	for name, number := range last {
		rows, err := postgres.Query(ctx, t.conn, filledQuery, name, number)
		if err != nil {
			return err
		}
		columns := rows[0][0]
		switch {
		case columns == "" && using == "":
			continue
		case columns == "":
			columns = "a column (USING " + using + ")"
		}
		if rows, err = postgres.Query(ctx, t.conn, fmt.Sprintf("SELECT EXISTS (SELECT FROM %s)::pg_catalog.text", name)); err != nil {
			return err
		}
		if rows[0][0] == "true" {
			return Halt{fmt.Sprintf("%s, run by %s at the source, would fill %s of table %s with values other than those of the source: `%s`", d.Command, d.User, columns, name, text),
				fmt.Sprintf("run it on the target, start with --ddl ignore until it is passed, and request the rows from the publisher again (`INSERT INTO pgtee.signal VALUES ('mine', 'resync', '{\"data-collections\": [\"%s\"]}')`)", name)}
		}
	}
	return nil
}
