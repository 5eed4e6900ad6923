package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
)

// auditTopic has a transaction each of alice and bob, and a progress topic beside it.
func auditTopic(t *testing.T) (broker string) {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopics(t.Context(), 1, 1, nil, "shop.audit", "shop.progress"); err != nil {
		t.Fatal(err)
	}
	for i, user := range []string{"alice", "bob"} {
		value := fmt.Sprintf(`{"v":1,"xid":%d,"commit_time":"2025-01-31T12:00:0%dZ","verified":true,"session":{"user":%q,"application":"till","client":"10.1.2.3:5"},`+
			`"statements":[{"number":1,"command":"DELETE","text":"DELETE FROM orders","rows":2,"tables":["public.orders"]}],"tables":[{"table":"public.orders","deleted":2}]}`, i, i, user)
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "shop.audit", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Address()
}

// What is chosen is printed in the form that is asked for, and the command ends at --until.
func TestSubscribeChooses(t *testing.T) {
	broker := auditTopic(t)
	subscribe := func(args ...string) outcome {
		return pgtee(t, append([]string{"subscribe", "--kafka", broker, "--prefix", "shop", "--until", "now"}, args...)...)
	}
	for args, want := range map[string]string{
		"":                                   "alice bob",
		"--user bob":                         "bob",
		"--app till --command delete":        "alice bob",
		"--client 10.1.0.0/16 --table other": "",
		"--table orders --user alice":        "alice",
		"--since 1h":                         "alice bob",
		"--format csv --user alice":          "time,database alice",
		"--format json --user bob":           "bob",
	} {
		got := subscribe(strings.Fields(args)...)
		var found []string
		for _, word := range []string{"time,database", "alice", "bob"} {
			if strings.Contains(got.stdout, word) {
				found = append(found, word)
			}
		}
		if got.code != exitOK || strings.Join(found, " ") != want {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}
	for args, want := range map[string]string{
		"--prefix shoppe":   "there are no such topics: shoppe.audit; there are the prefixes: shop",
		"--tables order":    "there are no such topics: shop.public.order;",
		"--until tomorrow":  "want a moment that has passed",
		"--client here":     "want an address, address:port or network",
		"--output-size 1MB": "--output-size needs --output",
		"--output /proc/x":  "--output:",
	} {
		subscribe(strings.Fields(args)...).expectError(t, exitUsage, want)
	}
}

// A file is appended to, and another one begun at a size; each has the header.
func TestSubscribeIntoFiles(t *testing.T) {
	broker := auditTopic(t)
	path := filepath.Join(t.TempDir(), "audit.csv")
	for range 2 {
		got := pgtee(t, "subscribe", "--kafka", broker, "--prefix", "shop", "--until", "now", "--format", "csv", "--output", path, "--output-size", "1kB")
		if got.code != exitOK || got.stdout != "" {
			t.Fatalf("%+v", got)
		}
	}
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "time,database") != 1 || strings.Count(string(text), "DELETE FROM orders") != 4 {
		t.Errorf("%v: %s", err, text)
	}
	for range 20 {
		pgtee(t, "subscribe", "--kafka", broker, "--prefix", "shop", "--until", "now", "--format", "csv", "--output", path, "--output-size", "1kB")
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, error %v", files, err)
	}
	lines := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		info, _ := os.Stat(file)
		lines += strings.Count(string(text), "DELETE FROM orders")
		if err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(string(text), "time,database") || strings.Count(string(text), "time,database") != 1 {
			t.Errorf("%s, mode %v, error %v: %s", file, info.Mode(), err, text)
		}
	}
	if lines != 44 {
		t.Errorf("the files have %d lines in all, want 44", lines)
	}
}

// A topic that is not there is waited for, and told of.
func TestSubscribeSaysThatItWaits(t *testing.T) {
	running := start(t, "subscribe", "--kafka", auditTopic(t), "--prefix", "shoppe")
	running.eventually("a word of what is missing", func() bool { return strings.Contains(running.stderr.String(), "waiting for shoppe.audit") })
	got := running.stop()
	if got.code != exitOK || !strings.Contains(got.stderr, "Prefixes that are there: shop.") {
		t.Errorf("%+v", got)
	}
}

// TestSubscribeGoesOn: a record that cannot be read does not hide those behind it.
func TestSubscribeGoesOn(t *testing.T) {
	broker := auditTopic(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, value := range []string{"x", `{"v":2}`, `{"v":1,"session":{"user":"carol"},"statements":[{"command":"DELETE","rows":1}]}`} {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "shop.audit", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range []string{"", "--command DELETE", "--format csv"} {
		got := pgtee(t, append([]string{"subscribe", "--kafka", broker, "--prefix", "shop", "--until", "now"}, strings.Fields(args)...)...)
		if got.code != exitFailure || !strings.Contains(got.stderr, "2 of the records could not be read") || !strings.Contains(got.stdout, "carol") || !strings.Contains(got.stderr, "shop.audit, partition 0, offset 2: the record cannot be read") {
			t.Errorf("%s: %+v, want what is behind the record that cannot be read, and its place", args, got)
		}
	}
}
