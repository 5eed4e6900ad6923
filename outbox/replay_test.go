package outbox

import (
	"math"
	"testing"

	"github.com/pgtee/pgtee/outbox/note"
)

// A note is good once. What comes late by two-phase commit is not a replay.
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

// Whoever can read a note can send a copy of it, as a plain message, before the transaction of its session commits, and in an older one. That neither
// turns the session's notes into replays nor makes a later copy good.
func TestCopyBeforeItsOriginal(t *testing.T) {
	w := &wal{t: t, keys: []note.MasterKey{testKey}}
	text := func(counter uint32) string {
		p := testPayload(note.FlagSQL)
		p.Counter = counter
		return signed(testSigner, p, "bob", 7, "update t")
	}
	own := func(xid XID, counter uint32) string { return witnessed(xid, text(counter), "bob", "r", 7, nil) }
	plain := func(counter uint32) string { return recordMessage(text(counter), "bob", "r", 7, nil) }
	for _, step := range []struct {
		name  string
		xid   XID
		notes []string
		want  []note.Trust
	}{
		{"the copy", 100, []string{plain(2)}, []note.Trust{note.Unbound}},
		{"the original", 101, []string{own(101, 1), plain(2)}, []note.Trust{note.Verified, note.Verified}},
		{"a later copy", 102, []string{plain(2)}, []note.Trust{note.Replayed}},
		{"the session goes on", 103, []string{own(103, 3), plain(3)}, []note.Trust{note.Verified, note.Replayed}},
	} {
		w.begin(step.xid)
		for _, m := range step.notes {
			w.message(note.MessagePrefix, m)
		}
		got := w.commit()
		for i, want := range step.want {
			if got.Notes[i].Trust != want {
				t.Errorf("%s, note %d: trust %d, want %d", step.name, i+1, got.Notes[i].Trust, want)
			}
		}
	}
}

// A replayed note adds nothing to the stream of DDL, but takes its number, as it did when it was new.
func TestReplayedCommand(t *testing.T) {
	w := &wal{t: t, keys: []note.MasterKey{testKey}}
	text := signed(testSigner, testPayload(note.FlagSQL|note.FlagOutsideBlock), "bob", 4711, "vacuum")
	for _, step := range []struct {
		message string
		want    int // changes of the note
	}{{witnessed(1, text, "bob", "r", 4711, nil), 1}, {recordMessage(text, "bob", "r", 4711, nil), 0}} {
		got := w.begin(1).message(note.MessagePrefix, step.message).message("app", "x").commit()
		if len(got.Changes) != step.want+1 || got.Changes[step.want].Ordinal != 1 {
			t.Errorf("%d changes, the last with number %d", len(got.Changes), got.Changes[len(got.Changes)-1].Ordinal)
		}
	}
}
