package publisher

import (
	"slices"
	"strconv"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// These bound one audit record, so that it stays under the megabyte that Kafka takes by default, also
// with a last text of maxAuditTextBytes of which JSON makes six times as many. What is beyond them is
// counted only.
const (
	maxAuditStatementBytes = 256 << 10
	maxAuditTableBytes     = 192 << 10
	maxStatementTables     = 100
)

// audit counts, for the audit record of one transaction, what its statements did to which tables.
type audit struct {
	tables     []tableCount
	byOID      map[uint32]int // index in tables
	touches    []touch        // one per statement and table, in the order of the changes
	directRows int
	ddl        int // records of <prefix>.ddl
}

type tableCount struct {
	relation                              *pgoutput.Relation
	inserted, updated, deleted, truncated int
	note                                  int // that touched it last
}

type touch struct{ note, table int }

const noNote = -2 // -1 is the note of a direct change

// appendAudit appends the record of <prefix>.audit that says who made this transaction:
//
//	{"v":1,"database","timeline","xid","end_lsn","commit_time","via":"proxy"|"direct","verified",
//	 "session":{…}|null,
//	 "statements":[{"number","command","fingerprint","text","text_cut","rows","tables":["s.t"],"tables_omitted"}],
//	 "statements_omitted",
//	 "tables":[{"table":"s.t","inserted","updated","deleted","truncated"}],"tables_omitted",
//	 "direct_rows","ddl"}
//
// A statement has "tables_omitted" only if some are.
//
// Its key is the session id, none for a write that bypassed the proxy. verified is true if every
// statement's note is.
func (p *Publisher) appendAudit(tx *outbox.Transaction) {
	p.audit.count(tx)
	b := p.batch
	b.mark("audit")
	key := Null
	if len(tx.Notes) > 0 {
		key = len(b.Buf)
		b.Buf = AppendHex16(b.Buf, uint64(tx.Notes[0].Session))
	}
	value := len(b.Buf)
	b.Buf = append(b.Buf, `{"v":1,"database":`...)
	b.Buf = AppendJSONString(b.Buf, p.cfg.Database)
	b.Buf = append(b.Buf, `,"timeline":`...)
	b.Buf = strconv.AppendInt(b.Buf, int64(p.source.System().Timeline), 10)
	b.Buf = appendCommit(b.Buf, tx)
	b.Buf = appendOrigin(b.Buf, tx)
	b.Buf = p.audit.appendStatements(b.Buf, &b.notes, tx)
	b.Buf = p.audit.appendTables(b.Buf)
	b.Buf = append(b.Buf, `,"direct_rows":`...)
	b.Buf = strconv.AppendInt(b.Buf, int64(p.audit.directRows), 10)
	b.Buf = append(b.Buf, `,"ddl":`...)
	b.Buf = strconv.AppendInt(b.Buf, int64(p.audit.ddl), 10)
	b.Buf = append(b.Buf, '}')
	b.Add(p.topics.audit, key, value)
}

// appendCommit appends the fields that name a transaction.
func appendCommit(dst []byte, tx *outbox.Transaction) []byte {
	dst = append(dst, `,"xid":`...)
	dst = strconv.AppendUint(dst, uint64(tx.XID), 10)
	dst = append(dst, `,"end_lsn":"`...)
	dst = append(dst, tx.EndLSN.String()...)
	dst = append(dst, `","commit_time":`...)
	return AppendJSONTime(dst, tx.CommitTime)
}

func appendOrigin(dst []byte, tx *outbox.Transaction) []byte {
	if len(tx.Notes) == 0 {
		return append(dst, `,"via":"direct","verified":false,"session":null`...)
	}
	verified := !slices.ContainsFunc(tx.Notes, func(n outbox.Note) bool { return n.Trust != outbox.Verified })
	dst = append(dst, `,"via":"proxy","verified":`...)
	dst = strconv.AppendBool(dst, verified)
	dst = append(dst, `,"session":`...)
	return appendSession(dst, &tx.Notes[0])
}

func (a *audit) count(tx *outbox.Transaction) {
	if a.byOID == nil {
		a.byOID = map[uint32]int{}
	}
	clear(a.byOID)
	a.tables, a.touches, a.directRows, a.ddl = a.tables[:0], a.touches[:0], 0, 0
	for i := range tx.Changes {
		c := &tx.Changes[i]
		if c.Relation != nil {
			a.countChange(c)
		}
		if c.Op == outbox.DDL {
			a.ddl++
		}
	}
}

func (a *audit) countChange(c *outbox.Change) {
	index := a.table(c)
	t := &a.tables[index]
	if t.note != c.Note {
		t.note = c.Note
		a.touches = append(a.touches, touch{c.Note, index})
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
	if c.Note < 0 {
		a.directRows++
	}
}

// table returns the index of the change's table.
func (a *audit) table(c *outbox.Change) int {
	if last := len(a.tables) - 1; last >= 0 && a.tables[last].relation == c.Relation {
		return last
	}
	index, known := a.byOID[c.Relation.OID]
	if !known {
		index = len(a.tables)
		a.byOID[c.Relation.OID] = index
		a.tables = append(a.tables, tableCount{relation: c.Relation, note: noNote})
	}
	return index
}

func (a *audit) appendStatements(dst []byte, n *notes, tx *outbox.Transaction) []byte {
	dst = append(dst, `,"statements":[`...)
	start, next := len(dst), 0
	for i := range tx.Notes {
		if len(dst)-start > maxAuditStatementBytes {
			dst = append(dst, `],"statements_omitted":`...)
			return strconv.AppendInt(dst, int64(len(tx.Notes)-i), 10)
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, next = a.appendStatement(dst, n, tx, i, next)
	}
	return append(dst, `],"statements_omitted":0`...)
}

// appendStatement appends statement i. Its touches are at next or later; it returns where they end.
func (a *audit) appendStatement(dst []byte, n *notes, tx *outbox.Transaction, i, next int) ([]byte, int) {
	dst = append(dst, '{')
	dst = n.appendStatement(dst, &n.facts[i], &tx.Notes[i], maxAuditTextBytes)
	dst = append(dst, `,"tables":[`...)
	for next < len(a.touches) && a.touches[next].note < i {
		next++
	}
	first := next
	for ; next < len(a.touches) && a.touches[next].note == i; next++ {
		if next >= first+maxStatementTables {
			continue
		}
		if next > first {
			dst = append(dst, ',')
		}
		dst = appendTableName(dst, a.tables[a.touches[next].table].relation)
	}
	dst = append(dst, ']')
	if omitted := next - first - maxStatementTables; omitted > 0 {
		dst = append(dst, `,"tables_omitted":`...)
		dst = strconv.AppendInt(dst, int64(omitted), 10)
	}
	return append(dst, '}'), next
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
	return AppendJSONString(dst, r.Schema+"."+r.Name)
}
