package outbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox/note"
)

// giant writes one transaction: rows before any note, then statements of several rows.
func giant(w *wal, statements, rows int) (parts []*Transaction) {
	step := func() {
		if w.done != nil {
			parts = append(parts, w.done)
		}
	}
	w.begin(7).relation(1, "public", "t", "a").insert(1, "before")
	for s := range statements {
		sql := fmt.Appendf(nil, "INSERT %d", s)
		w.message(note.MessagePrefix, recordMessage(signed(testSigner, testPayload(note.FlagSQL), "", 0, string(sql)), "", "", 0, nil))
		step()
		for range rows {
			w.insert(1, fmt.Sprint(s, " ", strings.Repeat("x", 100)))
			step()
		}
	}
	return append(parts, w.commit())
}

// However a giant is cut, its changes have the same numbers and the same statements.
func TestAssembleParts(t *testing.T) {
	for _, partBytes := range []int{500, 5_000, 50_000, 1 << 30} {
		t.Run(fmt.Sprint(partBytes), func(t *testing.T) {
			parts := giant(&wal{t: t, partBytes: partBytes}, 9, 30)
			ordinal, notes, nameless := 0, 0, 0 // what comes before the first note, in its part, gets one of no statement
			if len(parts[0].Notes) > 0 && parts[0].Notes[0].Nameless() {
				nameless = 1
			}
			for i, part := range parts {
				last := i == len(parts)-1
				if part.Part != i || part.More == last || (part.EndLSN != 0) != last || part.XID != 7 || part.CommitLSN != 100 || part.CommitTime.IsZero() {
					t.Fatalf("part %d of %d: %+v", i, len(parts), part)
				}
				if part.Through() != 100 && !last || last && part.Through() != part.EndLSN {
					t.Errorf("part %d is through %s", i, part.Through())
				}
				for _, c := range part.Changes {
					statement := -1
					if c.Note >= 0 && !part.Notes[c.Note].Nameless() {
						statement = part.FirstNote + c.Note - nameless
						columns := c.New.Columns()
						columns.Next()
						if sql, row, _ := strings.Cut(string(part.Notes[c.Note].SQL), " "); sql != "INSERT" || !strings.HasPrefix(string(columns.Value()), row+" ") {
							t.Fatalf("part %d: row %.10q of note %q", i, columns.Value(), part.Notes[c.Note].SQL)
						}
					}
					if want := (ordinal+29)/30 - 1; c.Ordinal != ordinal || statement != want {
						t.Fatalf("change %d of statement %d, want %d of %d", c.Ordinal, statement, ordinal, want)
					}
					ordinal++
				}
				notes = part.FirstNote + len(part.Notes)
			}
			if whole := partBytes == 1<<30; ordinal != 1+9*30 || notes != 9+nameless || (len(parts) == 1) != whole || parts[0].Whole() != whole {
				t.Errorf("%d changes and %d notes in %d parts", ordinal, notes, len(parts))
			}
		})
	}
}

// The queue holds back what fills it up, and each part can be dropped by itself.
func TestQueueOfParts(t *testing.T) {
	parts := giant(&wal{t: t, partBytes: 5_000}, 9, 30)
	q := newQueue(0, 1<<30)
	for i, part := range parts {
		q.push(part)
		if want := part.Through(); q.received() != want {
			t.Errorf("received %s after part %d, want %s", q.received(), i, want)
		}
	}
	for i := range parts {
		head, err := q.head(t.Context(), 1)
		if err != nil || len(head) != 1 || head[0] != parts[i] {
			t.Fatalf("part %d: %d in hand, %v", i, len(head), err)
		}
		q.drop(head)
	}
	if n, bytes := q.held(); n != 0 || bytes != 0 {
		t.Errorf("%d left, of %d bytes", n, bytes)
	}
}

// Numbers count from the log: neither keys nor event triggers, which may change before a giant comes again, matter.
func TestNumbersDoNotDependOnKeysAndTriggers(t *testing.T) {
	for name, w := range map[string]*wal{
		"triggers": {t: t, keys: []note.MasterKey{testKey}}, "none": {t: t, keys: []note.MasterKey{testKey}, noTriggers: true},
		"no keys": {t: t, noTriggers: true}, "other key": {t: t, keys: []note.MasterKey{note.MasterKey("another key of the proxies")}, noTriggers: true},
	} {
		w.begin(1).relation(1, "public", "t", "a")
		for _, flags := range []note.Flags{note.FlagDDL, note.FlagOutsideBlock, 0} {
			text := signed(testSigner, testPayload(note.FlagSQL|flags), "bob", 7, "CREATE TABLE t ()")
			w.message(note.MessagePrefix, recordMessage(text, "bob", "r", 7, nil))
		}
		changes := w.insert(1, "x").commit().Changes
		if last := changes[len(changes)-1]; last.Op != Insert || last.Ordinal != 2 {
			t.Errorf("%s: the row is number %d", name, last.Ordinal)
		}
	}
}
