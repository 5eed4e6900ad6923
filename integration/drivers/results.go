package main

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
)

// outcome is the outcome of a test.
type outcome string

const (
	passed  outcome = "passed"
	failed  outcome = "failed"
	skipped outcome = "skipped"
	missing outcome = "missing" // the suite did not reach it
)

// results are the outcomes of one run of a suite by the tests' full names.
type results map[string]outcome

// add keeps the worst outcome of tests with the same name.
func (r results) add(name string, o outcome) {
	if r[name] != failed {
		r[name] = o
	}
}

func (r results) outcome(name string) outcome {
	if o, ok := r[name]; ok {
		return o
	}
	return missing
}

func (r results) count(o outcome) (n int) {
	for _, each := range r {
		if each == o {
			n++
		}
	}
	return n
}

// differences returns the tests with another outcome in other, except for those in except.
func (r results) differences(other results, except map[string]bool) (names []string) {
	for name := range r {
		if r[name] != other.outcome(name) && !except[name] {
			names = append(names, name)
		}
	}
	for name := range other {
		if _, ok := r[name]; !ok && !except[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// temporary matches a folder that some tests have in their names.
var temporary = regexp.MustCompile(`/tmp/[^/]+/`)

// readGoTest parses the output of go test -json or test2json: https://pkg.go.dev/cmd/test2json
func readGoTest(report io.Reader) (results, error) {
	outcomes := map[string]outcome{"pass": passed, "fail": failed, "skip": skipped}
	r := results{}
	for decoder := json.NewDecoder(report); ; {
		var event struct{ Action, Package, Test string }
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			return r, nil
		} else if err != nil {
			return nil, err
		}
		if o, ok := outcomes[event.Action]; ok && event.Test != "" {
			r.add(event.Package+" "+temporary.ReplaceAllString(event.Test, "/tmp/"), o)
		}
	}
}

// readJUnit parses JUnit's XML, of which pytest, Maven's surefire and others write dialects. Several documents may follow each other.
func readJUnit(report io.Reader) (results, error) {
	r := results{}
	decoder := xml.NewDecoder(report)
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return r, nil
		} else if err != nil {
			return nil, err
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "testcase" {
			continue
		}
		var test struct {
			Class   string    `xml:"classname,attr"`
			Name    string    `xml:"name,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		}
		if err := decoder.DecodeElement(&test, &start); err != nil {
			return nil, err
		}
		o := passed
		switch {
		case test.Failure != nil || test.Error != nil:
			o = failed
		case test.Skipped != nil:
			o = skipped
		}
		r.add(test.Class+" "+test.Name, o)
	}
}

// readTranscript parses the output of a script: each line is a test that has passed, named by its text. If the output of another run differs, tests are
// missing there.
func readTranscript(report io.Reader) (results, error) {
	r := results{}
	lines := bufio.NewScanner(report)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r.add(lines.Text(), passed)
	}
	return r, lines.Err()
}
