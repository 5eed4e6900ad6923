package main

import "strings"

// unit is a piece of a script that begins and ends idle.
type unit struct {
	way        way
	statements []statement
	expected   []expectation
}

// way says how the statements of a unit are sent.
type way int

const (
	simple  way = iota // one Query each
	unnamed            // Parse, Bind, Execute and Sync for each
	named              // the same with a named statement, which is parsed first
	queries            // one Query each, all in one write
	bursts             // like unnamed, all in one write
	script             // one Query with all of them
	group              // one Sync for all of them
	flushed            // the same, with a Flush after each
	ways
)

var wayNames = [ways]string{"Query", "unnamed", "named", "Queries in one write", "groups in one write", "one Query", "one group", "flushed group"}

func (w way) String() string { return wayNames[w] }

// extended reports whether statements can have parameters.
func (w way) extended() bool { return w != simple && w != queries && w != script }

// joined reports whether the statements form one transaction unless they contain transaction control, so that the first error ends all of them.
func (w way) joined() bool { return w >= script }

// statement is a step of a form with its nonces, or a transaction control statement around it.
type statement struct {
	step
	n, m  nonce
	bound bool // the nonce is a parameter
}

// text returns the statement's SQL. If the nonce is a parameter, it is also in a comment.
func (s *statement) text() string {
	if !s.bound {
		return fill(s.sql, s.n, s.m)
	}
	verb, rest, _ := strings.Cut(strings.ReplaceAll(s.sql, "{n}", "$1::bigint"), " ")
	return fill(verb+" /* n={n} */ "+rest, s.n, s.m)
}

// nonce returns the nonce in the statement's text; 0 if there is none.
func (s *statement) nonce() nonce {
	switch {
	case strings.Contains(s.sql, "{m}"):
		return s.m
	case strings.Contains(s.sql, "{n}") || s.kind == call:
		return s.n
	}
	return 0
}

// rowsNow returns the number of rows that the statement itself writes.
func (s *statement) rowsNow() int {
	if s.odd && s.n%2 == 0 {
		return 0
	}
	return s.rows
}

// expectation says what must be found for the statements with one nonce.
type expectation struct {
	nonce nonce
	form  *form
	place place  // of the first of them that writes
	sql   string // of that statement
	way   way
	rows  int
	late  int
}
