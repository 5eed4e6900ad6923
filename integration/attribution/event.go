package main

import (
	"encoding/json"
	"fmt"
)

// event has the fields of a row's record that the judge reads.
type event struct {
	Op     string `json:"op"`
	Before *row   `json:"before"`
	After  *row   `json:"after"`
	Source struct {
		Schema string `json:"schema"`
		Table  string `json:"table"`
	} `json:"source"`
	Pgtee struct {
		Session *struct {
			ID          string `json:"id"`
			Application string `json:"application"`
		} `json:"session"`
		Statement *struct {
			Command string  `json:"command"`
			Text    *string `json:"text"`
		} `json:"statement"`
		Via      string `json:"via"`
		Verified *bool  `json:"verified"`
	} `json:"pgtee"`
}

// row has the columns that identify a nonce.
type row struct {
	N    *int64 `json:"n"`
	K    *int64 `json:"k"`
	Late bool   `json:"late"`
}

// read decodes the value of a record in a table's topic.
func read(value []byte) (e event, err error) {
	if err := json.Unmarshal(value, &e); err != nil {
		return e, fmt.Errorf("the record %.300s: %w", value, err)
	}
	return e, nil
}

// nonce returns the nonce that the row itself contains. The delete event of a row that was moved to another key (parent) has none: the event under the
// new key has it.
func (e *event) nonce() (n nonce, told bool) {
	switch {
	case e.Op == "d" && e.Source.Table == "parent":
		return 0, false
	case e.Op == "d" && e.Before != nil && e.Before.K != nil:
		return firstNonce + nonce(*e.Before.K), true
	case e.After == nil:
		return 0, false
	case e.After.N != nil:
		return nonce(*e.After.N), true
	case e.After.K != nil:
		return firstNonce + nonce(*e.After.K), true
	}
	return 0, false
}

func (e *event) late() bool { return e.After != nil && e.After.Late }

// alarm reports whether the event considers the note of its row forged.
func (e *event) alarm() bool {
	return e.Pgtee.Session != nil && e.Pgtee.Verified != nil && !*e.Pgtee.Verified
}

// finding is the result of comparing an event's statement with its row's.
type finding int

const (
	right finding = iota
	unknown
	wrong
	findings
)

// judge compares the statement that an event names with the one that the row names. If an event names a session, it must be the right one in any
// case; application is that of the session, which a row without a statement does not have: "" if it is not known.
func (e *event) judge(n nonce, application string) (f finding, why string) {
	p := &e.Pgtee
	if p.Session != nil && application != sessionName(n.session()) && (p.Statement != nil || application != "") {
		return wrong, "session " + application
	}
	if p.Statement == nil {
		return unknown, "via " + p.Via
	}
	if p.Statement.Text == nil {
		return unknown, fmt.Sprintf("a %s without its text", p.Statement.Command)
	}
	if named := noncesIn(*p.Statement.Text); len(named) == 1 && named[0] == n {
		return right, ""
	}
	return wrong, *p.Statement.Text
}
