package proxy

import "github.com/pgtee/pgtee/parser"

// transaction is what the request side assumes about the transaction that the next statement runs in. When unsure it errs toward an
// extra note: never one too few, never a wrong name.
type transaction struct {
	group   uint32 // number of the group that is being sent, from 1
	ending  uint32 // last group that had a statement which ends a transaction, or may
	revived uint32 // last group that had a statement which a failed block does not refuse, or may
	unsure  uint32 // last group that changes settings which the next one needs
	certain bool   // when this group began, all before it had been answered
	begun   bool   // a block was begun and not ended, as far as what was sent tells
	failed  bool   // the block has failed: everything up to its end is refused
	open    bool   // an explicit block is known to be open
	noted   bool   // it has a note: whatever may write gets one too
	carried bool   // ... that no ROLLBACK TO can have taken back
	last    uint64 // hash of the SQL that the last note was for; 0 for none
	sent    int    // notes of it, or more
	holds   bool   // it has a cursor whose query runs at COMMIT, or had
	mayHold bool   // ... or may have made one by a statement that was not read
	missed  bool   // something that may have written since the last note had none: a note behind would claim that
	missing bool   // ... or had none before that, which ROLLBACK TO can make true again
	binds   bool   // a Bind may have written, of the portal bound, and no note has claimed that yet
	bound   string
	setUser bool // it has changed the session's user, which its end may undo
}

// next begins a group: a Query, or what goes up to a Sync. status and answered come from the last
// ReadyForQuery; the answers to later groups may still be on their way. Unless a block is known to be open, the
// group may begin a transaction, and its notes must be good for that, too.
func (t *transaction) next(status byte, answered uint32) {
	t.group++
	t.open = status != 'I' && answered >= t.ending
	if t.certain = answered+1 == t.group; t.certain {
		t.begun = t.open
	}
	t.failed = status == 'E' && t.certain
	if t.certain && status == 'I' {
		t.end()
	}
	switch {
	case t.open:
	case t.begun:
		t.carried, t.last = false, 0
	default:
		t.forget()
	}
}

// forget is what may be the end of a transaction.
func (t *transaction) forget() { t.noted, t.carried, t.last = false, false, 0 }

// end is the end of a transaction that is certain.
func (t *transaction) end() {
	t.forget()
	t.sent, t.holds, t.mayHold, t.missed, t.missing, t.binds, t.setUser = 0, false, false, false, false, false, false
}

// wants reports whether a statement gets a note here.
func (t *transaction) wants(when condition) bool {
	if t.failed {
		return false
	}
	switch when {
	case inEvery:
		return true
	case inBlock:
		return t.open || t.begun || t.noted
	case ifNoted:
		return t.noted
	}
	return false
}

// note records that a note for the SQL with this hash is sent, and reports whether it is the first one that
// the transaction is sure to keep.
func (t *transaction) note(hash uint64) (first bool) {
	first = !t.carried
	t.noted, t.carried, t.last = true, true, hash
	t.sent++
	return first
}

// trail records that a note is sent behind a statement, for the case that it has written, and reports whether that may be the
// first one of the transaction.
func (t *transaction) trail() (first bool) {
	t.last = 0
	t.sent++
	return !t.carried
}

// changesUser reports whether a statement with this effect may change the session's user, or take such a change back.
func (t *transaction) changesUser(effect parser.Effect) bool {
	switch effect {
	case parser.SetUser, parser.DiscardAll:
		return true
	case parser.Commit, parser.CommitChain, parser.Rollback, parser.RollbackChain, parser.RollbackTo, parser.PrepareTransaction:
		return t.setUser
	}
	return false
}

// apply follows what a statement does to the transaction, and reports what changesUser does.
func (t *transaction) apply(effect parser.Effect) (changesUser bool) {
	if changesUser = t.changesUser(effect); changesUser {
		t.setUser, t.unsure = true, t.group
	}
	switch effect {
	case parser.Begin:
		t.open, t.begun = true, true
	case parser.Commit, parser.Rollback, parser.PrepareTransaction:
		t.end()
		t.open, t.begun, t.failed, t.ending, t.revived = false, false, false, t.group, t.group
	case parser.CommitChain, parser.RollbackChain: // refused outside a block
		t.end()
		t.open, t.begun, t.failed, t.ending, t.revived = true, true, false, t.group, t.group
	case parser.Hold:
		t.holds = true
	case parser.RollbackTo:
		t.missed = t.missing
		t.carried, t.last, t.failed, t.revived = false, 0, false, t.group
	case parser.SetRole, parser.SetUser, parser.SetEncoding, parser.DiscardAll:
		t.last, t.unsure = 0, t.group
	}
	return changesUser
}

// keepsNote reports whether the last note stays good for what follows a statement with this effect.
func keepsNote(effect parser.Effect) bool {
	switch effect {
	case parser.NoEffect, parser.Fire, parser.Hold, parser.Begin, parser.Savepoint, parser.Release, parser.Prepare, parser.Execute, parser.Deallocate:
		return true
	}
	return false
}

// rearm follows a statement that may have ended the transaction, or have taken a note back.
func (t *transaction) rearm() { t.carried, t.last = false, 0 }

// miss records that something that may write gets no note.
func (t *transaction) miss() { t.missed, t.missing = true, true }

// bind records that the Bind of a portal may write.
func (t *transaction) bind(portal []byte) {
	if t.binds {
		t.miss()
	}
	t.binds, t.bound = true, string(portal)
}

// run records that a portal runs, with a note behind it or without. That note is for what its own Bind has written, and for no other's.
func (t *transaction) run(portal []byte, trails bool) {
	if t.binds && (t.bound != string(portal) || !trails) {
		t.miss()
	}
	t.binds = false
}

// applyUnknown follows a statement that cannot be read: it may have ended the transaction.
func (t *transaction) applyUnknown() {
	if t.setUser {
		t.unsure = t.group
	}
	t.forget()
	t.mayHold = true
	t.open, t.begun, t.failed, t.ending, t.revived = false, false, false, t.group, t.group
}
