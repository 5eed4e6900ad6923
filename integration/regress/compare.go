package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// comparison says how a suite's output in a leg differs from that of the leg virgin.
type comparison struct {
	suite, leg         string
	tests, failed      int
	differ             []string // tests that differ, each with the number of its lines
	lines, unexplained int
	reasons            map[string]int // number of lines with this reason
	unexplainedFile    string
	unexplainedHunks   strings.Builder
}

func compare(suite, leg, virginDir, dir string, known reasons) (*comparison, error) {
	tests, failed, err := outcomes(dir)
	if err != nil {
		return nil, err
	}
	// If the server crashes, the suite may end early: the tests that should have run count.
	expected, _, err := outcomes(virginDir)
	if err != nil {
		return nil, fmt.Errorf("run the leg %s first: %w", virgin, err)
	}
	c := &comparison{suite: suite, leg: leg, tests: len(tests), failed: len(failed), reasons: map[string]int{}, unexplainedFile: filepath.Join(dir, "unexplained.diff")}
	for _, test := range expected {
		name := filepath.Join("results", test+".out")
		hunks, err := diff(filepath.Join(virginDir, name), filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if len(hunks) > 0 {
			c.judge(test, hunks, known)
		}
	}
	return c, os.WriteFile(c.unexplainedFile, []byte(c.unexplainedHunks.String()), 0o644)
}

// diff returns the hunks of a unified diff. A missing file, as after a crash of the server, counts as empty.
func diff(old, new string) (hunks []string, err error) {
	out, err := exec.Command("diff", "-N", "-U3", old, new).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // they differ
		err = nil
	}
	parts := strings.Split(string(out), "\n@@ ")
	for _, hunk := range parts[1:] { // the file names precede the first one
		hunks = append(hunks, "@@ "+strings.TrimSuffix(hunk, "\n")+"\n")
	}
	return hunks, err
}

// judge looks for the reason of each line that differs in a test.
func (c *comparison) judge(test string, hunks []string, known reasons) {
	lines, unexplained := 0, 0
	for _, hunk := range hunks {
		before := unexplained
		for line := range strings.Lines(hunk) {
			if line[0] != '+' && line[0] != '-' {
				continue
			}
			lines++
			if why := known.find(c.suite+"/"+test, c.leg, strings.TrimSuffix(line, "\n")); why != "" {
				c.reasons[why]++
			} else {
				unexplained++
			}
		}
		if unexplained > before {
			fmt.Fprintf(&c.unexplainedHunks, "%s/%s %s", c.suite, test, hunk)
		}
	}
	c.lines += lines
	c.unexplained += unexplained
	c.differ = append(c.differ, fmt.Sprintf("%s lines=%d unexplained=%d", test, lines, unexplained))
}

// print prints the result, with a summary in the last line.
func (c *comparison) print() {
	for _, test := range c.differ {
		fmt.Printf("\t%s\n", test)
	}
	for _, why := range slices.Sorted(maps.Keys(c.reasons)) {
		fmt.Printf("\t%d lines: %s\n", c.reasons[why], why)
	}
	if c.unexplained > 0 {
		fmt.Printf("\tthe unexplained ones are in %s\n", c.unexplainedFile)
	}
	fmt.Printf("regress suite=%s leg=%s tests=%d failed=%d differ=%d lines=%d unexplained=%d\n",
		c.suite, c.leg, c.tests, c.failed, len(c.differ), c.lines, c.unexplained)
}
