package outbox

import (
	"errors"
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
	Severity Severity
	Text     string // in plain words, one line
	Repair   string // the command that repairs it; "" if there is nothing to do
}

// Report is what Setup, Check and Teardown tell.
type Report struct{ Findings []Finding }

func (r *Report) ok(format string, args ...any) {
	r.Findings = append(r.Findings, Finding{OK, fmt.Sprintf(format, args...), ""})
}

func (r *Report) warn(repair, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Warning, fmt.Sprintf(format, args...), repair})
}

func (r *Report) problem(repair, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Problem, fmt.Sprintf(format, args...), repair})
}

// trustOwner is about a schema that belongs to an ordinary role: whoever calls its functions runs that role's code.
func (r *Report) trustOwner(owner string) {
	r.warn("give the proxies --trust-owner "+owner,
		"schema pgtee belongs to %s, who is no superuser: a proxy calls its functions, and so writes notes, in sessions of that role only", owner)
}

// Err returns the problems as one error of one line, nil if there are none.
func (r Report) Err() error {
	var problems []string
	for _, f := range r.Findings {
		if f.Severity == Problem {
			problems = append(problems, f.Text+": "+f.Repair)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}
