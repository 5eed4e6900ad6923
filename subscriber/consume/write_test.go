package consume

import (
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

// Refused rows are split into fewer ones, in order, the last part first, with each row once.
func TestSplit(t *testing.T) {
	for _, rows := range [][]int32{{0, 1}, {0, 1, 2, 4, 5, 6, 9}, {5, 6, 8}} {
		for suspect := rows[0] - 1; suspect <= rows[len(rows)-1]+1; suspect++ {
			var joined []int32
			for _, some := range slices.Backward(split(rows, suspect)) {
				if len(some) == 0 || len(some) >= len(rows) {
					t.Errorf("%v, suspect %d: %v is a part", rows, suspect, some)
				}
				joined = append(joined, some...)
			}
			if !slices.Equal(joined, rows) {
				t.Errorf("%v, suspect %d: the parts have %v", rows, suspect, joined)
			}
		}
	}
}

// The lines of chosen rows are read whole, whatever the size of the reads.
func TestLineReader(t *testing.T) {
	b := newBatch()
	for _, text := range []string{"a\n", "bb\n", "ccc\n", "\n", "dddd\n"} {
		start := len(b.arena)
		b.arena = append(b.arena, text...)
		b.rows = append(b.rows, row{start: start, end: len(b.arena)})
	}
	for _, c := range []struct {
		rows []int32
		want string
	}{{[]int32{0, 1, 2, 3, 4}, "a\nbb\nccc\n\ndddd\n"}, {[]int32{1, 3, 4}, "bb\n\ndddd\n"}, {nil, ""}, {[]int32{2}, "ccc\n"}} {
		for _, reader := range []io.Reader{&lineReader{b: b, rows: c.rows}, iotest.OneByteReader(&lineReader{b: b, rows: c.rows})} {
			got, err := io.ReadAll(reader)
			if err != nil || string(got) != c.want {
				t.Errorf("%v: %q (%v), want %q", c.rows, got, err, c.want)
			}
		}
	}
}
