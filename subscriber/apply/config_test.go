package apply

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/decode"
)

// Of the policies that match a table the last counts, each time.
func TestPolicyOf(t *testing.T) {
	cfg := Config{Conflict: PolicyOverwrite, Conflicts: []TablePolicy{{"public.*", PolicySkip}, {"public.orders", PolicyError}}}
	for range 20 {
		for name, want := range map[string]Policy{"public.orders": PolicyError, "public.other": PolicySkip, "sales.orders": PolicyOverwrite} {
			if got := cfg.policyOf(name); got != want {
				t.Fatalf("%s: %s, want %s", name, got, want)
			}
		}
	}
}

// A record that no retry makes readable is told with its place.
func TestUnreadableAvro(t *testing.T) {
	record := &kgo.Record{Topic: "shop.public.t", Partition: 2, Offset: 7, Value: []byte("\x00\x00\x00\x00\x07x")}
	for _, failure := range []error{decode.ErrAvro, fmt.Errorf("404: %w", decode.ErrNoSchema), decode.SchemaError{ID: 7, Err: decode.ErrAvro}} {
		cfg := Config{Avro: func(context.Context, []byte) ([]byte, error) { return nil, failure }}
		e := Events{cfg: cfg, head: event{record: record}}
		if _, err := e.event(t.Context()); !isHalt(err) || !strings.Contains(err.Error(), "topic shop.public.t, partition 2, offset 7") {
			t.Errorf("%v: %v", failure, err)
		}
	}
	if _, err := (&Config{Avro: func(context.Context, []byte) ([]byte, error) { return nil, context.DeadlineExceeded }}).payloadOf(t.Context(), record.Value); err == nil || isHalt(err) {
		t.Errorf("an outage of the registry: %v", err)
	}
}
