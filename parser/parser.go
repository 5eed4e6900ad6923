// Package parser determines what a SQL text does: where its statements start, which of them write, and which start or end a transaction. A lexer
// decides most cases and never fails; PostgreSQL's own grammar is used only where it can change the result.
package parser

// Statement is one statement of a SQL text.
type Statement struct {
	Start  int    // byte offset of its first word
	End    int    // byte offset after its last token (before the semicolon)
	From   int    // offset of the comments before it; Start if there are none
	To     int    // offset after the comments that follow it, up to its semicolon or the end of the text; End if there are none
	Verb   string // its command in capitals: "INSERT", "CREATE TABLE", "COPY", "SELECT"; "" if it cannot be read
	Note   Need
	Tx     Effect
	Name   string // of PREPARE, EXECUTE (also in EXPLAIN and CREATE TABLE), DEALLOCATE: the prepared statement's name, folded as PostgreSQL does
	Inner  Need   // of PREPARE: what the prepared statement needs; of EXECUTE: what its arguments need
	Secret bool   // it contains credentials: its note carries the text redacted
	Sets   bool   // it may change a setting that notes contain: SET, RESET, DISCARD, or a text with set_config
}

// Need says when a statement gets a note.
type Need uint8

const (
	Never   Need = iota // provably writes no published row: reads, session and transaction control
	Always              // writes, and DDL that may run in a transaction block
	InBlock             // CALL, DO, EXECUTE of an unknown name: in front if in a block or the transaction has a note; else behind if it wrote
	IfNoted             // may write (function not in harmless, FETCH, anything unknown): in front once the transaction has a note, else behind if it wrote
	After               // cannot run in a transaction block: a note of its own follows once it has succeeded
)

// Effect is what a statement does to the transaction or to prepared statements.
type Effect uint8

const (
	NoEffect           Effect = iota
	Begin                     // BEGIN, START TRANSACTION
	Commit                    // COMMIT, END
	CommitChain               // COMMIT AND CHAIN
	Rollback                  // ROLLBACK, ABORT
	RollbackChain             // ROLLBACK AND CHAIN
	RollbackTo                // ROLLBACK TO SAVEPOINT
	Savepoint                 // SAVEPOINT
	Release                   // RELEASE SAVEPOINT
	PrepareTransaction        // PREPARE TRANSACTION
	SetRole                   // SET ROLE, RESET ROLE
	SetUser                   // SET SESSION AUTHORIZATION, RESET of it
	SetEncoding               // SET client_encoding, SET NAMES
	Prepare                   // SQL PREPARE
	Execute                   // SQL EXECUTE
	Deallocate                // DEALLOCATE one name
	DeallocateAll             // DEALLOCATE ALL
	DiscardAll                // DISCARD ALL
	Fire                      // SET CONSTRAINTS IMMEDIATE: runs deferred triggers
	Hold                      // DECLARE CURSOR WITH HOLD, or code that may run it: COMMIT runs the cursor's query to the end
	Fetch                     // FETCH, MOVE: takes no snapshot if the cursor is held
)

// Lexis holds the session settings that determine how SQL text is read.
type Lexis struct {
	StandardConformingStrings bool // off: backslashes escape in '…'
	MultiByte                 bool // the text is in SJIS, BIG5, GBK, GB18030, UHC or JOHAB, as sent: second bytes may be ASCII
}
