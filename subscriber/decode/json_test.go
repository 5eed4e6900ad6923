package decode

import (
	"encoding/json"
	"strings"
	"testing"
)

// What a Scanner takes for one value is what encoding/json takes for it.
func FuzzScanner(f *testing.F) {
	for _, text := range []string{`{"a":[1,{"b":"\"}"}],"c":"\\"}`, `[ ]`, `"x"`, `-1.5e10`, `{"a":{}}`, strings.Repeat("[", 600) + strings.Repeat("]", 600), strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		s := Scanner{Text: []byte(text)}
		if _, err := s.Value(); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if s.Next() != 0 {
			t.Fatalf("%q: %q is left", text, s.Text[s.At:])
		}
	})
}
