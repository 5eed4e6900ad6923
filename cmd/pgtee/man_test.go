package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
)

// Every command and every flag is in the manual page, and no line is a request that roff does not know.
func TestManual(t *testing.T) {
	var out bytes.Buffer
	if err := (&manCommand{}).Run(t.Context(), terminal{&out, io.Discard}); err != nil {
		t.Fatal(err)
	}
	app, err := newParser(&commandLine{}, terminal{io.Discard, io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range app.Model.Leaves(true) {
		if !strings.Contains(out.String(), ".SS pgtee "+roff(command.Path())+"\n") {
			t.Errorf("command %s is not in the manual", command.Path())
		}
		for _, flag := range command.Flags {
			if flag.Name != "help" && !strings.Contains(out.String(), roff("--"+flag.Name)) {
				t.Errorf("flag --%s of %s is not in the manual", flag.Name, command.Path())
			}
		}
	}
	known := regexp.MustCompile(`^\.(TH|SH|SS|TP|PP|B|I)\b`)
	for _, line := range strings.Split(out.String(), "\n") {
		if strings.HasPrefix(line, ".") && !known.MatchString(line) || strings.HasPrefix(line, "'") {
			t.Errorf("not a request: %s", line)
		}
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{"--flag": `\-\-flag`, ".hidden": `\&.hidden`, "'a'": `\&'a'`, `C:\x`: `C:\ex`, "a\nb": "a b"} {
		if got := roff(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
