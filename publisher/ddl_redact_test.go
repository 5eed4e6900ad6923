package publisher

import (
	"slices"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/shape"
)

// A command on anything that belongs to a table with hidden columns keeps no literals.
func TestTablesOfDDL(t *testing.T) {
	for _, test := range []struct {
		object outbox.DDLObject
		want   []string
	}{
		{outbox.DDLObject{Type: "table", Name: "public.part", Root: "public.t"}, []string{"public.part", "public.t"}},
		{outbox.DDLObject{Type: "table column", Name: "public.t.a"}, []string{"public.t.a", ""}},
		{outbox.DDLObject{Type: "trigger", Name: "checks on public.t"}, []string{"public.t"}},
		{outbox.DDLObject{Type: "policy", Name: `"p on q" on public."a on b"`}, []string{`q" on public."a on b"`, `public."a on b"`, `b"`}},
		{outbox.DDLObject{Type: "index", Name: "public.i"}, nil},
	} {
		if got := tablesOf(&test.object); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.object.Name, got, test.want)
		}
	}
}

// Defaults are told of columns that readers may see as they are, and that hold no credentials.
func TestDefaultsInDDL(t *testing.T) {
	columns := []outbox.DDLColumn{
		{Name: "state", Default: "'new'::text"}, {Name: "password", Default: "'hunter2'::text"}, {Name: "email", Default: "'a@b'::text"}, {Name: "note", Default: "'n'::text"},
		{Name: "conn", Default: "'postgres://u:hunter2@h/d'::text"}, {Name: "plain", Default: "pgp_sym_decrypt(raw(), 'hunter2'::text)"},
	}
	shape, err := shape.New(shape.Config{Prefix: "shop", Salt: []byte("s"), Tables: []shape.TableConfig{
		{Match: `public.My "T"`, ExcludeColumns: []string{"note"}, Masks: []shape.MaskConfig{{Column: "email", Kind: shape.Hash}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		root      string
		text      SQLText
		want      []string
		statement string
	}{
		{`public."My ""T"""`, "", Normalised, []string{"'new'::text", "'<redacted>'", "", "", "'<redacted>'::text", "pgp_sym_decrypt(raw(), '<redacted>'::text)"}, "ALTER TABLE x ADD state text DEFAULT $1"},
		{`public."My ""T"""`, "", Full, []string{"'new'::text", "'<redacted>'", "", "", "'<redacted>'::text", "pgp_sym_decrypt(raw(), '<redacted>'::text)"}, "ALTER TABLE x ADD state text DEFAULT 'new'"},
		{`public.part`, `public."My ""T"""`, Full, []string{"'new'::text", "'<redacted>'", "", "", "'<redacted>'::text", "pgp_sym_decrypt(raw(), '<redacted>'::text)"}, "ALTER TABLE x ADD state text DEFAULT 'new'"},
		{`public.part`, `public."My ""T"""`, Normalised, []string{"'new'::text", "'<redacted>'", "", "", "'<redacted>'::text", "pgp_sym_decrypt(raw(), '<redacted>'::text)"}, "ALTER TABLE x ADD state text DEFAULT $1"},
		{`public.other`, `public.elsewhere`, Normalised, []string{"'new'::text", "'<redacted>'", "'a@b'::text", "'n'::text", "'<redacted>'::text", "pgp_sym_decrypt(raw(), '<redacted>'::text)"}, "ALTER TABLE x ADD state text DEFAULT 'new'"},
		{`public.other`, "", Off, []string{"", "", "", "", "", ""}, ""},
	} {
		config := testConfig()
		config.SQLText, config.Shape = test.text, shape
		p := newPublisher(config, nil, nil, tableFormat{})
		given := outbox.DDLRecord{Objects: []outbox.DDLObject{{Type: "table", Name: test.name, Root: test.root, Columns: columns}}}
		clean, hides := p.redactedDDL(given)
		var got []string
		for _, c := range clean.Objects[0].Columns {
			got = append(got, c.Default)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s of %q, %d:\n%q, want\n%q", test.name, test.root, test.text, got, test.want)
		}
		if text := p.ddlStatement("ALTER TABLE x ADD state text DEFAULT 'new'", hides); text != test.statement {
			t.Errorf("%s of %q, %d: %s, want %s", test.name, test.root, test.text, text, test.statement)
		}
		if columns[1].Default != "'hunter2'::text" {
			t.Fatal("the record of the stream was changed")
		}
	}
}
