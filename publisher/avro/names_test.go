package avro

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/publisher/record"
)

func TestNames(t *testing.T) {
	for _, c := range []struct{ given, underscore, unicode string }{
		{"p.s.table.Value", "p.s.table.Value", "p.s.table.Value"},
		{"my-db.my_s.t$1.Key", "my_db.my_s.t_1.Key", "my_u002ddb.my_u005fs.t_u00241.Key"},
		{"p.1a.2", "p._1a._2", "p._u0031a._u0032"},
		{"p..x", "p._.x", "p._.x"},
		{"Straße", "Stra_e", "Stra_u00dfe"},
		{"Ж", "_", "_u416"},            // three digits, as Debezium writes them
		{"a😀", "a__", "a_ud83d_ude00"}, // two UTF-16 units
		{"\t", "_", "_u009"},
	} {
		if got := Underscore.fullName(c.given); got != c.underscore {
			t.Errorf("avro: %s becomes %s, want %s", c.given, got, c.underscore)
		}
		if got := Unicode.fullName(c.given); got != c.unicode {
			t.Errorf("avro_unicode: %s becomes %s, want %s", c.given, got, c.unicode)
		}
	}
	for _, c := range []struct{ field, record, want string }{
		{"a_b", "p.t.Value", "a_u005fb"}, {"a_b", "p.t.Key", "a_u005fb"}, {"ts_ms", "p.t.Envelope", "ts_ms"}, {"a b", "p.t.Envelope", "a_u0020b"},
	} {
		if got := Unicode.fieldName(c.field, c.record); got != c.want {
			t.Errorf("field %s of %s becomes %s, want %s", c.field, c.record, got, c.want)
		}
	}
}

// Schemas that Avro cannot say are refused with a reason, never bent.
func TestSchemaRefused(t *testing.T) {
	number := &record.Schema{Type: record.Int32}
	event := func(name string, fields ...record.Field) *record.Schema {
		return &record.Schema{Type: record.Struct, Name: name, Fields: fields}
	}
	deep := number
	for range maxDepth + 1 {
		deep = &record.Schema{Type: record.Array, Items: deep}
	}
	for want, s := range map[string]*record.Schema{
		"two different structs, p.t-1.V and p.t_1.V": event("p.E", record.Field{Name: "a", Schema: event("p.t-1.V")}, record.Field{Name: "b", Schema: event("p.t_1.V")}),
		"two different structs, p.V and p.V":         event("p.E", record.Field{Name: "a", Schema: event("p.V")}, record.Field{Name: "b", Schema: event("p.V", record.Field{Name: "x", Schema: number})}),
		"deeper than 32 levels":                      deep,
		`unknown schema type "uint8"`:                {Type: "uint8"},
		"has no schema of its items":                 {Type: record.Array},
		"field a: its default":                       event("p.V", record.Field{Name: "a", Schema: &record.Schema{Type: record.Int32, Default: []byte(`"x"`)}}),
		"parameter scale of":                         {Type: record.Bytes, Name: decimalName, Parameters: []record.Parameter{{Name: "scale", Value: "x"}}},
	} {
		if text, err := schemaText(s, Underscore); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q: %s, %v", want, text, err)
		}
	}
	if _, err := compile(deep, 0); err == nil {
		t.Error("a schema of any depth is compiled")
	}
}

// TestEqualNames: fields whose names Avro would make equal have different ones. The first keeps its name: new columns are last, and rename no other.
func TestEqualNames(t *testing.T) {
	number := &record.Schema{Type: record.Int32}
	for _, c := range []struct{ fields, want []string }{
		{[]string{"a b", "a_b"}, []string{"a_b", "a_u005fb"}},
		{[]string{"a_b", "a b"}, []string{"a_b", "a_u0020b"}},
		{[]string{"a b", "a-b"}, []string{"a_b", "a_u002db"}},
		{[]string{"a b", "a-b", "a_u002db"}, []string{"a_b", "a_u002db", "a_u005fu002db"}},
		{[]string{"a", "a"}, []string{"a", "a_"}}, // a column and a field that is added to flat records
		{[]string{"1", "_1"}, []string{"_1", "_u005f1"}},
	} {
		s := &record.Schema{Type: record.Struct, Name: "p.t.Value"}
		for _, name := range c.fields {
			s.Fields = append(s.Fields, record.Field{Name: name, Schema: number})
		}
		text, err := schemaText(s, Underscore)
		var schema struct{ Fields []struct{ Name string } }
		if err == nil {
			err = json.Unmarshal(text, &schema)
		}
		var got []string
		for _, f := range schema.Fields {
			got = append(got, f.Name)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v, want %q", c.fields, got, err, c.want)
		}
	}
}

// Avro has no decimal with more digits behind the point than in all, nor with fewer than none.
func TestDecimalWithoutLogicalType(t *testing.T) {
	for _, c := range []struct {
		scale, precision string
		logical          bool
	}{{"2", "2", true}, {"0", "1", true}, {"3", "2", false}, {"-1", "5", false}} {
		s := &record.Schema{Type: record.Bytes, Name: decimalName, Version: 1,
			Parameters: []record.Parameter{{Name: "scale", Value: c.scale}, {Name: "connect.decimal.precision", Value: c.precision}}}
		text, err := schemaText(s, Underscore)
		if err != nil || strings.Contains(string(text), `"logicalType":"decimal"`) != c.logical {
			t.Errorf("numeric(%s,%s): %s, error %v", c.precision, c.scale, text, err)
		}
	}
}

// NaN is not a default in Avro: the field has then none but null.
func TestDefaultThatAvroLacks(t *testing.T) {
	s := &record.Schema{Type: record.Struct, Name: "p.V", Fields: []record.Field{
		{Name: "a", Schema: &record.Schema{Type: record.Double, Optional: true, Default: []byte(`"NaN"`)}}}}
	text, err := schemaText(s, Underscore)
	if want := `{"type":"record","name":"V","namespace":"p","fields":[{"name":"a","type":["null","double"],"default":null}],"connect.name":"p.V"}`; err != nil || string(text) != want {
		t.Errorf("%s, error %v, want %s", text, err, want)
	}
}
