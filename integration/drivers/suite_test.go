package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A suite that was cut short must not pass for one that has fewer tests.
func TestCallTellsTooLongFromFailed(t *testing.T) {
	source := t.TempDir()
	if err := os.MkdirAll(scriptDir(source), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "hangs() { sleep 1000; }\nfails() { false; }\n"
	if err := os.WriteFile(filepath.Join(scriptDir(source), "odd.sh"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		function string
		timeout  time.Duration
		tooLong  bool
	}{{"hangs", 50 * time.Millisecond, true}, {"fails", time.Minute, false}} {
		err := suite{name: "odd"}.call(source, source, test.function, filepath.Join(source, "log"), test.timeout, nil)
		if err == nil || errors.Is(err, errTooLong) != test.tooLong {
			t.Errorf("%s: %v", test.function, err)
		}
	}
}
