package outbox

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Notes are in the WAL in two forms: rows of pgtee.outbox, and logical messages. Any client can write such a message, so an unreadable note is not an error
// of the stream: it becomes a Forged note without payload. Only pgtee's own functions can write the rows, and messages that are signed with the
// database's secret: notes (trust.go), and DDL records, events and signals (emitted.go), which an older pgtee writes as rows.

const (
	// Schema is the schema of pgtee's tables and functions.
	Schema = "pgtee"

	// maxDDLBytes is the longest DDL record that is decoded: JSON can take 32 times its length in memory.
	maxDDLBytes = 16 << 20

	// maxNameBytes exceeds the length that PostgreSQL allows for a name (NAMEDATALEN, 64). Every row of a statement carries the names of its note.
	maxNameBytes = 256

	// actorMark separates application_name and pgtee.actor, in hexadecimal, in a note: see pgtee.actor().
	actorMark = 1

	// maxApplicationBytes is the maximum length of both together. An actor has at most 128 characters.
	maxApplicationBytes = maxNameBytes + 1 + 2*4*128
)

// noteField is the meaning of a column of pgtee.outbox.
type noteField byte

const (
	fieldOther noteField = iota
	fieldKind
	fieldNote
	fieldUser
	fieldRole
	fieldPID
	fieldApplication
	fieldSQL
	fieldCount
)

var noteFieldNames = map[string]noteField{
	"kind": fieldKind, "note": fieldNote, "user_name": fieldUser, "role_name": fieldRole, "pid": fieldPID,
	"application": fieldApplication, "sql": fieldSQL,
}

func noteFields(r *pgoutput.Relation) []noteField {
	fields := make([]noteField, len(r.Columns))
	for i, column := range r.Columns {
		fields[i] = noteFieldNames[column.Name]
	}
	return fields
}

// noteColumns are the values of a note as received, in either form; nil for null.
type noteColumns struct {
	payload, user, role, application []byte

	pid    int32
	sql    []byte
	sqlHex bool // sql is in the text form of bytea: \x and hexadecimal digits

	witnessed bool // the server itself attests the writer, and that the note was written for this transaction

	omitted uint64 // length of values that were too long to be kept in memory
}

// outboxRow handles a row that was inserted into pgtee.outbox.
func (a *Assembler) outboxRow(lsn LSN, t *table, tuple pgoutput.Tuple) {
	var values [fieldCount][]byte
	var omitted uint64
	columns := tuple.Columns()
	for i := 0; columns.Next(); i++ {
		switch columns.Kind() {
		case pgoutput.Text:
			values[t.fields[i]] = columns.Value()
		case pgoutput.Omitted:
			omitted += binary.BigEndian.Uint64(columns.Value())
		}
	}
	switch string(values[fieldKind]) {
	case "d":
		a.ddl(lsn, values[fieldNote])
		return
	case "n", "e", "s":
	default: // a kind that this version does not know
		values[fieldNote] = nil
	}
	pid, _ := strconv.ParseInt(string(values[fieldPID]), 10, 32)
	row := &noteColumns{
		payload:     values[fieldNote],
		user:        values[fieldUser],
		role:        values[fieldRole],
		application: values[fieldApplication],
		pid:         int32(pid),
		sql:         values[fieldSQL],
		sqlHex:      true,
		witnessed:   true,
		omitted:     omitted,
	}
	switch string(values[fieldKind]) {
	case "e":
		a.event(lsn, row)
	case "s":
		a.signal(lsn, row)
	default:
		a.note(lsn, row)
	}
}

// messageNote handles the content of a logical message with pgtee's prefix: a record, signed or not, or lines.
func (a *Assembler) messageNote(lsn LSN, content []byte) {
	var columns noteColumns
	var ok bool
	if isSigned(content) {
		columns, ok = a.signedColumns(content)
	} else if columns, ok = recordColumns(content); !ok {
		columns, ok = lineColumns(content)
	}
	if !ok || max(len(columns.user), len(columns.role)) > maxNameBytes || len(columns.application) > maxApplicationBytes {
		columns = noteColumns{}
	}
	a.note(lsn, &columns)
}

// recordColumns reads record_send() of ROW(payload text, user bytea, role bytea, pid int, application text, sql bytea), which pgtee.note() writes.
func recordColumns(content []byte) (c noteColumns, ok bool) {
	var values [6][]byte
	if !readRecord(content, values[:]) {
		return c, false
	}
	return columnsOf(values[:])
}

func columnsOf(values [][]byte) (c noteColumns, ok bool) {
	if len(values[3]) != 4 {
		return c, false
	}
	return noteColumns{
		payload:     values[0],
		user:        values[1],
		role:        values[2],
		pid:         int32(binary.BigEndian.Uint32(values[3])),
		application: values[4],
		sql:         values[5],
	}, true
}

// lineColumns reads payload, application_name, pid, user and role, one per line; the user is quoted if necessary. It is the form of a note without the SQL
// of the server. An application_name has no line feed (pg_clean_ascii in PostgreSQL's common/string.c); a role may have one.
func lineColumns(content []byte) (c noteColumns, ok bool) {
	var pid []byte
	for _, line := range []*[]byte{&c.payload, &c.application, &pid} {
		if *line, content, ok = bytes.Cut(content, []byte("\n")); !ok {
			return c, false
		}
	}
	number, err := strconv.ParseInt(string(pid), 10, 32)
	if err != nil || len(content) > 4*maxNameBytes {
		return c, false
	}
	c.pid = int32(number)
	c.user, c.role, ok = cutIdentifier(content)
	return c, ok
}

// cutIdentifier reads an identifier as quote_ident() prints it, up to a line feed.
func cutIdentifier(text []byte) (name, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return bytes.Cut(text, []byte("\n"))
	}
	for i := 1; i+1 < len(text); i++ {
		switch {
		case text[i] != '"':
			name = append(name, text[i])
		case text[i+1] == '"':
			name = append(name, '"')
			i++
		default:
			return name, text[i+2:], text[i+1] == '\n'
		}
	}
	return nil, nil, false
}

// readRecord reads the binary form of a record (record_send in PostgreSQL's rowtypes.c): int32 number
// of columns, then per column int32 type, int32 length (-1 for null), bytes.
func readRecord(data []byte, values [][]byte) bool {
	if len(data) < 4 || binary.BigEndian.Uint32(data) != uint32(len(values)) {
		return false
	}
	data = data[4:]
	for i := range values {
		if len(data) < 8 {
			return false
		}
		length := int32(binary.BigEndian.Uint32(data[4:]))
		data = data[8:]
		if length == -1 {
			continue
		}
		if length < 0 || int(length) > len(data) {
			return false
		}
		values[i], data = data[:length], data[length:]
	}
	return len(data) == 0
}

// note appends a note and, unless an event trigger reports the DDL, the DDL change: for a command that ran before its note (FlagOutsideBlock) and fires
// no event trigger, or for any DDL if there are no event triggers. A forged or replayed note reports no DDL, because any client can send one.
//
// A note that may report DDL uses up an ordinal in any case, because ordinals must not depend on the keys and event triggers that exist when the
// stream is read.
func (a *Assembler) note(lsn LSN, c *noteColumns) {
	a.current.Bytes += noteBytes + len(c.payload) + len(c.user) + len(c.role) + len(c.application) + len(c.sql)
	n := &a.incoming
	application, actor, _ := bytes.Cut(c.application, []byte{actorMark})
	*n = note.Note{
		User:        a.memory.copy(c.user),
		Role:        a.memory.copy(c.role),
		PID:         c.pid,
		Application: a.memory.copy(application),
		Actor:       a.actor(actor),
	}
	n.Trust = a.verify(n, c)
	for _, text := range []*[]byte{&n.User, &n.Role, &n.Application, &n.Actor, &n.SQL} { // after verify, because the signature covers the text as received
		*text = a.encoding.readable(*text)
	}
	a.attribute(lsn, n)
	if n.Flags&(note.FlagOutsideBlock|note.FlagDDL) == 0 {
		return
	}
	if n.Flags&note.FlagDDL != 0 && !a.noTriggers || n.Trust.Lies() {
		a.ordinal++
		return
	}
	change := a.change(DDL, lsn, len(n.SQL))
	change.DDL = &DDLRecord{
		Statement: string(n.SQL), User: string(n.User), Role: string(n.Role), Application: string(n.Application), PID: n.PID,
		Atomic: n.Flags&note.FlagOutsideBlock == 0,
	}
}

// actor decodes the value of pgtee.actor, which a note carries in hexadecimal; nil if there is none.
func (a *Assembler) actor(digits []byte) []byte {
	if len(digits) == 0 {
		return nil
	}
	actor := a.memory.room(hex.DecodedLen(len(digits)))
	length, _ := hex.Decode(actor, digits)
	return actor[:length]
}

// readPayload fills in n.Payload and n.SQL.
func (a *Assembler) readPayload(n *note.Note, c *noteColumns) (ok bool) {
	raw := a.memory.room(base64.StdEncoding.DecodedLen(len(c.payload)))
	length, err := base64.StdEncoding.Decode(raw, c.payload)
	if err != nil {
		return false
	}
	payload, sql, err := note.ParsePayload(raw[:length])
	if err != nil {
		return false
	}
	if payload.Flags&(note.FlagSQL|note.FlagQuery) == note.FlagQuery {
		if sql, ok = a.querySQL(c); !ok {
			return false
		}
	}
	n.Payload, n.SQL = payload, sql
	return true
}

// querySQL returns the statement that pgtee.note() extracted from current_query().
func (a *Assembler) querySQL(c *noteColumns) ([]byte, bool) {
	if !c.sqlHex || c.sql == nil {
		return a.memory.copy(c.sql), true
	}
	if len(c.sql) < 2 || string(c.sql[:2]) != `\x` {
		return nil, false
	}
	sql := a.memory.room(hex.DecodedLen(len(c.sql) - 2))
	_, err := hex.Decode(sql, c.sql[2:])
	return sql, err == nil
}

// ddl appends the change for a DDL record in JSON.
func (a *Assembler) ddl(lsn LSN, content []byte) {
	c := a.change(DDL, lsn, len(content))
	c.DDL = &DDLRecord{}
	content = a.encoding.fromFunction(content)
	if len(content) > maxDDLBytes || json.Unmarshal(content, c.DDL) != nil {
		*c.DDL = DDLRecord{}
	}
	for _, oid := range c.DDL.Drops() {
		a.forget(oid)
	}
}
