package consume

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Only what a row may cause makes it a dead letter.
func TestFaults(t *testing.T) {
	for states, want := range map[string]string{
		"22P02 23505 21000 20000 54000 42804 44000 P0001 P0002 P0003 P0004 U0001 Z9999 50001 99999 X0001": "row",
		"XX000 38000 39P01 2F005 0A000 55000 72000 F0000 HV000 CUSTM":                                     "unclear",
		"42501 42P01 42703 53100 XX001 XX002 25006 40001 40P01 57P01 08006 58030 55P03 53300":             "other",
	} {
		for state := range strings.FieldsSeq(states) {
			err := fmt.Errorf("copy: %w", &pgconn.PgError{Code: state})
			got := "other"
			switch {
			case isBadRecord(err) && isUnclear(err):
				got = "both"
			case isBadRecord(err):
				got = "row"
			case isUnclear(err):
				got = "unclear"
			}
			if got != want {
				t.Errorf("%s: %s, want %s", state, got, want)
			}
		}
	}
	if err := errors.New("cut off"); isBadRecord(err) || isUnclear(err) {
		t.Error("a broken connection is taken for the fault of a row")
	}
}

func TestSuspect(t *testing.T) {
	refusal := func(where string) error { return fmt.Errorf("copy: %w", &pgconn.PgError{Code: "22P02", Where: where}) }
	rows := []int32{4, 7, 9}
	for where, want := range map[string]int32{
		`COPY t, line 2, column n: "x"`: 7, "COPY pgtee_consume, line 3": 9, "COPY t, line 4": -1, "COPY t, line 0": -1, "": -1, "PL/pgSQL function f() line 2 at RAISE": -1,
		"PL/pgSQL function f() line 2 at RAISE\nCOPY t, line 1: \"a\"": 4,
	} {
		if got := suspectOf(refusal(where), rows); got != want {
			t.Errorf("%q names row %d, want %d", where, got, want)
		}
	}
	if suspectOf(errors.New("cut off"), rows) != -1 {
		t.Error("an error without a place names a row")
	}
}
