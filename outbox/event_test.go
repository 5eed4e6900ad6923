package outbox

import (
	"reflect"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox/note"
)

func TestEventRecords(t *testing.T) {
	row := func(note, payload string) []string {
		return []string{"e", "2026-01-02 03:04:05+00", note, "ann", null, "7", "till", payload}
	}
	tests := []struct {
		name string
		row  []string
		want EventRecord
	}{
		{"whole", row(`{"key": "a2V5", "topic": "orders", "headers": {"b": null, "a": "1"}}`, `\x7b7d`),
			EventRecord{Topic: "orders", Key: []byte("key"), Payload: []byte("{}"), Headers: []EventHeader{{"a", []byte("1")}, {"b", nil}}, User: "ann"}},
		{"nulls", row(`{"key": null, "topic": "orders", "headers": null}`, null), EventRecord{Topic: "orders", User: "ann"}},
		{"empty", row(`{"key": "", "topic": "orders"}`, `\x`), EventRecord{Topic: "orders", Key: []byte{}, Payload: []byte{}, User: "ann"}},
		{"a key of lines", row(`{"key": "a2\nV5", "topic": "orders"}`, null), EventRecord{Topic: "orders", Key: []byte("key"), User: "ann"}},
		{"no JSON", row(`{`, `\x00`), EventRecord{User: "ann"}},
		{"no base64", row(`{"topic": "orders", "key": "!"}`, null), EventRecord{User: "ann"}},
		{"odd payload", row(`{"topic": "orders"}`, `\x0`), EventRecord{User: "ann"}},
		{"too long", row(strings.Repeat(" ", maxEventBytes)+`{"topic": "orders"}`, null), EventRecord{User: "ann"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := &wal{t: t}
			w.begin(1).relation(3, Schema, "outbox_2", outboxColumns...).relation(1, "public", "orders", "id")
			got := w.insert(1, "before").insert(3, test.row...).insert(1, "after").commit()
			if len(got.Changes) != 3 || len(got.Notes) != 0 {
				t.Fatalf("%d changes, %d notes", len(got.Changes), len(got.Notes))
			}
			c := got.Changes[1]
			if c.Op != Event || c.Ordinal != 1 || c.Note != -1 || !reflect.DeepEqual(*c.Event, test.want) {
				t.Errorf("%c %d: %+v, want %+v", c.Op, c.Ordinal, c.Event, test.want)
			}
		})
	}
}

// A logical message proves no right to publish.
func TestEventsAreRowsOnly(t *testing.T) {
	w := &wal{t: t}
	got := w.begin(1).message(note.MessagePrefix, `{"topic": "orders"}`).commit()
	if len(got.Changes) != 0 || len(got.Notes) != 1 || got.Notes[0].Trust != note.Forged {
		t.Errorf("%+v", got)
	}
}

func FuzzEventRecord(f *testing.F) {
	f.Add(`{"key": "a2V5", "topic": "orders", "headers": {"b": null, "a": "1"}}`, `\x7b7d`, "ann")
	f.Add(`{`, `\x0`, "")
	f.Fuzz(func(t *testing.T, note, payload, user string) {
		w := &wal{t: t}
		w.begin(1).relation(3, Schema, "outbox_2", outboxColumns...)
		got := w.insert(3, "e", "", note, user, null, "7", "till", payload).commit()
		if len(got.Changes) != 1 || len(got.Changes[0].Event.User) > maxNameBytes {
			t.Fatal("the event is gone, or its user too long")
		}
	})
}
