package outbox

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox/note"
)

var outboxColumns = []string{"kind", "at", "note", "user_name", "role_name", "pid", "application", "sql"}

// outboxRow returns the values of a row of pgtee.outbox, as pgoutput sends them; a nil sql is null.
func outboxRow(kind byte, note, user, role string, pid int32, sql []byte) []string {
	text := null
	if sql != nil {
		text = `\x` + hex.EncodeToString(sql)
	}
	return []string{string(kind), "2026-01-02 03:04:05+00", note, user, role, fmt.Sprint(pid), "psql", text}
}

// recordMessage returns what record_send() makes of a note.
func recordMessage(note, user, role string, pid int32, sql []byte) string {
	record := binary.BigEndian.AppendUint32(nil, 6)
	column := func(oid uint32, value []byte) {
		record = binary.BigEndian.AppendUint32(record, oid)
		if value == nil {
			record = binary.BigEndian.AppendUint32(record, 1<<32-1)
			return
		}
		record = binary.BigEndian.AppendUint32(record, uint32(len(value)))
		record = append(record, value...)
	}
	column(25, []byte(note))
	column(19, []byte(user))
	column(19, []byte(role))
	column(23, binary.BigEndian.AppendUint32(nil, uint32(pid)))
	column(25, []byte("psql"))
	column(17, sql)
	return string(record)
}

// lineMessage returns what the proxy has written where a note is not a row. user is quoted.
func lineMessage(note, user, role string, pid int32) string {
	return fmt.Sprintf("%s\npsql\n%d\n%s\n%s", note, pid, user, role)
}

func testPayload(flags note.Flags) *note.Payload {
	return &note.Payload{
		Flags: flags, Offset: 7, Length: 23, ProxyID: 1, Session: note.NewSessionID(time.UnixMilli(1_700_000_000_000), 5), Counter: 3, Statement: 9,
		Time: time.UnixMicro(1_700_000_000_000_001).UTC(), Client: netip.MustParseAddrPort("192.0.2.7:50123"), Fingerprint: 0xABCDEF,
	}
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

// testSigner signs as the proxy of testPayload does.
var testSigner = note.MasterKey(testKey).Signer(testPayload(0).ProxyID)

// All forms of a note say the same.
func TestNoteForms(t *testing.T) {
	const sql = "update orders set état = '\\x00'"
	tests := []struct {
		name    string
		flags   note.Flags
		signed  string // what the proxy signs
		column  []byte // what the server adds
		wantSQL string
	}{
		{"SQL from current_query()", note.FlagRow | note.FlagQuery, sql, []byte(sql), sql},
		{"SQL in the payload", note.FlagSQL | note.FlagRedacted, sql, nil, sql},
		{"no SQL", 0, "", nil, ""},
		{"a column that the proxy did not ask for", 0, "", []byte("select forged"), ""},
		{"empty SQL", note.FlagQuery, "", []byte{}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			payload := testPayload(test.flags)
			text := signed(testSigner, payload, "bob", 4711, test.signed)
			w := &wal{t: t, keys: []note.MasterKey{testKey}}
			w.begin(1).relation(3, Schema, "outbox_0", outboxColumns...)
			w.insert(3, outboxRow('n', text, "bob", "admin", 4711, test.column)...)
			w.assembler.replays, w.assembler.binding.counter = note.Replays{}, 0 // all are the same note
			w.message(note.MessagePrefix, witnessed(1, text, "bob", "admin", 4711, test.column))
			forms := 2
			if test.flags&note.FlagRow == 0 {
				w.assembler.replays, w.assembler.binding.counter = note.Replays{}, 0
				w.message(note.MessagePrefix, recordMessage(text, "bob", "admin", 4711, test.column))
				forms++
			}
			if test.column == nil {
				w.assembler.replays, w.assembler.binding.counter = note.Replays{}, 0
				w.message(note.MessagePrefix, lineMessage(text, "bob", "admin", 4711))
				forms++
			}
			got := w.commit()
			if len(got.Notes) != forms || len(got.Changes) != 0 {
				t.Fatalf("%d notes, %d changes, want %d and 0", len(got.Notes), len(got.Changes), forms)
			}
			for _, m := range got.Notes {
				want := note.Note{Payload: *payload, User: []byte("bob"), Role: []byte("admin"), PID: 4711, Application: []byte("psql"), SQL: m.SQL, Trust: note.Verified}
				if !reflect.DeepEqual(m, want) || string(m.SQL) != test.wantSQL {
					t.Errorf("got  %+v\nwant %+v with SQL %q", m, want, test.wantSQL)
				}
			}
		})
	}
}

// A name may have any character but NUL.
func TestNamesInLines(t *testing.T) {
	for _, test := range []struct{ quoted, user, role string }{
		{"bob", "bob", ""},
		{`"Bob"`, "Bob", `"Bob"`},
		{`"a""b"`, `a"b`, "x\ny"},
		{`""""`, `"`, "\n"},
		{"\"a\nb\"", "a\nb", "état"},
	} {
		text := signed(testSigner, testPayload(0), test.user, 1, "")
		w := &wal{t: t, keys: []note.MasterKey{testKey}}
		m := w.begin(1).message(note.MessagePrefix, lineMessage(text, test.quoted, test.role, 1)).commit().Notes[0]
		if string(m.User) != test.user || string(m.Role) != test.role || m.Trust != note.Unbound {
			t.Errorf("%s: user %q, role %q, trust %d; want %q, %q, unbound", test.quoted, m.User, m.Role, m.Trust, test.user, test.role)
		}
	}
}

// A change belongs to the last note before it; what comes before the first is of its session.
func TestNoteOfEachChange(t *testing.T) {
	m := func(sql string) string {
		return recordMessage(signed(testSigner, testPayload(note.FlagSQL), "", 0, sql), "", "", 0, nil)
	}
	w := &wal{t: t}
	w.begin(1).relation(1, "public", "t", "a").insert(1, "before")
	w.message(note.MessagePrefix, m("one")).message(note.MessagePrefix, m("two")).insert(1, "a").message("app", "b")
	w.relation(3, Schema, "outbox", outboxColumns...)
	w.message(note.MessagePrefix, m("three")).insert(3, outboxRow('d', `{"command": "CREATE TABLE", "confirmed": true}`, null, null, 0, nil)...)
	got := w.commit()
	want := []int{0, 2, 2, 3} // the first is of no statement
	for i, change := range got.Changes {
		if change.Note != want[i] || change.Ordinal != i {
			t.Errorf("change %d: note %d, ordinal %d, want note %d", i, change.Note, change.Ordinal, want[i])
		}
	}
	if !got.Notes[0].Nameless() || got.Notes[1].Nameless() {
		t.Error("the note of no statement is not the first")
	}
	if ddl := got.Changes[3].DDL; len(got.Changes) != 4 || ddl == nil || ddl.Command != "CREATE TABLE" || !ddl.Confirmed {
		t.Errorf("DDL record %+v", ddl)
	}
	if got := w.begin(2).insert(1, "next").commit(); got.Changes[0].Note != -1 || got.Changes[0].Ordinal != 0 {
		t.Errorf("the next transaction starts with note %d, ordinal %d", got.Changes[0].Note, got.Changes[0].Ordinal)
	}
}

// What a client can write by hand never ends the stream.
func TestNoteMalformed(t *testing.T) {
	good := signed(testSigner, testPayload(note.FlagQuery), "bob", 1, "select 1")
	record := recordMessage(good, "bob", "r", 1, []byte("select 1"))
	messages := map[string]string{
		"empty":               "",
		"text":                "hello",
		"cut":                 record[:len(record)-1],
		"longer":              record + "x",
		"seven columns":       "\x00\x00\x00\x07" + record[4:],
		"2^31 columns":        "\x80\x00\x00\x00" + record[4:],
		"length of 2 GB":      record[:8] + "\x7f\xff\xff\xff" + record[12:],
		"length of -2":        record[:8] + "\xff\xff\xff\xfe" + record[12:],
		"no base64":           recordMessage("!!!!", "bob", "r", 1, nil),
		"short payload":       recordMessage("AQEA", "bob", "r", 1, nil),
		"version 3, short":    recordMessage(base64.StdEncoding.EncodeToString([]byte("\x03"+strings.Repeat("\x00", 90))), "bob", "r", 1, nil),
		"version 0":           recordMessage(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", 100))), "bob", "r", 1, nil),
		"signed, cut":         string([]byte{signedNote}),
		"signed by another":   "\x02" + strings.Repeat("s", 32) + record,
		"lines, cut":          lineMessage(good, "bob", "r", 1)[:len(good)+8],
		"lines, pid":          lineMessage(good, "bob", "r", 1)[:len(good)+6] + "x\nbob\nr",
		"lines, no role":      strings.TrimSuffix(lineMessage(good, "bob", "", 1), "\n"),
		"lines, open quote":   lineMessage(good, `"bob`, "r", 1),
		"lines, cut quote":    lineMessage(good, `"bob"x`, "r", 1),
		"lines, half a quote": lineMessage(good, `"`, "", 1),
		"lines, long role":    lineMessage(good, "bob", strings.Repeat("r", maxNameBytes+1), 1),
		"lines, long user":    lineMessage(good, strings.Repeat("b", 1<<20), "r", 1),
		"null instead of pid": strings.Replace(record, "\x00\x00\x00\x17\x00\x00\x00\x04\x00\x00\x00\x01", "\x00\x00\x00\x17\xff\xff\xff\xff", 1),
	}
	for name, content := range messages {
		t.Run("message/"+name, func(t *testing.T) {
			w := &wal{t: t}
			checkForged(t, w.begin(1).message(note.MessagePrefix, content).commit())
		})
	}
	rows := map[string][]string{
		"no kind":     append([]string{null}, outboxRow('n', good, "u", "r", 1, nil)[1:]...),
		"kind x":      outboxRow('x', "", "u", "r", 1, nil),
		"no payload":  outboxRow('n', null, "u", "r", 1, nil),
		"bad pid":     {"n", "", "AQEA", "u", "r", "99999999999", "a", null},
		"bytea as \\": {"n", "", good, "u", "r", "1", "a", `select \001`},
		"odd hex":     {"n", "", good, "u", "r", "1", "a", `\x123`},
	}
	for name, values := range rows {
		t.Run("row/"+name, func(t *testing.T) {
			w := &wal{t: t}
			w.begin(1).relation(3, Schema, "outbox", outboxColumns...)
			checkForged(t, w.insert(3, values...).commit())
		})
	}
}

func checkForged(t *testing.T, got *Transaction) {
	t.Helper()
	if len(got.Notes) != 1 || got.Notes[0].Trust != note.Forged || got.Notes[0].Payload != (note.Payload{}) || got.Notes[0].SQL != nil {
		t.Errorf("got %+v, want one forged note without payload", got.Notes)
	}
}

// A command that cannot run in a transaction block is known from its note only.
func TestNoteAfterCommand(t *testing.T) {
	text := signed(testSigner, testPayload(note.FlagSQL|note.FlagOutsideBlock), "bob", 7, "VACUUM t")
	w := &wal{t: t}
	got := w.begin(1).message(note.MessagePrefix, recordMessage(text, "bob", "admin", 7, nil)).commit()
	if len(got.Notes) != 1 || len(got.Changes) != 1 {
		t.Fatalf("%d notes and %d changes, want 1 and 1", len(got.Notes), len(got.Changes))
	}
	want := &DDLRecord{Statement: "VACUUM t", User: "bob", Role: "admin", Application: "psql", PID: 7}
	if c := got.Changes[0]; c.Op != DDL || c.Note != 0 || !reflect.DeepEqual(c.DDL, want) {
		t.Errorf("got %c of note %d: %+v, want %+v", c.Op, c.Note, c.DDL, want)
	}
}

// Any client can write a message: a forged one must not tell of DDL, nor bring names that blow up every row.
func TestForgedMessages(t *testing.T) {
	text := signed(note.MasterKey("another key").Signer(testPayload(0).ProxyID), testPayload(note.FlagSQL|note.FlagOutsideBlock), "bob", 7, "DROP TABLE t")
	w := &wal{t: t, keys: []note.MasterKey{testKey}}
	w.begin(1).message(note.MessagePrefix, recordMessage(text, "bob", "admin", 7, nil))
	w.message(note.MessagePrefix, recordMessage(text, strings.Repeat("x", 1000), "admin", 7, nil))
	got := w.commit()
	if len(got.Notes) != 2 || len(got.Changes) != 0 {
		t.Fatalf("%d notes and %d changes, want 2 and 0", len(got.Notes), len(got.Changes))
	}
	for _, n := range got.Notes {
		if n.Trust != note.Forged || len(n.User) > maxNameBytes {
			t.Errorf("trust %d, a user name of %d bytes", n.Trust, len(n.User))
		}
	}
}

// Only rows of the outbox are DDL records: any client can write a message.
func TestDDLRecords(t *testing.T) {
	const body = `{"command": "ALTER TABLE", "statement": "alter table t add b int", "user": "bob", "pid": 7, "listed": true, "atomic": true, "confirmed": true,
		"objects": [{"command": "ALTER TABLE", "type": "table", "schema": "public", "name": "public.t", "oid": 16385, "dropped": false,
		"columns": [{"name": "a", "type": "integer", "not_null": true}]}]}`
	w := &wal{t: t}
	w.begin(1).relation(3, Schema, "outbox", outboxColumns...)
	for _, text := range []string{body, "{", `{"pid": "x", "user": "eve"}`, strings.Repeat(" ", maxDDLBytes) + body} {
		w.insert(3, outboxRow('d', text, null, null, 0, nil)...)
	}
	got := w.commit()
	whole := &DDLRecord{
		Command: "ALTER TABLE", Statement: "alter table t add b int", User: "bob", PID: 7, Listed: true, Atomic: true, Confirmed: true,
		Objects: []DDLObject{{
			Command: "ALTER TABLE", Type: "table", Schema: "public", Name: "public.t", OID: 16385,
			Columns: []DDLColumn{{Name: "a", Type: "integer", NotNull: true}},
		}},
	}
	want := []*DDLRecord{whole, {}, {}, {}}
	if len(got.Changes) != len(want) || len(got.Notes) != 0 {
		t.Fatalf("%d changes, %d notes, want %d and 0", len(got.Changes), len(got.Notes), len(want))
	}
	for i, change := range got.Changes {
		if change.Op != DDL || !reflect.DeepEqual(change.DDL, want[i]) {
			t.Errorf("change %d: %c %+v, want %+v", i, change.Op, change.DDL, want[i])
		}
	}
}

func TestIsOutbox(t *testing.T) {
	for name, want := range map[string]bool{
		"outbox": true, "outbox_0": true, "outbox_12": true, "outbox_": false, "outbox_x": false, "outbox0": false, "meta": false, "outbox_1_idx": false,
	} {
		if got := isOutbox(name); got != want {
			t.Errorf("isOutbox(%q) = %t", name, got)
		}
	}
}

func FuzzNoteMessage(f *testing.F) {
	text := signed(testSigner, testPayload(note.FlagQuery), "bob", 1, "select 1")
	f.Add([]byte(recordMessage(text, "bob", "r", 1, []byte("select 1"))))
	f.Add([]byte(lineMessage(text, `"b""ob"`, "r", 1)))
	f.Add([]byte(witnessed(1, text, "bob", "r", 1, []byte("select 1"))))
	f.Fuzz(func(t *testing.T, content []byte) {
		w := &wal{t: t, keys: []note.MasterKey{testKey}}
		got := w.begin(1).message(note.MessagePrefix, string(content)).commit()
		if len(got.Notes)+len(got.Changes) == 0 {
			t.Fatal("the message is gone")
		}
	})
}

// Where no event trigger tells of DDL, its note does, before the rows that it writes.
func TestDDLOfANote(t *testing.T) {
	sign := func(flags note.Flags) string {
		return signed(testSigner, testPayload(note.FlagSQL|flags), "bob", 7, "CREATE TABLE t AS SELECT 1")
	}
	for _, test := range []struct {
		name       string
		flags      note.Flags
		noTriggers bool
		want       int // DDL changes
		atomic     bool
	}{
		{"with triggers", note.FlagDDL, false, 0, false},
		{"without", note.FlagDDL, true, 1, true},
		{"after, with triggers", note.FlagDDL | note.FlagOutsideBlock, false, 0, false},
		{"after, without", note.FlagDDL | note.FlagOutsideBlock, true, 1, false},
		{"after, seen by no trigger", note.FlagOutsideBlock, false, 1, false},
		{"no DDL", 0, true, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &wal{t: t, keys: []note.MasterKey{testKey}, noTriggers: test.noTriggers}
			got := w.begin(1).relation(1, "public", "t", "a").message(note.MessagePrefix, recordMessage(sign(test.flags), "bob", "r", 7, nil)).insert(1, "x").commit()
			if len(got.Changes) != test.want+1 || got.Changes[test.want].Op != Insert {
				t.Fatalf("changes %+v", got.Changes)
			}
			if d := got.Changes[0].DDL; test.want == 1 && (d.Confirmed || d.Atomic != test.atomic || d.User != "bob") {
				t.Errorf("%+v", d)
			}
		})
	}
}
