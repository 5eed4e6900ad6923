package main

import (
	"encoding/json"
	"fmt"
)

// event is what the judge reads of the record of a row.
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

// row are the columns that tell a nonce.
type row struct {
	N    *int64 `json:"n"`
	K    *int64 `json:"k"`
	Late bool   `json:"late"`
}

// read decodes the value of a record of a table's topic.
func read(value []byte) (e event, err error) {
	if err := json.Unmarshal(value, &e); err != nil {
		return e, fmt.Errorf("the record %.300s: %w", value, err)
	}
	return e, nil
}

// nonce is that of the statement that wrote the row, as the row says. What is left of a row that got another key tells none: the
// row with the new key does.
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

// alarm reports whether the event takes the note of its row for forged.
func (e *event) alarm() bool {
	return e.Pgtee.Session != nil && e.Pgtee.Verified != nil && !*e.Pgtee.Verified
}

// finding is what an event says of its row's statement.
type finding int

const (
	right finding = iota
	unknown
	wrong
	findings
)

// judge compares the statement that an event names with the one that the row names. An event that names a session must name
// the right one in any case.
func (e *event) judge(n nonce) (f finding, why string) {
	p := &e.Pgtee
	if p.Session != nil && p.Session.Application != sessionName(n.session()) {
		return wrong, "session " + p.Session.Application
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
