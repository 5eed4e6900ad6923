package debezium

import (
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

const (
	hstoreOID = 20001 + iota
	domainOID
	domainArrayOID
	domainOfArrayOID
	compositeOID
	enumOID
	enumArrayOID
	citextOID
	ltreeOID
	ltreeArrayOID
	vectorOID
	halfvecOID
	sparsevecOID
	geometryOID
	geometryArrayOID
	geographyOID
	lastOID
)

var typeCatalog = &fixedCatalog{Types: map[uint32]Type{
	hstoreOID:        {Name: "hstore", Kind: KindBase, TypeMod: -1, Delimiter: ','},
	domainOID:        {Name: "price", Kind: KindDomain, Base: oidNumeric, TypeMod: 10<<16 + 2 + 4},
	domainArrayOID:   {Name: "_price", Kind: KindBase, TypeMod: -1, Element: domainOID, Delimiter: ','},
	domainOfArrayOID: {Name: "prices", Kind: KindDomain, Base: domainArrayOID, TypeMod: -1},
	compositeOID:     {Name: "comp", Kind: 'c', TypeMod: -1},
	enumOID:          {Name: "mood", Kind: KindEnum, TypeMod: -1, Labels: "sad,ok"},
	enumArrayOID:     {Name: "_mood", Kind: KindBase, TypeMod: -1, Element: enumOID, Delimiter: ','},
	citextOID:        {Name: "citext", Kind: KindBase, TypeMod: -1},
	ltreeOID:         {Name: "ltree", Kind: KindBase, TypeMod: -1},
	ltreeArrayOID:    {Name: "_ltree", Kind: KindBase, TypeMod: -1, Element: ltreeOID, Delimiter: ','},
	vectorOID:        {Name: "vector", Kind: KindBase, TypeMod: -1},
	halfvecOID:       {Name: "halfvec", Kind: KindBase, TypeMod: -1},
	sparsevecOID:     {Name: "sparsevec", Kind: KindBase, TypeMod: -1},
	geometryOID:      {Name: "geometry", Kind: KindBase, TypeMod: -1},
	geometryArrayOID: {Name: "_geometry", Kind: KindBase, TypeMod: -1, Element: geometryOID, Delimiter: ':'},
	geographyOID:     {Name: "geography", Kind: KindBase, TypeMod: -1},
}}

func columnOf(t testing.TB, oid uint32, typmod int32) column {
	return columnIn(t, Config{Catalog: typeCatalog}, oid, typmod)
}

// columnIn plans a column c that is NOT NULL.
func columnIn(t testing.TB, config Config, oid uint32, typmod int32) column {
	c := newCodecs(&config)
	found, err := c.find(oid, typmod)
	if err != nil {
		t.Fatal(err)
	}
	planned := newColumn(pgoutput.Column{Name: "c"}, found, true, "")
	planned.placeholder = c.placeholders.raw
	return planned
}

// TestValues has what the captured records do not show.
func TestValues(t *testing.T) {
	for _, test := range []struct {
		oid        uint32
		typmod     int32
		text, want string
	}{
		{oidInt4, -1, "007", `"007"`},
		{oidInt4, -1, "-", `"-"`},
		{oidBool, -1, "true", `"true"`},
		{oidFloat8, -1, "0x10", `"0x10"`},
		{oidFloat8, -1, "2e-323", `2.0E-323`},
		{oidFloat8, -1, "1e-3", `0.001`},
		{oidFloat8, -1, "9999999.5", `9999999.5`},
		{oidFloat4, -1, "-1e-5", `-1.0E-5`},
		{oidNumeric, -1, "NaN", `"NaN"`},
		{oidNumeric, -1, "-Infinity", `"-Infinity"`},
		{oidNumeric, -1, ".5", `".5"`},
		{oidNumeric, 10<<16 + 2 + 4, "NaN", `"NaN"`},
		{oidNumeric, 10<<16 + 2 + 4, "1.5", `"AJY="`},    // of a default older than the scale
		{oidNumeric, 10<<16 + 2 + 4, "1.234", `"1.234"`}, // too many digits: not rounded
		{oidNumeric, 5<<16 + (-2 & 0x7FF) + 4, "-1234500", `"z8c="`},
		{oidMoney, -1, "-12.00", `"+1A="`},
		{oidMoney, -1, "12,34 €", `"12,34 €"`},
		{oidDate, -1, "2024-13-01", `"2024-13-01"`},
		{oidDate, -1, "01/02/2024", `"01/02/2024"`},
		{oidTimestamp, -1, "294276-12-31 23:59:59.999999", `"294276-12-31 23:59:59.999999"`},
		{oidTimestamp, -1, "5874897-12-31 00:00:00", `"5874897-12-31 00:00:00"`},
		{oidTimestampTZ, -1, "294276-12-31 23:59:59.999999+00", `"+294276-12-31T23:59:59.999999Z"`},
		{oidTimestampTZ, 2, "2024-02-29 12:34:56.79+05:45", `"2024-02-29T06:49:56.79Z"`},
		{oidTimestampTZ, -1, "4714-11-24 00:00:00+00 BC", `"-4713-11-24T00:00:00.000000Z"`},
		{oidTimeTZ, -1, "12:00:00-12:34:56", `"00:34:56Z"`},
		{oidTimeTZ, -1, "24:00:00-05", `"05:00:00Z"`},
		{oidInterval, -1, "infinity", `9223372036854775807`},
		{oidInterval, -1, "P1Y", `"P1Y"`},
		{oidInterval, -1, "2 days 25:61:00", `"2 days 25:61:00"`},
		{oidBytea, -1, `a\\b\000`, `"YVxiAA=="`},
		{oidBytea, -1, `\x1`, `"\\x1"`},
		{oidBytea, -1, `\9`, `"\\9"`},
		{oidBit, 8, "1012", `"1012"`},
		{oidVarbit, 1, "", `""`},
		{oidPoint, -1, "(1,2,3)", `"(1,2,3)"`},
		{oidPoint, -1, "(NaN,Infinity)", `{"x":"NaN","y":"Infinity","wkb":"AQEAAAABAAAAAAD4fwAAAAAAAPB/","srid":null}`},
		{1007, -1, "{{1,2},{3,NULL}}", `[[1,2],[3,null]]`},
		{1007, -1, "[0:1][2:3]={{1,2},{3,4}}", `[[1,2],[3,4]]`},
		{1007, -1, "{1,x}", `[1,"x"]`},
		{1007, -1, "{1,2", `"{1,2"`},
		{1007, -1, "{1,2}}", `"{1,2}}"`},
		{1007, -1, "{,}", `"{,}"`},
		{1007, -1, "{{{{{{{1}}}}}}}", `"{{{{{{{1}}}}}}}"`},
		{1009, -1, `{"a\"b","NULL",null}`, `["a\"b","NULL","null"]`},
		{1020, -1, "{(1,1),(0,0);(1,1),(0,0)}", ``},
		{hstoreOID, -1, `"a"=>"1", "b"`, `"\"a\"=>\"1\", \"b\""`},
		{hstoreOID, -1, `"\"q\\"=>"x,y", "n"=>NULL`, `"{\"\\\"q\\\\\":\"x,y\",\"n\":null}"`},
		{domainOID, -1, "1.50", `"AJY="`},
		{domainArrayOID, -1, "{1.50,NULL}", `["AJY=",null]`},
		{domainOfArrayOID, -1, "{1.50}", `["AJY="]`},
		{compositeOID, -1, `(1,"x")`, `"(1,\"x\")"`},
		{99999, -1, "of a type that is gone", `"of a type that is gone"`},
	} {
		c := columnOf(t, test.oid, test.typmod)
		got := c.append([]byte("x"), value{pgoutput.Text, []byte(test.text)}, nil)[1:]
		if test.want != "" && string(got) != test.want {
			t.Errorf("type %d, %q: %s, want %s", test.oid, test.text, got, test.want)
		}
		if !json.Valid(got) {
			t.Errorf("type %d, %q: invalid JSON %s", test.oid, test.text, got)
		}
	}
}

// TestDecimals compares with math/big, whose numbers we know to be right.
func TestDecimals(t *testing.T) {
	for _, whole := range []string{"0", "1", "127", "128", "255", "256", "32768", "18446744073709551615", "18446744073709551616",
		"9999999999999999999", "10000000000000000000", strings.Repeat("9", 400), "1" + strings.Repeat("0", 131071)} {
		for _, sign := range []string{"", "-"} {
			var n numerics
			got, ok := n.decimal(2)(nil, []byte(sign+whole+".50"))
			if !ok {
				t.Fatalf("%s%.30s: not read", sign, whole)
			}
			text, err := strconv.Unquote(string(got))
			if err != nil {
				t.Fatal(err)
			}
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := new(big.Int).SetString(sign+whole+"50", 10)
			if have := fromTwosComplement(raw); have.Cmp(want) != 0 {
				t.Errorf("%s%.30s.50: %.40s", sign, whole, have)
			}
			if len(raw) != wantBytes(want) {
				t.Errorf("%s%.30s.50: %d bytes, want %d", sign, whole, len(raw), wantBytes(want))
			}
		}
	}
}

func fromTwosComplement(raw []byte) *big.Int {
	n := new(big.Int).SetBytes(raw)
	if raw[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	return n
}

// wantBytes is the length of Java's BigInteger.toByteArray.
func wantBytes(n *big.Int) int {
	if n.Sign() < 0 {
		n = new(big.Int).Not(n)
	}
	return n.BitLen()/8 + 1
}

// everyType returns a column for each type that has a codec.
func everyType(t testing.TB, config Config) []column {
	config.Catalog = typeCatalog
	var oids []uint32
	for oid := uint32(hstoreOID); oid < lastOID; oid++ {
		oids = append(oids, oid)
	}
	for array, element := range arrays {
		oids = append(oids, array, element)
	}
	slices.Sort(oids)
	var columns []column
	for _, oid := range slices.Compact(oids) {
		for _, typmod := range []int32{-1, 0, 1, 3, 10<<16 + 2 + 4, 5<<16 + (-2 & 0x7FF) + 4} {
			columns = append(columns, columnIn(t, config, oid, typmod))
		}
	}
	return columns
}

// TestJavaHash: String.hashCode() of "hello" is 99162322, of the emoji 1772899; HashMap folds them.
func TestJavaHash(t *testing.T) {
	for text, want := range map[string]uint32{"": 0, "a": 97, "hello": 0x5E91D3B, "😀": 0x1B0D78} {
		if got := javaHash([]byte(text)); got != want {
			t.Errorf("%q: %#x, want %#x", text, got, want)
		}
	}
}
