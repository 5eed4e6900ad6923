package main

import "time"

// step is one statement of a script.
type step struct {
	sql   string        // legName in it stands for the leg: names of prepared transactions hold for the whole server
	kind  string        // in the tables of the judge: "ALTER TABLE ADD COLUMN"
	think time.Duration // before it
	reach reach
	want  string // SQLSTATE that it has to end with; "": none
	late  string // SQLSTATE that an earlier episode explains if it was given up
}

const legName = "{leg}"

// reach says whose tables a statement works on, and so what may meet it.
type reach int

const (
	quiet   reach = iota // of the session, and no other one locks them for longer than a statement
	open                 // of the session, and others write there, too
	foreign              // of other sessions
)

// episode is a piece of a script that begins and ends idle and does not depend on how others ended. A session that meets an
// error that the script does not foresee gives the rest of it up and repairs what may be half done.
type episode struct {
	steps  []step
	repair []string // puts the tables right that outlive the episode
}

// maker makes scripts, episode by episode.
type maker interface {
	next() episode
	last() episode          // ends what is left open
	elapsed() time.Duration // that the episodes so far take, about
}

// cut takes the episodes that take a session up to a time.
func cut(m maker, until time.Duration) (episodes []episode) {
	for m.elapsed() < until {
		episodes = append(episodes, m.next())
	}
	return episodes
}
