package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Values that come back equal, but not with the same text: a number without a declared scale loses the
// zeros at its end.
var otherText = []string{`pg_catalog."numeric"`, "pg_catalog._numeric"}

// Values that do not come back, by the definition of Debezium's type. A mode of the column's type keeps
// each: interval as a string, timetz in UTC, a bit string with a declared length.
var lostValue = []string{
	"int4[]",                                  // lower bounds
	`pg_catalog."bit"`,                        // zeros in front: only a declared length tells how many
	`pg_catalog."interval"`,                   // a month is 365.25/12 days
	`pg_catalog._bit`, `pg_catalog._interval`, // as above
	`pg_catalog._timetz`, `pg_catalog._varbit`, // as below
	`pg_catalog.timetz`, // zone
	`pg_catalog.varbit`, // zeros in front
	"polygon",           // whether the last point repeats the first
}

// Types that can be printed but not read.
var printedOnly = []string{"pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"}

// Every type that a column may have, of a fresh server and of our own: what is published, read by the
// documented rules and cast back by PostgreSQL, is the value that is stored.
func TestEveryTypeRoundTrips(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Exec(typesSchema)
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	tables := typeTables(t, r.ctx, conn)
	for _, table := range tables {
		r.Exec(table.create())
	}
	r.Start("")
	writer := r.dial(r.ProxyURL("postgres", "types"))
	defer writer.Close(r.ctx)
	for _, table := range tables {
		for i := range table.rows() {
			if _, err := writer.Exec(r.ctx, table.insert(i), pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatalf("%s: row %d: %v", table.name, i, err)
			}
		}
	}
	r.Drain()

	verdict := roundTrip{t: t, ctx: r.ctx, conn: conn}
	inserted := map[string][]json.RawMessage{}
	columns := 0
	for _, table := range tables {
		inserted[table.name] = publishedRows(r, table.name, "c", "after")
		verdict.check(table, inserted[table.name])
		columns += len(table.columns)
	}
	verdict.expect()
	t.Logf("%d column types, %d values", columns, verdict.values)

	for _, table := range tables {
		if _, err := writer.Exec(r.ctx, "DELETE FROM "+table.name, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	r.Drain()
	for _, table := range tables {
		deleted := publishedRows(r, table.name, "d", "before")
		if !slices.EqualFunc(deleted, inserted[table.name], func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Errorf("%s: the rows before their deletion are not those after their insertion", table.name)
		}
	}
}

// publishedRows returns one half of the events of one operation, ordered as they were published.
func publishedRows(r *runner, table, op, half string) []json.RawMessage {
	r.t.Helper()
	var rows []json.RawMessage
	for _, record := range r.Topic(table) {
		var event map[string]json.RawMessage
		if record.Value == nil {
			continue
		}
		r.must(json.Unmarshal(record.Value, &event))
		if string(event["op"]) == `"`+op+`"` {
			rows = append(rows, event[half])
		}
	}
	return rows
}

// roundTrip collects what became of the values.
type roundTrip struct {
	t      *testing.T
	ctx    context.Context
	conn   *pgx.Conn
	values int

	text, value []string // declared types whose text, or whose value, came back another
}

// check compares all columns of a table with what was published of its rows.
func (v *roundTrip) check(table typeTable, published []json.RawMessage) {
	v.t.Helper()
	if len(published) != table.rows() {
		v.t.Errorf("%s: %d rows published, %d inserted", table.name, len(published), table.rows())
		return
	}
	rows := make([]map[string]any, len(published))
	for i, text := range published {
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.UseNumber()
		if err := decoder.Decode(&rows[i]); err != nil {
			v.t.Errorf("%s: row %d: %v", table.name, i, err)
			return
		}
	}
	for i, column := range table.columns {
		literals := make([]string, len(rows))
		for j, row := range rows {
			value, there := row[columnName(i)]
			if !there {
				v.t.Errorf("%s: no field in row %d", column.declared, j)
				return
			}
			literals[j] = v.literal(column, value)
		}
		if err := v.compare(table.name, i, column, literals); err != nil {
			v.t.Errorf("%s: %v", column.declared, err)
		}
	}
}

// literal is what a reader makes of a published value, as SQL.
func (v *roundTrip) literal(c typeColumn, value any) string {
	if value == nil {
		return "NULL"
	}
	text, err := c.form.text(value)
	if err != nil {
		v.t.Errorf("%s: %v: %.200v", c.declared, err, value)
		return "NULL"
	}
	return quoteLiteral(text)
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
	v.text = append(v.text, c.declared)
	unequal, err := v.example(stored, from+stored+" IS DISTINCT FROM b.v")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42883" { // no equality: what the text says
		unequal, err = differ, nil
	}
	if unequal != "" {
		v.value = append(v.value, c.declared)
		if !slices.Contains(lostValue, c.declared) {
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

// expect compares the lists of types, so that one that is kept now leaves its list.
func (v *roundTrip) expect() {
	v.t.Helper()
	slices.Sort(v.value)
	if !slices.Equal(v.value, lostValue) {
		v.t.Errorf("types whose values do not come back:\n%q, want\n%q", v.value, lostValue)
	}
	text := slices.DeleteFunc(v.text, func(name string) bool { return slices.Contains(v.value, name) })
	slices.Sort(text)
	if !slices.Equal(text, otherText) {
		v.t.Errorf("types whose text does not come back:\n%q, want\n%q", text, otherText)
	}
}

// typeColumn is a column of one type, with SQL that makes its values.
type typeColumn struct {
	declared string
	form     *form
	values   []string
	printed  bool // the type can only be printed
}

// typeTable is a table of so many of them as fit into a row.
type typeTable struct {
	name    string
	columns []typeColumn
}

const columnsPerTable = 100

func columnName(i int) string { return fmt.Sprintf("c%d", i) }

func (t *typeTable) create() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (id int PRIMARY KEY", t.name)
	for i, c := range t.columns {
		fmt.Fprintf(&b, ", %s %s", columnName(i), c.declared)
	}
	fmt.Fprintf(&b, "); ALTER TABLE %s REPLICA IDENTITY FULL", t.name)
	return b.String()
}

// rows is one more than the values of the column that has most: the first is all NULL.
func (t *typeTable) rows() int {
	rows := 0
	for _, c := range t.columns {
		rows = max(rows, 1+len(c.values))
	}
	return rows
}

func (t *typeTable) insert(row int) string {
	values := make([]string, len(t.columns))
	for i, c := range t.columns {
		values[i] = "NULL"
		if row > 0 && row <= len(c.values) {
			values[i] = c.values[row-1]
		}
	}
	return fmt.Sprintf("INSERT INTO %s VALUES (%d, %s)", t.name, row, strings.Join(values, ", "))
}

// typeTables makes a column of every type of the catalog and of every declared one.
func typeTables(t *testing.T, ctx context.Context, conn *pgx.Conn) []typeTable {
	t.Helper()
	catalog, err := loadTypes(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	var columns []typeColumn
	for _, oid := range slices.Sorted(maps.Keys(catalog)) {
		typ := catalog[oid]
		values, err := catalog.values(typ)
		if err != nil {
			t.Error(err)
			continue
		}
		columns = append(columns, typeColumn{typ.declared, catalog.form(typ, -1), values, catalog.printedOnly(typ)})
	}
	for _, d := range declared {
		typ, typmod, err := catalog.parse(ctx, conn, d.name)
		if err != nil {
			t.Fatal(err)
		}
		c := typeColumn{declared: d.name, form: catalog.form(typ, typmod)}
		for _, sample := range d.samples {
			c.values = append(c.values, quoteLiteral(sample)+"::"+d.name)
		}
		columns = append(columns, c)
	}
	var tables []typeTable
	for part := range slices.Chunk(columns, columnsPerTable) {
		tables = append(tables, typeTable{fmt.Sprintf("rt.types_%d", len(tables)), part})
	}
	return tables
}

func quoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
