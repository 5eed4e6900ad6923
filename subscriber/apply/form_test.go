package apply

import (
	"encoding/json"
	"testing"

	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/subscriber/decode"
)

func typeNamed(name string) *pgType { return &pgType{name: name, typmod: -1, delimiter: ','} }

func TestForms(t *testing.T) {
	array := func(name string) *pgType {
		return &pgType{name: "_" + name, element: typeNamed(name), typmod: -1, delimiter: ','}
	}
	numeric := func(precision, scale int32) int32 { return (precision<<16 | scale&0x7FF) + 4 }
	for _, c := range []struct {
		typ    *pgType
		typmod int32
		json   string
		want   string
	}{
		{typeNamed("text"), -1, `"a\n\"\\ü漢😀"`, "a\n\"\\ü漢😀"},
		{typeNamed("int8"), -1, `-9223372036854775808`, "-9223372036854775808"},
		{typeNamed("float8"), -1, `1.0E10`, "1.0E10"},
		{typeNamed("float8"), -1, `"NaN"`, "NaN"},
		{typeNamed("bool"), -1, `true`, "true"},
		{typeNamed("numeric"), numeric(10, 2), `"MDk="`, "123.45"},
		{typeNamed("numeric"), numeric(10, 2), `"/w=="`, "-0.01"},
		{typeNamed("numeric"), numeric(2, -3), `"DA=="`, "12000"},
		{typeNamed("numeric"), numeric(10, 2), `"NaN"`, "NaN"},
		{typeNamed("numeric"), -1, `{"scale":3,"value":"AeJA"}`, "123.456"},
		{typeNamed("numeric"), -1, `{"scale":0,"value":"AN4LazpHVAAA"}`, "15999999999212781568"},
		{typeNamed("numeric"), -1, `"-Infinity"`, "-Infinity"},
		{typeNamed("money"), -1, `"AN4="`, "2.22"},
		{typeNamed("date"), -1, `0`, "1970-01-01"},
		{typeNamed("date"), -1, `-719163`, "0001-12-31 BC"},
		{typeNamed("date"), -1, `2146033979`, "infinity"},
		{typeNamed("time"), -1, `38096789123`, "10:34:56.789123"},
		{typeNamed("time"), 3, `38096789`, "10:34:56.789"},
		{typeNamed("time"), -1, `86400000000`, "24:00:00"},
		{typeNamed("timestamp"), -1, `-1`, "1969-12-31T23:59:59.999999"},
		{typeNamed("timestamp"), 3, `1706700896789`, "2024-01-31T11:34:56.789"},
		{typeNamed("timestamp"), -1, `9223372036854775807`, "infinity"},
		{typeNamed("timestamptz"), -1, `"-0043-03-15T12:00:00.5Z"`, "0044-03-15T12:00:00.5Z BC"},
		{typeNamed("timestamptz"), -1, `"-infinity"`, "-infinity"},
		{typeNamed("interval"), -1, `3600000000`, "3600000000 microseconds"},
		{typeNamed("bytea"), -1, `"AP8="`, `\x00ff`},
		{typeNamed("bit"), 1, `true`, "1"},
		{typeNamed("bit"), 10, `"BQE="`, "0100000101"},
		{typeNamed("point"), -1, `{"x":1.5,"y":-2.0,"wkb":"","srid":null}`, "(1.5,-2.0)"},
		{typeNamed("circle"), -1, `{"center":{"x":1.0,"y":2.0},"radius":3.5}`, "<(1.0,2.0),3.5>"},
		{typeNamed("hstore"), -1, `"{\"a\":\"1\",\"b\\\"\":null}"`, `"a"=>"1","b\""=>NULL`},
		{typeNamed("vector"), -1, `[1.0,2.5]`, "[1.0,2.5]"},
		{typeNamed("sparsevec"), -1, `{"dimensions":5,"vector":[[1,1.5],[3,2.0]]}`, "{1:1.5,3:2.0}/5"},
		{array("int4"), -1, `[1,null,[2,3]]`, `{"1",NULL,{"2","3"}}`},
		{array("text"), -1, `["a,b","c\"d\\"]`, `{"a,b","c\"d\\"}`},
		{array("date"), -1, `[0]`, `{"1970-01-01"}`},
		{array("jsonb"), -1, `["{\"a\": 1}"]`, `{"{\"a\": 1}"}`},
		{array("vector"), -1, `[[1.0],[2.0]]`, `{"[1.0]","[2.0]"}`},
	} {
		f := newForms(debezium.Modes{}).of(c.typ, c.typmod)
		got, err := f.read(f, nil, []byte(c.json))
		if err != nil || string(got) != c.want {
			t.Errorf("%s(%d) %s: %q, %v; want %q", c.typ.name, c.typmod, c.json, got, err, c.want)
		}
	}
}

func TestUnavailable(t *testing.T) {
	f := newForms(debezium.Modes{}).of(typeNamed("text"), -1)
	for _, json := range []string{`"__debezium_unavailable_value"`, `["__debezium_unavailable_value"]`, `"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="`} {
		if !f.isUnavailable([]byte(json)) {
			t.Errorf("%s is a value", json)
		}
	}
	if f.isUnavailable([]byte(`"__debezium_unavailable_valuE"`)) {
		t.Error("a text is not a value")
	}
}

// Whatever a topic holds, reading it neither panics nor loops.
func FuzzForms(f *testing.F) {
	names := []string{"text", "numeric", "date", "timestamp", "timestamptz", "bytea", "bit", "interval", "point", "path", "hstore", "sparsevec", "vector", "money"}
	for i := range names {
		f.Add(i, `{"scale":2,"value":"ew==","wkb":"AQIAAAAAAAAA"}`)
		f.Add(i, `[1,[2],"x"]`)
	}
	f.Fuzz(func(_ *testing.T, i int, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		s := decode.Scanner{Text: []byte(text)}
		value, err := s.Value()
		if err != nil {
			return
		}
		typ := typeNamed(names[uint(i)%uint(len(names))])
		for _, t := range []*pgType{typ, {name: "_x", element: typ, typmod: -1, delimiter: ','}} {
			form := newForms(debezium.Modes{}).of(t, 6)
			_, _ = form.read(form, nil, value)
		}
	})
}

// FuzzEnvelope: neither does taking a record apart.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"before":null,"after":{"id":1,"v":"a\"b"},"source":{"schema":"public","table":"t","txId":1},"op":"c","pgtee":{"values":{"after.v":null}}}`))
	f.Add([]byte(`{"schema":{},"payload":{"op":"d"}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		var e envelope
		var h hint
		inner := decode.Payload(value)
		if err := e.read(inner, &h); err == nil && e.after != nil {
			_ = decode.Fields(e.after, func(name, value []byte) error { return nil })
		}
		_, _ = decode.AppendUnquoted(nil, value)
	})
}
