package proxy

import (
	"bytes"
	"testing"
)

func TestPositionIn(t *testing.T) {
	splices := []splice{{result: 0, at: 0, length: 100}, {result: 2, at: 10, length: 50}}
	for value, want := range map[string]position{
		"1": {ours: true}, "100": {ours: true}, "101": {value: 1}, "110": {value: 10},
		"111": {ours: true}, "160": {ours: true}, "161": {value: 11}, "0": {}, "x": {},
	} {
		if got := positionIn([]byte("P"+value+"\x00\x00"), splices, 0); got != want {
			t.Errorf("position %s: %+v, want %+v", value, got, want)
		}
	}
	if got := positionIn([]byte("P47\x00\x00"), splices, 1); got != (position{value: 47}) {
		t.Errorf("a position in a note that has run: %+v, want it as it is", got)
	}
}

func FuzzErrorResponse(f *testing.F) {
	f.Add([]byte("SERROR\x00VERROR\x00C42601\x00Mwrong\x00P12\x00\x00"), 5)
	f.Fuzz(func(t *testing.T, body []byte, at int) {
		isFatal(body)
		positionIn(body, []splice{{at: 3, length: 4}}, at%2)
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
