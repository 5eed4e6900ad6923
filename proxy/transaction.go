package proxy

import "github.com/pgtee/pgtee/parser"

// transaction is what the request side assumes about the transaction in which the next statement runs. When unsure, the proxy sends one note too many:
// it never omits a note and never attributes a row to a wrong statement.
type transaction struct {
	group   uint32 // number of the group that is being sent, from 1
	ending  uint32 // last group with a statement that ends, or may end, a transaction
	ended   uint32 // last group with a statement that ends one, until a ReadyForQuery shows that it has; 0: none
	revived uint32 // last group with a statement that ends, or may end, the failed state of a block
	unsure  uint32 // last group on whose answer later notes depend: it changes settings, or has a statement that cannot be parsed
	unread  uint32 // last group with a statement that cannot be parsed
	certain bool   // when this group began, every earlier group had been answered
	begun   bool   // according to the requests sent so far, a block is open
	failed  bool   // the block has failed: everything up to its end is refused
	open    bool   // an explicit block is known to be open
	noted   bool   // the transaction has a note: any further statement that may write gets one too
	carried bool   // the transaction has a note that no ROLLBACK TO can have undone, and no read-only subtransaction can have left out
	safe    bool   // such a note precedes the first savepoint, so RELEASE cannot discard it
	last    uint64 // hash of the SQL of the last note; 0: no note, or a value in it other than the SQL (role, setting) may have changed since
	span
}

// span is what the end of a transaction resets.
type span struct {
	nested      bool   // the transaction has, or had, a savepoint, or may have one
	sent        int    // upper bound of the number of its notes, and of writes without one
	front       bool   // its last note may stand in front of a statement, to which everything after the note would belong
	holds       bool   // the transaction has, or had, a cursor whose query runs at COMMIT
	mayHold     bool   // a statement that could not be parsed may have declared such a cursor
	missed      bool   // since the last note, something without a note may have written; a note after a later statement would claim those rows
	everMissed  bool   // missed was set at some time in this transaction: undoing the note that cleared it restores it
	early       string // S or P, and the name of the statement or portal whose Parse or Bind may have written rows that no note covers yet
	quiet       bool   // its last note has no statement, and nothing has run since
	snapped     bool   // a statement of the transaction has taken a snapshot
	setUser     bool   // the transaction has changed the session's user, and its end may revert that
	setEncoding bool   // the transaction has changed client_encoding, and its end may revert that
}

// next begins a group: a Query, or the messages up to a Sync. status and answered come from the last ReadyForQuery; the replies to later groups may
// still be outstanding. Unless a block is known to be open, the group may begin a new transaction, so its notes must not rely on earlier ones.
func (t *transaction) next(status byte, answered uint32) {
	t.group++
	t.learn(status, answered)
	if t.certain && status == 'I' {
		t.end()
	}
	switch {
	case t.open:
	case t.begun:
		t.rearm()
	default:
		t.forget()
	}
}

// learn determines from a ReadyForQuery whether the group has begun in a block, which no statement of the group has ended or begun since.
func (t *transaction) learn(status byte, answered uint32) {
	t.open = status != 'I' && answered >= t.ending
	if t.certain = answered+1 == t.group; t.certain {
		t.begun = t.open
	}
	t.failed = status == 'E' && t.certain && t.revived != t.group
	if t.certain && answered >= t.ended {
		if status == 'E' && t.ended != 0 {
			t.revive()
		}
		t.ended = 0
	}
}

// forget handles the possible end of a transaction.
func (t *transaction) forget() {
	t.rearm()
	t.noted = false
}

// end handles the certain end of a transaction.
func (t *transaction) end() {
	t.forget()
	t.span = span{}
}

// wants reports whether a statement with this condition gets a note here.
func (t *transaction) wants(when condition) bool {
	if t.failed {
		return false
	}
	switch when {
	case inEvery:
		return true
	case inBlock:
		return t.open || t.begun || t.noted && t.unread != t.group
	case ifNoted:
		return t.noted
	}
	return false
}

// note records that a note for the SQL with this hash is sent, and reports whether it is the first note that no ROLLBACK TO can have undone.
func (t *transaction) note(hash uint64) (first bool) {
	first = !t.carried
	t.noted, t.carried, t.front, t.last = true, true, true, hash
	t.sent++
	return first
}

// trail records that a note is sent after a statement, in case the statement has written, or a note without a statement, and reports whether this note may
// be the first one of the transaction.
func (t *transaction) trail() (first bool) {
	t.front, t.last = false, 0
	t.sent++
	return !t.carried
}

// mayTrail reports whether a note can follow a statement with this effect. SET TRANSACTION may follow SET CONSTRAINTS and the FETCH of a held cursor,
// which take no snapshot; after a note it may not.
func (t *transaction) mayTrail(effect parser.Effect) bool {
	return effect != parser.Fire && (effect != parser.Fetch || t.snapped)
}

// changesUser reports whether a statement with this effect may change the session's user, or revert such a change.
func (t *transaction) changesUser(effect parser.Effect) bool {
	switch effect {
	case parser.SetUser, parser.DiscardAll:
		return true
	}
	return t.setUser && reverts(effect)
}

// reverts reports whether a statement with this effect may revert what its transaction has set.
func reverts(effect parser.Effect) bool {
	switch effect {
	case parser.Commit, parser.CommitChain, parser.Rollback, parser.RollbackChain, parser.RollbackTo, parser.PrepareTransaction:
		return true
	}
	return false
}

// apply tracks what a statement does to the transaction, and returns the result of changesUser.
func (t *transaction) apply(effect parser.Effect) (changesUser bool) {
	if changesUser = t.changesUser(effect); changesUser {
		t.setUser, t.unsure = true, t.group
	}
	if t.setEncoding = t.setEncoding || effect == parser.SetEncoding; t.setEncoding && reverts(effect) {
		t.unsure = t.group
	}
	switch effect {
	case parser.Begin:
		t.open, t.begun, t.snapped = true, true, false
	case parser.Commit, parser.Rollback, parser.PrepareTransaction:
		t.end()
		t.open, t.begun, t.failed, t.ending, t.ended, t.revived = false, false, false, t.group, t.group, t.group
	case parser.CommitChain, parser.RollbackChain: // refused outside a block
		t.end()
		t.open, t.begun, t.failed, t.ending, t.ended, t.revived = true, true, false, t.group, t.group, t.group
	case parser.Hold:
		t.holds = true
	case parser.Savepoint:
		t.safe = t.carried && (t.safe || !t.nested)
		t.nested = true
	case parser.Release:
		safe := t.safe
		t.undo()
		t.carried, t.safe = safe, safe
	case parser.RollbackTo:
		t.undo()
		if !t.certain && !t.open {
			t.revive()
		}
		t.failed, t.revived = false, t.group
	case parser.SetRole, parser.SetUser, parser.SetEncoding, parser.DiscardAll:
		t.last, t.unsure = 0, t.group
	}
	return changesUser
}

// keepsNote reports whether the last note remains valid for statements after one with this effect.
func keepsNote(effect parser.Effect) bool {
	switch effect {
	case parser.NoEffect, parser.Fire, parser.Hold, parser.Fetch, parser.Begin, parser.Savepoint, parser.Prepare, parser.Execute, parser.Deallocate:
		return true
	}
	return false
}

// rearm handles a statement that may have ended the transaction or undone a note.
func (t *transaction) rearm() { t.carried, t.safe, t.last = false, false, 0 }

// undo handles the end of a subtransaction, whose notes may not count: ROLLBACK TO undoes them, and none were written if the subtransaction was
// read-only (SET TRANSACTION READ ONLY), which RELEASE ends.
func (t *transaction) undo() {
	t.rearm()
	t.missed, t.front = t.everMissed, t.sent > 0
}

// revive handles a block whose end, as far as the proxy knows, has been sent, but which the server has skipped: the block has failed, or ROLLBACK TO
// follows while earlier groups have not been answered. It lives on with its notes, settings and cursors.
func (t *transaction) revive() {
	t.begun, t.noted, t.front, t.mayHold, t.missed, t.everMissed, t.nested = true, true, true, true, true, true, true
	t.setUser, t.setEncoding, t.unsure = true, true, t.group
	t.sent += 2
}

// miss records that a statement that may write gets no note.
func (t *transaction) miss() {
	t.missed, t.everMissed = true, true
	t.sent++
}

// prepare records that the Parse of statement what ("S…"), or the Bind of portal what ("P…") of statement of, may write.
func (t *transaction) prepare(what, of string) {
	if t.early != "" && t.early != of {
		t.miss()
	}
	t.early = what
}

// doubt records, in front of RELEASE, that a function may have written, and then made its subtransaction read-only.
func (t *transaction) doubt() {
	t.everMissed = t.everMissed || t.sent > 0 && !t.noted
}

// run records that a portal runs, with or without a note of its own, which covers only what its own Parse and Bind have written.
func (t *transaction) run(portal []byte, noted bool) {
	if t.early != "" && (!noted || t.early[0] != 'P' || t.early[1:] != string(portal)) {
		t.miss()
	}
	t.early, t.quiet = "", false
}

// applyUnknown handles a statement that cannot be parsed: it may have ended the transaction.
func (t *transaction) applyUnknown() {
	t.rearm()
	t.unsure, t.unread = t.group, t.group
	t.front, t.mayHold, t.nested = true, true, true
	t.open, t.begun, t.failed, t.ending, t.revived = false, false, false, t.group, t.group
}
