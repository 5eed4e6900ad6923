package consume

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// isBadRecord reports whether an error is caused by a row: its content, or a constraint or trigger that refuses it.
func isBadRecord(err error) bool {
	state := postgres.State(err)
	switch state {
	case "42804", "44000":
		return true
	}
	for _, class := range []string{"20", "21", "22", "23", "54", "P0"} { // P0: raised by PL/pgSQL, or with RAISE
		if strings.HasPrefix(state, class) {
			return true
		}
	}
	return isOfApplication(state)
}

// classesOfPostgreSQL are those that PostgreSQL uses among the classes left to implementations.
var classesOfPostgreSQL = []string{"53", "54", "55", "57", "58", "72", "P0", "XX"}

// isOfApplication reports whether PostgreSQL itself never reports this SQLSTATE, so that a function has raised it. Classes left to implementations begin
// with 5 to 9 or I to Z (ISO 9075-2, 24.1).
func isOfApplication(state string) bool {
	if len(state) < 2 {
		return false
	}
	first := state[0]
	return (first >= '5' && first <= '9' || first >= 'I') && !slices.Contains(classesOfPostgreSQL, state[:2])
}

// isUnclear reports whether an error may be caused by a row, or by something else: an extension raises XX000 for both. Class 42 is about the statement
// and privileges, 53 about resources; XX001 and XX002 report damage.
func isUnclear(err error) bool {
	state := postgres.State(err)
	if state == "" || isBadRecord(err) || postgres.Retriable(err) {
		return false
	}
	for _, other := range []string{"42", "53", "XX001", "XX002"} {
		if strings.HasPrefix(state, other) {
			return false
		}
	}
	return true
}

const maxReasonBytes = 2000

// reasonOf returns the server's message, with the place that it names.
func reasonOf(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return err.Error()
	}
	reason := answer.Message
	if answer.Detail != "" {
		reason += " (" + answer.Detail + ")"
	}
	if place := copyPlace.FindStringSubmatch(answer.Where); place != nil && place[2] != "" {
		reason += ", column " + place[2]
	}
	return strings.ToValidUTF8(reason[:min(len(reason), maxReasonBytes)], "")
}

// copyPlace matches the line, and possibly the column, of a COPY that the server refuses.
var copyPlace = regexp.MustCompile(`(?m)^COPY .*, line (\d+)(?:, column ([^:\n]+))?`)

// suspectOf returns the row whose line an error names, -1 if it names none.
func suspectOf(err error, rows []int32) int32 {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return -1
	}
	place := copyPlace.FindStringSubmatch(answer.Where)
	if place == nil {
		return -1
	}
	line, _ := strconv.Atoi(place[1])
	if line < 1 || line > len(rows) {
		return -1
	}
	return rows[line-1]
}
