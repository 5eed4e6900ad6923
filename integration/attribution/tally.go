package main

import (
	"fmt"
	"slices"
	"strings"
)

// cell is a row of the table: a form in a place.
type cell struct {
	form  string
	place place
	late  bool // only the rows that were written for it later in the transaction, by deferred triggers or at COMMIT
}

// figures counts the rows of a cell by finding.
type figures struct {
	rows     [findings]int
	forbade  int      // rows without a statement where there must be one
	examples []string // of wrong and of forbidden rows
}

// tally counts the findings of the judge of one leg, or of all legs.
type tally struct {
	cells   map[cell]*figures
	absent  int
	extra   int
	alarms  int      // rows whose notes are considered forged
	details []string // of missing, surplus and unverified rows
	broken  []string // units whose outcome differed from their scripts
}

const shown = 3 // number of examples

func newTally() *tally { return &tally{cells: map[cell]*figures{}} }

func (t *tally) count(c cell, mayBeUnknown bool, f finding, example string) {
	in := t.cell(c)
	in.rows[f]++
	if f == unknown && !mayBeUnknown {
		in.forbade++
	}
	bad := f == wrong || f == unknown && !mayBeUnknown
	if bad && len(in.examples) < shown && !slices.Contains(in.examples, example) {
		in.examples = append(in.examples, example)
	}
}

// merge adds the findings of another leg's judge.
func (t *tally) merge(other *tally) {
	for c, figures := range other.cells {
		in := t.cell(c)
		for f, n := range figures.rows {
			in.rows[f] += n
		}
		in.forbade += figures.forbade
		in.examples = append(in.examples, figures.examples[:min(len(figures.examples), shown-len(in.examples))]...)
	}
	t.absent, t.extra, t.alarms = t.absent+other.absent, t.extra+other.extra, t.alarms+other.alarms
	for _, detail := range other.details {
		t.detail(detail)
	}
	t.broken = append(t.broken, other.broken...)
}

func (t *tally) cell(c cell) *figures {
	if t.cells[c] == nil {
		t.cells[c] = &figures{}
	}
	return t.cells[c]
}

func (t *tally) surplus(detail string) {
	t.extra++
	t.detail(detail)
}

func (t *tally) alarm(detail string) {
	t.alarms++
	t.detail(detail)
}

func (t *tally) missing(rows int, detail string) {
	t.absent += rows
	t.detail(detail)
}

func (t *tally) detail(text string) {
	if len(t.details) < 10 {
		t.details = append(t.details, text)
	}
}

// total adds up all cells.
func (t *tally) total() (sum figures) {
	for _, in := range t.cells {
		for f, n := range in.rows {
			sum.rows[f] += n
		}
		sum.forbade += in.forbade
	}
	return sum
}

func (f *figures) all() int { return f.rows[right] + f.rows[unknown] + f.rows[wrong] }

// table returns a line for each form and place, in the order of the forms, followed by examples of errors.
func (t *tally) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-50s %7s %7s %8s %10s %6s\n", "form", "rows", "right", "unknown", "forbidden", "wrong")
	for i := range forms {
		for _, late := range []bool{false, true} {
			for p := alone; p <= following; p <<= 1 {
				c := cell{forms[i].name, p, late}
				if in := t.cells[c]; in != nil {
					fmt.Fprintf(&b, "%-50s %7d %7d %8d %10d %6d\n", c, in.all(), in.rows[right], in.rows[unknown], in.forbade, in.rows[wrong])
					for _, example := range in.examples {
						fmt.Fprintf(&b, "    %s\n", example)
					}
				}
			}
		}
	}
	return b.String()
}

func (c cell) String() string {
	if c.late {
		return c.form + ", " + c.place.String() + ", deferred"
	}
	return c.form + ", " + c.place.String()
}

// closing returns the last line of a run.
func (t *tally) closing() string {
	return "attribution " + t.figures()
}

// figures returns the sums in words.
func (t *tally) figures() string {
	sum := t.total()
	return fmt.Sprintf("rows=%d right=%d unknown=%d wrong=%d", sum.all(), sum.rows[right], sum.rows[unknown], sum.rows[wrong])
}

// verdict returns an error if there are any errors.
func (t *tally) verdict() error {
	sum := t.total()
	if sum.rows[wrong]+sum.forbade+t.absent+t.extra+t.alarms+len(t.broken) == 0 {
		return nil
	}
	return fmt.Errorf("%d rows name another statement, %d name none where they must, %d are missing, %d too many, %d not verified; %d units did not end as their scripts say",
		sum.rows[wrong], sum.forbade, t.absent, t.extra, t.alarms, len(t.broken))
}
