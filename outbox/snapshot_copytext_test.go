package outbox

import (
	"bytes"
	"testing"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

func TestAppendCopied(t *testing.T) {
	for _, c := range []struct {
		line    string
		columns int
		want    []string // "\x00": null
		rest    string
	}{
		{"1\tab\t\\N\t", 4, []string{"1", "ab", "\x00", ""}, ""},
		{`a\tb\\c\nd\b\f\r\v`, 1, []string{"a\tb\\c\nd\b\f\r\v"}, ""},
		{`\\N`, 1, []string{`\N`}, ""},
		{`\N`, 1, []string{"\x00"}, ""},
		{"", 0, nil, ""},
		{"", 1, []string{""}, ""},
		{"ü😀\t(0,12)", 1, []string{"ü😀"}, "\t(0,12)"},
	} {
		dst, rest, err := appendCopied([]byte("before"), []byte(c.line), c.columns, nil)
		if err != nil || string(rest) != c.rest || !bytes.HasPrefix(dst, []byte("before")) {
			t.Errorf("%q: rest %q, error %v", c.line, rest, err)
			continue
		}
		var got []string
		for column := pgoutput.Tuple(dst[len("before"):]).Columns(); column.Next(); {
			if column.Kind() == pgoutput.Null {
				got = append(got, "\x00")
				continue
			}
			got = append(got, string(column.Value()))
		}
		if len(got) != len(c.want) {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%q: %q, want %q", c.line, got, c.want)
			}
		}
	}
	for _, line := range []string{"1", "1\\", "1\t2\\", "\\Nx\t1"} {
		if _, _, err := appendCopied(nil, []byte(line), 2, nil); err == nil {
			t.Errorf("%q is taken for two columns", line)
		}
	}
}

func FuzzAppendCopied(f *testing.F) {
	f.Add([]byte("1\tab\t\\N\t"), 4)
	f.Fuzz(func(t *testing.T, line []byte, columns int) {
		columns &= 0x3ff
		tuple, _, err := appendCopied(nil, line, columns, nil)
		if err != nil {
			return
		}
		n := 0
		for column := pgoutput.Tuple(tuple).Columns(); column.Next(); n++ {
			column.Value()
		}
		if n != columns {
			t.Fatalf("%d columns, want %d", n, columns)
		}
	})
}
