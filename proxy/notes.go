package proxy

import (
	"bytes"
	"hash/maphash"
	"net/netip"
	"time"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

const (
	// noteSQLBytes is how much of a statement's text a note carries when current_query() cannot provide it.
	noteSQLBytes = 8 << 10
	// shortSQLBytes is the length up to which it is faster for the server if a message carries the SQL of a Query than if pgtee.note() extracts it
	// from current_query(). A note that is a row never carries short SQL, because users who query the outbox want to read it.
	shortSQLBytes = 256

	// callNote works for every note. emitNote is for notes that are messages and carry their SQL, where everybody may call pg_logical_emit_message():
	// the first PL/pgSQL call of a transaction takes the server as long as four of these. lineColumns in package outbox reads its output.
	// pgtee.note() and pgtee.sign() recognise both by their beginning.
	//
	// The second parameter is false for a note behind its statement, which applies only if the transaction has written: such a transaction has an id.
	// The third is true for the note that binds its transaction: see outbox/trust.go.
	signNote = "SELECT CASE WHEN $3 THEN pgtee.sign($1,current_user)"
	callNote = signNote + " ELSE pgtee.note($1,current_user) END WHERE $2 OR pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL"
	emitNote = signNote + `::pg_catalog.text ELSE pg_catalog.pg_logical_emit_message(true,'pgtee',pg_catalog.textsend(pg_catalog.format(E'%s\n%s\n%s\n%I\n%s',` +
		`$1,pg_catalog.current_setting('application_name'),pg_catalog.pg_backend_pid(),session_user,current_user)))::pg_catalog.text END ` +
		`WHERE ($2 OR pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL) AND pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off'`

	spliceNote   = "SELECT pgtee.note('"
	spliceSign   = "SELECT pgtee.sign('"
	spliceAfter  = "',current_user);"
	trailAfter   = "',current_user) WHERE pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL"
	payloadText  = (note.PayloadBytes + 2) / 3 * 4 // length of a payload without SQL, in base64
	spliceLength = len(spliceNote) + payloadText + len(spliceAfter)
)

var hashSeed = maphash.MakeSeed()

// hashOf identifies an SQL text; it is never 0.
func hashOf(sql []byte) uint64 { return maphash.Bytes(hashSeed, sql) | 1 }

// notes builds the notes of one session. It is used by the goroutine that handles requests.
type notes struct {
	signer    *note.Signer
	table     bool       // the first note of a transaction is a row, otherwise a signed message
	flags     note.Flags // set in all notes
	unsure    note.Flags // set in notes up to the next reply
	sqlText   bool
	nameless  bool // one note stands for all statements of its transaction
	proxy     uint32
	session   note.SessionID
	client    netip.AddrPort
	pid       int32
	counter   uint32 // number of notes
	statement uint32 // number of the client's statements
	now       func() time.Time
	userName  string // user name in the last note
	userTag   uint64
}

// subject is the statement that a note is for.
type subject struct {
	sql         []byte // as PostgreSQL will store it: a part of the Query, starting at offset bytes, or text that the note carries
	flags       note.Flags
	offset      int // used with FlagQuery
	fingerprint uint64
}

// ddlFlag returns the flag for the note of a statement that fires event triggers.
func ddlFlag(st *parser.Statement) note.Flags {
	if st.IsDDL() {
		return note.FlagDDL
	}
	return 0
}

// behind returns the subject for a note behind its statement.
func (s subject) behind() subject {
	s.flags |= note.FlagBehind
	return s
}

// withoutName returns the subject for a note that also covers the statements after its own. The text of DDL stays, for the stream of DDL.
func (s subject) withoutName() subject {
	switch {
	case s.flags&note.FlagAfter != 0: // alone in its transaction
		return s
	case s.flags&note.FlagDDL == 0:
		s = subject{flags: s.flags & note.FlagBehind}
	}
	s.flags |= note.FlagNameless
	return s
}

// binds returns the flag of the note that binds its transaction to the session, which is the first one: it is a row of the outbox, or signed.
func (n *notes) binds(first bool) note.Flags {
	switch {
	case !first:
		return 0
	case n.table:
		return note.FlagRow
	}
	return note.FlagSigned
}

// splice appends the start of a note's call in the text of a Query.
func (n *notes) splice(dst []byte, set *settings, s subject, first bool) []byte {
	if n.binds(first) == note.FlagSigned {
		return n.append(append(dst, spliceSign...), set, s, first)
	}
	return n.append(append(dst, spliceNote...), set, s, first)
}

// append signs a note and appends the base64 text that pgtee.note() takes.
func (n *notes) append(dst []byte, set *settings, s subject, first bool) []byte {
	n.counter++
	if n.nameless {
		s = s.withoutName()
	}
	if n.userName != set.user {
		n.userName, n.userTag = set.user, note.UserTag([]byte(set.user))
	}
	p := note.Payload{
		Flags:       s.flags | n.flags | n.unsure | n.binds(first) | set.lexisFlags(),
		ProxyID:     n.proxy,
		Session:     n.session,
		Counter:     n.counter,
		Statement:   n.statement,
		Time:        n.now(),
		Client:      n.client,
		Fingerprint: s.fingerprint,
		Process:     n.pid,
		UserTag:     n.userTag,
	}
	if s.flags&note.FlagQuery != 0 {
		p.Offset, p.Length = uint32(s.offset), uint32(len(s.sql))
	}
	return n.signer.Append(dst, &p, s.sql)
}

// names reports whether a note of the statement may name it: see withoutName.
func (n *notes) names(st *parser.Statement) bool {
	return !n.nameless || st.IsDDL() || st.Note == parser.After
}

// carry returns the subject whose SQL the note itself carries.
func (n *notes) carry(sql []byte, st *parser.Statement, set *settings) subject {
	if !n.names(st) {
		return subject{}
	}
	s := subject{fingerprint: parser.Fingerprint(sql, set.lexis)}
	if !n.sqlText {
		return s
	}
	s.sql, s.flags = n.carried(sql, st.Secret, set)
	return s
}

// carried returns a copy of sql without credentials, cut to the length that a note may carry.
func (n *notes) carried(sql []byte, secret bool, set *settings) ([]byte, note.Flags) {
	if !secret {
		return bytes.Clone(set.encoding.cut(sql, noteSQLBytes)), note.FlagSQL
	}
	redacted, ok := parser.Redact(nil, sql, set.lexis)
	if !ok {
		return nil, note.FlagRedacted
	}
	return set.encoding.cut(redacted, noteSQLBytes), note.FlagSQL | note.FlagRedacted
}
