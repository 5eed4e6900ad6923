package main

import (
	"errors"
	"regexp"
	"strings"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
)

// The exit codes, as `pgtee --help` lists them.
const (
	exitOK      = 0
	exitFailure = 1 // it ran and failed
	exitUsage   = 2 // it could not start: flags, configuration, what it connects to
	exitHalted  = 3 // it stopped for good so that nothing is lost or doubled: the message names the repair
)

// exitError is an error with an exit code of its own; other errors mean exitFailure.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

// usage marks what keeps a command from starting.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return exitError{exitUsage, err}
}

// errSaid is the error of a command that has printed what there is to say, and has an exit code of its own.
var errSaid = errors.New("see above")

// status is the exit code of such a command.
func status(code int) error {
	if code == exitOK {
		return nil
	}
	return exitError{code, errSaid}
}

// explained is the line of an error, with the ids of the findings that it is about: pgtee explain tells more of them.
func explained(err error) string {
	text := oneLine(err)
	if ids := doctor.IDs(err); len(ids) > 0 {
		text += " [" + strings.Join(ids, ", ") + "]"
	}
	return text
}

// findingOf is the id of the finding that an error is first of all about; otherwise if it is none.
func findingOf(err error, otherwise string) string {
	if ids := doctor.IDs(err); len(ids) > 0 {
		return ids[0]
	}
	return otherwise
}

// exitCode is the gravest code in err: of several actors that failed, the halted one needs the human.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitFailure
	var coded exitError
	if errors.As(err, &coded) {
		code = coded.code
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			code = max(code, exitCode(e))
		}
	}
	return code
}

// oneLine is what the user sees of an error: one line, no password.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return maskSecrets(strings.Join(lines, "; "))
}

var secrets = regexp.MustCompile(`(://[^:/@\s]*:)[^/\s]*(@)|(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)`)

// maskSecrets hides the passwords of URLs and connection strings.
func maskSecrets(text string) string {
	return secrets.ReplaceAllString(text, "${1}${3}xxxxx${2}")
}
