package main

import (
	"fmt"
	"sync"
)

// judge knows what the sessions of one leg have written, and compares each row event with that. It keeps an entry for each nonce.
type judge struct {
	leg   string
	tally *tally

	sessions map[string]string // application by id

	mu     sync.Mutex // guards wanted and broken while sessions run; add and finish run afterwards
	wanted map[nonce]*want
	broken []string // units whose outcome differed from their scripts
}

// want is an expectation and what has been found for it.
type want struct {
	expectation
	found, foundLate int
	anything         bool // its unit was given up
}

func newJudge(leg string) *judge {
	return &judge{leg: leg, tally: newTally(), sessions: map[string]string{}, wanted: map[nonce]*want{}}
}

// expect announces what a unit that is about to be played will write.
func (j *judge) expect(expected []expectation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range expected {
		j.wanted[e.nonce] = &want{expectation: e}
	}
}

// giveUp records that it is unknown what a unit has written.
func (j *judge) giveUp(expected []expectation, why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range expected {
		j.wanted[e.nonce].anything = true
	}
	j.broken = append(j.broken, j.leg+": "+why)
}

// add judges an event.
func (j *judge) add(e *event) {
	n, told := e.nonce()
	if !told {
		return
	}
	w := j.wanted[n]
	if w == nil {
		j.tally.surplus(fmt.Sprintf("%s: %s.%s has a row of nonce %v, which no statement has", j.leg, e.Source.Schema, e.Source.Table, n))
		return
	}
	found, most := &w.found, w.rows
	if e.late() {
		found, most = &w.foundLate, w.late
	}
	if *found++; *found > most && !w.anything {
		j.tally.surplus(fmt.Sprintf("%s: %s.%s has more rows than %d of %s", j.leg, e.Source.Schema, e.Source.Table, most, w.describe()))
		return
	}
	if e.alarm() {
		j.tally.alarm(fmt.Sprintf("%s: a row of %s is not verified: %s", j.leg, w.describe(), w.sql))
	}
	f, why := e.judge(n, j.application(e))
	j.tally.count(cell{w.form.name, w.place, e.late()}, w.allowed(e.late()), f, fmt.Sprintf("%s, %s: %q names %.200q", j.leg, w.describe(), w.sql, why))
}

// application returns the application of an event's session, as far as rows with a statement have shown it.
func (j *judge) application(e *event) string {
	s := e.Pgtee.Session
	switch {
	case s == nil:
		return ""
	case e.Pgtee.Statement != nil:
		j.sessions[s.ID] = s.Application
	}
	return j.sessions[s.ID]
}

// allowed reports whether the row may have no statement.
func (w *want) allowed(late bool) bool { return late || w.form.mayBeUnknown&w.place != 0 }

func (w *want) describe() string { return fmt.Sprintf("%s %s, %s", w.form.name, w.place, w.way) }

// finish counts missing rows.
func (j *judge) finish() {
	for _, w := range j.wanted {
		if missing := w.rows + w.late - w.found - w.foundLate; missing > 0 && !w.anything {
			j.tally.missing(missing, fmt.Sprintf("%s: %d rows are missing of %s: %s", j.leg, missing, w.describe(), w.sql))
		}
	}
	j.tally.broken = j.broken
}
