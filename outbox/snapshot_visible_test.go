package outbox

import "testing"

func TestVisible(t *testing.T) {
	for _, c := range []struct {
		snapshot string
		xid      XID
		sees     bool
	}{
		{"100:100:", 99, true},
		{"100:100:", 100, false},
		{"100:110:103,105", 102, true},
		{"100:110:103,105", 103, false},
		{"100:110:103,105", 104, true},
		{"100:110:103,105", 110, false},
		{"4294967290:4294967300:4294967295,4294967299", 4294967291, true}, // the epoch ends in between
		{"4294967290:4294967300:4294967295,4294967299", 4294967295, false},
		{"4294967290:4294967300:4294967295,4294967299", 3, false},
		{"4294967290:4294967300:4294967295,4294967299", 2, true},
		{"4294967290:4294967300:4294967295,4294967299", 5, false},
		{"12884901890:12884901892:", 4294967290, true},
	} {
		v, err := ParseVisible(c.snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Sees(c.xid); got != c.sees {
			t.Errorf("%s sees %d: %t", c.snapshot, c.xid, got)
		}
	}
	for _, text := range []string{"", "1:2", "1:2:x", "1:2:3,", "-1:2:", "1:2:3:4"} {
		if _, err := ParseVisible(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
