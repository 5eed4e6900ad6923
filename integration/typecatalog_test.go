package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/verdict"
)

// columnType is a row of pg_type, as far as a reader needs it.
type columnType struct {
	oid       uint32
	name      string // "_int4"
	declared  string // "pg_catalog._int4"
	kind      string // pg_type.typtype
	base      uint32 // of a domain, with typmod
	typmod    int32
	element   uint32   // of an array, else 0
	delimiter string   // between values of this type in an array
	fields    []uint32 // types of the fields of a composite
}

// columnTypes are the types that a column may have, by OID.
type columnTypes map[uint32]columnType

// typesQuery leaves out pseudo-types and what consists of them.
const typesQuery = `WITH RECURSIVE pseudo AS (
	SELECT oid FROM pg_type WHERE typtype = 'p'
	UNION SELECT t.oid FROM pseudo AS p JOIN pg_type AS t ON t.oid = (SELECT typarray FROM pg_type WHERE oid = p.oid)
		OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.typrelid AND atttypid = p.oid AND attnum > 0))
SELECT t.oid, t.typname, quote_ident(n.nspname) || '.' || quote_ident(t.typname), t.typtype::text, t.typbasetype, t.typtypmod,
	coalesce(e.oid, 0), t.typdelim::text, (SELECT array_agg(atttypid ORDER BY attnum) FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped)
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace LEFT JOIN pg_type AS e ON e.typarray = t.oid
WHERE t.oid NOT IN (SELECT oid FROM pseudo) AND n.nspname !~ '^pg_(toast|temp)'`

func loadTypes(ctx context.Context, conn *pgx.Conn) (columnTypes, error) {
	rows, err := conn.Query(ctx, typesQuery)
	if err != nil {
		return nil, err
	}
	types := columnTypes{}
	var t columnType
	_, err = pgx.ForEachRow(rows, []any{&t.oid, &t.name, &t.declared, &t.kind, &t.base, &t.typmod, &t.element, &t.delimiter, &t.fields}, func() error {
		types[t.oid] = t
		return nil
	})
	return types, err
}

// parse finds the type and the modifier of a declaration: "numeric(10,2)[]".
func (c columnTypes) parse(ctx context.Context, conn *pgx.Conn, declaration string) (t columnType, typmod int32, err error) {
	var oid uint32
	err = conn.QueryRow(ctx, "SELECT to_regtype($1)::oid, to_regtypemod($1)", declaration).Scan(&oid, &typmod)
	if err != nil {
		return t, 0, fmt.Errorf("type %s: %w", declaration, err)
	}
	return c[oid], typmod, nil
}

// form says in which form Debezium's documentation has values of a type, at the default settings.
func (c columnTypes) form(t columnType, typmod int32) *verdict.Form {
	switch {
	case t.kind == "d":
		if typmod < 0 {
			typmod = t.typmod
		}
		return c.form(c[t.base], typmod)
	case t.element != 0:
		return verdict.ArrayOf(c.form(c[t.element], typmod), c[t.element].delimiter[0])
	}
	return verdict.FormOf(t.name, typmod)
}

// values returns SQL that makes values of a type: its samples, or what is made of those of its parts.
func (c columnTypes) values(t columnType) ([]string, error) {
	if list, ok := expressions[t.name]; ok {
		return list, nil
	}
	if list, ok := samples[t.name]; ok {
		values := make([]string, len(list))
		for i, text := range list {
			values[i] = quoteLiteral(text) + "::" + t.declared
		}
		return values, nil
	}
	switch {
	case t.element != 0:
		return c.arrays(t)
	case t.fields != nil:
		return c.composites(t)
	}
	return nil, fmt.Errorf("no sample of type %s: add one to samples", t.declared)
}

// composites makes a row of NULLs and one with a sample in each field.
func (c columnTypes) composites(t columnType) ([]string, error) {
	var nulls, fields []string
	for i, oid := range t.fields {
		list, err := c.values(c[oid])
		if err != nil {
			return nil, err
		}
		nulls, fields = append(nulls, "NULL"), append(fields, "NULL")
		if len(list) > 0 {
			fields[i] = list[i%min(len(list), len(texts)-1)] // not the long one
		}
	}
	return []string{
		fmt.Sprintf("ROW(%s)::%s", strings.Join(nulls, ", "), t.declared),
		fmt.Sprintf("ROW(%s)::%s", strings.Join(fields, ", "), t.declared),
	}, nil
}

// arrays makes an empty array, one of all samples with a NULL, and one of two dimensions.
func (c columnTypes) arrays(t columnType) ([]string, error) {
	element := c[t.element]
	items, err := c.values(element)
	if err != nil {
		return nil, err
	}
	all, first := "NULL::"+element.declared, "NULL::"+element.declared
	for _, item := range items {
		all += ", " + item
		first = item
	}
	return []string{
		"'{}'::" + t.declared,
		fmt.Sprintf("ARRAY[%s]::%s", all, t.declared),
		fmt.Sprintf("ARRAY[[%s, NULL], [NULL, %s]]::%s", first, first, t.declared),
	}, nil
}

// printedOnly tells whether values of a type can be printed and not read, because of what they contain.
func (c columnTypes) printedOnly(t columnType) bool {
	if slices.Contains(printedOnly, t.name) || t.element != 0 && c.printedOnly(c[t.element]) {
		return true
	}
	return slices.ContainsFunc(t.fields, func(oid uint32) bool { return c.printedOnly(c[oid]) })
}
