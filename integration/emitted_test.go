package integration

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// emitted is what one of pgtee's own functions has put into the log.
type emitted struct {
	kind, user string
	body       string
}

// Emitted reads from the slot, which nobody holds and which stays where it is, what pgtee.emit() has written of a kind.
func (r *runner) Emitted(kind string) (found []emitted) {
	r.t.Helper()
	raw := r.Query(`SELECT coalesce(string_agg(encode(data, 'hex'), ' '), '') FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL,
		'proto_version', '1', 'publication_names', 'pgtee_rows', 'messages', 'true')`, r.slot)
	for _, text := range strings.Fields(raw) {
		data, err := hex.DecodeString(text)
		r.must(err)
		var m pgoutput.Message
		r.must(pgoutput.Parse(data, &m))
		if m.Kind != pgoutput.KindLogical || string(m.Logical.Prefix) != note.MessagePrefix || m.Logical.Content[0] != 1 {
			continue
		}
		record := m.Logical.Content[1+32+4:] // behind the version, the signature, and the number of columns
		var values []string
		for len(record) > 0 {
			length := max(0, int(int32(binary.BigEndian.Uint32(record[4:]))))
			values = append(values, string(record[8:8+length]))
			record = record[8+length:]
		}
		if values[0] == kind {
			found = append(found, emitted{values[0], values[2], values[5]})
		}
	}
	return found
}

// RecordedDDL is what the event triggers wrote, one line per record.
func (r *runner) RecordedDDL() string {
	r.t.Helper()
	var lines []string
	for _, e := range r.Emitted("d") {
		var record outbox.DDLRecord
		r.must(json.Unmarshal([]byte(e.body), &record))
		var objects []string
		for _, o := range record.Objects {
			objects = append(objects, o.Type+" "+o.Name)
		}
		slices.SortFunc(objects, func(a, b string) int { // tables before indexes
			typeA, _, _ := strings.Cut(a, " ")
			typeB, _, _ := strings.Cut(b, " ")
			if typeA != typeB {
				return strings.Compare(typeB, typeA)
			}
			return strings.Compare(a, b)
		})
		line := record.Command + ": " + strings.Join(objects, ", ")
		for _, c := range record.Capture {
			line += fmt.Sprintf(" (%s %s)", c.Table, c.State)
		}
		if !record.Listed {
			line += " not listed"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}
