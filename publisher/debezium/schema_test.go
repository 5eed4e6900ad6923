package debezium

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/publisher/record"
)

// otherSchemas are the columns whose schema is meant to differ from Debezium's.
var otherSchemas = map[string]string{
	"t_num_neg.n_neg":  "numeric(5,-2): Debezium takes the scale for 2046",
	"t_arr2.a_bit":     "bit(3)[]: Debezium's schema is that of one bit(3)",
	"t_enum.e":         "a label was added before this list was made",
	"t_enum.en":        "a label was added before this list was made",
	"o_ddl.f":          "a label was added before this list was made",
	"o_collist.hidden": "the publication has a column list",
	"t_gen.b":          "generated columns are in the snapshot only",
}

const notInRecord = "-- not in the record (unknown type) --"

// TestSchemas compares with the list of columns that Debezium's schemas had in the end.
func TestSchemas(t *testing.T) {
	files := capture{"testdata/golden"}
	plans := map[UnknownMode]map[string]*table{}
	for _, mode := range []UnknownMode{UnknownText, UnknownOmit} {
		plans[mode] = newestPlans(t, files, Modes{Unknown: mode})
	}
	used, compared := map[string]bool{}, 0
	for _, raw := range files.lines(t, "types_map.tsv")[1:] {
		parts := strings.Split(string(raw), "\t")
		name := strings.TrimPrefix(parts[0], "g.") + "." + parts[1]
		if missing := plans[UnknownText][parts[0]] == nil; missing {
			t.Errorf("%s: no row of it in the log", name)
			continue
		}
		compared++
		want, got := strings.Join(parts[3:6], "\t"), describeColumn(plans[UnknownOmit][parts[0]], parts[1])
		if want != got && otherSchemas[name] != "" {
			used[name] = true
		} else if want != got {
			t.Errorf("%s, %s: %s, want %s", name, parts[2], got, want)
		}
		if got := describeColumn(plans[UnknownText][parts[0]], parts[1]); strings.HasPrefix(got, notInRecord) && otherSchemas[name] == "" {
			t.Errorf("%s is omitted though unknown types are text", name)
		}
	}
	for name := range otherSchemas {
		if !used[name] {
			t.Errorf("%s need not be excused", name)
		}
	}
	if compared < 250 {
		t.Errorf("%d columns compared", compared)
	}
}

// newestPlans plans every table of the log in its last version.
func newestPlans(t *testing.T, files capture, modes Modes) map[string]*table {
	encoder := New(Config{Catalog: files.catalog(t), Framing: unframed{}, Modes: modes})
	plans := map[string]*table{}
	log := captured{capture: files}
	for _, tx := range log.transactions(t) {
		for _, c := range tx.Changes {
			if c.Relation == nil {
				continue
			}
			plan, err := encoder.plan(t.Context(), c.Relation, record.Place{})
			if err != nil {
				t.Fatal(err)
			}
			plans[c.Relation.Schema+"."+c.Relation.Name] = plan
		}
	}
	return plans
}

// describeColumn writes a column's schema as types_map.tsv has it.
func describeColumn(plan *table, name string) string {
	for _, f := range plan.schemas.row.Fields {
		if f.Name != name {
			continue
		}
		presence, value := "required", ""
		if f.Schema.Optional {
			presence = "optional"
		}
		if f.Schema.Default != nil {
			value = "default=" + string(f.Schema.Default)
		}
		return describeType(f.Schema) + "\t" + presence + "\t" + value
	}
	return notInRecord + "\t\t"
}

func describeType(s *record.Schema) string {
	if s.Type == record.Array {
		return "array<" + describeType(s.Items) + ">"
	}
	described := strings.TrimSpace(string(s.Type) + " " + s.Name)
	if len(s.Parameters) == 0 {
		return described
	}
	parameters := map[string]string{}
	for _, p := range s.Parameters {
		parameters[p.Name] = p.Value
	}
	raw, _ := json.Marshal(parameters) // sorted by name
	return described + " " + strings.NewReplacer(`":"`, `": "`, `","`, `", "`, `\u0026`, "&").Replace(string(raw))
}

// TestDefaults: constants as they are, the zero of the type for what a function computes, nothing for what
// Debezium does not read.
func TestDefaults(t *testing.T) {
	for _, test := range []struct {
		oid        uint32
		typmod     int32
		expression string
		want       string
	}{
		{oidInt4, -1, "'-1'::integer", `-1`},
		{oidInt4, -1, "nextval('s.t_id_seq'::regclass)", `0`},
		{oidInt4, -1, "(1 + 2)", ``},
		{oidInt4, -1, "NULL::integer", ``},
		{oidInt4, -1, "'99999999999'::bigint", ``},
		{oidBool, -1, "false", `false`},
		{oidBool, -1, "TRUE", `true`},
		{oidText, -1, "'it''s'::text", `"it's"`},
		{oidText, -1, "upper('x'::text)", `""`},
		{oidText, -1, "CURRENT_USER", `"CURRENT_USER"`},
		{oidVarchar, -1, "NULL::character varying", ``},
		{oidNumeric, numericMod(10, 2), "1.5", `"AJY="`},
		{oidNumeric, numericMod(10, 2), "1.555", ``},
		{oidNumeric, -1, "0", ``}, // a struct
		{oidTimestampTZ, -1, "now()", `"1970-01-01T00:00:00.000000Z"`},
		{oidTimestamp, 3, "(now() AT TIME ZONE 'utc'::text)", `0`},
		{oidDate, -1, "CURRENT_DATE", `0`},
		{oidTime, -1, "'12:00:00'::time without time zone", `43200000000`},
		{oidInterval, -1, "'1 day'::interval", `86400000000`},
		{oidUUID, -1, "gen_random_uuid()", `"00000000-0000-0000-0000-000000000000"`},
		{oidBit, 1, "'1'::\"bit\"", `true`},
		{oidJSONB, -1, "'{}'::jsonb", `"{}"`},
		{oidBytea, -1, "'\\x00'::bytea", ``},
		{1007, -1, "'{}'::integer[]", ``},
		{enumOID, -1, "'ok'::s.mood", `"ok"`},
		{enumOID, -1, "f()", ``},
		{domainOID, -1, "1.50", ``},
	} {
		codecs := newCodecs(&Config{Catalog: typeCatalog})
		found, err := codecs.find(test.oid, test.typmod)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(found.defaultOf(test.expression)); got != test.want {
			t.Errorf("type %d, %s: %s, want %s", test.oid, test.expression, got, test.want)
		}
	}
}
