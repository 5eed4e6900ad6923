package proxy

import (
	"bytes"
	"testing"
)

func TestPositionIn(t *testing.T) {
	splices := []splice{{result: 0, at: 0, length: 100}, {result: 2, at: 10, length: 50}}
	for value, want := range map[string]position{
		"1": {1, true}, "100": {100, true}, "101": {value: 1}, "110": {value: 10},
		"111": {111, true}, "160": {160, true}, "161": {value: 11}, "0": {}, "x": {},
	} {
		if got := positionOf(t, "P"+value, splices, 0); got != want {
			t.Errorf("position %s: %+v, want %+v", value, got, want)
		}
	}
	if got := positionOf(t, "P47", splices, 1); got != (position{value: 47}) {
		t.Errorf("a position in a note that has run: %+v, want it as it is", got)
	}
}

func positionOf(t *testing.T, field string, splices []splice, done int) position {
	t.Helper()
	return (&entry{splices: splices}).positionOf([]byte(field+"\x00\x00"), 0, done)
}

// An EXECUTE has a note of 100 characters before it, its PREPARE had one of 50.
func TestPositionInBorrowedText(t *testing.T) {
	e := entry{
		splices:  []splice{{result: 0, at: 0, length: 100}},
		borrowed: []borrowed{{result: 1, own: place{from: 110, to: 120, shift: 100}, source: place{from: 60, to: 160, shift: 50}}},
	}
	for _, test := range []struct {
		at     string
		result int
		code   string
		want   position
	}{
		{"60", 1, "42703", position{value: 10}},
		{"109", 1, "42703", position{value: 59}},
		{"110", 1, "22P02", position{value: 10}}, // in its arguments
		{"121", 1, "42703", position{value: 71}},
		{"161", 1, "42703", position{value: 61}}, // behind its PREPARE
		{"121", 0, "42703", position{value: 21}}, // not in the EXECUTE
		{"121", 1, "42601", position{value: 21}}, // met before anything ran
	} {
		body := []byte("C" + test.code + "\x00P" + test.at + "\x00\x00")
		if got := e.positionOf(body, test.result, 1); got != test.want {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

func FuzzErrorResponse(f *testing.F) {
	f.Add([]byte("SERROR\x00VERROR\x00C42601\x00Mwrong\x00P12\x00\x00"), 5)
	f.Fuzz(func(t *testing.T, body []byte, at int) {
		isFatal(body)
		(&entry{splices: []splice{{at: 3, length: 4}}}).positionOf(body, 0, at%2)
		moved := appendMoved(nil, 'E', body, at)
		ours := appendOurError(nil, body)
		if errorField(ours[headerBytes:], 'P') != nil {
			t.Errorf("%q keeps a position", ours)
		}
		if got, want := errorField(moved[headerBytes:], 'M'), errorField(body, 'M'); !bytes.Equal(got, want) {
			t.Errorf("message %q became %q", want, got)
		}
	})
}
