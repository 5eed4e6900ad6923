package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// turn is what a session sends in one write before it reads, and the replies it then expects.
type turn struct {
	messages []pgproto3.FrontendMessage
	ready    int      // number of ReadyForQuery messages to await
	done     int      // without a Sync: number of statements that complete or are suspended
	codes    []string // SQLSTATEs of the errors among the replies
}

// turns encodes a unit. put is the OID of the function that FunctionCall calls.
func (u *unit) turns(put uint32) []turn {
	switch u.way {
	case script:
		return []turn{u.asScript()}
	case group:
		return []turn{u.asGroup()}
	case flushed:
		return u.asFlushed()
	}
	var all []turn
	for i := range u.statements {
		all = append(all, u.statements[i].turns(u.way, put)...)
	}
	if u.way == queries || u.way == bursts {
		return []turn{merge(all)}
	}
	return all
}

// merge combines several writes into one.
func merge(turns []turn) (one turn) {
	for _, t := range turns {
		one.messages = append(one.messages, t.messages...)
		one.codes = append(one.codes, t.codes...)
		one.ready += t.ready
	}
	return one
}

// asScript sends all statements in one Query.
func (u *unit) asScript() turn {
	var texts []string
	var data []pgproto3.FrontendMessage
	for i := range u.statements {
		texts = append(texts, u.statements[i].text())
		data = append(data, u.statements[i].copied()...)
	}
	return turn{messages: append([]pgproto3.FrontendMessage{&pgproto3.Query{String: strings.Join(texts, "; ")}}, data...), ready: 1}
}

// asGroup sends one Sync after all statements.
func (u *unit) asGroup() turn {
	t := turn{ready: 1}
	for i := range u.statements {
		t.messages = append(t.messages, u.statements[i].extended()...)
	}
	t.messages = append(t.messages, &pgproto3.Sync{})
	return t
}

// asFlushed awaits the end of each statement without a Sync.
func (u *unit) asFlushed() (all []turn) {
	for i := range u.statements {
		t := turn{messages: append(u.statements[i].extended(), &pgproto3.Flush{}), done: 1}
		if u.statements[i].kind == bindPortal {
			t.done = 0
		}
		all = append(all, t)
	}
	return append(all, turn{messages: []pgproto3.FrontendMessage{&pgproto3.Sync{}}, ready: 1})
}

// turns encodes a statement that is sent by itself.
func (s *statement) turns(w way, put uint32) []turn {
	codes := []string{s.code}
	if s.code == "" {
		codes = nil
	}
	one := func(messages ...pgproto3.FrontendMessage) turn {
		return turn{messages: messages, ready: 1, codes: codes}
	}
	switch {
	case s.kind == call:
		return []turn{one(&pgproto3.FunctionCall{Function: put, ArgFormatCodes: []uint16{0}, Arguments: [][]byte{[]byte(s.n.String())}})}
	case s.kind == asWay && (w == simple || w == queries):
		return []turn{one(append([]pgproto3.FrontendMessage{&pgproto3.Query{String: s.text()}}, s.copied()...)...)}
	case s.kind == asWay && w == named && s.code == "":
		name := fmt.Sprintf("n%d", s.n.key())
		run := slices.Concat(s.run("", name, 0), s.copied(), []pgproto3.FrontendMessage{&pgproto3.Close{ObjectType: 'S', Name: name}, &pgproto3.Sync{}})
		return []turn{one(&pgproto3.Parse{Name: name, Query: s.text()}, &pgproto3.Sync{}), one(run...)}
	}
	return []turn{one(append(s.extended(), &pgproto3.Sync{})...)}
}

// extended encodes a statement in the extended protocol, without a Sync.
func (s *statement) extended() []pgproto3.FrontendMessage {
	parse := &pgproto3.Parse{Query: s.text()}
	portal, name := fmt.Sprintf("p%d", s.n.key()), fmt.Sprintf("q%d", s.n.key())
	all := []pgproto3.FrontendMessage{parse}
	switch s.kind {
	case openPortal:
		return append(all, s.run(portal, "", 1)...)
	case morePortal:
		return []pgproto3.FrontendMessage{&pgproto3.Execute{Portal: portal, MaxRows: 1}}
	case bindPortal:
		return append(all, s.bind(portal, ""))
	case runPortal:
		return []pgproto3.FrontendMessage{&pgproto3.Execute{Portal: portal}}
	case openNamed:
		parse.Name = name
		return append(all, s.run("", name, 0)...)
	case moreNamed:
		return append(s.run("", name, 0), &pgproto3.Close{ObjectType: 'S', Name: name})
	}
	return slices.Concat(all, s.run("", "", 0), s.copied())
}

// run binds a prepared statement to a portal and executes it for up to this number of rows; 0: to its end.
func (s *statement) run(portal, name string, rows uint32) []pgproto3.FrontendMessage {
	return []pgproto3.FrontendMessage{s.bind(portal, name), &pgproto3.Describe{ObjectType: 'P', Name: portal}, &pgproto3.Execute{Portal: portal, MaxRows: rows}}
}

func (s *statement) bind(portal, name string) *pgproto3.Bind {
	bind := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: name}
	if s.bound {
		bind.Parameters = [][]byte{[]byte(s.n.String())}
	}
	return bind
}

// copied returns the lines that a COPY reads, which can be sent before the server requests them.
func (s *statement) copied() []pgproto3.FrontendMessage {
	if !s.data {
		return nil
	}
	return []pgproto3.FrontendMessage{&pgproto3.CopyData{Data: []byte(s.n.String() + "\n")}, &pgproto3.CopyData{Data: []byte(s.n.String() + "\n")}, &pgproto3.CopyDone{}}
}
