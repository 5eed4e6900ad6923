package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// judge compares the outcomes and durations of the statements in the two legs.
type judge struct {
	statements int
	wrong      []string           // errors in captured that are not in virgin
	met        map[string]*chance // errors that depend on timing
	odd        []string           // errors in virgin that the scripts did not expect
	took       map[string]*pair   // by kind
}

// chance counts errors of one class in the two legs.
type chance struct {
	virgin, captured int
	examples         []string // in captured
}

// pair contains the durations of the statements of one kind that succeeded in both legs.
type pair struct{ virgin, captured []time.Duration }

func newJudge() *judge { return &judge{met: map[string]*chance{}, took: map[string]*pair{}} }

// add adds a piece of a session's script and its outcomes.
func (j *judge) add(session int, steps []step, virgin, captured []outcome) {
	for i := range steps {
		s, v, c := &steps[i], virgin[i], captured[i]
		name := fmt.Sprintf("%s %s: %.400s", sessionName(session), s.kind, s.sql)
		if c.ran {
			j.statements++
		}
		if s.unforeseen(v) && v.code != aborted {
			if s.byChance(v.code) {
				j.chance(s, v.code).virgin++
			} else {
				j.odd = append(j.odd, fmt.Sprintf("%s: %s: %s", v.code, v.text, name))
			}
		}
		if s.unforeseen(c) && c.code != aborted {
			if s.byChance(c.code) {
				class := j.chance(s, c.code)
				class.captured++
				class.examples = append(class.examples, fmt.Sprintf("%s: %s", c.text, name))
			} else if c.code != v.code || !v.ran {
				j.wrong = append(j.wrong, fmt.Sprintf("%s: %s: %s", c.code, c.text, name))
			}
		}
		if s.reach == quiet && v.ran && c.ran && v.code == s.want && c.code == s.want {
			p := j.took[s.kind]
			if p == nil {
				p = &pair{}
				j.took[s.kind] = p
			}
			p.virgin, p.captured = append(p.virgin, v.took), append(p.captured, c.took)
		}
	}
}

var (
	moments    = []string{"55P03", "40P01", "57014", "40001"} // lock timeout, deadlock, statement timeout, serialization
	existences = []string{"42P01", "42703", "3F000"}          // of other sessions' tables
)

// byChance reports whether concurrent statements of other sessions can explain the error.
func (s *step) byChance(code string) bool {
	return slices.Contains(moments, code) || s.reach == foreign && slices.Contains(existences, code)
}

// chance returns the class of an error. In tables of others, the number of errors depends on the kind of statement.
func (j *judge) chance(s *step, code string) *chance {
	name := code + []string{quiet: " in quiet tables", open: " in open tables", foreign: " in tables of others, " + s.kind}[s.reach]
	if j.met[name] == nil {
		j.met[name] = &chance{}
	}
	return j.met[name]
}

// beyond returns the errors that only captured has: those of statements that did not fail in virgin and, in each class that depends on timing, those that
// exceed the usual number.
func (j *judge) beyond() (n int, lines []string) {
	n, lines = len(j.wrong), slices.Clone(j.wrong)
	for _, name := range slices.Sorted(maps.Keys(j.met)) {
		class := j.met[name]
		usual := int(math.Ceil(float64(class.virgin)*1.3 + 5))
		if surplus := class.captured - usual; surplus > 0 {
			n += surplus
			lines = append(lines, fmt.Sprintf("%s: %d times, %d times in virgin, such as\n    %s", name, class.captured, class.virgin, strings.Join(class.examples[:min(3, len(class.examples))], "\n    ")))
		}
	}
	return n, lines
}

const (
	slowBy = 50 * time.Millisecond

	forMedian = 5 // minimum number of samples for the median, and for the 95th percentile
	forTail   = 20
)

// slower returns the kinds that take longer in captured, with a line of figures for each kind. The two halves of virgin show how much the 95th
// percentile varies by itself.
func (j *judge) slower() (n int, table []string) {
	table = append(table, fmt.Sprintf("%-34s %6s %21s %21s %21s", "kind: virgin, captured [ms]", "n", "p50", "p95", "max"))
	for _, kind := range slices.Sorted(maps.Keys(j.took)) {
		p := j.took[kind]
		half := len(p.virgin) / 2
		floor := (percentile(p.virgin[:half], 95) - percentile(p.virgin[half:], 95)).Abs()
		waits := strings.Contains(kind, "CONCURRENTLY") // it waits for all transactions: see waits.go
		slow := !waits && (len(p.virgin) >= forMedian && percentile(p.captured, 50) > percentile(p.virgin, 50)+slowBy ||
			len(p.virgin) >= forTail && percentile(p.captured, 95) > percentile(p.virgin, 95)+slowBy+floor)
		line := fmt.Sprintf("%-34s %6d", kind, len(p.virgin))
		for _, percent := range []int{50, 95, 100} {
			line += fmt.Sprintf(" %10.1f %10.1f", milliseconds(percentile(p.virgin, percent)), milliseconds(percentile(p.captured, percent)))
		}
		if slow {
			n++
			line += " SLOW"
		}
		table = append(table, line)
	}
	return n, table
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// percentile returns the smallest value that this percentage does not exceed; 0 if there are no values.
func percentile(values []time.Duration, percent int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}
