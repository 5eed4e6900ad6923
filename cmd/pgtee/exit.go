package main

import (
	"errors"
	"regexp"
	"strings"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
)

// The exit codes, as printed by `pgtee --help`.
const (
	exitOK      = 0
	exitFailure = 1 // it ran and failed
	exitUsage   = 2 // it could not start: flags, configuration, or a server that it connects to
	exitHalted  = 3 // it stopped for good, so that nothing is lost or duplicated: the message names the repair
)

// exitError is an error with its own exit code; other errors mean exitFailure.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

// usage marks an error that prevents a command from starting.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return exitError{exitUsage, err}
}

// errSaid is the error of a command that has already printed everything, and has an exit code of its own.
var errSaid = errors.New("see above")

// status returns the error for the exit code of such a command.
func status(code int) error {
	if code == exitOK {
		return nil
	}
	return exitError{code, errSaid}
}

// explained returns the text of an error on one line, with the ids of its findings for pgtee explain.
func explained(err error) string {
	text := oneLine(err)
	if ids := doctor.IDs(err); len(ids) > 0 {
		text += " [" + strings.Join(ids, ", ") + "]"
	}
	return text
}

// findingOf returns the id of the main finding of an error, or otherwise if there is none.
func findingOf(err error, otherwise string) string {
	if ids := doctor.IDs(err); len(ids) > 0 {
		return ids[0]
	}
	return otherwise
}

// exitCode returns the most serious code in err: if several actors failed, the halted one needs human action.
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

// oneLine returns an error as the user sees it: one line, without passwords, and without what would control a terminal, since errors contain names.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return doctor.Clean(maskSecrets(strings.Join(lines, "; ")))
}

var secrets = regexp.MustCompile(`(://[^:/@\s]*:)[^/\s]*(@)|(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)`)

// maskSecrets masks the passwords in URLs and connection strings.
func maskSecrets(text string) string {
	return secrets.ReplaceAllString(text, "${1}${3}xxxxx${2}")
}
