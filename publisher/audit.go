package publisher

import (
	"strconv"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
)

// Limits that keep an audit record below Kafka's default maximum of one megabyte, even if its last text has maxAuditTextBytes and JSON makes that six
// times as long. Whatever exceeds them is only counted.
const (
	maxAuditStatementBytes = 256 << 10
	maxAuditTableBytes     = 192 << 10
	maxStatementTables     = 100
)

// audit collects, for the audit record of one transaction, which tables its statements changed and how. A giant arrives in parts, so only the JSON of
// its earlier statements is kept.
type audit struct {
	tables     []tableCount
	byOID      map[uint32]int // index in tables
	directRows int
	ddl        int // number of records of <prefix>.ddl

	session    []byte // JSON of the session, from the first note that has a role
	named      bool   // there has been such a note
	key        []byte
	trust      note.Trust
	begun      int    // number of statements
	omitted    int    // number of statements left out of the record
	statements []byte // JSON of the statements in the record
	rows       int    // rows of the last statement so far
	touched    []int  // tables of the last statement, as indexes in tables; at most maxStatementTables
	moreTables int    // number of further tables of the last statement
}

type tableCount struct {
	relation                              *pgoutput.Relation
	inserted, updated, deleted, truncated int
	statement                             int // value of audit.begun when a statement last changed the table
}

// appendAudit appends the record of <prefix>.audit, which says who made a transaction:
//
//	{"v":1,"database","timeline","xid","commit_lsn","end_lsn","commit_time","parts","via":"proxy"|"direct","verified","reason",
//	 "session":{…}|null,
//	 "statements":[{"number","command","fingerprint","text","text_cut","context","rows","tables":["s.t"],"tables_omitted"}],
//	 "statements_omitted",
//	 "tables":[{"table":"s.t","inserted","updated","deleted","truncated"}],"tables_omitted",
//	 "direct_rows","ddl"}
//
// An unknown statement that wrote rows has null for number, command, fingerprint and text. A statement has "tables_omitted" only if tables are left
// out, and "context" only if its SQL claims one. The session's role, application and actor are those of the first note that has them. "parts" is present only for a transaction that
// became visible in several Kafka transactions, and is the number of these.
//
// The key is the session id; a write that bypassed the proxy has no key. verified is true if the note of every statement is verified, false if one
// is refuted, and otherwise null, with the reason of the first note that could not be verified.
func (p *Publisher) appendAudit(tx *outbox.Transaction, parts int) {
	a, b := &p.composer.audit, p.batch
	b.Mark("audit")
	key := record.Null
	if a.begun > 0 {
		key = len(b.Buf)
		b.Buf = append(b.Buf, a.key...)
	}
	value := len(b.Buf)
	b.Buf = append(b.Buf, `{"v":1,"database":`...)
	b.Buf = record.AppendJSONString(b.Buf, p.cfg.Database)
	b.Buf = append(b.Buf, `,"timeline":`...)
	b.Buf = strconv.AppendInt(b.Buf, int64(p.source.System().Timeline), 10)
	b.Buf = appendCommit(b.Buf, tx)
	if parts > 0 {
		b.Buf = strconv.AppendInt(append(b.Buf, `,"parts":`...), int64(parts+1), 10)
	}
	b.Buf = a.appendOrigin(b.Buf)
	b.Buf = a.appendStatements(b.Buf)
	b.Buf = a.appendTables(b.Buf)
	b.Buf = append(b.Buf, `,"direct_rows":`...)
	b.Buf = strconv.AppendInt(b.Buf, int64(a.directRows), 10)
	b.Buf = append(b.Buf, `,"ddl":`...)
	b.Buf = strconv.AppendInt(b.Buf, int64(a.ddl), 10)
	b.Buf = append(b.Buf, '}')
	b.Add(p.topics.Audit, key, value)
}

// appendCommit appends the fields that identify a transaction.
func appendCommit(dst []byte, tx *outbox.Transaction) []byte {
	dst = append(dst, `,"xid":`...)
	dst = strconv.AppendUint(dst, uint64(tx.XID), 10)
	dst = append(dst, `,"commit_lsn":"`...)
	dst = tx.CommitLSN.AppendTo(dst)
	dst = append(dst, `","end_lsn":"`...)
	dst = tx.EndLSN.AppendTo(dst)
	dst = append(dst, `","commit_time":`...)
	return record.AppendJSONTime(dst, tx.CommitTime)
}

func (a *audit) appendOrigin(dst []byte) []byte {
	if a.begun == 0 {
		return append(dst, `,"via":"direct","verified":null,"reason":"no note","session":null`...)
	}
	dst = appendTrust(append(dst, `,"via":"proxy"`...), a.trust)
	return append(append(dst, `,"session":`...), a.session...)
}

// add counts the changes of a transaction or of its next part. n are its notes.
func (a *audit) add(tx *outbox.Transaction, n *notes) {
	if tx.Part == 0 {
		a.reset()
	}
	for i := range tx.Changes {
		c := &tx.Changes[i]
		a.beginStatements(tx, n, c.Note)
		if c.Relation != nil {
			a.countChange(c)
		}
		if c.Op == outbox.DDL {
			a.ddl++
		}
	}
	a.beginStatements(tx, n, len(tx.Notes)-1)
}

func (a *audit) reset() {
	if a.byOID == nil {
		a.byOID = map[uint32]int{}
	}
	clear(a.byOID)
	*a = audit{
		tables: a.tables[:0], byOID: a.byOID, trust: note.Verified,
		session: a.session[:0], key: a.key[:0], statements: record.Recycle(a.statements), touched: a.touched[:0],
	}
}

// beginStatements begins the statements up to the one with note upTo.
func (a *audit) beginStatements(tx *outbox.Transaction, n *notes, upTo int) {
	for i := a.begun - tx.FirstNote; i <= upTo; i++ {
		a.endStatement()
		a.beginStatement(n, i, &tx.Notes[i])
	}
}

func (a *audit) beginStatement(n *notes, i int, note *note.Note) {
	if a.begun == 0 {
		a.key = record.AppendHex16(a.key, uint64(note.Session))
	}
	if !a.named { // rows that no note covers have a session, but no role
		a.named = len(note.Role) > 0
		a.session = n.appendSession(a.session[:0], &n.facts[i], note)
	}
	a.begun++
	a.trust = a.trust.And(note.Trust)
	a.rows, a.touched, a.moreTables = 0, a.touched[:0], 0
	if a.omitted > 0 || len(a.statements) > maxAuditStatementBytes {
		a.omitted++
		return
	}
	if a.begun > 1 {
		a.statements = append(a.statements, ',')
	}
	a.statements = append(a.statements, '{')
	if note.Nameless() {
		a.statements = append(a.statements, `"number":null,"command":null,"fingerprint":null,"text":null,"text_cut":false`...)
		return
	}
	f := &n.facts[i]
	a.statements = n.appendStatement(a.statements, f, note, maxAuditTextBytes)
	a.statements = append(a.statements, n.json[f.context.start:f.context.end]...)
}

// endStatement completes the JSON of the last statement.
func (a *audit) endStatement() {
	if a.begun == 0 || a.omitted > 0 {
		return
	}
	dst := appendRows(a.statements, a.rows)
	dst = append(dst, `,"tables":[`...)
	for i, table := range a.touched {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendTableName(dst, a.tables[table].relation)
	}
	dst = append(dst, ']')
	if a.moreTables > 0 {
		dst = append(dst, `,"tables_omitted":`...)
		dst = strconv.AppendInt(dst, int64(a.moreTables), 10)
	}
	a.statements = append(dst, '}')
}

func (a *audit) countChange(c *outbox.Change) {
	index := a.table(c)
	t := &a.tables[index]
	if t.statement != a.begun {
		t.statement = a.begun
		a.touch(index)
	}
	switch c.Op {
	case outbox.Insert:
		t.inserted++
	case outbox.Update:
		t.updated++
	case outbox.Delete:
		t.deleted++
	case outbox.Truncate:
		t.truncated++
		return
	}
	a.rows++
	if c.Note < 0 {
		a.directRows++
	}
}

func (a *audit) touch(table int) {
	if len(a.touched) == maxStatementTables {
		a.moreTables++
		return
	}
	a.touched = append(a.touched, table)
}

// table returns the index of the change's table in a.tables.
func (a *audit) table(c *outbox.Change) int {
	if last := len(a.tables) - 1; last >= 0 && a.tables[last].relation == c.Relation {
		return last
	}
	index, known := a.byOID[c.Relation.OID]
	if !known {
		index = len(a.tables)
		a.byOID[c.Relation.OID] = index
		a.tables = append(a.tables, tableCount{relation: c.Relation, statement: -1})
	}
	return index
}

func (a *audit) appendStatements(dst []byte) []byte {
	a.endStatement()
	dst = append(append(dst, `,"statements":[`...), a.statements...)
	return strconv.AppendInt(append(dst, `],"statements_omitted":`...), int64(a.omitted), 10)
}

func (a *audit) appendTables(dst []byte) []byte {
	dst = append(dst, `,"tables":[`...)
	start, omitted := len(dst), 0
	for i, t := range a.tables {
		if len(dst)-start > maxAuditTableBytes {
			omitted = len(a.tables) - i
			break
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"table":`...)
		dst = appendTableName(dst, t.relation)
		dst = append(dst, `,"inserted":`...)
		dst = strconv.AppendInt(dst, int64(t.inserted), 10)
		dst = append(dst, `,"updated":`...)
		dst = strconv.AppendInt(dst, int64(t.updated), 10)
		dst = append(dst, `,"deleted":`...)
		dst = strconv.AppendInt(dst, int64(t.deleted), 10)
		dst = append(dst, `,"truncated":`...)
		dst = strconv.AppendInt(dst, int64(t.truncated), 10)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"tables_omitted":`...)
	return strconv.AppendInt(dst, int64(omitted), 10)
}

func appendTableName(dst []byte, r *pgoutput.Relation) []byte {
	return record.AppendJSONString(dst, r.Schema+"."+r.Name)
}
