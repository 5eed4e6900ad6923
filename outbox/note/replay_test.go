package note

import "testing"

// What is remembered of sessions is bounded, and the latest are not forgotten.
func TestReplaysAreBounded(t *testing.T) {
	var r Replays
	for i := range 3 * maxCounted {
		r.Seen(&Note{Payload: Payload{Session: SessionID(i), Counter: 1}}, 7, true)
		r.Seen(&Note{Payload: Payload{Session: 1 << 40, Counter: uint32(i + 1)}}, 7, true)
	}
	if n := len(r.young) + len(r.old); n > 2*maxCounted {
		t.Errorf("%d sessions are remembered", n)
	}
	if !r.Seen(&Note{Payload: Payload{Session: 1 << 40, Counter: 1}}, 8, true) {
		t.Error("a session that writes all the time is forgotten")
	}
}
