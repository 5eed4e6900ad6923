package verdict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Event is a record of a table's topic.
type Event struct {
	Record
	ID        string // header pgtee-event-id
	Commit    string // LSN of the commit record, from the ID
	Tombstone bool   // no value: the fields below are empty

	Op            string `json:"op"` // c, u, d, r, t
	Before, After Row    `json:"-"`
	Source        struct {
		XID      uint32 `json:"txId"`
		Schema   string `json:"schema"`
		Table    string `json:"table"`
		Snapshot string `json:"snapshot"`
	} `json:"source"`
	Pgtee Attribution `json:"pgtee"`
}

// Attribution is the pgtee block of an event.
type Attribution struct {
	Session struct {
		ID          string `json:"id"`
		User        string `json:"user"`
		Role        string `json:"role"`
		Application string `json:"application"`
		PID         int32  `json:"pid"`
		Actor       string `json:"actor"`
	} `json:"session"`
	Statement struct {
		Number      int    `json:"number"`
		Text        string `json:"text"`
		Fingerprint string `json:"fingerprint"`
	} `json:"statement"`
	Context map[string]string `json:"context"`

	Via      string `json:"via"`
	Verified bool   `json:"verified"` // false also for null, which has a reason
	Reason   string `json:"reason"`
}

// ParseEvent reads a record of a table's topic: JSON without schemas.
func ParseEvent(r Record) (Event, error) {
	e := Event{Record: r, ID: r.EventID(), Tombstone: r.Value == nil}
	var err error
	if e.Commit, _, err = parseID(e.ID); err != nil || e.Tombstone {
		return e, err
	}
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return e, fmt.Errorf("%s/%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	var rows struct{ Before, After json.RawMessage }
	if err := json.Unmarshal(r.Value, &rows); err != nil {
		return e, err
	}
	if e.Before, err = parseRow(orNil(rows.Before)); err != nil {
		return e, err
	}
	e.After, err = parseRow(orNil(rows.After))
	return e, err
}

// orNil returns nil for JSON null.
func orNil(text json.RawMessage) []byte {
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	return text
}

// parseID extracts the LSN of the commit record and the number of the change from an event id: system/slot/timeline/0/16B3748/ordinal. Records of a
// transaction as a whole are ordered after its changes, except for BEGIN. A row read by a snapshot has the LSN at which it was read.
func parseID(id string) (commit string, ordinal int, err error) {
	parts := strings.Split(id, "/")
	if len(parts) != 6 {
		return "", 0, fmt.Errorf("event id %q: want system/slot/timeline/LSN/ordinal", id)
	}
	commit = parts[3] + "/" + parts[4]
	number, _, _ := strings.Cut(parts[5], ".")
	switch number {
	case "begin", "snapshot":
		return commit, 0, nil
	case "end", "audit", "repair":
		return commit, math.MaxInt, nil
	}
	ordinal, err = strconv.Atoi(number)
	return commit, ordinal, err
}

// content returns a text that is equal for events of the same change of the same row.
func (e *Event) content() string {
	if e.Tombstone {
		return "tombstone"
	}
	if e.Op == "d" || e.Op == "t" {
		return e.Op
	}
	return e.Op + e.After.Text()
}

// keyText returns the record's key in a form that can be compared; "" if there is none.
func (e *Event) keyText() (string, error) {
	key, err := parseRow(e.Key)
	if err != nil || key == nil {
		return "", err
	}
	return key.Text(), nil
}
