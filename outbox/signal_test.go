package outbox

import (
	"reflect"
	"strings"
	"testing"
)

func TestSignals(t *testing.T) {
	tests := []struct {
		name, text string
		want       SignalRecord
	}{
		{"execute", `{"id": "a", "type": "execute-snapshot", "data": {"type": "INCREMENTAL", "data-collections": ["public.orders", "public.l*"],
			"additional-conditions": [{"data-collection": "public.orders", "filter": "id > 5"}]}}`,
			SignalRecord{ID: "a", Type: ExecuteSnapshot, Tables: []string{"public.orders", "public.l*"}, Conditions: []SignalCondition{{"public.orders", "id > 5"}}}},
		{"pause", `{"id": "b", "type": "pause-snapshot", "data": {"id": "a"}}`, SignalRecord{ID: "b", Type: PauseSnapshot, Snapshot: "a"}},
		{"resume all", `{"type": "resume-snapshot"}`, SignalRecord{Type: ResumeSnapshot}},
		{"stop tables", `{"id": "", "type": "stop-snapshot", "data": {"data-collections": ["public.orders"]}}`,
			SignalRecord{Type: StopSnapshot, Tables: []string{"public.orders"}}},
		{"missed", `{"id": "missed-1", "type": "resync", "data": {"data-collections": ["public.orders"], "roots": {"public.orders": 16385}}}`,
			SignalRecord{ID: "missed-1", Type: Resync, Tables: []string{"public.orders"}, Roots: map[string]uint32{"public.orders": 16385}}},
		{"no tables", `{"id": "a", "type": "execute-snapshot"}`, SignalRecord{ID: "a", Type: ExecuteSnapshot, Refused: "no data-collections"}},
		{"no id", `{"type": "execute-snapshot", "data": {"data-collections": ["a.b"]}}`,
			SignalRecord{Type: ExecuteSnapshot, Tables: []string{"a.b"}, Refused: "no id"}},
		{"long id", `{"id": "` + strings.Repeat("i", 101) + `", "type": "execute-snapshot", "data": {"data-collections": ["a.b"]}}`,
			SignalRecord{Type: ExecuteSnapshot, Tables: []string{"a.b"}, Refused: "its id: use"}},
		{"another type", `{"id": "a", "type": "log"}`, SignalRecord{ID: "a", Type: "log", Refused: `signal "log"`}},
		{"no JSON", `{`, SignalRecord{Refused: "not the JSON"}},
		{"other JSON", `{"data": 5}`, SignalRecord{Refused: "not the JSON"}},
		{"too long", strings.Repeat(" ", maxSignalBytes) + `{}`, SignalRecord{Refused: "a signal of"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.want.User = "ann"
			w := &wal{t: t}
			w.begin(1).relation(3, Schema, "outbox_1", outboxColumns...)
			tx := w.insert(3, "s", "2026-01-02 03:04:05+00", test.text, "ann", null, "7", "psql", null).commit()
			if len(tx.Changes) != 1 || len(tx.Notes) != 0 || tx.Changes[0].Op != Signal {
				t.Fatalf("%+v", tx)
			}
			got := *tx.Changes[0].Signal
			if !strings.HasPrefix(got.Refused, test.want.Refused) || (got.Refused == "") != (test.want.Refused == "") {
				t.Errorf("refused: %q, want %q", got.Refused, test.want.Refused)
			}
			got.Refused = test.want.Refused
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func FuzzParseSignal(f *testing.F) {
	f.Add([]byte(`{"id": "a", "type": "execute-snapshot", "data": {"data-collections": ["public.orders"], "additional-conditions": [{"data-collection": "a.b", "filter": "id > 5"}]}}`))
	f.Add([]byte(`{"data": null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := ParseSignal(text, "ann", "")
		if again, err := s.Marshal(); err != nil || s.Refused == "" && !reflect.DeepEqual(ParseSignal(again, "ann", ""), s) {
			t.Errorf("%q: %s (%v)", text, again, err)
		}
		if s.Refused == "" && s.Type == ExecuteSnapshot && (s.ID == "" || len(s.Tables) == 0) {
			t.Errorf("%q: %+v", text, s)
		}
	})
}
