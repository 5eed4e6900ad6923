package publisher

import (
	"context"
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
			p := newPublisher(testConfig(nil), func(context.Context) (Source, error) { return source, nil }, log, tableFormat{})
			_, to, err := p.Repair(t.Context())
			if err != nil || to.EndLSN != test.want || log.events != 1 || !source.closed {
				t.Fatalf("goes on after %s (%v), %d records; want after %s", to.EndLSN, err, log.events, test.want)
			}
			if err := check(system, log.recorded, nil); err != nil {
				t.Errorf("the publisher would halt again: %v", err)
			}
		})
	}
}
