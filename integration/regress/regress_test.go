package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestReasonsAreWellFormed(t *testing.T) {
	known, err := readReasons(differencesText)
	if err != nil {
		t.Fatal(err)
	}
	if why := known.find("regress/insert", "setup", `+    "pgtee_rows"`); why == "" {
		t.Error("no reason for a publication in a footer")
	}
	if why := known.find("regress/insert", "setup", "+ERROR:  no"); why != "" {
		t.Errorf("an error has the reason %q", why)
	}
}

// TestCompare lets three tests differ: by a line with a reason, by one without, and by a file that is missing.
func TestCompare(t *testing.T) {
	known, err := readReasons("footers\n\tregress/* set* ^\\+footer$\n")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"virgin/printed":             "test alike    ... ok  5 ms\n     longer   ... ok 12 ms\n     other    ... ok 3 ms\ntest missing ... ok 1 ms\n",
		"setup/printed":              "test alike    ... ok  5 ms\n     longer   ... FAILED 12 ms\n     other    ... failed (ignored) 3 ms\n",
		"virgin/results/alike.out":   "1\n",
		"setup/results/alike.out":    "1\n",
		"virgin/results/longer.out":  "1\n2\n",
		"setup/results/longer.out":   "1\nfooter\n2\n",
		"virgin/results/other.out":   "1\n",
		"setup/results/other.out":    "ERROR\n",
		"virgin/results/missing.out": "1\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := compare("regress", "setup", filepath.Join(dir, "virgin"), filepath.Join(dir, "setup"), known)
	if err != nil {
		t.Fatal(err)
	}
	if c.tests != 3 || c.failed != 2 || c.lines != 4 || c.unexplained != 3 || c.reasons["footers"] != 1 {
		t.Errorf("got %+v", c)
	}
	want := []string{"longer lines=1 unexplained=0", "other lines=2 unexplained=2", "missing lines=1 unexplained=1"}
	if !slices.Equal(c.differ, want) {
		t.Errorf("got %q, want %q", c.differ, want)
	}
	if got := c.unexplainedHunks.String(); got != "regress/other @@ -1 +1 @@\n-1\n+ERROR\nregress/missing @@ -1 +0,0 @@\n-1\n" {
		t.Errorf("got the hunks %q", got)
	}
}
