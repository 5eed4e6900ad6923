package outbox

import (
	"math"
	"testing"

	"github.com/pgtee/pgtee/outbox/note"
)

// A note is good once. What comes late by two-phase commit is no replay.
func TestReplayedNotes(t *testing.T) {
	w := &wal{t: t, keys: []note.MasterKey{testKey}}
	m := func(xid XID, counter uint32, session note.SessionID) string {
		p := testPayload(note.FlagSQL | note.FlagOutsideBlock)
		p.Counter, p.Session = counter, session
		text := signed(testSigner, p, "bob", 4711, "select 1")
		return witnessed(xid, text, "bob", "r", 4711, nil)
	}
	for _, step := range []struct {
		name     string
		xid      XID
		counters []uint32
		session  note.SessionID
		want     string // V verified, R replayed
	}{
		{"the first", 100, []uint32{1, 2}, 1, "VV"},
		{"a gap: one was rolled back", 102, []uint32{5}, 1, "V"},
		{"another session", 103, []uint32{1}, 2, "V"},
		{"prepared before, committed now", 101, []uint32{3}, 1, "V"},
		{"one of before", 104, []uint32{2}, 1, "R"},
		{"that of the transaction itself", 105, []uint32{6, 6, 7}, 1, "VRV"},
		{"after the wrap of transaction ids", 3, []uint32{8, 6}, 1, "VR"},
		{"the counter wraps", 4, []uint32{math.MaxUint32 - 1, math.MaxUint32, 0, 1, 1, math.MaxUint32}, 3, "VVVVRR"},
	} {
		w.begin(step.xid)
		for _, counter := range step.counters {
			w.message(note.MessagePrefix, m(step.xid, counter, step.session))
		}
		got := w.commit()
		for i := range got.Notes {
			if want := map[byte]note.Trust{'V': note.Verified, 'R': note.Replayed}[step.want[i]]; got.Notes[i].Trust != want {
				t.Errorf("%s, note %d: trust %d, want %d", step.name, i+1, got.Notes[i].Trust, want)
			}
		}
	}
}

// A replayed note adds nothing to the stream of DDL, but takes its number, as it did when it was new.
func TestReplayedCommand(t *testing.T) {
	w := &wal{t: t, keys: []note.MasterKey{testKey}}
	text := signed(testSigner, testPayload(note.FlagSQL|note.FlagOutsideBlock), "bob", 4711, "vacuum")
	for _, want := range []int{1, 0} {
		got := w.begin(1).message(note.MessagePrefix, recordMessage(text, "bob", "r", 4711, nil)).message("app", "x").commit()
		if len(got.Changes) != want+1 || got.Changes[want].Ordinal != 1 {
			t.Errorf("%d changes, the last with number %d", len(got.Changes), got.Changes[len(got.Changes)-1].Ordinal)
		}
	}
}
