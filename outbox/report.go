package outbox

import (
	"fmt"
	"strings"
)

// Severity of a Finding.
type Severity uint8

const (
	OK      Severity = iota
	Warning          // works, with a stated limit or risk
	Problem          // does not work until it is repaired
)

func (s Severity) String() string { return [...]string{"ok", "warning", "problem"}[s] }

// Finding is one action of Setup or one result of Check.
type Finding struct {
	ID       string // stable, such as wal-level; "" if nothing is wrong
	Severity Severity
	Text     string // one line of plain text
	Repair   string // the command that repairs it; "" if nothing is to be done
	Disturbs bool   // it harms clients or their notes, and publishing goes on
}

// Report is the result of Setup, Check and Teardown.
type Report struct{ Findings []Finding }

func (r *Report) ok(format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Text: fmt.Sprintf(format, args...)})
}

func (r *Report) warn(id, repair, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{ID: id, Severity: Warning, Text: fmt.Sprintf(format, args...), Repair: repair})
}

func (r *Report) problem(id, repair, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{ID: id, Severity: Problem, Text: fmt.Sprintf(format, args...), Repair: repair})
}

// disturbs reports what harms clients or their notes: it stops no publisher.
func (r *Report) disturbs(id string, severity Severity, repair, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{id, severity, fmt.Sprintf(format, args...), repair, true})
}

// trustOwner warns about a schema that belongs to an ordinary role: calling its functions runs that role's code.
func (r *Report) trustOwner(owner string) {
	r.warn("schema-owner", "start the proxies with --trust-owner "+owner+", and suppress this finding with --ignore schema-owner",
		"schema pgtee belongs to %s, who is not a superuser: a proxy calls its functions, and thus writes notes, only in sessions of that role", owner)
}

// Problems is the error form of a report: one line with each problem and its repair.
type Problems []Finding

func (p Problems) Error() string {
	var lines []string
	for _, f := range p {
		lines = append(lines, f.Text+": "+f.Repair)
	}
	return strings.Join(lines, "; ")
}

// Err returns the problems that prevent publishing as an error, nil if there are none.
func (r Report) Err() error {
	var problems Problems
	for _, f := range r.Findings {
		if f.Severity == Problem && !f.Disturbs {
			problems = append(problems, f)
		}
	}
	if problems == nil {
		return nil
	}
	return problems
}
