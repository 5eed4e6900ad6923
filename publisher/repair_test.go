package publisher

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/pgtee/pgtee/outbox"
)

// A repaired position passes the check, and leaves out nothing that the slot has and Kafka lacks.
func TestRepair(t *testing.T) {
	system := outbox.System{ID: "7300", DatabaseOID: 5, Timeline: 2, Server: 1000, ConfirmedFlush: 100, PublicationHash: "new"}
	at := func(change func(*Position)) *Position {
		p := startPosition(system, "s")
		p.EndLSN = 500
		change(&p)
		return &p
	}
	tests := map[string]struct {
		recorded *Position
		want     outbox.LSN
	}{
		"progress lost":             {nil, 100},
		"publications made again":   {at(func(p *Position) { p.PublicationHash = "old" }), 500},
		"gap":                       {at(func(p *Position) { p.EndLSN = 50 }), 100},
		"other system":              {at(func(p *Position) { p.SystemID = "1" }), 100},
		"other database":            {at(func(p *Position) { p.DatabaseOID = 6 }), 100},
		"promoted with less":        {at(func(p *Position) { p.Timeline = 1 }), 150},
		"promoted with as much":     {at(func(p *Position) { p.Timeline, p.EndLSN = 1, 120 }), 120},
		"another line of timelines": {at(func(p *Position) { p.Timeline = 7 }), 100},
		"set back":                  {at(func(p *Position) { p.EndLSN = 2000 }), 100},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			log, source := &memoryLog{recorded: test.recorded}, listOf()
			source.system = system
			p := newPublisher(testConfig(), func(context.Context) (Source, error) { return source, nil }, log, tableFormat{})
			done, err := p.Repair(t.Context(), ResyncLost)
			to := done.To
			if err != nil || to.EndLSN != test.want || log.events != 1 || !source.closed {
				t.Fatalf("goes on after %s (%v), %d records; want after %s", to.EndLSN, err, log.events, test.want)
			}
			if err := check(system, log.recorded, nil); err != nil {
				t.Errorf("the publisher would halt again: %v", err)
			}
			if test.recorded != nil && to.EndLSN >= test.recorded.EndLSN && to.Cuts != nil {
				t.Errorf("cuts %v, although nothing was set back", to.Cuts)
			}
			if want := []outbox.LSN{test.want}; test.recorded != nil && to.EndLSN < test.recorded.EndLSN && !slices.Equal(to.Cuts, want) {
				t.Errorf("cuts %v, want %v", to.Cuts, want)
			}
		})
	}
}

// Whatever is published after a repair does not look older than what the topics hold, whoever published that.
func TestRepairCuts(t *testing.T) {
	system := outbox.System{ID: "7300", DatabaseOID: 5, Timeline: 2, Server: 1000, ConfirmedFlush: 160, Generation: 2, PublicationHash: "new"}
	type cuts = []outbox.LSN
	for name, c := range map[string]struct {
		change func(*Position)
		want   cuts
	}{
		"slot made anew":                         {func(p *Position) { p.Generation = 1 }, cuts{40, 160}},
		"slot made anew after a switch":          {func(p *Position) { p.Generation, p.Timeline = 1, 1 }, cuts{40, 150}},
		"slot made anew behind":                  {func(p *Position) { p.Generation, p.EndLSN = 1, 120 }, cuts{40}},
		"other server":                           {func(p *Position) { p.SystemID, p.Timeline = "1", 1 }, cuts{40, 160}},
		"other server, which writes behind":      {func(p *Position) { p.SystemID, p.EndLSN = "1", 120 }, cuts{40}},
		"other database":                         {func(p *Position) { p.DatabaseOID = 6 }, cuts{40, 160}},
		"promoted with less":                     {func(p *Position) { p.Timeline = 1 }, cuts{40, 150}},
		"all is there and the slot stood before": {func(p *Position) {}, cuts{40}},
	} {
		recorded := startPosition(system, "s")
		recorded.EndLSN, recorded.Cuts = 300, cuts{40}
		c.change(&recorded)
		source := listOf()
		source.system = system
		p := newPublisher(testConfig(), nil, &memoryLog{}, tableFormat{})
		p.source, p.history = source, []outbox.TimelineSwitch{{Timeline: 1, End: 150}}
		divergence, err := p.findDivergence(t.Context(), &recorded)
		if err != nil {
			t.Fatal(err)
		}
		if to := p.accept(&recorded, divergence); !slices.Equal(to.Cuts, c.want) || !slices.Equal(recorded.Cuts, cuts{40}) {
			t.Errorf("%s: goes on after %s with cuts %v, want %v", name, to.EndLSN, to.Cuts, c.want)
		}
	}
}

// A build that only counted the repairs has left positions.
func TestPositionWithNumberOfCuts(t *testing.T) {
	p, err := ParsePosition([]byte(`{"v":2,"timeline":1,"end_lsn":"0/64","cuts":1}`))
	if err != nil || len(p.Cuts) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// A repair that goes on at a giant which is partly out goes on within it, whatever timeline that was recorded on.
func TestRepairWithinGiant(t *testing.T) {
	system := outbox.System{ID: "7300", DatabaseOID: 5, Timeline: 3, Server: 1000, ConfirmedFlush: 100, PublicationHash: "new"}
	for name, c := range map[string]struct {
		timeline int32
		end      outbox.LSN
		within   bool
	}{
		"before both switches":              {1, 120, true},
		"recorded again after a switch":     {2, 120, true},
		"recorded again after both":         {3, 120, true},
		"the commit record is not whole":    {1, 150, false},
		"behind the end of its timeline":    {1, 160, false},
		"of a timeline that nobody knows":   {7, 120, false},
		"of the timeline, not written here": {3, 1000, false},
	} {
		recorded := startPosition(system, "s")
		recorded.Timeline, recorded.EndLSN, recorded.Ordinal, recorded.Part = c.timeline, c.end, 40, 2
		source := listOf()
		source.system = system
		p := newPublisher(testConfig(), nil, &memoryLog{}, tableFormat{})
		p.source, p.history = source, []outbox.TimelineSwitch{{Timeline: 1, End: 150}, {Timeline: 2, End: 180}}
		divergence, err := p.findDivergence(t.Context(), &recorded)
		if err != nil {
			t.Fatal(err)
		}
		to := p.accept(&recorded, divergence)
		if within := to.Ordinal == 40 && to.Part == 2 && to.EndLSN == c.end; within != c.within || !within && to.Ordinal != 0 {
			t.Errorf("%s: %+v", name, to)
		}
	}
}

// What a repair compares has the names that the database had; they stay in the position, as do the keys that tables without a primary key have.
func TestRepairOfARenamedDatabase(t *testing.T) {
	system := outbox.System{ID: "7300", DatabaseOID: 5, Timeline: 1, Server: 1000, ConfirmedFlush: 500}
	recorded := startPosition(system, "s")
	recorded.EndLSN, recorded.LastLSN, recorded.Database, recorded.FormerNames = 500, 500, "second", []string{"first", "second", testConfig().Database}
	recorded.ChosenKeys.Names = map[uint32][]string{7: {"code"}}
	source := listOf()
	source.system = system
	log := &trailLog{memoryLog: memoryLog{recorded: &recorded}}
	p := newPublisher(testConfig(), func(context.Context) (Source, error) { return source, nil }, log, tableFormat{})
	done, err := p.Repair(t.Context(), ResyncLost)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"first", testConfig().Database, "second"}
	if !slices.Equal(done.To.FormerNames, want) || !slices.Equal(log.names, append(want, testConfig().Database)) {
		t.Errorf("the position has the names %q, the audit topic is searched for %q", done.To.FormerNames, log.names)
	}
	if len(done.To.ChosenKeys.Names) != 1 {
		t.Errorf("keys %v", done.To.ChosenKeys)
	}
	trail := NewTrail()
	for i, name := range []string{"first", "other"} {
		trail.Add(fmt.Appendf(nil, `{"database":%q,"xid":%d,"end_lsn":"0/50"}`, name, i), want)
	}
	if len(trail.of) != 1 {
		t.Errorf("%d transactions, want that of one of the names", len(trail.of))
	}
}

// trailLog has an empty audit topic.
type trailLog struct {
	memoryLog
	names []string
}

func (l *trailLog) Trail(_ context.Context, _ outbox.LSN, names []string) (*Trail, error) {
	l.names = names
	return NewTrail(), nil
}
