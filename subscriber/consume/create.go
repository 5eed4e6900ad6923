package consume

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/decode"
	"github.com/pgtee/pgtee/subscriber/postgres"
)

// sampleRecords is the number of records read for --create-table if no schema describes them.
const sampleRecords = 100

// draft is a table being designed, with columns in the order in which they appear.
type draft struct {
	cfg   *Config
	names []string
	types map[string]string // "": only null values so far
}

// create creates the table from the first records of the topic.
func (c *Config) create(ctx context.Context, t *target, admin *kadm.Client) error {
	asking, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	records, err := c.firstRecords(asking, admin, sampleRecords)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(records, func(r *kgo.Record) bool { return r.Value != nil }) {
		err := fmt.Errorf("topic %s has no records yet from which the columns of table %s.%s could be determined", c.Topic, c.Schema, c.Table)
		if c.Once {
			return Halt{err.Error(), "create the table yourself, or run again when there are records"}
		}
		return err
	}
	from, keys, err := c.Mapping.origins()
	if err != nil {
		return Halt{err.Error(), "correct the flag"}
	}
	d := &draft{cfg: c, types: map[string]string{}}
	for _, key := range keys { // key columns come first
		d.addType(key, "")
	}
	if err := d.seeRecords(ctx, records, from); err != nil {
		return err
	}
	sql := d.sql(keys)
	err = t.exec(ctx, sql)
	switch postgres.State(err) {
	case "42P07", "23505": // another consumer created it concurrently
		return nil
	case "42501", "3F000":
		return Halt{fmt.Sprintf("--create-table: %v", err), "have a role with this privilege run: " + sql}
	}
	return err
}

// seeRecords determines the types of columns.
func (d *draft) seeRecords(ctx context.Context, records []*kgo.Record, from map[string]origin) error {
	decoder := d.cfg.newDecoder(&table{})
	taken := map[string]bool{}
	for column, o := range from {
		if o.kind == byPath && len(o.path) == 1 && o.path[0].index < 0 && o.path[0].name != column {
			taken[o.path[0].name] = true // the field is mapped to a column with another name
		}
	}
	for _, record := range records {
		if err := d.seeRecord(ctx, decoder, record, from, taken); err != nil {
			return err
		}
	}
	if decoder.doubt != nil && !*decoder.readable {
		return decoder.doubt
	}
	for _, column := range d.cfg.Mapping.Columns { // a line does not say more about its fields
		if d.cfg.hasLines() {
			d.addType(column, "text")
		}
	}
	for column, o := range from {
		switch o.kind {
		case byHeader:
			d.addType(column, "text")
		case byOffset:
			d.addType(column, "bigint")
		case byPartition:
			d.addType(column, "integer")
		case byTimestamp:
			d.addType(column, "timestamptz")
		case byPath:
			if len(o.path) == 0 && (d.cfg.Format == Raw || d.cfg.Format == Text) {
				d.addType(column, map[Format]string{Raw: "bytea", Text: "text"}[d.cfg.Format])
			}
		}
	}
	return nil
}

// seeRecord determines types from one record. It ignores a record that cannot be decoded.
func (d *draft) seeRecord(ctx context.Context, decoder *decoder, record *kgo.Record, from map[string]origin, taken map[string]bool) error {
	if record.Value == nil || d.cfg.Format != JSON && d.cfg.Format != Avro {
		return nil
	}
	value, schema, err := decoder.unframe(ctx, record.Value, &decoder.value)
	if _, bad := err.(badRecord); bad {
		return nil
	}
	if err != nil {
		return err
	}
	typed := map[string]string{}
	if d.cfg.Format == Avro {
		columns, err := d.cfg.AvroFields(ctx, record.Value)
		if err != nil {
			return err
		}
		for _, c := range columns {
			typed[c.Name] = c.Type
		}
	}
	if len(value) > 0 && value[0] == '{' {
		_ = decode.Fields(value, func(raw, value []byte) error {
			name := plainName(raw)
			o, mapped := from[name]
			unwanted := !mapped && len(d.cfg.Mapping.Columns) > 0 && !slices.Contains(d.cfg.Mapping.Columns, name)
			if taken[name] || unwanted || mapped && o.kind != byKey {
				return nil
			}
			d.seeValue(name, value, cmp.Or(typed[name], schema.field(name).column()))
			return nil
		})
	}
	for column, o := range from {
		if o.kind == byPath {
			if found := o.path.find(value); found != nil {
				hint := schema.at(o.path).column()
				if len(o.path) == 1 {
					hint = cmp.Or(typed[o.path[0].name], hint)
				}
				d.seeValue(column, found, hint)
			}
		}
	}
	return d.seeKey(ctx, decoder, record, from)
}

// seeKey determines the types of key columns that are not in the value.
func (d *draft) seeKey(ctx context.Context, decoder *decoder, record *kgo.Record, from map[string]origin) error {
	if record.Key == nil {
		return nil
	}
	text, schema, isJSON, err := decoder.keyJSON(ctx, record.Key)
	if _, bad := err.(badRecord); bad {
		return nil
	}
	if err != nil {
		return err
	}
	for name, o := range from {
		if o.kind != byKey || d.types[name] != "" {
			continue
		}
		if !isJSON {
			d.addType(name, "text")
			continue
		}
		p := (&column{name: name, origin: o}).keyPath(text)
		d.seeValue(name, p.find(text), schema.at(p).column())
	}
	return nil
}

func (d *draft) seeValue(column string, value []byte, typ string) {
	if typ == "" && value != nil {
		typ = typeOf(value)
	}
	d.addType(column, typ)
}

// systemColumns are names that no other column can have ("System Columns", PostgreSQL documentation 5.6).
var systemColumns = map[string]bool{"tableoid": true, "xmin": true, "cmin": true, "xmax": true, "cmax": true, "ctid": true}

// addType adds a column, or widens its type so that it also accepts values of another type.
func (d *draft) addType(column, typ string) {
	if column == "" || len(column) > 63 || strings.ContainsRune(column, 0) || systemColumns[column] {
		return // no column can have this name; the field is never written
	}
	was, seen := d.types[column]
	if !seen {
		d.names = append(d.names, column)
	}
	switch {
	case was == "" || was == typ:
		was = typ
	case typ == "":
	case was == "bigint" && typ == "numeric", was == "numeric" && typ == "bigint":
		was = "numeric"
	default:
		was = "text"
	}
	d.types[column] = was
}

// typeOf returns the type for a JSON value; "" for null.
func typeOf(value []byte) string {
	switch value[0] {
	case '"':
		return "text"
	case '{', '[':
		return "jsonb"
	case 't', 'f':
		return "boolean"
	case 'n':
		return ""
	}
	if n, whole := new(big.Int).SetString(string(value[:min(len(value), 64)]), 10); whole && n.IsInt64() {
		return "bigint"
	}
	return "numeric"
}

func (d *draft) sql(keys []string) string {
	var parts []string
	for _, name := range d.names {
		typ := d.types[name]
		if typ == "" {
			typ = "text"
		}
		parts = append(parts, postgres.QuoteIdentifier(name)+" "+typ)
	}
	if len(keys) > 0 {
		var names []string
		for _, key := range keys {
			names = append(names, postgres.QuoteIdentifier(key))
		}
		parts = append(parts, "PRIMARY KEY ("+strings.Join(names, ", ")+")")
	}
	return fmt.Sprintf("CREATE TABLE %s.%s (%s)", postgres.QuoteIdentifier(d.cfg.Schema), postgres.QuoteIdentifier(d.cfg.Table), strings.Join(parts, ", "))
}
