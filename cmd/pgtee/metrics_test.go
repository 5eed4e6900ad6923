package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgtee/pgtee/subscriber/apply"
	"github.com/pgtee/pgtee/subscriber/archive"
)

const metricsPage = "../../docs/metrics.md"

// expectDocumentedMetrics compares what a run serves, and what the other commands register, with docs/metrics.md.
func expectDocumentedMetrics(t *testing.T, served string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Metrics\n\nWith `--metrics HOST:PORT`, the metrics are served at `/metrics`, in the text format of Prometheus. Those of a publisher have the labels `prefix`,\n`database` and `slot`; " +
		"counters end in `_total`, and names end with their unit. Those of the Go runtime and the process (`go_…`, `process_…`) are included.\nAlert rules: `deploy/prometheus/pgtee.yaml`, " +
		"with a [runbook](runbooks) each; a dashboard: `deploy/grafana/pgtee.json`.\nGenerated from what a run serves (`go test ./cmd/pgtee -run TestChain -update`).\n")
	table := func(heading string, lines []string) {
		slices.Sort(lines)
		fmt.Fprintf(&b, "\n## %s\n\n| metric | kind | meaning |\n|---|---|---|\n%s\n", heading, strings.Join(lines, "\n"))
	}
	table("pgtee run, publish, proxy", metricLines(served))
	table("pgtee apply", registeredLines(t, appliedMetrics(apply.Config{Stats: &apply.Stats{}})))
	table("pgtee archive", registeredLines(t, archiveMetrics(archive.Config{Stats: &archive.Stats{}})))
	if *update {
		if err := os.WriteFile(metricsPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(metricsPage); err != nil || string(have) != b.String() {
		t.Errorf("docs/metrics.md is not what is served (%v): go test ./cmd/pgtee -run TestChain -update", err)
	}
}

func registeredLines(t *testing.T, metrics []metric) (lines []string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	for _, m := range metrics {
		m.register(registry)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", f.GetName(), strings.ToLower(f.GetType().String()), f.GetHelp()))
	}
	return lines
}

var described = regexp.MustCompile(`(?m)^# HELP (pgtee_\w+) (.*)\n# TYPE \w+ (\w+)$`)

func metricLines(served string) (lines []string) {
	for _, m := range described.FindAllStringSubmatch(served, -1) {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", m[1], m[3], m[2]))
	}
	return lines
}

// alertRules are the rules that ship.
type alertRules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

func readAlertRules(t *testing.T) (rules alertRules) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/prometheus/pgtee.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

// Each alert has a runbook, and the other way round; both and the dashboard use metrics that there are.
func TestAlertsHaveRunbooks(t *testing.T) {
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	runbooks := map[string]bool{}
	files, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		runbooks[strings.TrimSuffix(filepath.Base(file), ".md")] = true
	}
	for _, group := range readAlertRules(t).Groups {
		for _, rule := range group.Rules {
			text, err := os.ReadFile("../../docs/runbooks/" + rule.Alert + ".md")
			if err != nil || !strings.Contains(string(text), rule.Expr) || !strings.Contains(string(text), "("+"../findings.md#"+rule.Labels["finding"]+")") {
				t.Errorf("the runbook of %s is not there, or lacks its expression or finding (%v)", rule.Alert, err)
			}
			if !strings.HasSuffix(rule.Annotations["runbook_url"], "/docs/runbooks/"+rule.Alert+".md") || rule.Annotations["summary"] == "" {
				t.Errorf("%s: annotations %v", rule.Alert, rule.Annotations)
			}
			delete(runbooks, rule.Alert)
			expectMetrics(t, rule.Alert, rule.Expr, string(page))
		}
	}
	if len(runbooks) > 0 {
		t.Errorf("runbooks without an alert: %v", runbooks)
	}
	expectDashboard(t, string(page))
}

func expectDashboard(t *testing.T, page string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/grafana/pgtee.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) == 0 {
		t.Fatalf("%d panels, error %v", len(dashboard.Panels), err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expectMetrics(t, panel.Title, target.Expr, page)
		}
	}
}

var ofOurs = regexp.MustCompile(`\bpgtee_\w+`)

// expectMetrics checks that an expression names metrics of the page, and at least one.
func expectMetrics(t *testing.T, what, expr, page string) {
	t.Helper()
	names := ofOurs.FindAllString(expr, -1)
	if len(names) == 0 && !strings.Contains(expr, `{job="pgtee"}`) {
		t.Errorf("%s: %q names no metric", what, expr)
	}
	for _, name := range names {
		if !strings.Contains(page, "`"+strings.TrimSuffix(name, "_bucket")+"`") {
			t.Errorf("%s: there is no metric %s", what, name)
		}
	}
}
