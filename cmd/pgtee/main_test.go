package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// outcome is what a run of the program left.
type outcome struct {
	code           int
	stdout, stderr string
}

// pgtee runs the program to its end.
func pgtee(t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr strings.Builder
	code := run(t.Context(), args, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// expectError checks for one line that holds want, and the exit code.
func (o outcome) expectError(t *testing.T, code int, want string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	if o.code != code || !strings.HasPrefix(last, "pgtee: ") || !strings.Contains(last, want) {
		t.Errorf("exit code %d, want %d; last line %q, want %q in it", o.code, code, last, want)
	}
	for _, line := range lines[:len(lines)-1] {
		if strings.HasPrefix(line, "pgtee: ") || strings.HasPrefix(line, "Usage") {
			t.Errorf("more than one line of error: %q", o.stderr)
		}
	}
	if strings.Contains(o.stdout+o.stderr, secret) {
		t.Errorf("the password is shown: %q", o.stdout+o.stderr)
	}
}

const secret = "topsecret"

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUsageErrors(t *testing.T) {
	const url = "postgres://u:" + secret + "@127.0.0.1:1/x"
	key := file(t, "key", strings.Repeat("ab", 32))
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":       {[]string{"fly"}, "unexpected argument fly: see pgtee --help"},
		"unknown flag":          {[]string{"run", "--unheard-of"}, "unknown flag --unheard-of: see pgtee run --help"},
		"missing flags":         {[]string{"run"}, "missing flags: --kafka"},
		"no URL":                {[]string{"check", "--postgres", "u:" + secret + "@host"}, "want postgres://user@host:5432/database"},
		"broken URL":            {[]string{"check", "--postgres", "postgres://u:" + secret + "%zz@host/x"}, "want postgres://"},
		"no database":           {[]string{"check", "--postgres", "postgres://u:" + secret + "@127.0.0.1:1"}, "name the database"},
		"two clusters":          {[]string{"check", "--postgres", url, "--postgres", "postgres://v:" + secret + "@h/x"}, "differ in more than the host"},
		"unreachable":           {[]string{"setup", "--postgres", url}, "cannot reach PostgreSQL at 127.0.0.1:1"},
		"unreachable for proxy": {[]string{"proxy", "--postgres", url, "--key", key}, "cannot reach PostgreSQL at 127.0.0.1:1"},
		"unreachable Kafka":     {[]string{"publish", "--postgres", url, "--key", key, "--kafka", "127.0.0.1:1"}, "cannot reach Kafka at"},
		"unreachable for subscribe": {
			[]string{"subscribe", "--kafka", "127.0.0.1:1"}, "cannot reach Kafka at",
		},
		"replay from the end": {[]string{"replay", "--postgres", url, "--kafka", "h:1", "--to", "0/1", "--from", "end"}, "a replay needs the whole stream"},
		"replay and verify":   {[]string{"replay", "--postgres", url, "--kafka", "h:1", "--to", "0/1", "--verify"}, "unknown flag --verify: see pgtee replay --help"},
		"replay and standby":  {[]string{"replay", "--postgres", url, "--kafka", "h:1", "--to", "0/1", "--standby"}, "unknown flag --standby"},
		"verify an archive":   {[]string{"apply", "--postgres", url, "--from", "/nonexistent", "--verify"}, "--verify is for topics"},
		"check an archive":    {[]string{"replay", "--postgres", url, "--from", "/nonexistent", "--to", "0/1", "--check"}, "--check is for topics"},

		"wrong outbox":   {[]string{"proxy", "--postgres", url, "--outbox", "box"}, "--outbox must be one of"},
		"wrong size":     {[]string{"publish", "--postgres", url, "--kafka", "h:1", "--max-retained-wal", "5:warn"}, `"5" is not a size`},
		"wrong action":   {[]string{"publish", "--postgres", url, "--kafka", "h:1", "--max-retained-wal", "5GB:explode"}, "SIZE:drop_slot"},
		"wrong number":   {[]string{"publish", "--postgres", url, "--kafka", "h:1", "--partitions", "-1"}, "--partitions"},
		"wrong from":     {[]string{"subscribe", "--kafka", "h:1", "--from", "monday"}, "want beginning, end, a time"},
		"no key":         {[]string{"proxy", "--postgres", url, "--key", "/nonexistent/key"}, "openssl rand -hex 32"},
		"short key":      {[]string{"proxy", "--postgres", url, "--key", file(t, "key", "abc\n")}, "want 64 hex digits"},
		"long key":       {[]string{"proxy", "--postgres", url, "--key", file(t, "key", strings.Repeat("ab", 33))}, "want 64 hex digits"},
		"no config file": {[]string{"run", "--config", "/nonexistent/file"}, "--config: open /nonexistent/file"},
		"broken config":  {[]string{"run", "--config", file(t, "c.yaml", "postgres: ["+secret)}, "not a YAML mapping"},
		"list as config": {[]string{"run", "--config", file(t, "c.yaml", "- postgres: "+secret)}, "not a YAML mapping"},
		"map for a URL":  {[]string{"run", "--config", file(t, "c.yaml", "kafka: h:1\npostgres: {password: "+secret+"}")}, "--postgres"},
		"list of maps":   {[]string{"run", "--config", file(t, "c.yaml", "kafka: h:1\npostgres: [{password: "+secret+"}]")}, "--postgres"},
		"bad URL in it":  {[]string{"run", "--config", file(t, "c.yaml", "kafka: h:1\npostgres: ["+secret+"@h]")}, "--postgres"},
		"unknown key":    {[]string{"run", "--config", file(t, "c.yaml", "postgress: "+url)}, `unknown key "postgress"`},
		"wrong value":    {[]string{"run", "--config", file(t, "c.yaml", "drain: soon\nkafka: h:1\npostgres: "+url)}, "--drain"},
		"long delay":     {[]string{"proxy", "--postgres", url, "--drain-delay", "20s"}, "--drain-delay 20s: want at most half of --drain, which is 30s"},
		"no folder":      {[]string{"demo", "--dir", "/proc/nonexistent"}, "--dir"},
	} {
		t.Run(name, func(t *testing.T) {
			pgtee(t, test.args...).expectError(t, exitUsage, test.want)
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"run", "--help"}, {"version"}, {"--version"}} {
		got := pgtee(t, args...)
		if got.code != exitOK || got.stdout == "" || got.stderr != "" {
			t.Errorf("pgtee %v: %+v", args, got)
		}
	}
	if help := pgtee(t, "--help").stdout; !strings.Contains(help, "Exit codes: 0 done; 1") {
		t.Error("the help does not tell the exit codes")
	}
}

// TestConfigFile: the command line wins over the environment, that over the file, that over defaults.
func TestConfigFile(t *testing.T) {
	path := file(t, "pgtee.yaml", `
postgres:
  - postgres://u@one:5433/x
  - postgres://u@two/x
kafka: [k1:9092, k2:9092]
listen: file:1
slot: file
prefix: file
partitions: 7
drain: 3s
require-outbox: true
max-retained-wal: 50GB:warn
log-level: debug
from: beginning # a flag of another command
`)
	t.Setenv("PGTEE_CONFIG", path)
	t.Setenv("PGTEE_SLOT", "environment")
	t.Setenv("PGTEE_PREFIX", "environment")
	command, err := parse([]string{"run", "--prefix", "line"}, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	got := command.(*runCommand)
	if got.Prefix != "line" || got.Slot != "environment" || got.Listen[0] != "file:1" || got.Key != "pgtee.key" {
		t.Errorf("prefix %s, slot %s, listen %s, key %s", got.Prefix, got.Slot, got.Listen, got.Key)
	}
	if got.Partitions != 7 || got.Drain.String() != "3s" || !got.RequireOutbox || got.settings.level != "debug" {
		t.Errorf("partitions %d, drain %s, require-outbox %v, level %s", got.Partitions, got.Drain, got.RequireOutbox, got.settings.level)
	}
	if got.MaxRetainedWAL != (retainedLimit{warn: 50 << 30}) {
		t.Errorf("max-retained-wal %+v", got.MaxRetainedWAL)
	}
	if strings.Join(got.Kafka, " ") != "k1:9092 k2:9092" || fmt.Sprint(got.Postgres) != "[postgres://u@one:5433/x postgres://u@two/x]" {
		t.Errorf("kafka %v, servers %v", got.Kafka, got.Postgres)
	}
}

func TestMaskSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"dial postgres://bob:se:cr@et@h:1/x failed": "dial postgres://bob:xxxxx@h:1/x failed",
		"postgres://bob@h:1/x":                      "postgres://bob@h:1/x",
		"host=h password=topsecret user=x":          "host=h password=xxxxx user=x",
		`password='top \' secret' user=x`:           "password=xxxxx user=x",
	} {
		if got := maskSecrets(text); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", text, got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	halted := exitError{exitHalted, context.Canceled}
	if got := exitCode(errors.Join(usage(context.Canceled), fmt.Errorf("publisher: %w", halted))); got != exitHalted {
		t.Errorf("exit code %d, want that of the gravest error", got)
	}
	if got := exitCode(context.Canceled); got != exitFailure {
		t.Errorf("exit code %d of a plain error", got)
	}
}
