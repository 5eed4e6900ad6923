package apply

import "testing"

func TestParseEventID(t *testing.T) {
	for text, want := range map[string]eventID{
		"7300015402116915253/pgtee/1/0/16B3748/12":      {place: place{0x16B3748, 12, 0}, timeline: 1},
		"7300015402116915253/pgtee/2/AB/16B3748/12.2":   {place: place{0xAB016B3748, 12, 2}, timeline: 2},
		"1/pgtee/3.12/0/1/7":                            {place: place{1, 7, 0}, timeline: 3, cuts: 12},
		"1/pgtee/1/0/1/audit":                           {place: place{1, behind, 0}, timeline: 1},
		"1/pgtee/1/0/1/snapshot.my.copy/of it.17":       {place: place{1, behind, 0}, timeline: 1, snapshot: []byte("my.copy/of it")},
		"1/pgtee/1/FFFFFFFF/FFFFFFFF/snapshot.x.t16384": {place: place{0xFFFFFFFFFFFFFFFF, behind, 0}, timeline: 1, snapshot: []byte("x")},
	} {
		got, err := parseEventID([]byte(text))
		if err != nil || got.place != want.place || got.timeline != want.timeline || got.cuts != want.cuts || string(got.snapshot) != string(want.snapshot) || string(got.slot) != "pgtee" {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1/2/3", "1/pgtee/1/0/16B3748/", "1/pgtee/1/0/x/1", "1/pgtee/1/0/123456789/1", "1/pgtee/x/0/1/1", "1/pgtee/1./0/1/1", "1/pgtee/1.x/0/1/1", "1/pgtee/1/0/1/1.x", "1/pgtee/1/0/1/snapshot.x"} {
		if id, err := parseEventID([]byte(text)); err == nil {
			t.Errorf("%q is read as %+v", text, id)
		}
	}
}

func FuzzParseEventID(f *testing.F) {
	f.Add([]byte("7300015402116915253/pgtee/1/0/16B3748/12.1"))
	f.Add([]byte("1/pgtee/1/0/1/snapshot.my.copy.17"))
	f.Fuzz(func(_ *testing.T, header []byte) { _, _ = parseEventID(header) })
}
