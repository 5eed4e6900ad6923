package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Bug is a fault planted into a copy of the program: in File, which is relative to the repository's root, the text Old, which must occur there
// exactly once, is replaced by New.
type Bug struct {
	File string
	Old  string
	New  string
}

// Build builds the program with the planted bugs and returns the path of the binary.
func (w *World) Build(bugs ...Bug) (string, error) {
	dir, err := w.Sub("binary")
	if err != nil {
		return "", err
	}
	overlay, err := w.Overlay(bugs...)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "pgtee")
	cmd := exec.Command("go", "build", "-overlay", overlay, "-o", binary, "./cmd/pgtee")
	cmd.Dir = w.Source
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return binary, nil
}

// Overlay writes the changed copies and the file for the go command's -overlay, which maps each source file to its copy (go help build). The work
// tree is not changed.
func (w *World) Overlay(bugs ...Bug) (string, error) {
	dir, err := w.Sub("overlay")
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, bug := range bugs {
		source := filepath.Join(w.Source, bug.File)
		current := source
		if changed, ok := overlay.Replace[source]; ok {
			current = changed
		}
		text, err := os.ReadFile(current)
		if err != nil {
			return "", fmt.Errorf("plant a bug: %w", err)
		}
		if n := strings.Count(string(text), bug.Old); n != 1 {
			return "", fmt.Errorf("plant a bug in %s: its text occurs %d times, want once: adapt the bug to the source:\n%s", bug.File, n, bug.Old)
		}
		changed := filepath.Join(dir, fmt.Sprintf("%d-%s", i, filepath.Base(bug.File)))
		if err := os.WriteFile(changed, []byte(strings.Replace(string(text), bug.Old, bug.New, 1)), 0o644); err != nil {
			return "", err
		}
		overlay.Replace[source] = changed
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, text, 0o644)
}

// GoTest runs tests of one package with the planted bugs, and returns their output and whether they passed.
func (w *World) GoTest(pkg, run string, bugs ...Bug) (output string, passed bool, err error) {
	overlay, err := w.Overlay(bugs...)
	if err != nil {
		return "", false, err
	}
	cmd := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-timeout=120s", "-run", run, pkg)
	cmd.Dir = w.Source
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "no tests to run") || strings.Contains(string(out), "[build failed]") {
		return "", false, fmt.Errorf("go test -run %s %s: nothing ran:\n%s", run, pkg, out)
	}
	return string(out), err == nil, nil
}
