package outbox

import (
	"fmt"
	"strings"
)

// Severity of a Finding.
type Severity uint8

const (
	OK      Severity = iota
	Warning          // it works, with a stated limit or risk
	Problem          // it does not work before this is repaired
)

func (s Severity) String() string { return [...]string{"ok", "warning", "problem"}[s] }

// Finding is one thing that Setup did or Check saw.
type Finding struct {
	ID       string // stable, such as wal-level; "" for what is well
	Severity Severity
	Text     string // in plain words, one line
	Repair   string // the command that repairs it; "" if there is nothing to do
}

// Report is what Setup, Check and Teardown tell.
type Report struct{ Findings []Finding }

func (r *Report) ok(format string, args ...any) {
	r.Findings = append(r.Findings, Finding{"", OK, fmt.Sprintf(format, args...), ""})
}

func (r *Report) warn(id, repair, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{id, Warning, fmt.Sprintf(format, args...), repair})
}

func (r *Report) problem(id, repair, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{id, Problem, fmt.Sprintf(format, args...), repair})
}

// trustOwner is about a schema that belongs to an ordinary role: whoever calls its functions runs that role's code.
func (r *Report) trustOwner(owner string) {
	r.warn("schema-owner", "give the proxies --trust-owner "+owner,
		"schema pgtee belongs to %s, who is no superuser: a proxy calls its functions, and so writes notes, in sessions of that role only", owner)
}

// Problems is the error of a report: one line, each problem with its repair.
type Problems []Finding

func (p Problems) Error() string {
	var lines []string
	for _, f := range p {
		lines = append(lines, f.Text+": "+f.Repair)
	}
	return strings.Join(lines, "; ")
}

// Err returns the problems, nil if there are none.
func (r Report) Err() error {
	var problems Problems
	for _, f := range r.Findings {
		if f.Severity == Problem {
			problems = append(problems, f)
		}
	}
	if problems == nil {
		return nil
	}
	return problems
}
