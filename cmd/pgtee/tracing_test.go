package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// endpointOf returns the collector that a command line names.
func endpointOf(t *testing.T, args ...string) string {
	t.Helper()
	command, _, err := parseFlags(append([]string{"publish", "--postgres", "postgres://h/x", "--kafka", "h:1"}, args...), terminal{io.Discard, io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return command.(*publishCommand).endpoint()
}

func TestCollectorOfTheEnvironment(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4318")
	if got := endpointOf(t); got != "http://otel:4318" {
		t.Errorf("the environment gives %q", got)
	}
	if got := endpointOf(t, "--otlp-endpoint", ""); got != "" {
		t.Errorf("an empty flag gives %q", got)
	}
	if got := endpointOf(t, "--config", file(t, "pgtee.yaml", "otlp-endpoint: http://file:4318\n")); got != "http://file:4318" {
		t.Errorf("the file gives %q", got)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "otel:4317")
	if e, err := (tracingFlags{}).exporter(source{}, zap.NewNop()); e != nil || err != nil {
		t.Errorf("a receiver of gRPC for all programs: %v, %v", e, err)
	}
	t.Setenv("PGTEE_OTLP_ENDPOINT", "http://own:4318")
	if got := endpointOf(t); got != "http://own:4318" {
		t.Errorf("both variables give %q", got)
	}
}

func TestHeadersForTheCollector(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=sesame, authorization=Basic%20YTpi==,")
	for name, c := range map[string]struct {
		flags tracingFlags
		want  string
	}{
		"environment":  {tracingFlags{}, "map[Api-Key:[sesame] Authorization:[Basic YTpi==]]"},
		"file":         {tracingFlags{OTLPHeadersFile: file(t, "headers", "a=1\nb=2%2C3\n")}, "map[A:[1] B:[2,3]]"},
		"empty":        {tracingFlags{OTLPHeadersFile: file(t, "empty", "\n")}, "map[]"},
		"a colon":      {tracingFlags{OTLPHeadersFile: file(t, "colon", "authorization: Bearer sesame=")}, "error"},
		"no value":     {tracingFlags{OTLPHeadersFile: file(t, "value", "sesame")}, "error"},
		"an escape":    {tracingFlags{OTLPHeadersFile: file(t, "escape", "key=sesame%")}, "error"},
		"no such file": {tracingFlags{OTLPHeadersFile: filepath.Join(t.TempDir(), "none")}, "error"},
	} {
		headers, err := c.flags.headers()
		if got := fmt.Sprint(headers); (err != nil) != (c.want == "error") || err == nil && got != c.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
		c.flags.OTLPEndpoint = new("http://h:4318")
		if _, err := c.flags.exporter(source{}, zap.NewNop()); (err != nil) != (c.want == "error") || err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoCollectorNoExporter(t *testing.T) {
	if e, err := (tracingFlags{OTLPHeadersFile: "/none"}).exporter(source{}, zap.NewNop()); e != nil || err != nil {
		t.Errorf("%v, %v", e, err)
	}
	if _, err := (tracingFlags{OTLPEndpoint: new("sesame:4317")}).exporter(source{}, zap.NewNop()); err == nil || strings.Contains(err.Error(), "sesame") {
		t.Error(err)
	}
}

func TestResourceAttributes(t *testing.T) {
	for name, c := range map[string]struct{ service, list, want string }{
		"none":      {"", "", "pgtee"},
		"list":      {"", "service.name=shop,deployment.environment.name=a%20b", "shop a b"},
		"both":      {"own", "service.name=shop", "own"},
		"malformed": {"own", "nothing", "own"},
	} {
		t.Setenv("OTEL_SERVICE_NAME", c.service)
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", c.list)
		a := resourceAttributes()
		if got := strings.TrimSpace(a["service.name"] + " " + a["deployment.environment.name"]); got != c.want || a["service.version"] == "" {
			t.Errorf("%s: %v", name, a)
		}
	}
}
