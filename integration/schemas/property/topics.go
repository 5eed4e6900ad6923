package property

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/integration/verdict"
)

// topics are the records of a pass.
type topics struct {
	broker, prefix string
	avro           *avroReader // nil: JSON
}

// read returns the committed events by table number.
func (t *topics) read(ctx context.Context) (events map[int][]*event, err error) {
	topics, err := verdict.Read(t.broker, func(topic string) (string, bool) {
		name, ours := strings.CutPrefix(topic, t.prefix+".")
		return name, ours && strings.Contains(name, ".") // not audit, ddl, progress
	})
	if err != nil {
		return nil, err
	}
	events = map[int][]*event{}
	for _, records := range topics {
		number := -1
		var list []*event
		for _, r := range verdict.Visible(records) {
			e, table, err := t.event(ctx, &r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.place, err)
			}
			if table != "" && number < 0 {
				number = numberIn("t", table)
			}
			list = append(list, e)
		}
		events[number] = append(events[number], list...)
	}
	return events, nil
}

// marked reports whether the mark n has arrived.
func (t *topics) marked(ctx context.Context, n int) (bool, error) {
	topic := t.prefix + ".mark.mark"
	topics, err := verdict.Read(t.broker, verdict.Only(topic))
	if err != nil {
		return false, err
	}
	for _, r := range verdict.Visible(topics[topic]) {
		e, _, err := t.event(ctx, &r)
		if err != nil {
			return false, fmt.Errorf("%s: %w", e.place, err)
		}
		if e.op == "c" && e.after[columnID] == strconv.Itoa(n) {
			return true, nil
		}
	}
	return false, nil
}

func (t *topics) decode(ctx context.Context, data []byte) (any, error) {
	if t.avro != nil {
		return t.avro.decode(ctx, data)
	}
	return decodeJSON(data)
}

// event parses a record, and returns it with the name of its table; "" for a tombstone.
func (t *topics) event(ctx context.Context, r *verdict.Record) (*event, string, error) {
	e := &event{place: fmt.Sprintf("%s offset %d", r.Topic, r.Offset), resync: r.Headers["pgtee-resync"] != ""}
	key, err := t.decode(ctx, r.Key)
	if err != nil {
		return e, "", fmt.Errorf("key: %w", err)
	}
	e.key, _ = parseRow(key)
	value, err := t.decode(ctx, r.Value)
	if err != nil {
		return e, "", fmt.Errorf("value: %w", err)
	}
	envelope, ok := value.(map[string]any)
	if !ok {
		e.text = fmt.Sprintf("%s: tombstone {%s}", e.place, e.key)
		return e, "", nil
	}
	e.op, _ = envelope["op"].(string)
	e.before, _ = parseRow(envelope["before"])
	e.after, e.kinds = parseRow(envelope["after"])
	source, _ := envelope["source"].(map[string]any)
	table, _ := source["table"].(string)
	e.text = fmt.Sprintf("%s: %s {%s} before {%s} after {%s}", e.place, e.op, e.key, e.before, e.after)
	return e, table, nil
}
