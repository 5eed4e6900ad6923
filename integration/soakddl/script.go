package main

import "time"

// step is one statement of a script.
type step struct {
	sql   string        // legName in it stands for the leg, because names of prepared transactions are unique in the whole server
	kind  string        // name in the tables of the judge: "ALTER TABLE ADD COLUMN"
	think time.Duration // think time before it
	reach reach
	want  string // expected SQLSTATE; "": success
	late  string // SQLSTATE that is accepted if an earlier episode was given up
}

const legName = "{leg}"

// reach says whose tables a statement works on, and thus what may conflict with it.
type reach int

const (
	quiet   reach = iota // the session's own, and no other session locks them for longer than a statement
	open                 // the session's own, and others write there, too
	foreign              // those of other sessions
)

// episode is a piece of a script that begins and ends idle and does not depend on the outcome of others. A session that gets an error that the script
// does not expect gives up the rest of the episode and repairs what may be incomplete.
type episode struct {
	steps  []step
	repair []string // repairs the tables that outlive the episode
}

// maker produces scripts, episode by episode.
type maker interface {
	next() episode
	last() episode          // ends what is still open
	elapsed() time.Duration // approximate duration of the episodes so far
}

// cut returns the episodes that keep a session busy until a given time.
func cut(m maker, until time.Duration) (episodes []episode) {
	for m.elapsed() < until {
		episodes = append(episodes, m.next())
	}
	return episodes
}
