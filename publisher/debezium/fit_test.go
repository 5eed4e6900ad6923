package debezium

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"testing"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// everySettings are modes that between them have every form of every type.
var everySettings = []string{
	"",
	"decimal.handling.mode=double time.precision.mode=connect binary.handling.mode=hex hstore.handling.mode=map unknown.datatypes=bytes",
	"decimal.handling.mode=string time.precision.mode=isostring binary.handling.mode=base64 interval.handling.mode=string",
	"time.precision.mode=nanoseconds money.fraction.digits=0 unavailable.value.placeholder=gone",
	"time.precision.mode=microseconds binary.handling.mode=base64-url-safe unknown.datatypes=omit",
}

// everyColumn returns a column for each type in each form, whose values must fit their schemas, or not.
func everyColumn(t testing.TB, framing record.Framing) []column {
	var columns []column
	for _, settings := range everySettings {
		columns = append(columns, everyType(t, Config{Framing: framing, Modes: modesOf(t, settings)})...)
	}
	return columns
}

// TestMarkers: what stands for a value that is not in the log fits the schema of every type.
func TestMarkers(t *testing.T) {
	for _, c := range everyColumn(t, unframed{}) {
		for _, marker := range []string{c.absent, c.misfit, c.codec.zero} {
			if err := fits(c.schema, []byte(marker)); err != nil {
				t.Errorf("%s: %v", schemaName(c.schema), err)
			}
		}
		if c.unavailable == "null" {
			continue
		}
		if err := fits(c.schema, []byte(c.unavailable)); err != nil {
			t.Errorf("unavailable %s: %v", schemaName(c.schema), err)
		}
	}
}

var seeds = []string{
	"", "1", "-1.50", "NaN", "Infinity", "t", "\\x00ff", "a\\000", "2024-02-29 12:34:56.789123+02 BC", "24:00:00-12:34:56", "infinity",
	"1 year -2 mons +3 days -04:05:06.7", "101", "((0,0),(1,1))", "<(1,2),3>", "{1,2,3}", `[0:1]={"a\"b",NULL}`, "{{1},{2}}",
	`"a"=>"1", "b c"=>NULL`, "$1,234.56", "5e-324", "\xff", "[1,2.5]", "{1:2}/3", "0101000020E6100000000000000000F03F0000000000000040", "294276-12-31 23:59:59.9",
}

// TestValueAllocations: a value of any type in any form is encoded in buffers that are there.
func TestValueAllocations(t *testing.T) {
	dst := make([]byte, 0, 1<<12)
	for _, c := range everyColumn(t, nil) {
		for _, seed := range seeds {
			v := value{pgoutput.Text, []byte(seed)}
			const short = 32 // longer text of a float is copied for strconv
			if _, ok := c.appendFit(dst, v); !ok || c.schema.Type == record.Double && len(seed) > short {
				continue
			}
			if n := testing.AllocsPerRun(1, func() { c.appendFit(dst, v) }); n != 0 {
				t.Errorf("%s, %q: %v allocations", schemaName(c.schema), seed, n)
			}
		}
	}
}

// FuzzValues: any text becomes valid JSON of any type, and what was in the buffer stays.
func FuzzValues(f *testing.F) {
	fuzzColumns(f, everyColumn(f, nil), func(c *column, text []byte) error {
		got := c.append([]byte("before"), value{pgoutput.Text, text}, nil)
		if !bytes.HasPrefix(got, []byte("before")) || !json.Valid(got[len("before"):]) {
			return fmt.Errorf("%.300s", got)
		}
		return nil
	})
}

// FuzzFit: with a framing, what any text becomes fits the schema, or its text is told.
func FuzzFit(f *testing.F) {
	fuzzColumns(f, everyColumn(f, unframed{}), func(c *column, text []byte) error {
		lost := &lost{side: "after"}
		got := c.append(nil, value{pgoutput.Text, text}, lost)
		if told := lost.appendTo(nil); !json.Valid(told) {
			return fmt.Errorf("%.300s is told", told)
		}
		return fits(c.schema, got)
	})
}

// fuzzColumns tries the seeds with every column, and then texts with one column each.
func fuzzColumns(f *testing.F, columns []column, try func(c *column, text []byte) error) {
	for n, seed := range seeds {
		for i := range columns {
			if err := try(&columns[i], []byte(seed)); err != nil {
				f.Errorf("column %d, %s, %q: %v", i, schemaName(columns[i].schema), seed, err)
			}
		}
		f.Add(uint16(n*97), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, which uint16, text []byte) {
		c := &columns[int(which)%len(columns)]
		if err := try(c, text); err != nil {
			t.Fatalf("column %d, %s, %q: %v", int(which)%len(columns), schemaName(c.schema), text, err)
		}
	})
}

// fits says how a payload differs from what its schema allows.
func fits(s *record.Schema, payload []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return fmt.Errorf("%w in %.80s", err, payload)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("more than one value in %.80s", payload)
	}
	return fitsValue(s, v)
}

func fitsValue(s *record.Schema, v any) error {
	if v == nil && s.Optional {
		return nil
	}
	switch s.Type {
	case record.Array:
		return fitsItems(s, v)
	case record.Struct:
		return fitsFields(s, v)
	case record.Map:
		return fitsMap(s, v)
	}
	if !fitsScalar(s.Type, v) {
		return fmt.Errorf("%.80v is not %s", v, s.Type)
	}
	return nil
}

var integerBits = map[record.SchemaType]int{record.Int8: 8, record.Int16: 16, record.Int32: 32, record.Int64: 64}

func fitsScalar(t record.SchemaType, v any) bool {
	switch v := v.(type) {
	case bool:
		return t == record.Boolean
	case json.Number:
		if bits := integerBits[t]; bits > 0 {
			_, err := strconv.ParseInt(v.String(), 10, bits)
			return err == nil
		}
		f, err := v.Float64()
		return err == nil && (t == record.Double || t == record.Float && math.Abs(f) <= math.MaxFloat32)
	case string:
		_, err := base64.StdEncoding.DecodeString(v)
		number := t == record.Double || t == record.Float
		return t == record.String || t == record.Bytes && err == nil || number && (v == "NaN" || v == "Infinity" || v == "-Infinity")
	}
	return false
}

func fitsItems(s *record.Schema, v any) error {
	items, ok := v.([]any)
	if !ok {
		return fmt.Errorf("%.80v is not an array", v)
	}
	for _, item := range items {
		if err := fitsValue(s.Items, item); err != nil {
			return err
		}
	}
	return nil
}

func fitsFields(s *record.Schema, v any) error {
	object, ok := v.(map[string]any)
	if !ok || len(object) != len(s.Fields) {
		return fmt.Errorf("%.80v has not the fields of %s", v, s.Name)
	}
	for _, f := range s.Fields {
		if err := fitsValue(f.Schema, object[f.Name]); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// fitsMap: a map whose keys are not strings is an array of pairs.
func fitsMap(s *record.Schema, v any) error {
	pairs, ok := v.([]any)
	if object, isObject := v.(map[string]any); isObject && s.Keys.Type == record.String {
		ok = true
		for key, value := range object {
			pairs = append(pairs, []any{key, value})
		}
	}
	if !ok {
		return fmt.Errorf("%.80v is not a map", v)
	}
	for _, p := range pairs {
		pair, ok := p.([]any)
		if !ok || len(pair) != 2 || fitsValue(s.Keys, pair[0]) != nil || fitsValue(s.Values, pair[1]) != nil {
			return fmt.Errorf("%.80v is not an entry of the map", p)
		}
	}
	return nil
}
