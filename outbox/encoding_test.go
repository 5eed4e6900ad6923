package outbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestChooseEncoding(t *testing.T) {
	for _, c := range []struct {
		server, declared string
		raw, fails       bool
		text, want       string // want is not UTF-8 if the text is to be refused
	}{
		{server: "UTF8", text: "é", want: "é"},
		{server: "UTF8", text: "\xe9", want: "\xe9"},
		{server: "UTF8", declared: "UTF8", raw: true, text: "é\xe9", want: "é\uf7e9"},
		{server: "UTF8", declared: "LATIN1", fails: true},
		{server: "EUC_JP", text: "é", want: "é"},
		{server: "EUC_JP", declared: "UTF8", fails: true},
		{server: "SQL_ASCII", raw: true, text: "é\xe9", want: "é\xe9"},
		{server: "SQL_ASCII", declared: "LATIN1", raw: true, text: "caf\xe9\x80", want: "café\u0080"},
		{server: "SQL_ASCII", declared: "UTF8", raw: true, text: "é\xe9\xef\x9f\xa9", want: "é\uf7e9\uf7ef\uf79f\uf7a9"},
		{server: "WIN1252", raw: true, text: "\x80 caf\xe9\x81", want: "€ café\xed\xb2\x81"},
		{server: "WIN1252", declared: "WIN1252", raw: true, text: "\x80 caf\xe9\x81", want: "€ café\uf781"},
		{server: "WIN1253", raw: true, text: "\xd2\xaa", want: "\xed\xb3\x92\xed\xb2\xaa"}, // would be UTF-8 as they are
		{server: "LATIN1", declared: "WIN1252", raw: true, text: "\x80", want: "€"},
		{server: "LATIN1", declared: "UTF8", raw: true, text: "\xc3\xa9", want: "é"},
		{server: "UTF8", declared: "latin1", fails: true},
		{server: "UTF8", declared: "EUC_JP", fails: true},
		{server: "", text: "é", want: "é"},
	} {
		e, raw, err := chooseEncoding(c.server, c.declared)
		if c.fails {
			if !errors.Is(err, ErrSourceEncoding) {
				t.Errorf("%s, declared %q: %v", c.server, c.declared, err)
			}
			continue
		}
		if err != nil || raw != c.raw {
			t.Errorf("%s, declared %q: raw %v, %v", c.server, c.declared, raw, err)
			continue
		}
		got := e.String(c.text)
		if got != c.want {
			t.Errorf("%s, declared %q: %q becomes %q, want %q", c.server, c.declared, c.text, got, c.want)
		}
		if back := e.Original(got); back != c.text {
			t.Errorf("%s, declared %q: %q becomes %q again, want %q", c.server, c.declared, got, back, c.text)
		}
	}
}

// Each text has one form, whatever its bytes: no two rows come under one key.
func FuzzEncodingIsReversible(f *testing.F) {
	names := append(SourceEncodings(), utf8Name)
	f.Add(uint8(slices.Index(names, utf8Name)), "é\xe9\xef\x9f\xa9\uf7e9")
	f.Add(uint8(slices.Index(names, "WIN1252")), "\x81\xed\xb2\x81")
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		name := names[int(which)%len(names)]
		for _, declared := range []bool{true, false} {
			if name == utf8Name && !declared {
				continue
			}
			e := newEncoding(name, declared, false)
			form := e.String(text)
			if declared && !utf8.ValidString(form) {
				t.Errorf("%s: %q becomes %q", name, text, form)
			}
			if back := e.Original(form); back != text {
				t.Errorf("%s: %q becomes %q becomes %q", name, text, form, back)
			}
		}
	})
}

func TestEncodingsAreReversible(t *testing.T) {
	for name := range charmaps {
		for _, declared := range []bool{true, false} {
			e := newEncoding(name, declared, false)
			seen := map[string]bool{}
			for b := range 256 {
				text := string([]byte{byte(b)})
				form := e.String(text)
				if seen[form] || e.Original(form) != text || declared && !utf8.ValidString(form) {
					t.Errorf("%s: byte %#x becomes %q, and that %q", name, b, form, e.Original(form))
				}
				seen[form] = true
			}
		}
	}
}

func TestReadableText(t *testing.T) {
	declared := newEncoding("LATIN1", true, true)
	for _, c := range []struct {
		e          *Encoding
		text, want string
	}{
		{nil, "é", "é"},
		{nil, "caf\xe9", "caf\uf7e9"},
		{declared, "é", "é"},
		{declared, "caf\xe9", "café"},
		{newEncoding("WIN1252", false, false), "caf\xe9 \x81", "café \uf781"},
		{newEncoding("WIN1252", false, false), "café", "café"},
	} {
		if got := string(c.e.readable([]byte(c.text))); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
	if got := string(declared.fromFunction([]byte("caf\xc3\xa9"))); got != "cafÃ©" {
		t.Errorf("told %q", got)
	}
	if got := QuoteText([]byte(newEncoding("WIN1252", false, false).String("\xe9\x81"))); !strings.Contains(got, `é\x81`) {
		t.Errorf("quoted: %s", got)
	}
}

func TestEncodingOfATupleAllocatesNothing(t *testing.T) {
	e := newEncoding("LATIN1", true, true)
	tuple := []byte("\x00\x02t\x00\x00\x00\x04caf\xe9n")
	var dst []byte
	if got := string(e.tuple(nil, tuple)); got != "\x00\x02t\x00\x00\x00\x05café\x6e" {
		t.Errorf("%q", got)
	}
	dst = make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { dst = e.tuple(dst[:0], tuple) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Setup sends the SQL to databases of all encodings.
func TestSQLIsASCII(t *testing.T) {
	files, err := filepath.Glob("sql/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if strings.ContainsFunc(line, func(c rune) bool { return c >= 0x80 }) {
				t.Errorf("%s:%d: %s", file, i+1, line)
			}
		}
	}
}
