package main

import (
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"strings"
)

//go:embed differences.txt
var differencesText string

// reason says why some lines differ.
type reason struct {
	tests, leg string // patterns for path.Match, of SUITE/TEST and of the leg
	line       *regexp.Regexp
	why        string
	used       bool
}

// reasons are the entries of differences.txt, which describes their format.
type reasons []*reason

func readReasons(text string) (known reasons, err error) {
	why := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		entry, indented := strings.CutPrefix(line, "\t")
		if !indented {
			why = line
			continue
		}
		fields := strings.SplitN(entry, " ", 3)
		if len(fields) != 3 || why == "" {
			return nil, fmt.Errorf("differences.txt: want a reason and below it tests, leg and a regular expression: %q", line)
		}
		pattern, err := regexp.Compile(fields[2])
		if err != nil {
			return nil, fmt.Errorf("differences.txt: %w", err)
		}
		known = append(known, &reason{tests: fields[0], leg: fields[1], line: pattern, why: why})
	}
	return known, nil
}

// find returns why this line, which begins with + or -, differs in a test; "" if there is no reason.
func (k reasons) find(test, leg, line string) string {
	for _, r := range k {
		if matches(r.tests, test) && matches(r.leg, leg) && r.line.MatchString(line) {
			r.used = true
			return r.why
		}
	}
	return ""
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// printStale prints the entries that no line has needed.
func (k reasons) printStale() {
	for _, r := range k {
		if !r.used {
			fmt.Printf("warning: differences.txt: no line matches %s %s %s\n", r.tests, r.leg, r.line)
		}
	}
}
