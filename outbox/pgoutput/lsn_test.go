package pgoutput

import (
	"encoding/json"
	"testing"
)

func TestLSN(t *testing.T) {
	for text, want := range map[string]LSN{"0/0": 0, "0/16B3748": 0x16B3748, "FFFFFFFF/FFFFFFFF": 1<<64 - 1, "1/A": 1<<32 | 10} {
		got, err := ParseLSN(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("ParseLSN(%q) = %d (%s), %v, want %d", text, got, got, err, want)
		}
		encoded, err := json.Marshal(want)
		if err != nil || string(encoded) != `"`+text+`"` {
			t.Errorf("Marshal(%s) = %s, %v", want, encoded, err)
		}
		var decoded LSN
		if err := json.Unmarshal(encoded, &decoded); err != nil || decoded != want {
			t.Errorf("Unmarshal(%s) = %s, %v", encoded, decoded, err)
		}
	}
	for _, text := range []string{"", "0", "/", "0/", "/0", "g/0", "0/100000000", "-1/0", "0/0/0", " 0/0"} {
		if got, err := ParseLSN(text); err == nil {
			t.Errorf("ParseLSN(%q) = %s, want an error", text, got)
		}
	}
}
