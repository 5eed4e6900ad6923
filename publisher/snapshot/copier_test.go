package snapshot

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/shape"
)

// What a publisher copies by itself.
func TestSnapshotModes(t *testing.T) {
	open := func() TableReader { return nil }
	for _, c := range []struct {
		mode             Mode
		open             func() TableReader
		recorded, needed bool
		copies           bool
	}{
		{mode: Initial, open: open, copies: true},
		{mode: Initial, open: open, recorded: true},
		{mode: Initial},
		{mode: Never, open: open},
		{mode: Only, open: open, recorded: true, copies: true},
		{mode: WhenNeeded, open: open, copies: true},
		{mode: WhenNeeded, open: open, recorded: true},
		{mode: WhenNeeded, open: open, recorded: true, needed: true, copies: true},
	} {
		copier := testCopier(Config{Mode: c.mode, Open: c.open})
		copier.Begin(c.recorded, c.needed)
		if got := len(copier.state.Copies) == 1; got != c.copies || copier.dirty != c.copies {
			t.Errorf("%+v: copies %+v", c, copier.state.Copies)
		}
	}
	for _, reason := range []error{halt.ErrGap, halt.ErrProgressLost} {
		mode := Config{Mode: WhenNeeded, Open: open}
		if !mode.Mends(&halt.Halt{Reason: reason}) || mode.Mends(&halt.Halt{Reason: halt.ErrOtherSystem}) {
			t.Errorf("%v: not mended, or another is", reason)
		}
		mode.Mode = Initial
		if mode.Mends(&halt.Halt{Reason: reason}) {
			t.Errorf("%v: mended in mode initial", reason)
		}
	}
}

// An event is published once: only the first copy, before anything is published, includes tables of events.
func TestEventsAreNotCopiedAgain(t *testing.T) {
	listed := []outbox.ListedTable{{OID: 1, Schema: "public", Name: "events"}, {OID: 2, Schema: "public", Name: "orders"}}
	signal := func(kind string, tables ...string) func(*Copier) {
		return func(c *Copier) { c.Obey(&outbox.SignalRecord{ID: "s", Type: kind, Tables: tables}) }
	}
	for name, test := range map[string]struct {
		mode  Mode
		begin func(*Copier)
		want  int // tables
	}{
		"initial":       {Initial, func(c *Copier) { c.Begin(false, false) }, 2},
		"only at first": {Only, func(c *Copier) { c.Begin(false, false) }, 2},
		"only later":    {Only, func(c *Copier) { c.Begin(true, false) }, 1},
		"needed":        {WhenNeeded, func(c *Copier) { c.Begin(true, true) }, 1},
		"signal":        {Never, signal(outbox.ExecuteSnapshot), 1},
		"resync":        {Never, signal(outbox.Resync), 1},
		"events alone":  {Never, signal(outbox.ExecuteSnapshot, "public.events"), 0},
	} {
		c := testCopier(Config{Mode: test.mode, Open: func() TableReader { return nil }})
		c.EventTables = []string{"public.events"}
		test.begin(c)
		c.plan(listed)
		if len(c.tables) != test.want {
			t.Errorf("%s: copies %v", name, c.tables)
		}
		if ended := c.state.Finished; (test.want == 0) != (len(ended) == 1 && ended[0].Stopped) {
			t.Errorf("%s: ended %+v", name, ended)
		}
	}
}

// The resync of a table of which changes are missing is never refused, however many requests wait: nobody repeats it.
func TestMissedTablesAreAlwaysResynced(t *testing.T) {
	c := testCopier(Config{Open: func() TableReader { return nil }})
	names := make([]string, 4000)
	for i := range names {
		names[i] = fmt.Sprintf("public.a_long_name_of_a_table_%d", i)
	}
	if why := c.Obey(&outbox.SignalRecord{ID: "many", Type: outbox.ExecuteSnapshot, Tables: names[:3500]}); why != "" {
		t.Fatal(why)
	}
	missed := func(id string, tables ...string) *Copy {
		t.Helper()
		if why := c.Obey(&outbox.SignalRecord{ID: outbox.MissedPrefix + id, Type: outbox.Resync, User: "pgtee", Tables: tables}); why != "" {
			t.Fatal(why)
		}
		return &c.state.Copies[len(c.state.Copies)-1]
	}
	if r := missed("1", "public.t"); len(r.Tables) != 1 {
		t.Errorf("a short one is of %d tables", len(r.Tables))
	}
	c.state.Copies[1].Emptied = true // it can no longer be joined
	if r := missed("2", names...); len(c.state.Copies) != 3 || len(r.Tables) != 0 || !r.Resync {
		t.Errorf("a long one is %.200v", r)
	}
}

// Signals start, pause, resume and stop copies; what cannot be obeyed is refused.
func TestSignals(t *testing.T) {
	c := testCopier(Config{Open: func() TableReader { return nil }})
	long := make([]string, 5000)
	for i := range long {
		long[i] = "public.a_long_name_of_a_table"
	}
	for _, s := range []struct {
		signal  outbox.SignalRecord
		refused bool
		state   string
	}{
		{outbox.SignalRecord{ID: "a", Type: outbox.ExecuteSnapshot, Tables: []string{"public.t"}}, false, "a"},
		{outbox.SignalRecord{ID: "a", Type: outbox.ExecuteSnapshot, Tables: []string{"public.u"}}, true, "a"},
		{outbox.SignalRecord{ID: "b", Type: outbox.ExecuteSnapshot, Conditions: []outbox.SignalCondition{{Filter: "f()"}}}, true, "a"},
		{outbox.SignalRecord{ID: "b", Type: outbox.ExecuteSnapshot, Tables: long}, true, "a"},
		{outbox.SignalRecord{ID: "b", Type: outbox.ExecuteSnapshot}, false, "a"},
		{outbox.SignalRecord{ID: "x", Type: outbox.PauseSnapshot, Snapshot: "a"}, false, "b"},
		{outbox.SignalRecord{ID: "x", Type: outbox.PauseSnapshot}, false, ""},
		{outbox.SignalRecord{ID: "x", Type: outbox.ResumeSnapshot, Snapshot: "b"}, false, "b"},
		{outbox.SignalRecord{ID: "x", Type: outbox.ResumeSnapshot, Snapshot: "a"}, false, "a"},
		{outbox.SignalRecord{ID: "x", Type: outbox.StopSnapshot, Snapshot: "a", Tables: []string{"public.t"}}, false, "a"},
		{outbox.SignalRecord{ID: "x", Type: outbox.StopSnapshot, Snapshot: "a"}, false, "b"},
		{outbox.SignalRecord{ID: "x", Type: outbox.StopSnapshot, Snapshot: "a"}, true, "b"},
		{outbox.SignalRecord{ID: "r", Type: outbox.Resync, Conditions: []outbox.SignalCondition{{Filter: "id > 5"}}}, true, "b"},
		{outbox.SignalRecord{ID: "r", Type: outbox.Resync}, false, "b"},
		{outbox.SignalRecord{ID: "x", Type: outbox.StopSnapshot}, false, "r"},
		{outbox.SignalRecord{ID: "x", Type: outbox.StopSnapshot}, true, "r"},
		{outbox.SignalRecord{ID: "x", Type: outbox.StopSnapshot, Tables: []string{"public.t"}}, true, "r"},
		{outbox.SignalRecord{ID: "x", Type: outbox.PauseSnapshot}, false, ""},
		{outbox.SignalRecord{ID: "x", Type: outbox.ResumeSnapshot}, false, "r"},
		{outbox.SignalRecord{ID: "x", Type: outbox.StopSnapshot, Snapshot: "r"}, false, ""},
	} {
		if why := c.Obey(&s.signal); (why != "") != s.refused {
			t.Errorf("%.200v: %q", s.signal, why)
		}
		state := ""
		if work := c.Current(); work != nil {
			state = work.ID
		}
		if state != s.state {
			t.Errorf("after %.200v: %q is at work, want %q", s.signal, state, s.state)
		}
	}
	if !c.ended("a") || !c.ended("b") {
		t.Errorf("finished: %+v", c.state.Finished)
	}
}

// A copy that was stopped can be requested again, as it was requested, unless that is not known. A copy that has finished cannot.
func TestAgain(t *testing.T) {
	c := testCopier(Config{Open: func() TableReader { return nil }})
	some := []outbox.SignalCondition{{Table: "public.t", Filter: "id > 5"}}
	long := make([]string, 100)
	for i := range long {
		long[i] = "public.a_long_name_of_a_table"
	}
	for id, s := range map[string]struct {
		request Copy
		why     string
		want    *outbox.SignalRecord
	}{
		"some":     {Copy{Tables: []string{"public.t"}, Conditions: some}, "stopped by a signal", &outbox.SignalRecord{Type: outbox.ExecuteSnapshot, Tables: []string{"public.t"}, Conditions: some}},
		"all":      {Copy{Initial: true}, "public.t: no such column", &outbox.SignalRecord{Type: outbox.ExecuteSnapshot, Tables: []string{AllTables}}},
		"missed-1": {Copy{Tables: []string{"public.t"}, Roots: map[string]uint32{"public.t": 7}, Resync: true}, "stopped by a signal", &outbox.SignalRecord{Type: outbox.Resync, Tables: []string{"public.t"}}},
		"long":     {Copy{Tables: long}, "stopped by a signal", nil},
		"fewer":    {Copy{Tables: []string{"public.*"}, Except: []string{"public.t"}}, "stopped by a signal", nil},
		"finished": {Copy{Tables: []string{"public.t"}}, "", nil},
	} {
		s.request.ID = id
		c.request(s.request)
		c.end(id, s.why)
		kept, err := json.Marshal(c.State())
		if err != nil {
			t.Fatal(err)
		}
		var read State
		if err := json.Unmarshal(kept, &read); err != nil {
			t.Fatal(err)
		}
		got := read.Finished[len(read.Finished)-1].Again()
		if got != nil {
			if why := c.Obey(got); why != "" {
				t.Errorf("%s: refused: %s", id, why)
			}
			if why := c.Obey(got); !strings.Contains(why, "under way") {
				t.Errorf("%s: requested twice: %q", id, why)
			}
			if work := c.Stats(); work.ID != got.ID || got.Missed() || len(work.Finished) == 0 {
				t.Errorf("%s: the publisher works on %+v, after signal %+v", id, work, got)
			}
			c.end(got.ID, "")
			got.ID = ""
		}
		if !reflect.DeepEqual(got, s.want) {
			t.Errorf("%s: %+v, want %+v", id, got, s.want)
		}
	}
}

// The loop goes on at once with a chunk that may be published, however many rows went out before: only the throttle and the
// stream hold it back.
func TestReadyChunksDoNotWait(t *testing.T) {
	for _, c := range []struct {
		rate int
		upTo outbox.LSN
		want time.Duration
	}{
		{rate: 0, upTo: 10, want: 0},
		{rate: 0, upTo: 9, want: nudgeAfter},
		{rate: 1, upTo: 10, want: nudgeAfter},
	} {
		copier := testCopier(Config{RowsPerSecond: c.rate, Open: func() TableReader { return nil }})
		copier.request(Copy{ID: "a"})
		copier.reader, copier.filled = idleReader{}, time.Now()
		pass := &tablePass{}
		for range 2 {
			chunk := &outbox.Chunk{At: 10}
			for range 1000 {
				chunk.Add(pgoutput.Tuple{0, 0})
			}
			copier.hold(pass, chunk)
		}
		copier.Published(&copier.held[0])
		if got := copier.UntilDue(c.upTo, time.Minute); got != c.want {
			t.Errorf("%+v: waits %s", c, got)
		}
	}
}

func testCopier(cfg Config) *Copier {
	cfg.SetDefaults()
	return New(&cfg, Host{Shape: &shape.Shape{}, Now: time.Now, Log: zap.NewNop()}, nil)
}

// idleReader reads nothing.
type idleReader struct{ TableReader }

func (idleReader) Results() <-chan outbox.Reading { return nil }
