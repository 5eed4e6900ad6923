package filter

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

var people = &pgoutput.Relation{
	OID: 16400, Schema: "public", Name: "people", Identity: 'd',
	Columns: []pgoutput.Column{
		{Name: "id", Type: 20, TypeMod: -1, Key: true},
		{Name: "region", Type: 25, TypeMod: -1},
		{Name: "total", Type: 1700, TypeMod: -1},
		{Name: "paid", Type: 16, TypeMod: -1},
		{Name: "born", Type: 1082, TypeMod: -1},
		{Name: "seen", Type: 1184, TypeMod: -1},
		{Name: "code", Type: 1042, TypeMod: 9},
		{Name: "Odd name", Type: 2950, TypeMod: -1},
		{Name: "note", Type: 1043, TypeMod: 14},
	},
}

// texts is a row: "NULL" is null, "?" is not in the log.
type texts []string

func (r texts) Column(i int) (kind byte, text []byte) {
	switch r[i] {
	case "NULL":
		return pgoutput.Null, nil
	case "?":
		return pgoutput.Unchanged, nil
	}
	return pgoutput.Text, []byte(r[i])
}

// values is a row without NULL.
type values [][]byte

func (v *values) Column(i int) (kind byte, text []byte) { return pgoutput.Text, (*v)[i] }

var anna = texts{"7", "eu", "1234.50", "t", "1990-05-01", "2025-01-31 12:00:00.5+00", "ab  ", "5f3e8f4c-0000-0000-0000-000000000001", "NULL"}

func TestFilter(t *testing.T) {
	for text, want := range map[string]Truth{
		`region = 'eu'`:               True,
		`REGION = 'eu'`:               True,
		`"region" <> 'eu'`:            False,
		`region != 'us' AND id >= 7`:  True,
		`id > 7 OR paid`:              True,
		`NOT paid`:                    False,
		`paid = true`:                 True,
		`paid <> 'true'`:              False,
		`id = 7.0 and total = 1234.5`: True,
		`total > 999`:                 True,
		`total > 1.3e3`:               False,
		`total = '1234.500'`:          True,
		`region IN ('us', 'eu')`:      True,
		`id NOT IN (1, 2, 3)`:         True,
		`region LIKE 'e_'`:            True,
		`region LIKE '%u%'`:           True,
		`region NOT LIKE 'E%'`:        True,
		`code = 'ab'`:                 True,
		`born < '2000-01-01' and born >= '1990-05-01'`:         True,
		`seen > '2025-01-31 12:00:00'`:                         True,
		`seen = '2025-01-31 12:00:00.500+00'`:                  True,
		`seen < 'infinity'`:                                    True,
		`"Odd name" = '5f3e8f4c-0000-0000-0000-000000000001'`:  True,
		`note IS NULL`:                                         True,
		`note IS NOT NULL`:                                     False,
		`note = 'x'`:                                           Neither,
		`NOT note = 'x'`:                                       Neither,
		`note = 'x' OR paid`:                                   True,
		`note = 'x' AND NOT paid`:                              False,
		`note = 'x' AND paid`:                                  Neither,
		`paid AND (region = 'us' OR (id < 10 AND NOT id = 8))`: True,
		`region = 'us' or region = 'eu' and not paid`:          False,
	} {
		f, err := Bind(people, []string{text})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := f.Match(anna); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
		if err := Check(text); err != nil {
			t.Errorf("%s, without its table: %v", text, err)
		}
	}
}

// TestConstantForms: whatever form a constant has, it is compared by its value.
func TestConstantForms(t *testing.T) {
	r := &pgoutput.Relation{Columns: []pgoutput.Column{
		{Name: "at", Type: 1184}, {Name: "local", Type: 1114}, {Name: "day", Type: 1082}, {Name: "clock", Type: 1083}, {Name: "u", Type: 2950}, {Name: "n", Type: 1700},
	}}
	row := texts{"2024-01-01 00:00:00+00", "2024-01-01 10:00:00.5", "2024-01-01", "10:00:00", "5f3e8f4c-0000-0000-0000-00000000000a", "1.50"}
	for text, want := range map[string]Truth{
		"at >= '2024-01-01 00:00:00.000'":            True,
		"at = '2024-01-01 00:00:00.0+00'":            True,
		"at = '2024-01-01T00:00:00Z'":                True,
		"at = '2024-01-01 00:00:00+00:00'":           True,
		"at = '2024-01-01'":                          True,
		"at > '2024-01-01 00:00:00.000'":             False,
		"at < '2024-01-01 00:00:00.000001'":          True,
		"local = '2024-01-01 10:00:00.500000'":       True,
		"local > '2024-01-01 10:00:00.000'":          True,
		"local <= '2024-01-01 10:00:00.000'":         False,
		"local IN ('2024-01-01 10:00:00.50')":        True,
		"day = '2024-01-01 00:00:00.000'":            True,
		"day >= '2024-01-01T00:00:00Z'":              True,
		"clock = '10:00:00.000'":                     True,
		"clock = '10:00'":                            True,
		"clock <> '10:00:00'":                        False,
		"u = '5F3E8F4C-0000-0000-0000-00000000000A'": True,
		"n = '1.5' AND n IN (1.500)":                 True,
	} {
		f, err := Bind(r, []string{text})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := f.Match(row); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"at = '2024-01-01 24:00:00'":         "want YYYY-MM-DD",
		"at = '2024-02-30'":                  "want YYYY-MM-DD",
		"at = '2024-01-01 10:00:00+02'":      "in UTC",
		"at = '0044-03-15 BC'":               "want YYYY-MM-DD",
		"at = '2024-01-01Z'":                 "want YYYY-MM-DD",
		"at = '2024-01-01 10:00:00.1234567'": "up to six more digits",
		"at = '2024-01-01 10:00:00,5'":       "want YYYY-MM-DD",
		"day < '2024-01-01 10:00:00'":        "no time of day",
		"clock = '10'":                       "want HH:MM:SS",
		"clock < '10:00'":                    "compares numbers",
		"u = '5f3e8f4c'":                     "want a UUID",
	} {
		if _, err := Bind(r, []string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestFilterUnknown: a value that is not in the log matters only if the result depends on it.
func TestFilterUnknown(t *testing.T) {
	row := append(texts{}, anna...)
	row[1] = "?"
	for text, want := range map[string]Truth{
		`region = 'eu'`:                Unknown,
		`NOT region = 'eu'`:            Unknown,
		`region IS NULL`:               Unknown,
		`region = 'eu' OR id = 7`:      True,
		`id = 7 OR region = 'eu'`:      True,
		`region = 'eu' AND id = 8`:     False,
		`note = 'x' AND region = 'eu'`: Unknown,
		`region LIKE 'e%' OR id = 8`:   Unknown,
	} {
		f, err := Bind(people, []string{text})
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(row); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
}

// TestClasses: a domain compares as its base type, which the log names; citext whatever the case.
func TestClasses(t *testing.T) {
	r := &pgoutput.Relation{Columns: []pgoutput.Column{
		{Name: "amount", Type: 16500, TypeMod: -1, TypeName: "numeric"},
		{Name: "code", Type: 16501, TypeMod: -1, TypeSchema: "public", TypeName: "citext"},
		{Name: "other", Type: 16502, TypeMod: -1, TypeSchema: "public", TypeName: "numeric"},
	}}
	row := texts{"10.0", "Abc", "10.0"}
	for text, want := range map[string]Truth{
		"amount > 9": True, "amount = 10": True, "code = 'aBC'": True, "code IN ('x', 'ABC')": True, "code <> 'abc'": False, "other = '10.0'": True, "other = '10'": False,
	} {
		f, err := Bind(r, []string{text})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := f.Match(row); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"other = 10", "code < 'x'", "code LIKE 'A%'", "other > '1'"} {
		if _, err := Bind(r, []string{text}); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

func TestFilterErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                    "at character 1: found its end, want a column",
		`region =`:            "at character 9: found its end, want a number",
		`region = eu`:         `at character 10: found "eu"`,
		`region = 'eu`:        "at character 10: a quote is not closed",
		`region = 'eu' AND`:   "at character 18: found its end, want a column",
		`region = 'eu' id`:    `at character 15: found "id", want AND, OR or the end`,
		`(region = 'eu'`:      `want ")"`,
		`region = 5`:          "at character 10: the column holds no numbers: write '5'",
		`id = 'five'`:         "at character 6: 'five' is not a number",
		`id = 1.2.3`:          `at character 6: "1.2.3" is not a number`,
		`paid > true`:         "at character 6: > compares numbers",
		`region`:              "want a comparison",
		`city = 'x'`:          "at character 1: there is no column city",
		`region = NULL`:       "write IS NULL",
		`region = true`:       "the column is not boolean",
		`born > '2000'`:       "want YYYY-MM-DD",
		`born > 'yesterday'`:  "want YYYY-MM-DD",
		`id LIKE '7%'`:        "LIKE matches text only",
		`region LIKE 'a\'`:    "ends with its escape character",
		`region IN ()`:        "want a number, a text",
		`region IN ('a' 'b')`: `want "," or ")"`,
		`region NOT = 'a'`:    "want IN or LIKE",
		`and = 1`:             "want a column",
		`region = 'a' ; DROP`: `at character 14: unexpected ";"`,
		`"Odd name" < '5f3e8f4c-0000-0000-0000-000000000001'`: "compares numbers, text, dates",
		strings.Repeat("(", 200):                              "more than 100 levels",
		strings.Repeat("not ", 200):                           "more than 100 levels",
		strings.Repeat(" ", 65<<10):                           "want no more than 65536",
	} {
		if _, err := Bind(people, []string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

func TestFilterDoesNotAllocate(t *testing.T) {
	f, err := Bind(people, []string{`region = 'eu' AND total > 10 AND id IN (1, 7)`, `seen > '2020-01-01' AND code LIKE 'a%'`})
	if err != nil {
		t.Fatal(err)
	}
	row := &values{}
	for _, text := range anna {
		*row = append(*row, []byte(text))
	}
	if n := testing.AllocsPerRun(100, func() { f.Match(row) }); n != 0 {
		t.Errorf("%v allocations for a row", n)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(`region = 'eu' AND (total >= 100 OR NOT paid)`, "12")
	f.Add(`note LIKE '%a\_%' and "Odd name" in ('x','y')`, "a_b")
	f.Fuzz(func(t *testing.T, text, value string) {
		filter, err := Bind(people, []string{text})
		if err != nil {
			return
		}
		if err := Check(text); err != nil {
			t.Errorf("%q is good for a table only: %v", text, err)
		}
		filter.Match(anna)
		row := texts{value, value, value, value, value, value, value, value, value}
		filter.Match(row)
	})
}

func TestCompareNumbers(t *testing.T) {
	ordered := []string{"-Infinity", "-1e+20", "-12", "-1.5", "-0.001", "0", "0.0001", "0.001", "0.5", "1", "1.05", "1.5", "9", "10", "12.34", "1e+2", "1234", "1e+20", "Infinity", "NaN"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareNumbers([]byte(a), []byte(b)); got != compareInts(i, j) {
				t.Errorf("%s and %s compare as %d", a, b, got)
			}
		}
	}
	for _, equal := range [][2]string{{"1.50", "1.5"}, {"0", "-0.00"}, {"100", "1e2"}, {"0.001", "1E-3"}, {"007", "7"}, {".5", "0.5"}, {"5.", "5"}} {
		if compareNumbers([]byte(equal[0]), []byte(equal[1])) != 0 {
			t.Errorf("%s is not %s", equal[0], equal[1])
		}
	}
}

func compareInts(a, b int) int { return big.NewInt(int64(a)).Cmp(big.NewInt(int64(b))) }

func FuzzCompareNumbers(f *testing.F) {
	f.Add("1.50", "-0.3e5")
	f.Add("0010", "1e1")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !isNumber(a) || !isNumber(b) || len(a)+len(b) > 100 {
			return
		}
		x, okX := new(big.Rat).SetString(a)
		y, okY := new(big.Rat).SetString(b)
		if x, _ := readDecimal([]byte(a)); x.exponent > 1000 || x.exponent < -1000 {
			return
		}
		if y, _ := readDecimal([]byte(b)); y.exponent > 1000 || y.exponent < -1000 {
			return
		}
		if !okX || !okY {
			return
		}
		if got := compareNumbers([]byte(a), []byte(b)); got != x.Cmp(y) {
			t.Errorf("%s and %s compare as %d, want %d", a, b, got, x.Cmp(y))
		}
	})
}

func TestCompareTimes(t *testing.T) {
	ordered := []string{
		"-infinity", "0044-03-15 BC", "0044-03-16 BC", "0043-01-01 BC", "0001-01-01", "1990-05-01", "1990-05-01 00:00:00.5",
		"1990-05-01 00:00:01", "1990-05-02", "9999-12-31 23:59:59", "10000-01-01", "infinity",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareTimes([]byte(a), []byte(b)); got != compareInts(i, j) {
				t.Errorf("%s and %s compare as %d", a, b, got)
			}
		}
	}
	if compareTimes([]byte("1990-05-01 00:00:00+00"), []byte("1990-05-01")) != 0 {
		t.Error("midnight is not the start of its day")
	}
}

func TestLike(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"%", "", true}, {"_", "", false}, {"a%", "abc", true}, {"%c", "abc", true}, {"%b%", "abc", true}, {"a_c", "aüc", true},
		{"a%b%c", "aXbYbZc", true}, {"a%b%c", "aXbYbZ", false}, {`a\%`, "a%", true}, {`a\%`, "ab", false}, {`\\`, `\`, true}, {"abc", "abcd", false}, {"%%%x", "y", false},
	} {
		if got := likeMatches([]byte(test.pattern), []byte(test.text)); got != test.want {
			t.Errorf("%q LIKE %q is %t", test.text, test.pattern, got)
		}
	}
}

// FuzzLike compares LIKE with regular expressions that mean the same.
func FuzzLike(f *testing.F) {
	f.Add("public.%_", "public.orders_7")
	f.Add("a%%_b", "aüb")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(name) || strings.Contains(pattern, `\`) {
			return
		}
		expression := strings.NewReplacer("%", "(?s:.*)", "_", "(?s:.)").Replace(regexp.QuoteMeta(pattern))
		want := regexp.MustCompile("^(?:" + expression + ")$").MatchString(name)
		if got := likeMatches([]byte(pattern), []byte(name)); got != want {
			t.Errorf("%q LIKE %q: %t", name, pattern, got)
		}
	})
}
