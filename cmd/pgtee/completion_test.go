package main

import (
	"os/exec"
	"strings"
	"testing"
)

// bash offers commands, flags, and the values of a flag.
func TestBashCompletion(t *testing.T) {
	script := pgtee(t, "completion", "bash").stdout
	for words, want := range map[string]string{
		"pgtee sta":                          "status",
		"pgtee publish --record-too":         "--record-too-large",
		"pgtee check --output na":            "nagios",
		"pgtee --log-level debug completi":   "completion",
		"pgtee completion fi":                "fish",
		"pgtee snapshot pau":                 "pause",
		"pgtee publish --prefix ":            "",
		"pgtee check --kafka h:1 --ol":       "--old-transaction",
		"pgtee publish --on-missed resync -": "--delivery",
	} {
		all := strings.Split(words, " ")
		input := script + "\nCOMP_WORDS=(" + quoteAll(all) + "); COMP_CWORD=" + string(rune('0'+len(all)-1)) + "; _pgtee; printf '%s\\n' \"${COMPREPLY[@]}\""
		out, err := exec.Command("bash", "-c", input).CombinedOutput()
		if err != nil || want != "" && !strings.Contains("\n"+string(out), "\n"+want+"\n") || want == "" && strings.TrimSpace(string(out)) != "" {
			t.Errorf("%q: %v, want %q among\n%s", words, err, want, out)
		}
	}
}

func quoteAll(words []string) string {
	return "'" + strings.Join(words, "' '") + "'"
}

// Each shell is offered each command and each flag.
func TestCompletionIsComplete(t *testing.T) {
	app, err := newParser(&commandLine{}, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	for shell, flagPrefix := range map[string]string{"bash": "--", "zsh": "--", "fish": "-l "} {
		script := pgtee(t, "completion", shell).stdout
		for _, node := range app.Model.Node.Children {
			for _, flag := range node.Flags {
				if !strings.Contains(script, flagPrefix+flag.Name) {
					t.Errorf("%s does not know --%s of %s", shell, flag.Name, node.Name)
				}
			}
			if !strings.Contains(script, node.Name) {
				t.Errorf("%s does not know %s", shell, node.Name)
			}
		}
	}
	if out, err := exec.Command("bash", "-n", "-c", pgtee(t, "completion", "bash").stdout).CombinedOutput(); err != nil {
		t.Errorf("bash: %v: %s", err, out)
	}
}
