package proxy

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"net/netip"
	"strconv"
	"time"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

const (
	// noteSQLBytes is how much of a statement's text a note carries when current_query() cannot provide it.
	noteSQLBytes = 8 << 10
	// shortSQLBytes is the length up to which a message carries the SQL of a Query, because the server takes longer to extract it from current_query().
	// A note that is a row leaves even short SQL to pgtee.note(), which stores it in a column that users can read when they query the outbox.
	shortSQLBytes = 256

	// callNote works for every note. emitNote is for notes that are messages and carry their SQL, where everybody may call pg_logical_emit_message(). It
	// avoids PL/pgSQL, whose first call in a transaction costs the server as much as four emitNotes. lineColumns in package outbox reads its output.
	// pgtee.note() and pgtee.sign() recognise both by their beginning. An actor may have characters that do not convert to UTF-8, which only a function
	// can handle: while a session has one, pgtee.note() writes its notes.
	//
	// $2 is false for a note that follows its statement: it is written only if the transaction already has an id, as every transaction that has written
	// does. $3 is true for the note that binds its transaction: see outbox/trust.go.
	signNote = "SELECT CASE WHEN $3 THEN pgtee.sign($1,current_user)"
	callNote = signNote + " ELSE pgtee.note($1,current_user) END WHERE $2 OR pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL"
	emitNote = signNote + `::pg_catalog.text WHEN pg_catalog.current_setting('pgtee.actor',true) OPERATOR(pg_catalog.<>) '' THEN pgtee.note($1,current_user)::pg_catalog.text ` +
		`ELSE pg_catalog.pg_logical_emit_message(true,'pgtee',pg_catalog.convert_to(pg_catalog.format(E'%s\n%s\n%s\n%I\n%s',` +
		`$1,pg_catalog.current_setting('application_name'),pg_catalog.pg_backend_pid(),session_user,current_user),CASE WHEN pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.=) 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END))::pg_catalog.text END ` +
		`WHERE ($2 OR pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL) AND pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off'`

	// spliceNote and spliceSign call for a note in front of the first statement of a Query. The other notes of a Query are called by putCall: what stands
	// in front of a note can read it, and could call a function with it, but not a procedure. See outbox/sql/objects.sql.
	spliceNote  = "SELECT pgtee.note('"
	spliceSign  = "SELECT pgtee.sign('"
	spliceAfter = "',current_user);"
	putBefore   = "/*"
	putCall     = "*/;CALL pgtee.put('"
	putUser     = "',current_user,"

	payloadText  = (note.PayloadBytes + 2) / 3 * 4 // length of a payload without SQL, in base64
	spliceLength = len(spliceNote) + payloadText + len(spliceAfter)
)

var hashSeed = maphash.MakeSeed()

// hashOf identifies an SQL text; it is never 0.
func hashOf(sql []byte) uint64 { return maphash.Bytes(hashSeed, sql) | 1 }

// notes builds the notes of one session. It is used by the goroutine that handles requests.
type notes struct {
	signer         *note.Signer
	table          bool       // the first note of a transaction is a row, otherwise a signed message
	flags          note.Flags // set in all notes
	unsure         note.Flags // set in notes up to the next reply
	sqlText        bool
	perTransaction bool // one note stands for all statements of its transaction
	proxy          uint32
	session        note.SessionID
	client         netip.AddrPort
	pid            int32
	counter        uint32 // number of notes
	statement      uint32 // number of the client's statements
	now            func() time.Time
	latest         *latest // of the session
	userName       string  // user name in the last note
	userTag        uint64
}

// subject is the statement that a note is for.
type subject struct {
	sql         []byte // its text: with FlagQuery, the part of the Query that starts at offset; otherwise what the note carries
	flags       note.Flags
	offset      int    // used with FlagQuery
	number      uint32 // of the session's statements; 0: the latest
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
	s.flags |= note.FlagClaimsPrevious
	return s
}

// sessionOnly returns the subject for a note that names no statement, because it also covers later ones. DDL keeps its text, for the stream of DDL.
func (s subject) sessionOnly() subject {
	switch {
	case s.flags&note.FlagOutsideBlock != 0: // alone in its transaction
		return s
	case s.flags&note.FlagDDL == 0:
		s = subject{flags: s.flags & note.FlagClaimsPrevious}
	}
	s.flags |= note.FlagNameless
	return s
}

// bindingFlag returns the flag of the note that binds its transaction to the session, which is the first one: it is a row of the outbox, or signed.
func (n *notes) bindingFlag(first bool) note.Flags {
	switch {
	case !first:
		return 0
	case n.table:
		return note.FlagRow
	}
	return note.FlagSigned
}

// splice appends the call for the note in front of the first statement of a Query.
func (n *notes) splice(dst []byte, set *settings, s subject, first bool) []byte {
	call := spliceNote
	if n.bindingFlag(first) == note.FlagSigned {
		call = spliceSign
	}
	return append(n.append(append(dst, call...), set, s, first), spliceAfter...)
}

// put appends the call for note k of a Query. always is false for a note that applies only if the transaction has written.
func (n *notes) put(dst []byte, set *settings, s subject, k int, first, always bool) []byte {
	dst = n.append(append(dst, putBefore...), set, s, first)
	return n.appendPut(append(dst, putCall...), k, first, always)
}

// appendPut appends the arguments of put().
func (n *notes) appendPut(dst []byte, k int, first, always bool) []byte {
	dst = append(strconv.AppendInt(dst, int64(k), 10), putUser...)
	dst = append(strconv.AppendBool(dst, always), ',')
	return append(strconv.AppendBool(dst, n.bindingFlag(first) == note.FlagSigned), ')')
}

// append signs a note and appends the base64 text that pgtee.note() takes.
func (n *notes) append(dst []byte, set *settings, s subject, first bool) []byte {
	n.counter++
	if n.perTransaction {
		s = s.sessionOnly()
	}
	if n.userName != set.user {
		n.userName, n.userTag = set.user, note.UserTag([]byte(set.user))
	}
	if set.client != utf8Name && !isASCII(set.user) { // the server writes the name in UTF-8
		s.flags |= note.FlagAnyUser
	}
	at := n.now()
	n.latest.set(s, set, at)
	p := note.Payload{
		Flags:       s.flags | n.flags | n.unsure | n.bindingFlag(first) | set.lexisFlags(),
		ProxyID:     n.proxy,
		Session:     n.session,
		Counter:     n.counter,
		Statement:   cmp.Or(s.number, n.statement),
		Time:        at,
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

// namesStatement reports whether a note of the statement may name it: see sessionOnly.
func (n *notes) namesStatement(st *parser.Statement) bool {
	return !n.perTransaction || st.IsDDL() || st.Note == parser.After
}

// carry returns the subject whose SQL the note itself carries.
func (n *notes) carry(sql []byte, st *parser.Statement, set *settings) subject {
	if !n.namesStatement(st) {
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
