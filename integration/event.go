package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Event is a record of a table's topic, read by this package's own eyes.
type Event struct {
	Record
	ID        string // header pgtee-event-id
	End       string // the end LSN in it
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
		Application string `json:"application"`
		PID         int32  `json:"pid"`
	} `json:"session"`
	Statement struct {
		Number int    `json:"number"`
		Text   string `json:"text"`
	} `json:"statement"`
	Via      string `json:"via"`
	Verified bool   `json:"verified"`
}

func parseEvent(r Record) (Event, error) {
	e := Event{Record: r, ID: r.Headers["pgtee-event-id"], Tombstone: r.Value == nil}
	var err error
	if e.End, err = endOf(e.ID); err != nil || e.Tombstone {
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

// orNil takes JSON null for no value.
func orNil(text json.RawMessage) []byte {
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	return text
}

// endOf reads the end LSN in an event id: system/slot/0/16B3748/ordinal.
func endOf(id string) (string, error) {
	parts := strings.Split(id, "/")
	if len(parts) != 5 {
		return "", fmt.Errorf("event id %q: want system/slot/LSN/ordinal", id)
	}
	return parts[2] + "/" + parts[3], nil
}

// content is what makes two events the same work on the same row.
func (e *Event) content() string {
	if e.Tombstone {
		return "tombstone"
	}
	if e.Op == "d" || e.Op == "t" {
		return e.Op
	}
	return e.Op + e.After.Text()
}

// keyText is the record's key in one form that can be compared; "" if there is none.
func (e *Event) keyText() (string, error) {
	key, err := parseRow(e.Key)
	if err != nil || key == nil {
		return "", err
	}
	return key.Text(), nil
}
