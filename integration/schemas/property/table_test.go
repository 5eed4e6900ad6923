package property

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func tablesOf(seed uint64, encoding string, n int) (tables []*table) {
	p := &place{encoding: encoding}
	r := rand.New(rand.NewPCG(seed, 18))
	for i := range n {
		t := newTable(p, i+1, r, 18)
		t.history = t.create()
		tables = append(tables, t)
	}
	return tables
}

func TestTablesDependOnTheSeedAlone(t *testing.T) {
	same := true
	other := tablesOf(8, "UTF8", 50)
	for i, one := range tablesOf(7, "UTF8", 50) {
		again := tablesOf(7, "UTF8", 50)[i]
		if strings.Join(one.history, ";") != strings.Join(again.history, ";") {
			t.Errorf("table %d: two tables of one seed differ", i)
		}
		same = same && strings.Join(one.history, ";") == strings.Join(other[i].history, ";")
	}
	if same {
		t.Error("the tables of two seeds are the same")
	}
}

// Every way to tell rows apart, every kind of partition and every type come in a run of 300 tables.
func TestEverythingComes(t *testing.T) {
	seen := map[string]bool{}
	for _, one := range tablesOf(1, "UTF8", 240) {
		seen[one.style.name] = true
		if one.split != nil {
			seen[one.split.name] = true
		}
		for _, c := range one.columns {
			seen[c.kind.name] = true
			if c.virtual {
				seen["virtual"] = true
			}
		}
	}
	for _, s := range styles {
		if !seen[s.name] {
			t.Errorf("no table with %s", s.name)
		}
	}
	for _, k := range kinds {
		if !seen[k.name] {
			t.Errorf("no column of %s", k.name)
		}
	}
	for _, name := range []string{"range", "list", "hash", "multi-level", "virtual"} {
		if !seen[name] {
			t.Errorf("nothing %s", name)
		}
	}
}

func TestNamesFit(t *testing.T) {
	for _, encoding := range []string{"UTF8", "WIN1252", "SQL_ASCII"} {
		p := &place{encoding: encoding}
		r := rand.New(rand.NewPCG(1, 1))
		longest := 0
		for range 1000 {
			name := p.oddName(r, "t12_")
			longest = max(longest, len(p.encode(name)))
			if len(p.encode(name)) > maxNameBytes || numberIn("t", name) != 12 || !p.has(name) || p.decode([]byte(p.encode(name))) != name {
				t.Errorf("%s: %q", encoding, name)
			}
		}
		if longest != maxNameBytes {
			t.Errorf("%s: the longest name has %d bytes", encoding, longest)
		}
	}
}
