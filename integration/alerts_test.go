package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

const alertRules = "../deploy/prometheus/pgtee.yaml"

var alertName = regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)

// Each alert fires on series that are as it says, alone, and is silent on others: Prometheus itself evaluates them.
func TestAlertRules(t *testing.T) {
	promtool(t, "check", "rules", alertRules)
	promtool(t, "test", "rules", "../deploy/prometheus/pgtee_test.yaml")
	tests, err := os.ReadFile("../deploy/prometheus/pgtee_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range alertNames(t) {
		for _, what := range []string{"fires", "is silent"} {
			if !strings.Contains(string(tests), "- name: "+name+" "+what+"\n") {
				t.Errorf("no test in which %s %s", name, what)
			}
		}
	}
}

// What a real publisher serves fires no alert while all is well, and the right one when it has halted; the runbook's way out ends it.
func TestAlertOfAHaltedPublisher(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Exec(stopSchema)
	r.Setup()
	r.startRun()
	r.Drain()
	r.must(harness.Eventually(time.Minute, func(context.Context) error { return r.alerts() }))
	r.Exec("DROP PUBLICATION pgtee_identity", write)
	said := r.problem("publication pgtee_identity is missing") // /readyz, as the runbook has it
	r.must(harness.Eventually(time.Minute, func(context.Context) error { return r.alerts("PgteePublisherHalted") }))
	r.cure(said)
	r.must(harness.Eventually(90*time.Second, func(context.Context) error { return r.alerts() }))
	r.Drain()
	r.Stop(r.publisher)
}

// alerts is an error unless the rules, applied to what is served now as if it stayed so for half an hour, fire these and no others.
func (r *runner) alerts(want ...string) error {
	r.t.Helper()
	var b strings.Builder
	rules, err := filepath.Abs(alertRules)
	r.must(err)
	fmt.Fprintf(&b, "rule_files: [%s]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n      - {series: 'up{job=\"pgtee\"}', values: '1x30'}\n", rules)
	for _, m := range sample.FindAllStringSubmatch(r.scrape(), -1) {
		fmt.Fprintf(&b, "      - {series: '%s', values: '%s'}\n", m[1], strings.TrimSpace(strings.Repeat(m[2]+" ", 31)))
	}
	b.WriteString("    promql_expr_test:\n      - expr: count by (alertname) (ALERTS{alertstate=\"firing\"})\n        eval_time: 30m\n        exp_samples:")
	if len(want) == 0 {
		b.WriteString(" []")
	}
	b.WriteString("\n")
	for _, name := range want {
		fmt.Fprintf(&b, "          - {labels: '{alertname=\"%s\"}', value: 1}\n", name)
	}
	file := filepath.Join(r.dir, "alerts_test.yaml")
	r.must(os.WriteFile(file, []byte(b.String()), 0o600))
	out, err := exec.CommandContext(r.ctx, "promtool", "test", "rules", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// sample is a line of what is served that is ours: the series, and its value in the notation that promtool takes.
var sample = regexp.MustCompile(`(?m)^(pgtee_\w+(?:\{[^}]*\})?) (NaN|[+-]?Inf|[-+.0-9e]+)$`)

// scrape is what /metrics serves.
func (r *runner) scrape() string {
	r.t.Helper()
	text, err := harness.Metrics(r.metrics)
	r.must(err)
	return strings.ReplaceAll(text, "+Inf\n", "Inf\n")
}

func alertNames(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(alertRules)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range alertName.FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	return names
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
