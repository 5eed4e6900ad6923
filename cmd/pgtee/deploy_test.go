package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// One file and one environment serve all commands: what they say about the proxy and the publisher is not taken for a flag of the same name that means
// something else in another command.
func TestSharedConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../deploy/pgtee.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, "pgtee.yaml", string(text)+"\ntables: [{match: public.users}]\nformat: json-schema\nstandby: true\nquery-key: id\nsubscribe-tables: [public.users]\n")
	for name, value := range map[string]string{"PGTEE_CONFIG": path, "PGTEE_KEY": "/note.key", "PGTEE_METRICS": "127.0.0.1:9187", "PGTEE_ARCHIVE_FORMAT": "parquet"} {
		t.Setenv(name, value)
	}
	for _, args := range [][]string{
		{"run"}, {"proxy"}, {"publish"}, {"setup"}, {"status"}, {"snapshot", "start", "--table", "t"}, {"snapshot", "pause", "x"}, {"snapshot", "resume", "x"}, {"snapshot", "cancel", "x"}, {"snapshot", "status"},
		{"repair", "--accept-divergence"}, {"teardown"}, {"check"}, {"explain"}, {"apply"}, {"replay", "--to", "0/1"}, {"archive"}, {"consume", "--topic", "t", "--into", "t"}, {"query", "--topic", "t"}, {"subscribe"}, {"demo"},
	} {
		command, values, err := parseFlags(args, terminal{})
		if err != nil {
			t.Errorf("%s: %v", strings.Join(args, " "), err)
			continue
		}
		expect := func(want map[string]string) {
			t.Helper()
			for flag, value := range want {
				if got := values[flag].text; got != value {
					t.Errorf("%s: --%s is %q, want %q", args[0], flag, got, value)
				}
			}
		}
		switch command.(type) {
		case *runCommand, *publishCommand:
			expect(map[string]string{"key": "/note.key", "metrics": "127.0.0.1:9187", "format": "json-schema", "standby": "true"})
		case *applyCommand:
			expect(map[string]string{"tables": "[]", "metrics": "", "standby": "false"})
		case *replayCommand:
			expect(map[string]string{"tables": "[]", "metrics": ""})
		case *archiveCommand:
			expect(map[string]string{"format": "parquet", "metrics": ""})
		case *consumeCommand:
			expect(map[string]string{"key": "[]", "format": "json"})
		case *queryCommand:
			expect(map[string]string{"key": "id"})
		case *subscribeCommand:
			expect(map[string]string{"tables": "[public.users]", "format": "pretty"})
		}
	}
}

// The image verifies the certificates of servers in public clouds.
func TestImageHasCAs(t *testing.T) {
	text, err := os.ReadFile("../../deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	stages := strings.Split(string(text), "\nFROM ")
	if last := stages[len(stages)-1]; !strings.Contains(last, "\nCOPY --from=build /etc/ssl/certs/ca-certificates.crt ") {
		t.Errorf("the last stage has no CAs:\n%s", last)
	}
}

var socketDirectory = regexp.MustCompile("`/run/(\\w+)/\\.s\\.PGSQL")

// A proxy's unit makes the directory of the Unix socket in the documentation: nothing else of /run can be written.
func TestSocketDirectory(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := socketDirectory.FindStringSubmatch(string(text))
	if documented == nil {
		t.Fatal("no Unix socket is documented")
	}
	for _, unit := range []string{"pgtee", "pgtee-proxy"} {
		text, err := os.ReadFile("../../deploy/systemd/" + unit + ".service")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"\nRuntimeDirectory=" + documented[1] + "\n", "\nRuntimeDirectoryMode=0755\n", "\nRuntimeDirectoryPreserve=yes\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s.service lacks %q", unit, want)
			}
		}
	}
}

var unitSetting = regexp.MustCompile(`(?m)^(ExecStart|Environment)=(.*)$`)

var (
	unitTimeout    = regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`)
	composeTimeout = regexp.MustCompile(`(?m)^    stop_grace_period: (\d+)s`)
)

func seconds(t *testing.T, text string) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n) * time.Second
}

// Compose does not kill the process before it has drained.
func TestComposeWaits(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	command, err := parse([]string{"run", "--postgres", "postgres://u@h/x", "--kafka", "h:1"}, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	drain := command.(*runCommand).Drain
	if kill := composeTimeout.FindStringSubmatch(string(text)); kill == nil || drain >= seconds(t, kill[1]) {
		t.Errorf("Compose kills the process after %s, --drain is %s", kill, drain)
	}
}

// The units of the packages, with the example configuration: proxy and publisher run on one host, and no console is open to every account of it.
func TestUnits(t *testing.T) {
	served := map[string]serviceFlags{}
	for _, unit := range []string{"pgtee", "pgtee-proxy", "pgtee-publish"} {
		t.Run(unit, func(t *testing.T) {
			text, err := os.ReadFile("../../deploy/systemd/" + unit + ".service")
			if err != nil {
				t.Fatal(err)
			}
			var args []string
			for _, m := range unitSetting.FindAllStringSubmatch(string(text), -1) {
				if m[1] == "ExecStart" {
					args = strings.Fields(strings.ReplaceAll(m[2], "/etc/pgtee/", "../../deploy/"))[1:]
					continue
				}
				for _, variable := range strings.Fields(m[2]) {
					name, value, _ := strings.Cut(variable, "=")
					t.Setenv(name, value)
				}
			}
			command, err := parse(args, terminal{})
			if err != nil {
				t.Fatal(err)
			}
			switch c := command.(type) {
			case *runCommand:
				served[unit] = c.serviceFlags
			case *proxyCommand:
				served[unit] = c.serviceFlags
			case *publishCommand:
				served[unit] = c.serviceFlags
			}
			if kill := unitTimeout.FindStringSubmatch(string(text)); kill == nil || served[unit].Drain >= seconds(t, kill[1]) {
				t.Errorf("systemd kills the process after %s, --drain is %s", kill, served[unit].Drain)
			}
			if s := served[unit]; s.Metrics == "" || s.Console != "" && s.ConsoleLogins == "" {
				t.Errorf("metrics at %q, console at %q, its logins in %q", s.Metrics, s.Console, s.ConsoleLogins)
			}
		})
	}
	if proxy, publisher := served["pgtee-proxy"], served["pgtee-publish"]; proxy.Metrics == publisher.Metrics {
		t.Errorf("proxy and publisher serve metrics at %s", proxy.Metrics)
	}
}

// The Helm chart's pods start with flags and a configuration that exist, and Kubernetes does not kill them before they have drained. make chart writes
// what the chart renders.
func TestChartCommands(t *testing.T) {
	text, err := os.ReadFile("../../deploy/helm/chart_test/testdata/commands.json")
	if err != nil {
		t.Fatal(err)
	}
	var rendered []struct {
		Case         string
		Args         []string
		Env          map[string]string
		Config       string
		GraceSeconds int
	}
	if err := json.Unmarshal(text, &rendered); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range rendered {
		t.Run(r.Case, func(t *testing.T) {
			for name, value := range r.Env {
				t.Setenv(name, value)
			}
			for i, arg := range r.Args {
				if arg == "--config=/etc/pgtee/pgtee.yaml" {
					r.Args[i] = "--config=" + file(t, "pgtee.yaml", r.Config)
				}
			}
			t.Setenv("PGTEE_METRICS", "0.0.0.0:9187") // the image's
			command, err := parse(r.Args, terminal{})
			if err != nil {
				t.Fatal(err)
			}
			var served serviceFlags
			var standby, publishes bool
			switch c := command.(type) {
			case *setupCommand:
				seen["setup"] = true
				return
			case *proxyCommand:
				served = c.serviceFlags
			case *publishCommand:
				served, standby, publishes = c.serviceFlags, c.Standby, true
			case *runCommand:
				served, standby, publishes = c.serviceFlags, c.Standby, true
			}
			seen[r.Args[0]] = true
			if grace := time.Duration(r.GraceSeconds) * time.Second; grace != 0 && served.Drain >= grace {
				t.Errorf("Kubernetes kills the process after %s, --drain is %s", grace, served.Drain)
			}
			if served.Metrics != ":9187" || served.Console != "" && (served.ConsoleLogins == "" || len(served.ConsoleHost) == 0) {
				t.Errorf("metrics at %q, console at %q for %q, its logins in %q", served.Metrics, served.Console, served.ConsoleHost, served.ConsoleLogins)
			}
			if publishes && !standby {
				t.Error("the publisher is not a standby: it cannot start before the old one has ended")
			}
		})
	}
	if fmt.Sprint(seen) != "map[proxy:true publish:true run:true setup:true]" {
		t.Errorf("the cases start %v", seen)
	}
}

var (
	makeVersion  = regexp.MustCompile(`(?m)^VERSION +\?= (\S+)$`)
	chartVersion = regexp.MustCompile(`(?m)^appVersion: (\S+)$`)
)

// The chart's image has the version that the packages have.
func TestChartVersion(t *testing.T) {
	find := func(path string, version *regexp.Regexp) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found := version.FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s has no %s", path, version)
		}
		return string(found[1])
	}
	if made, charted := find("../../Makefile", makeVersion), find("../../deploy/helm/pgtee/Chart.yaml", chartVersion); made != charted {
		t.Errorf("the Makefile builds %s, the chart runs %s", made, charted)
	}
}
