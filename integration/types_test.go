package integration

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/integration/verdict"
)

// typesCase is a way to publish values, and what it does not keep.
type typesCase struct {
	name string
	args []string // of the publisher
	form func(*verdict.Form) *verdict.Form
	text []string // columns whose values come back equal, but not with the same text
	lost []string // columns whose values do not come back, by the definition of Debezium's type
}

var typesCases = []typesCase{
	{
		name: "json", form: asIs, text: []string{`pg_catalog."numeric"`, "pg_catalog._numeric"}, // zeros at the end
		lost: append([]string{`pg_catalog."interval"`, "pg_catalog._interval"}, lostAlways...), // months are 365.25/12 days
	},
	{ // an array that its schema cannot carry stands beside the row, as text
		name: "json-schema", form: asIs, text: []string{`pg_catalog."numeric"`}, lost: append([]string{`pg_catalog."interval"`}, lostAlways...),
		args: []string{"--format", "json-schema"},
	},
	{
		name: "as text", form: (*verdict.Form).AsText, lost: lostAlways,
		args: []string{"--decimal-handling-mode", "string", "--interval-handling-mode", "string", "--time-precision-mode", "isostring",
			"--binary-handling-mode", "hex", "--hstore-handling-mode", "map"},
	},
}

// lostAlways is lost in every mode.
var lostAlways = []string{
	"int4[]",                              // lower bounds
	`pg_catalog."bit"`, "pg_catalog._bit", // zeros in front: only a declared length tells how many
	"pg_catalog.timetz", "pg_catalog._timetz", // zone
	"pg_catalog.varbit", "pg_catalog._varbit", // zeros in front
	"polygon", // whether the last point repeats the first
}

func asIs(f *verdict.Form) *verdict.Form { return f }

// Types that can be printed but not read.
var printedOnly = []string{"pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"}

// Every type that a column may have, of a fresh server and of our own: what is published, read by the
// documented rules and cast back by PostgreSQL, is the value that is stored.
func TestEveryTypeRoundTrips(t *testing.T) {
	for _, c := range typesCases {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
			r.Exec(typesSchema, "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
			conn := r.dial(r.URL())
			defer conn.Close(r.ctx)
			tables := typeTables(t, r.ctx, conn)
			for _, table := range tables {
				r.Exec(table.create())
			}
			r.Setup()
			r.StartProxy()
			r.publisher = r.process("publish", append(r.publishArgs(), c.args...)...)
			r.roundTrip(c, conn, tables)
		})
	}
}

// roundTrip inserts and deletes all rows, and compares what is published of both with the tables.
func (r *runner) roundTrip(c typesCase, conn *pgx.Conn, tables []typeTable) {
	r.t.Helper()
	writer := r.dial(r.ProxyURL("postgres", "types"))
	defer writer.Close(r.ctx)
	write := func(sql string) {
		r.t.Helper()
		if _, err := writer.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			r.t.Fatalf("%v: %.1000s", err, sql)
		}
	}
	for _, table := range tables {
		for i := range table.rows() {
			write(table.insert(i))
		}
	}
	r.Drain()
	trip := roundTrip{t: r.t, ctx: r.ctx, conn: conn, typesCase: c}
	columns := 0
	for _, table := range tables {
		trip.check(table, r.typeRows(table.name, "c", "after"))
		columns += len(table.columns)
	}
	trip.expect()
	r.t.Logf("%d column types, %d values", columns, trip.values)

	for _, table := range tables {
		write("DELETE FROM " + table.name)
	}
	r.Drain()
	for _, table := range tables {
		inserted, deleted := r.typeRows(table.name, "c", "after"), r.typeRows(table.name, "d", "before")
		if !reflect.DeepEqual(inserted, deleted) {
			r.t.Errorf("%s: the rows before their deletion are not those after their insertion", table.name)
		}
	}
}

// typeRows returns one half of the events of one operation, in the order of the topic.
func (r *runner) typeRows(table, op, half string) []verdict.TypedRow {
	r.t.Helper()
	var rows []verdict.TypedRow
	for _, record := range r.Topic(table) {
		if record.Value == nil {
			continue
		}
		row, found, err := verdict.ParseTypedRow(record.Value, op, half)
		r.must(err)
		if found {
			rows = append(rows, row)
		}
	}
	return rows
}

// roundTrip collects what became of the values.
type roundTrip struct {
	typesCase
	t      *testing.T
	ctx    context.Context
	conn   *pgx.Conn
	values int

	otherText, unequal []string // columns whose text, or whose value, came back another
}

// check compares all columns of a table with what was published of its rows.
func (v *roundTrip) check(table typeTable, rows []verdict.TypedRow) {
	v.t.Helper()
	if len(rows) != table.rows() {
		v.t.Errorf("%s: %d rows published, %d inserted", table.name, len(rows), table.rows())
		return
	}
	for i, column := range table.columns {
		column.form = v.form(column.form)
		literals := make([]string, len(rows))
		for j, row := range rows {
			text, err := row.Text(columnName(i), column.form)
			if err != nil {
				v.t.Errorf("%s: row %d: %v", column.declared, j, err)
			}
			if literals[j] = "NULL"; text != nil {
				literals[j] = quoteLiteral(*text)
			}
		}
		if err := v.compare(table.name, i, column, literals); err != nil {
			v.t.Errorf("%s: %v", column.declared, err)
		}
	}
}

// compare has PostgreSQL cast the literals and compare them with the stored values.
func (v *roundTrip) compare(table string, i int, c typeColumn, literals []string) error {
	back := c.declared
	if c.printed {
		back = "text"
	}
	var list strings.Builder
	for id, literal := range literals {
		fmt.Fprintf(&list, "(%d, %s::%s),", id, literal, back)
	}
	from := fmt.Sprintf(" FROM %s AS s JOIN (VALUES %s) AS b (id, v) USING (id) WHERE ", table, strings.TrimSuffix(list.String(), ","))
	stored := "s." + columnName(i)
	differ, err := v.example(stored, from+fmt.Sprintf("(num_nulls(%[1]s), format('%%s', %[1]s)) <> (num_nulls(b.v), format('%%s', b.v))", stored))
	if err != nil {
		return err
	}
	v.values += len(literals)
	if differ == "" {
		return nil
	}
	v.otherText = append(v.otherText, c.declared)
	unequal, err := v.example(stored, from+stored+" IS DISTINCT FROM b.v")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42883" { // no equality: what the text says
		unequal, err = differ, nil
	}
	if unequal != "" {
		v.unequal = append(v.unequal, c.declared)
		if !slices.Contains(v.lost, c.declared) {
			v.t.Errorf("%s: %.300s", c.declared, unequal)
		}
	}
	return err
}

// example returns one of the pairs that condition selects, "" if there is none. A type's own text is
// what format prints: a cast to text may be another one.
func (v *roundTrip) example(stored, condition string) (example string, err error) {
	err = v.conn.QueryRow(v.ctx, "SELECT coalesce(min(format('%s came back as %s', "+stored+", b.v)), '')"+condition, pgx.QueryExecModeSimpleProtocol).Scan(&example)
	return example, err
}

// expect compares with the lists of the case, so that a column that is kept now leaves its list.
func (v *roundTrip) expect() {
	v.t.Helper()
	text := slices.DeleteFunc(v.otherText, func(name string) bool { return slices.Contains(v.unequal, name) })
	for _, list := range []struct {
		what      string
		got, want []string
	}{{"value", v.unequal, v.lost}, {"text", text, v.text}} {
		got, want := slices.Sorted(slices.Values(list.got)), slices.Sorted(slices.Values(list.want))
		if !slices.Equal(got, want) {
			v.t.Errorf("columns whose %s does not come back:\n%q, want\n%q", list.what, got, want)
		}
	}
}
