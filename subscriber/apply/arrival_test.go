package apply

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// eventList is a stream that has been read to its end.
type eventList struct {
	stream
	events []event
}

func (l *eventList) peek() (event, bool) {
	if len(l.events) == 0 {
		return event{}, false
	}
	return l.events[0], true
}

func (l *eventList) take()         { l.events = l.events[1:] }
func (l *eventList) drained() bool { return len(l.events) == 0 }
func (l *eventList) broken() error { return nil }

var noon = time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)

// copiedRow returns a row that a copy has read, written some minutes after noon.
func copiedRow(id, table string, minutes int) event {
	e := event{from: &partition{}, record: &kgo.Record{Timestamp: noon.Add(time.Duration(minutes) * time.Minute)}}
	e.record.Value = fmt.Appendf(nil, `{"before":null,"after":{"id":1},"source":{"schema":"public","table":%q,"txId":1},"op":"r"}`, table)
	if id != "" {
		e.snapshot = []byte(id)
	}
	return e
}

// A copy is looked for behind the cut if it has brought rows before it.
func TestPassOver(t *testing.T) {
	ended := func(id string, minutes int) copyID { return copyID{id, noon.Add(time.Duration(minutes) * time.Minute)} }
	many := make([]copyID, maxFinished)
	for i := range many {
		many[i] = ended(fmt.Sprint("later", i), 60+i)
	}
	for name, c := range map[string]struct {
		behind             []event
		finished, running  []copyID
		inexact, withinOne bool
	}{
		"nothing":               {nil, []copyID{ended("x", 1)}, nil, false, false},
		"it runs":               {nil, nil, []copyID{{ID: "x"}}, false, true},
		"a row":                 {[]event{copiedRow("", "t", 2), copiedRow("x", "t", 3)}, []copyID{ended("x", 3)}, nil, false, true},
		"a row of another copy": {[]event{copiedRow("y", "t", 3)}, []copyID{ended("x", 1)}, []copyID{{ID: "y"}}, false, false},
		"a row left out":        {[]event{copiedRow("x", "left", 3)}, []copyID{ended("x", 3)}, nil, false, false},
		"long after":            {[]event{copiedRow("", "t", 120), copiedRow("x", "t", 3)}, []copyID{ended("x", 3)}, nil, false, false},
		"its end is forgotten":  {[]event{copiedRow("", "t", 50), copiedRow("x", "t", 3)}, many, nil, false, true},
		"the end is not known":  {nil, nil, nil, true, true},
		"nobody remembers it":   {[]event{copiedRow("", "t", 5000), copiedRow("x", "t", 5000)}, nil, nil, false, true},
	} {
		u := &Until{LSN: 100}
		a := assembler{cfg: &Config{Until: u, ExcludeTables: []string{"left"}}, until: u, mark: &progress{inexact: c.inexact}, source: &eventList{events: c.behind}, copies: map[string]string{"x": "public.t"}}
		a.mark.Snapshots.Finished, a.mark.Snapshots.Copies = c.finished, c.running
		done, err := a.checkCopies(t.Context())
		if isHalt(err) != c.withinOne || done == c.withinOne {
			t.Errorf("%s: %v, %v", name, done, err)
		}
		if err != nil && !strings.Contains(err.Error(), "the copy x: rows that the source had then, such as those of public.t, are missing") {
			t.Errorf("%s: %v", name, err)
		}
		a.until = &Until{Before: 50} // a transaction before the cut halts
		if done, err := a.checkCopies(t.Context()); !done || err != nil {
			t.Errorf("%s, before that: %v, %v", name, done, err)
		}
	}
}

// Rows of an initial copy belong to moments before it, too.
func TestTheTopicsBeginWithACopy(t *testing.T) {
	for name, c := range map[string]struct {
		finished, running []copyID
		want              bool
	}{
		"no copy":        {nil, nil, false},
		"it has ended":   {[]copyID{{ID: initialCopy}}, nil, true},
		"it runs":        {nil, []copyID{{ID: initialCopy}}, true},
		"another copy":   {[]copyID{{ID: "x"}}, nil, false},
		"it may be gone": {make([]copyID, maxFinished), nil, true},
	} {
		p, copies := &progress{}, map[string]string{}
		p.Snapshots.Finished, p.Snapshots.Copies = c.finished, c.running
		p.addInitialCopy(copies)
		if _, got := copies[initialCopy]; got != c.want {
			t.Errorf("%s: %v", name, copies)
		}
	}
}

// The stream ends before the cut: it counts if nothing can be missing.
func TestArrived(t *testing.T) {
	for name, c := range map[string]struct {
		u     *Until
		mark  progress
		halts string
	}{
		"no cut":                       {nil, progress{}, ""},
		"a position":                   {&Until{LSN: 100}, progress{EndLSN: 200}, ""},
		"a time before the last one":   {&Until{Time: noon}, progress{CommitTime: noon.Add(time.Second)}, ""},
		"the time of the last one":     {&Until{Time: noon}, progress{CommitTime: noon}, ""},
		"a later time":                 {&Until{Time: noon.Add(time.Second)}, progress{CommitTime: noon}, "committed at 2025-01-01T12:00:00Z"},
		"an archive ends nobody knows": {&Until{Time: noon.Add(time.Second)}, progress{inexact: true}, "committed at 2025-01-01T11:00:00Z"},
		"a transaction":                {&Until{XID: 7, last: 100}, progress{}, ""},
	} {
		a := assembler{cfg: &Config{Until: c.u}, until: c.u, mark: &c.mark, commitTime: noon.Add(-time.Hour)}
		if err := a.arrived(); isHalt(err) != (c.halts != "") || err != nil && !strings.Contains(err.Error(), c.halts) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A target that has later transactions already does not become what the source was.
func TestATargetPastTheMoment(t *testing.T) {
	for name, c := range map[string]struct {
		until *Until
		halts bool
	}{
		"a time before":      {&Until{Time: noon.Add(-time.Second)}, true},
		"the time":           {&Until{Time: noon}, false},
		"a position before":  {&Until{LSN: 99}, true},
		"a position":         {&Until{LSN: 100}, false},
		"another cut":        {&Until{XID: 7}, false},
		"everything, always": {nil, false},
	} {
		cfg := Config{Until: c.until}
		if err := cfg.check(&position{end: 100, at: noon}, &progress{EndLSN: 200}); isHalt(err) != c.halts {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A snapshot that is not known may have begun after the position, and has rows that follow changes of them.
func TestSnapshotsThatAreKnown(t *testing.T) {
	noon := time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)
	running, ended, again := copyID{ID: "a"}, copyID{ID: "a", Finished: noon}, copyID{ID: "a", Finished: noon.Add(time.Hour)}
	for _, c := range []struct {
		name          string
		known         []copyID
		runs, endings []copyID
		other         bool
	}{
		{"none", nil, nil, nil, false},
		{"begun", nil, []copyID{running}, nil, true},
		{"begun and ended", nil, nil, []copyID{ended}, true},
		{"running still", []copyID{running}, []copyID{running}, nil, false},
		{"ended since", []copyID{running}, nil, []copyID{ended}, false},
		{"ended before", []copyID{ended}, nil, []copyID{ended}, false},
		{"the id is used again", []copyID{ended}, []copyID{running}, []copyID{ended}, true},
		{"the id was used again", []copyID{ended}, nil, []copyID{ended, again}, true},
	} {
		var p progress
		p.Snapshots.Copies, p.Snapshots.Finished = c.runs, c.endings
		if got := p.hasOther(c.known); got != c.other {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
