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
	simple  way = iota // a Query each
	unnamed            // Parse, Bind, Execute and Sync each
	named              // the same with a name, which is parsed first
	queries            // a Query each, all in one write
	bursts             // as unnamed, all in one write
	script             // one Query for all of them
	group              // one Sync for all of them
	flushed            // the same, but a Flush behind each one
	ways
)

var wayNames = [ways]string{"Query", "unnamed", "named", "Queries in one write", "groups in one write", "one Query", "one group", "flushed group"}

func (w way) String() string { return wayNames[w] }

// extended reports whether statements can have parameters.
func (w way) extended() bool { return w != simple && w != queries && w != script }

// joined reports whether the statements make one transaction unless they say otherwise, and the first error ends them all.
func (w way) joined() bool { return w >= script }

// statement is a step of a form with its nonces, or what controls the transaction around it.
type statement struct {
	step
	n, m  nonce
	bound bool // the nonce is a parameter
}

// text is the statement's SQL. Where the nonce is a parameter it stands in a comment, too.
func (s *statement) text() string {
	if !s.bound {
		return fill(s.sql, s.n, s.m)
	}
	verb, rest, _ := strings.Cut(strings.ReplaceAll(s.sql, "{n}", "$1::bigint"), " ")
	return fill(verb+" /* n={n} */ "+rest, s.n, s.m)
}

// nonce is the one that stands in the statement's text; 0: none.
func (s *statement) nonce() nonce {
	switch {
	case strings.Contains(s.sql, "{m}"):
		return s.m
	case strings.Contains(s.sql, "{n}") || s.kind == call:
		return s.n
	}
	return 0
}

// rowsNow is how many rows the statement itself writes.
func (s *statement) rowsNow() int {
	if s.odd && s.n%2 == 0 {
		return 0
	}
	return s.rows
}

// expectation is what is to be found of the statements with one nonce.
type expectation struct {
	nonce nonce
	form  *form
	place place  // of the first of them that writes
	sql   string // of that one
	way   way
	rows  int
	late  int
}
