package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/pgtee/pgtee/outbox"
)

// Finding is one checked item, with its entry in the catalogue.
type Finding struct {
	ID       string `json:"id,omitempty"` // absent: it is in order
	Severity string `json:"severity"`     // ok, warning or problem
	Place    string `json:"place"`        // the database, "kafka", or another checked item
	Text     string `json:"text"`
	Meaning  string `json:"meaning,omitempty"`
	Repair   string `json:"repair,omitempty"`
	Docs     string `json:"docs,omitempty"`
}

// Report contains the findings of a check, in the order of checking.
type Report struct {
	Findings []Finding
	Ignored  []string // ids that do not count
}

// Add adds findings of a place.
func (r *Report) Add(place string, findings ...outbox.Finding) {
	for _, f := range findings {
		if slices.Contains(r.Ignored, f.ID) {
			continue
		}
		next := Finding{ID: f.ID, Severity: f.Severity.String(), Place: place, Text: f.Text, Repair: f.Repair}
		if entry, known := Lookup(f.ID); known {
			next.Meaning, next.Docs = entry.Meaning, Docs(f.ID)
		}
		r.Findings = append(r.Findings, next)
	}
}

// Fail adds an error that prevented a check, with its text: as the finding to which it belongs, or as check-incomplete.
func (r *Report) Fail(place, text string, err error) {
	entry, _ := Lookup("check-incomplete")
	if ids := IDs(err); len(ids) > 0 {
		entry, _ = Lookup(ids[0])
	} else if unreachable := (outbox.ConnectError{}); errors.As(err, &unreachable) {
		entry, _ = Lookup("postgres-unreachable")
	}
	r.Add(place, outbox.Finding{ID: entry.ID, Severity: problem, Text: text, Repair: entry.Repair})
}

// Severities of a whole report. They are the exit codes of pgtee check, and those of Nagios and similar programs.
const (
	Well     = 0
	Warnings = 1
	Problems = 2
	Unknown  = 3 // something could not be checked
)

// Status returns Unknown if something could not be checked, otherwise the highest severity.
func (r *Report) Status() int {
	status := Well
	for _, f := range r.Findings {
		switch {
		case f.ID == "check-incomplete":
			return Unknown
		case f.Severity == problem.String():
			status = Problems
		case f.Severity == warning.String():
			status = max(status, Warnings)
		}
	}
	return status
}

// count returns the number of findings with a severity.
func (r *Report) count(severity outbox.Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == severity.String() {
			n++
		}
	}
	return n
}

// Summary returns the counts in words: "1 problem, 2 warnings".
func (r *Report) Summary() string {
	if r.Status() == Well {
		return "all is well"
	}
	var parts []string
	for _, severity := range []outbox.Severity{problem, warning} {
		n := r.count(severity)
		switch n {
		case 0:
		case 1:
			parts = append(parts, "1 "+severity.String())
		default:
			parts = append(parts, fmt.Sprintf("%d %ss", n, severity))
		}
	}
	return strings.Join(parts, ", ")
}

// Write writes the report in a format: text, json or nagios.
func (r *Report) Write(out io.Writer, form string) error {
	switch form {
	case "json":
		return r.writeJSON(out)
	case "nagios":
		return r.writeNagios(out)
	}
	return r.writeText(out)
}

// writeText writes a line per finding, followed by a line with the remedy. Names of tables are untrusted: they must not control the terminal.
func (r *Report) writeText(out io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-8s %s: %s", f.Severity, Clean(f.Place), Clean(f.Text))
		if f.ID != "" {
			fmt.Fprintf(&b, " [%s]", f.ID)
		}
		b.WriteString("\n")
		if f.Repair != "" {
			fmt.Fprintf(&b, "%-8s -> %s\n", "", Clean(f.Repair))
		}
	}
	b.WriteString(r.Summary())
	if r.Status() != Well {
		b.WriteString("; pgtee explain ID explains a finding")
	}
	b.WriteString("\n")
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *Report) writeJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	findings := r.Findings
	if findings == nil {
		findings = []Finding{}
	}
	return encoder.Encode(struct {
		Status   string    `json:"status"`
		Problems int       `json:"problems"`
		Warnings int       `json:"warnings"`
		Findings []Finding `json:"findings"`
	}{[]string{"ok", "warning", "problem", "unknown"}[r.Status()], r.count(problem), r.count(warning), findings})
}

// writeNagios writes a line with performance data, then one per finding, as the Monitoring Plugins guidelines require: the vertical bar may have no
// other use.
func (r *Report) writeNagios(out io.Writer) error {
	var b strings.Builder
	status := []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[r.Status()]
	fmt.Fprintf(&b, "PGTEE %s - %s", status, r.Summary())
	for _, severity := range []outbox.Severity{problem, warning} {
		for _, f := range r.Findings {
			if f.Severity == severity.String() && b.Len() < 300 {
				fmt.Fprintf(&b, "; %s", f.ID)
			}
		}
	}
	fmt.Fprintf(&b, " | problems=%d;;0 warnings=%d;0\n", r.count(problem), r.count(warning))
	for _, f := range r.Findings {
		if f.ID != "" {
			fmt.Fprintf(&b, "%s: %s: %s -> %s\n", f.ID, noBar(f.Place), noBar(f.Text), noBar(f.Repair))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func noBar(text string) string { return strings.ReplaceAll(Clean(text), "|", "/") }

// Clean replaces characters that could control a terminal or begin a line.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, text)
}
