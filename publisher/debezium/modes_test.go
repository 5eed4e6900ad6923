package debezium

import (
	"context"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// modesOf reads "decimal.handling.mode=string time.precision.mode=connect".
func modesOf(t testing.TB, settings string) Modes {
	var m Modes
	for _, setting := range strings.Fields(settings) {
		key, value, _ := strings.Cut(setting, "=")
		if err := m.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// unframed is a Framing that makes values fit their schemas, and leaves them as they are.
type unframed struct{}

func (unframed) Append(_ context.Context, dst []byte, _ record.Part, _ string, _ *record.Schema, payload []byte) ([]byte, error) {
	return append(dst, payload...), nil
}

func numericMod(precision, scale int) int32 { return int32(precision<<16 | scale&0x7FF + 4) }

// TestModes has a value of each type in each mode that its type has a form in, and the schema's type and name.
func TestModes(t *testing.T) {
	for _, test := range []struct {
		settings   string
		oid        uint32
		typmod     int32
		text, want string
		schema     string
	}{
		{"decimal.handling.mode=double", oidNumeric, -1, "1.10", `1.1`, "double"},
		{"decimal.handling.mode=double", oidNumeric, numericMod(10, 2), "NaN", `"NaN"`, "double"},
		{"decimal.handling.mode=double", oidNumeric, -1, "-Infinity", `"-Infinity"`, "double"},
		{"decimal.handling.mode=double", oidNumeric, -1, "1" + strings.Repeat("0", 400), `"1` + strings.Repeat("0", 400) + `"`, "double"},
		{"decimal.handling.mode=double", oidMoney, -1, "-$1,234.56", `-1234.56`, "double"},
		{"decimal.handling.mode=string", oidNumeric, numericMod(10, 2), "1.5", `"1.50"`, "string"},
		{"decimal.handling.mode=string", oidNumeric, numericMod(10, 2), "1", `"1.00"`, "string"},
		{"decimal.handling.mode=string", oidNumeric, numericMod(5, -2), "1234500", `"1234500"`, "string"},
		{"decimal.handling.mode=string", oidNumeric, -1, "0.000", `"0.000"`, "string"},
		{"decimal.handling.mode=string", oidNumeric, -1, "NaN", `"NAN"`, "string"},
		{"decimal.handling.mode=string", oidNumeric, -1, "Infinity", `"POSITIVE_INFINITY"`, "string"},
		{"decimal.handling.mode=string", oidNumeric, -1, "-Infinity", `"NEGATIVE_INFINITY"`, "string"},
		{"decimal.handling.mode=string", oidMoney, -1, "($1,234.00)", `"-1234.00"`, "string"},
		{"", oidMoney, -1, "$1.00", `"ZA=="`, nameDecimal},
		{"", oidMoney, -1, "¥1,235", `"AeJs"`, nameDecimal},
		{"", oidMoney, -1, "Fr. 1.00", `"ZA=="`, nameDecimal},
		{"", oidMoney, -1, "1.234,56 €", `"1.234,56 €"`, nameDecimal},
		{"", oidMoney, -1, "$1.234", `"$1.234"`, nameDecimal},
		{"", oidMoney, -1, "$,1.00", `"$,1.00"`, nameDecimal},
		{"", oidMoney, -1, "$12,34.00", `"$12,34.00"`, nameDecimal},
		{"money.fraction.digits=1", oidMoney, -1, "-$0.25", `"/Q=="`, nameDecimal},
		{"money.fraction.digits=0", oidMoney, -1, "$0.49", `"AA=="`, nameDecimal},
		{"money.fraction.digits=4", oidMoney, -1, "$0.01", `"ZA=="`, nameDecimal},

		{"", oidTime, 3, "24:00:00", `86400000`, "io.debezium.time.Time"},
		{"", oidTime, 4, "00:00:00.0001", `100`, "io.debezium.time.MicroTime"},
		{"", oidTimestamp, 3, "1969-12-31 23:59:59.999", `-1`, "io.debezium.time.Timestamp"},
		{"", oidTimestamp, 3, "294276-12-31 23:59:59.999", `9224318015999999`, "io.debezium.time.Timestamp"},
		{"", oidTimestamp, 4, "1970-01-01 00:00:00.0001", `100`, "io.debezium.time.MicroTimestamp"},
		{"", oidTimestampTZ, 0, "2024-02-29 12:34:56+00", `"2024-02-29T12:34:56Z"`, "io.debezium.time.ZonedTimestamp"},
		{"time.precision.mode=adaptive_time_microseconds", oidTime, 0, "00:00:01", `1000000`, "io.debezium.time.MicroTime"},
		{"time.precision.mode=adaptive_time_microseconds", oidTimestamp, 0, "1970-01-01 00:00:01", `1000`, "io.debezium.time.Timestamp"},
		{"time.precision.mode=structured", oidDate, -1, "0044-03-15 BC", `{"year":-43,"month":3,"day":15,"specialValue":null}`, "io.debezium.time.StructuredDate"},
		{"time.precision.mode=structured", oidTime, 1, "24:00:00", `{"hour":24,"minute":0,"second":0,"nanos":0,"precision":1}`, "io.debezium.time.StructuredTime"},
		{"time.precision.mode=structured", oidTimeTZ, -1, "12:34:56.000001-05:30", `{"hour":12,"minute":34,"second":56,"nanos":1000,"offsetSeconds":-19800,"precision":6}`, "io.debezium.time.StructuredZonedTime"},
		{"time.precision.mode=structured", oidTimestamp, -1, "2024-02-29 24:00:00", `{"year":2024,"month":3,"day":1,"hour":0,"minute":0,"second":0,"nanos":0,"specialValue":null,"precision":6}`, "io.debezium.time.StructuredTimestamp"},
		{"time.precision.mode=structured", oidTimestamp, -1, "2024-02-29 10:00:00+00", `"2024-02-29 10:00:00+00"`, "io.debezium.time.StructuredTimestamp"},
		{"time.precision.mode=structured", oidTimestampTZ, 3, "2024-03-01 00:30:00.5+02", `{"year":2024,"month":2,"day":29,"hour":22,"minute":30,"second":0,"nanos":500000000,"offsetSeconds":0,"zoneId":"Z","specialValue":null,"precision":3}`, "io.debezium.time.StructuredZonedTimestamp"},
		{"time.precision.mode=structured", oidInterval, 4<<16 | 0xFFFF, "-1 years -2 mons +3 days -00:00:01.5", `{"years":-1,"months":-2,"days":3,"hours":0,"minutes":0,"seconds":-1,"nanos":-500000000,"precision":65535}`, "io.debezium.time.StructuredDuration"},
		{"time.precision.mode=structured", oidInterval, -1, "infinity", `"infinity"`, "io.debezium.time.StructuredDuration"},
		{"time.precision.mode=connect", oidDate, -1, "1970-01-02", `1`, "org.apache.kafka.connect.data.Date"},
		{"time.precision.mode=connect", oidTime, -1, "00:00:00.999999", `999`, "org.apache.kafka.connect.data.Time"},
		{"time.precision.mode=connect", oidTime, -1, "24:00:00", `86400000`, "org.apache.kafka.connect.data.Time"},
		{"time.precision.mode=connect", oidTimestamp, -1, "1969-12-31 23:59:59.999999", `-1`, "org.apache.kafka.connect.data.Timestamp"},
		{"time.precision.mode=connect", oidTimestamp, -1, "infinity", `9223372036825200000`, "org.apache.kafka.connect.data.Timestamp"},
		{"time.precision.mode=isostring", oidDate, -1, "0044-03-15 BC", `"-0043-03-15Z"`, "io.debezium.time.IsoDate"},
		{"time.precision.mode=isostring", oidDate, -1, "0001-12-31 BC", `"0000-12-31Z"`, "io.debezium.time.IsoDate"},
		{"time.precision.mode=isostring", oidDate, -1, "infinity", `"+5877611-06-21Z"`, "io.debezium.time.IsoDate"},
		{"time.precision.mode=isostring", oidTime, -1, "24:00:00", `"24:00:00Z"`, "io.debezium.time.IsoTime"},
		{"time.precision.mode=isostring", oidTime, -1, "01:02:03.100", `"01:02:03.1Z"`, "io.debezium.time.IsoTime"},
		{"time.precision.mode=isostring", oidTimestamp, 6, "294276-12-31 23:59:59.999999", `"+294276-12-31T23:59:59.999999Z"`, "io.debezium.time.IsoTimestamp"},
		{"time.precision.mode=isostring", oidTimestamp, 6, "-infinity", `"-292275055-05-16T23:00:00Z"`, "io.debezium.time.IsoTimestamp"},
		{"time.precision.mode=microseconds", oidTimestamp, 0, "-infinity", `-9223372036854775808`, "io.debezium.time.MicroTimestamp"},
		{"time.precision.mode=microseconds", oidTime, 0, "00:00:01", `1000000`, "io.debezium.time.MicroTime"},
		{"time.precision.mode=nanoseconds", oidTime, 0, "00:00:00.000001", `1000`, "io.debezium.time.NanoTime"},
		{"time.precision.mode=nanoseconds", oidTimestamp, 0, "1969-12-31 23:59:59.999999", `-1000`, "io.debezium.time.NanoTimestamp"},
		{"time.precision.mode=nanoseconds", oidTimestamp, 0, "2262-04-11 23:47:16.854775", `9223372036854775000`, "io.debezium.time.NanoTimestamp"},
		{"time.precision.mode=nanoseconds", oidTimestamp, 0, "2262-04-11 23:47:16.854776", `"2262-04-11 23:47:16.854776"`, "io.debezium.time.NanoTimestamp"},
		{"time.precision.mode=nanoseconds", oidTimestamp, 0, "1677-09-21 00:12:43.145225", `-9223372036854775000`, "io.debezium.time.NanoTimestamp"},
		{"time.precision.mode=nanoseconds", oidTimestamp, 0, "1677-09-21 00:12:43.145224", `"1677-09-21 00:12:43.145224"`, "io.debezium.time.NanoTimestamp"},
		{"time.precision.mode=nanoseconds", oidTimestamp, 0, "infinity", `9223372036854775807`, "io.debezium.time.NanoTimestamp"},

		{"binary.handling.mode=base64", oidBytea, -1, `\xfbff`, `"+/8="`, "string"},
		{"binary.handling.mode=base64-url-safe", oidBytea, -1, `\xfbff`, `"-_8="`, "string"},
		{"binary.handling.mode=hex", oidBytea, -1, `\xFBff`, `"fbff"`, "string"},
		{"binary.handling.mode=hex", oidBit, 8, "00000001", `"AQ=="`, "io.debezium.data.Bits"},
		{"binary.handling.mode=hex", 1001, -1, `{"\\xff",NULL}`, `["ff",null]`, "array<string>"},

		{"interval.handling.mode=string", oidInterval, -1, "1 year 2 mons -3 days +04:05:06.7", `"P1Y2M-3DT4H5M6.7S"`, "io.debezium.time.Interval"},
		{"interval.handling.mode=string", oidInterval, -1, "-00:00:00.5", `"P0Y0M0DT0H0M-0.5S"`, "io.debezium.time.Interval"},
		{"interval.handling.mode=string", oidInterval, -1, "-100:59:59.000001", `"P0Y0M0DT-100H-59M-59.000001S"`, "io.debezium.time.Interval"},
		{"interval.handling.mode=string", oidInterval, -1, "infinity", `"infinity"`, "io.debezium.time.Interval"},
		{"interval.handling.mode=string", oidInterval, -1, "1 fortnight", `"1 fortnight"`, "io.debezium.time.Interval"},

		{"hstore.handling.mode=map", hstoreOID, -1, `"a"=>"1", "b"=>NULL`, `{"a":"1","b":null}`, "map"},
		{"", hstoreOID, -1, `"a"=>"1"`, `"{\"a\":\"1\"}"`, nameJSON},

		{"", citextOID, -1, "A", `"A"`, "string"},
		{"", ltreeArrayOID, -1, "{a.b,NULL}", `["a.b",null]`, "array<io.debezium.data.Ltree>"},
		{"", enumArrayOID, -1, "{sad,NULL}", `["sad",null]`, "array<io.debezium.data.Enum>"},
		{"", vectorOID, 3, "[1,-2.5,1e+20]", `[1.0,-2.5,1.0E20]`, "io.debezium.data.DoubleVector"},
		{"", vectorOID, -1, "[1,]", `"[1,]"`, "io.debezium.data.DoubleVector"},
		{"", vectorOID, -1, "[]", `"[]"`, "io.debezium.data.DoubleVector"},
		{"", halfvecOID, 1, "[0.0999756]", `[0.0999756]`, "io.debezium.data.FloatVector"},
		{"", sparsevecOID, 5, "{1:1.5,3:2}/5", `{"dimensions":5,"vector":[[1,1.5],[3,2.0]]}`, "io.debezium.data.SparseDoubleVector"},
		{"", sparsevecOID, 5, "{4:1,1:2}/5", `{"dimensions":5,"vector":[[4,1.0],[1,2.0]]}`, "io.debezium.data.SparseDoubleVector"},
		{"", sparsevecOID, 5, "{}/5", `{"dimensions":5,"vector":[]}`, "io.debezium.data.SparseDoubleVector"},
		{"", sparsevecOID, -1, "{1:1}/40000", `"{1:1}/40000"`, "io.debezium.data.SparseDoubleVector"},
		{"", geometryOID, -1, "0101000020E6100000000000000000F03F0000000000000040", `{"wkb":"AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAAQA==","srid":4326,"extensions":null}`, "io.debezium.data.geometry.Geometry"},
		{"", geometryOID, -1, "0020000001000010e63ff00000000000004000000000000000", `{"wkb":"ACAAAAEAABDmP/AAAAAAAABAAAAAAAAAAA==","srid":4326,"extensions":null}`, "io.debezium.data.geometry.Geometry"},
		{"", geometryArrayOID, -1, "{010700000000000000:NULL}", `[{"wkb":"AQcAAAAAAAAA","srid":null,"extensions":null},null]`, "array<io.debezium.data.geometry.Geometry>"},
		{"", geographyOID, -1, "010700000000000000", `{"wkb":"AQcAAAAAAAAA","srid":null}`, "io.debezium.data.geometry.Geography"},
		{"", geographyOID, -1, "0107", `"0107"`, "io.debezium.data.geometry.Geography"},

		{"unknown.datatypes=bytes", compositeOID, -1, "(1,)", `"KDEsKQ=="`, "bytes"},
		{"unknown.datatypes=bytes binary.handling.mode=hex", compositeOID, -1, "(1,)", `"28312c29"`, "string"},
		{"unknown.datatypes=bytes", domainArrayOID, -1, "{1.50,NULL}", `["MS41MA==",null]`, "array<bytes>"},
		{"unknown.datatypes=bytes", 791, -1, "{$1.00}", `["ZA=="]`, "array<" + nameDecimal + ">"},
		{"unknown.datatypes=text", compositeOID, -1, "(1,)", `"(1,)"`, "string"},
	} {
		c := columnIn(t, Config{Catalog: typeCatalog, Modes: modesOf(t, test.settings)}, test.oid, test.typmod)
		got := c.append(nil, value{pgoutput.Text, []byte(test.text)}, nil)
		if string(got) != test.want {
			t.Errorf("%s, type %d(%d), %.40q: %.60s, want %.60s", test.settings, test.oid, test.typmod, test.text, got, test.want)
		}
		if got := schemaName(c.schema); got != test.schema {
			t.Errorf("%s, type %d(%d): schema %s, want %s", test.settings, test.oid, test.typmod, got, test.schema)
		}
	}
}

// schemaName is the semantic name of a schema, or its type.
func schemaName(s *record.Schema) string {
	switch {
	case s.Name != "":
		return s.Name
	case s.Type == record.Array:
		return "array<" + schemaName(s.Items) + ">"
	}
	return string(s.Type)
}

// TestFit: with a framing, what the schema cannot carry is null, or a zero, and its text is told.
func TestFit(t *testing.T) {
	for _, test := range []struct {
		settings   string
		oid        uint32
		typmod     int32
		kind       byte
		text       string
		want, lost string
	}{
		{"", oidNumeric, numericMod(10, 2), pgoutput.Text, "NaN", `"AA=="`, `{"after.c":"NaN"}`},
		{"", oidNumeric, -1, pgoutput.Text, "Infinity", `{"scale":0,"value":"AA=="}`, `{"after.c":"Infinity"}`},
		{"decimal.handling.mode=string", oidNumeric, -1, pgoutput.Text, "NaN", `"NAN"`, `null`},
		{"", oidNumeric, -1, pgoutput.Unchanged, "", `{"scale":0,"value":"AA=="}`, `{"after.c":"__debezium_unavailable_value"}`},
		{"", oidInt4, -1, pgoutput.Null, "", `0`, `{"after.c":null}`}, // older than its NOT NULL
		{"", 1007, -1, pgoutput.Text, "{{1,2},{3,4}}", `[]`, `{"after.c":"{{1,2},{3,4}}"}`},
		{"", 1007, -1, pgoutput.Text, "{1,NULL}", `[1,null]`, `null`},
		{"", 1231, numericMod(10, 2), pgoutput.Text, "{1.00,NaN}", `null`, `{"after.c":"{1.00,NaN}"}`},
		{"", 1005, -1, pgoutput.Text, "{x}", `null`, `{"after.c":"{x}"}`}, // the field is optional, since the array may be unchanged
		{"", 1005, -1, pgoutput.Unchanged, "", `null`, `{"after.c":"__debezium_unavailable_value"}`},
		{"", enumArrayOID, -1, pgoutput.Text, "{sad,NULL}", `[]`, `{"after.c":"{sad,NULL}"}`},
		{"", oidTimestamp, -1, pgoutput.Text, "294276-12-31 23:59:59", `0`, `{"after.c":"294276-12-31 23:59:59"}`},
		{"", oidBox, -1, pgoutput.Text, "()", `null`, `{"after.c":"()"}`}, // optional in any column
		{"", oidBytea, -1, pgoutput.Unchanged, "", `"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="`, `null`},
		{"binary.handling.mode=hex unavailable.value.placeholder=no", oidBytea, -1, pgoutput.Unchanged, "", `"no"`, `null`},
		{"unavailable.value.placeholder=no", 1007, -1, pgoutput.Unchanged, "", `[110,111]`, `null`},
		{"unavailable.value.placeholder=é", 1007, -1, pgoutput.Unchanged, "", `[-61,-87]`, `null`},
		{"unavailable.value.placeholder=hex:6E6f", oidText, -1, pgoutput.Unchanged, "", `"no"`, `null`},
		{"unavailable.value.placeholder=hex:AABB", oidText, -1, pgoutput.Unchanged, "", `"��"`, `null`},
		{"unavailable.value.placeholder=hex:AABB", oidBytea, -1, pgoutput.Unchanged, "", `"qrs="`, `null`},
		{"unavailable.value.placeholder=hex:AABB", 1007, -1, pgoutput.Unchanged, "", `[-86,-69]`, `null`},
		{"unavailable.value.placeholder=no", hstoreOID, -1, pgoutput.Unchanged, "", `"{\"no\":\"no\"}"`, `null`},
		{"hstore.handling.mode=map", hstoreOID, -1, pgoutput.Unchanged, "", `{"__debezium_unavailable_value":"__debezium_unavailable_value"}`, `null`},
		{"", 2951, -1, pgoutput.Unchanged, "", `["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]`, `null`},
	} {
		c := columnIn(t, Config{Catalog: typeCatalog, Framing: unframed{}, Modes: modesOf(t, test.settings)}, test.oid, test.typmod)
		lost := &lost{side: "after"}
		got := c.append(nil, value{test.kind, []byte(test.text)}, lost)
		if told := string(lost.appendTo(nil)); string(got) != test.want || told != test.lost {
			t.Errorf("%s, type %d, %q: %s and %s, want %s and %s", test.settings, test.oid, test.text, got, told, test.want, test.lost)
		}
	}
}

func TestModesSet(t *testing.T) {
	for setting, want := range map[string]string{
		"decimal.handling.mode=exact":         `decimal.handling.mode="exact": use one of precise, double, string`,
		"time.precision.mode=exact":           `time.precision.mode="exact": use one of adaptive, adaptive_time_microseconds, connect, isostring, microseconds, nanoseconds, structured`,
		"money.fraction.digits=x":             `money.fraction.digits="x": use a number from 0 to 18`,
		"money.fraction.digits=-1":            `money.fraction.digits="-1": use a number from 0 to 18`,
		"include.unknown.datatypes=maybe":     `include.unknown.datatypes="maybe": use true or false`,
		"unavailable.value.placeholder=hex:A": `unavailable.value.placeholder="hex:A": use pairs of hexadecimal digits after hex:`,
		"unavailable.value.placeholder=hex:":  `unavailable.value.placeholder="hex:": use pairs`,
		"snapshot.mode=initial":               `unknown setting "snapshot.mode"`,
		"interval.handling.mode= STRING":      "",
		"include.unknown.datatypes=true":      "",
		"hstore.handling.mode=":               "",
		"binary.handling.mode=hex":            "",
		"unavailable.value.placeholder=no":    "",
	} {
		var m Modes
		key, value, _ := strings.Cut(setting, "=")
		err := m.Set(key, value)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", setting, err, want)
		}
	}
	m := modesOf(t, "decimal.handling.mode=String include.unknown.datatypes=false time.precision.mode=nanoseconds")
	if m.Decimals != DecimalString || m.Unknown != UnknownOmit || m.Times.String() != "nanoseconds" {
		t.Errorf("%+v", m)
	}
}

// TestOmit: a column of a type that Debezium has no form for is in no row; in the key it is text.
func TestOmit(t *testing.T) {
	relation := &pgoutput.Relation{OID: 1, Schema: "s", Name: "t", Identity: 'd', Columns: []pgoutput.Column{
		{Name: "id", Type: 3220, TypeMod: -1, Key: true}, {Name: "c", Type: compositeOID, TypeMod: -1}, {Name: "v", Type: oidInt4, TypeMod: -1},
	}}
	encoder := New(Config{Catalog: typeCatalog, Modes: Modes{Unknown: UnknownOmit}})
	plan, err := encoder.plan(t.Context(), relation, record.Place{})
	if err != nil {
		t.Fatal(err)
	}
	var r row
	if err := plan.read(&r, tuple("0/1", "(1)", "7"), false); err != nil {
		t.Fatal(err)
	}
	if got := string(plan.appendRow(nil, &r, nil)); got != `{"v":7}` {
		t.Errorf("row %s", got)
	}
	if got, err := plan.appendKey(nil, &r, nil); err != nil || string(got) != `{"id":"0/1"}` {
		t.Errorf("key %s, %v", got, err)
	}
}
