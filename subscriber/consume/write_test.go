package consume

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgconn"
)

// A part that was refused is cut into smaller ones that have each of its rows once.
func TestSplit(t *testing.T) {
	for _, p := range []part{{0, 2}, {0, 7}, {5, 8}} {
		for suspect := p.from - 1; suspect <= p.to; suspect++ {
			rows := map[int]int{}
			for _, some := range split(p, suspect) {
				if some.to-some.from >= p.to-p.from {
					t.Errorf("%v is cut into %v", p, some)
				}
				for i := some.from; i < some.to; i++ {
					rows[i]++
				}
			}
			for i := p.from; i < p.to; i++ {
				if rows[i] != 1 {
					t.Errorf("%v, suspect %d: row %d is in %d parts", p, suspect, i, rows[i])
				}
			}
			if len(rows) != p.to-p.from {
				t.Errorf("%v, suspect %d: %v", p, suspect, rows)
			}
		}
	}
}

func TestSuspect(t *testing.T) {
	refusal := func(where string) error { return fmt.Errorf("copy: %w", &pgconn.PgError{Code: "22P02", Where: where}) }
	rows := []int32{4, 7, 9}
	for where, want := range map[string]int{
		`COPY t, line 2, column n: "x"`: 7, "COPY pgtee_consume, line 3": 9, "COPY t, line 4": -1, "COPY t, line 0": -1, "": -1, "PL/pgSQL function f() line 2 at RAISE": -1,
		"PL/pgSQL function f() line 2 at RAISE\nCOPY t, line 1: \"a\"": 4,
	} {
		if got := suspectOf(refusal(where), rows); got != want {
			t.Errorf("%q names row %d, want %d", where, got, want)
		}
	}
	if suspectOf(errors.New("cut off"), rows) != -1 {
		t.Error("an error without a place names a row")
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

// Of rows with the same key the last one counts, also of a part.
func TestLastOfKeys(t *testing.T) {
	b := newBatch()
	for _, key := range []string{"a", "b", "a", "c", "b"} {
		start := len(b.arena)
		b.arena = append(b.arena, key+"\tx\n"...)
		b.rows = append(b.rows, row{start: start, keyEnd: start + 1, end: len(b.arena)})
	}
	b.rows[4].deletes = true
	target := &target{table: &table{keys: 1}, seen: map[uint64]int32{}}
	for _, c := range []struct {
		p       part
		deletes bool
		want    string
	}{{part{0, 5}, false, "[2 3]"}, {part{0, 5}, true, "[4]"}, {part{0, 2}, false, "[0 1]"}, {part{1, 4}, false, "[1 2 3]"}} {
		target.lastOfKeys(b, c.p)
		if got := fmt.Sprint(target.rowsOf(b, c.p, 0, c.deletes)); got != c.want {
			t.Errorf("%v, deletes %v: rows %s, want %s", c.p, c.deletes, got, c.want)
		}
	}
}
