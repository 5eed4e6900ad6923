package proxy

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/outbox/note"
)

// ledger follows the notes of a model's transactions: a write must be under its own name.
type ledger struct {
	text string // of the Query that runs: what current_query() gives
	ledgerState
	wrote  bool // it has a transaction id
	saved  ledgerState
	faults []string
}

// ledgerState is what ROLLBACK TO takes back.
type ledgerState struct {
	current   string   // SQL of the transaction's last note in front, or nameless; "" for none
	row       bool     // it has a note that is a row
	unclaimed []string // what has written since the last note, under no name
}

// nameless is what a note without SQL says: the proxy could not know which of two statements a name meant.
const nameless = "?"

// end is the end of a transaction.
func (l *ledger) end() {
	l.ledgerState, l.wrote = ledgerState{}, false
	l.savepoint()
}

func (l *ledger) savepoint() {
	l.saved = l.ledgerState
	l.saved.unclaimed = slices.Clone(l.unclaimed)
}

func (l *ledger) rollbackTo() {
	l.ledgerState = l.saved
	l.unclaimed = slices.Clone(l.saved.unclaimed)
}

func (l *ledger) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// note is a call of pgtee.note().
func (l *ledger) note(payload string) {
	raw, err := base64.StdEncoding.DecodeString(payload)
	if err != nil || len(raw) < note.PayloadBytes {
		l.fault("malformed note %q", payload)
		return
	}
	flags := note.Flags(raw[1]) | note.Flags(raw[65])<<8
	name := nameless
	switch {
	case flags&note.FlagSQL != 0:
		name = string(raw[note.PayloadBytes:])
	case flags&note.FlagQuery != 0:
		from, size := binary.BigEndian.Uint32(raw[3:]), binary.BigEndian.Uint32(raw[7:])
		name = l.text[from:][:size]
	}
	if flags&note.FlagClaimsPrevious != 0 {
		for _, text := range l.unclaimed {
			if text != name && name != nameless && l.current == "" {
				l.fault("%q is claimed for %q", text, name)
			}
		}
		name = ""
	}
	l.current, l.unclaimed = name, nil
	if l.row = l.row || flags&(note.FlagRow|note.FlagSigned) != 0; !l.row {
		l.fault("the first note of a transaction does not bind it: %s", l.current)
	}
}

// write is a statement that writes for certain, or may write. A wrong name is worse than none.
func (l *ledger) write(text string, certain bool) {
	l.wrote = true
	if l.current != text && l.current != nameless && (certain || l.current != "") {
		l.fault("%q is under the name of %q", text, l.current)
	}
	if l.current == "" {
		l.unclaimed = append(l.unclaimed, text)
	}
}
