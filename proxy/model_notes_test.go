package proxy

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/pgtee/pgtee/outbox"
)

// ledger follows the notes of a model's transactions: a write must be under its own name.
type ledger struct {
	text    string // of the Query that runs: what current_query() gives
	current string // SQL of the transaction's last note, or nameless; "" for none
	row     bool   // it has a note that is a row
	saved   struct {
		current string
		row     bool
	}
	faults []string
}

// nameless is what a note without SQL says: the proxy could not know which of two statements a name meant.
const nameless = "?"

// end is the end of a transaction.
func (l *ledger) end() {
	l.current, l.row = "", false
	l.savepoint()
}

func (l *ledger) savepoint()  { l.saved.current, l.saved.row = l.current, l.row }
func (l *ledger) rollbackTo() { l.current, l.row = l.saved.current, l.saved.row }

func (l *ledger) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// note is a call of pgtee.note().
func (l *ledger) note(payload string) {
	raw, err := base64.StdEncoding.DecodeString(payload)
	if err != nil || len(raw) < 81 {
		l.fault("malformed note %q", payload)
		return
	}
	flags := outbox.Flags(raw[1])
	switch {
	case flags&outbox.FlagSQL != 0:
		l.current = string(raw[81:])
	case flags&outbox.FlagQuery == 0:
		l.current = nameless
	default:
		from, size := binary.BigEndian.Uint32(raw[3:]), binary.BigEndian.Uint32(raw[7:])
		l.current = l.text[from:][:size]
	}
	if l.row = l.row || flags&outbox.FlagRow != 0; !l.row {
		l.fault("the first note of a transaction is no row: %s", l.current)
	}
}

// write is a statement that writes for certain, or may write. A wrong name is worse than none.
func (l *ledger) write(text string, certain bool) {
	if l.current != text && l.current != nameless && (certain || l.current != "") {
		l.fault("%q is under the name of %q", text, l.current)
	}
}
