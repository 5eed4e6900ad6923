package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

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

var unitSetting = regexp.MustCompile(`(?m)^(ExecStart|Environment)=(.*)$`)

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
			if s := served[unit]; s.Metrics == "" || s.Console != "" && s.ConsoleLogins == "" {
				t.Errorf("metrics at %q, console at %q, its logins in %q", s.Metrics, s.Console, s.ConsoleLogins)
			}
		})
	}
	if proxy, publisher := served["pgtee-proxy"], served["pgtee-publish"]; proxy.Metrics == publisher.Metrics {
		t.Errorf("proxy and publisher serve metrics at %s", proxy.Metrics)
	}
}
