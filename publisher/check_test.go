package publisher

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

func TestCheck(t *testing.T) {
	server := outbox.System{ID: "1", Timeline: 3, DatabaseOID: 5, PublicationHash: "h", Server: 1000, ConfirmedFlush: 400, ConsistentPoint: 100}
	history := []outbox.TimelineSwitch{{Timeline: 1, End: 300}, {Timeline: 2, End: 600}}
	at := func(change func(*Position)) *Position {
		p := &Position{Version: 1, Timeline: 3, EndLSN: 500, SystemID: "1", DatabaseOID: 5, PublicationHash: "h"}
		change(p)
		return p
	}
	for name, c := range map[string]struct {
		recorded *Position
		server   func(*outbox.System)
		want     error
		repair   string
	}{
		"as it should be":           {at(func(p *Position) {}), nil, nil, ""},
		"all is acknowledged":       {at(func(p *Position) { p.EndLSN = 400 }), nil, nil, ""},
		"at the end of the log":     {at(func(p *Position) { p.EndLSN = 1000 }), nil, nil, ""},
		"first start":               {nil, func(s *outbox.System) { s.ConfirmedFlush = 100 }, nil, ""},
		"progress lost":             {nil, nil, halt.ErrProgressLost, "pgtee repair --accept-divergence"},
		"gap":                       {at(func(p *Position) { p.EndLSN = 399 }), nil, halt.ErrGap, "pgtee repair --accept-divergence"},
		"slot made anew":            {at(func(p *Position) { p.Generation = 1 }), func(s *outbox.System) { s.Generation = 2 }, halt.ErrGap, "pgtee repair --accept-divergence"},
		"the same slot":             {at(func(p *Position) { p.Generation = 2 }), func(s *outbox.System) { s.Generation = 2 }, nil, ""},
		"database behind":           {at(func(p *Position) { p.EndLSN = 1001 }), nil, halt.ErrDatabaseBehind, "pgtee repair --accept-divergence"},
		"other system":              {at(func(p *Position) { p.SystemID = "2" }), nil, halt.ErrOtherSystem, "pgtee repair --accept-divergence"},
		"other database":            {at(func(p *Position) { p.DatabaseOID = 6 }), nil, halt.ErrOtherDatabase, "--prefix"},
		"other publications":        {at(func(p *Position) { p.PublicationHash = "g" }), nil, halt.ErrPublications, "pgtee setup"},
		"promoted, nothing lost":    {at(func(p *Position) { p.Timeline, p.EndLSN = 2, 600 }), nil, nil, ""},
		"promoted, one byte lost":   {at(func(p *Position) { p.Timeline, p.EndLSN = 2, 601 }), nil, halt.ErrDiverged, "pgtee repair --accept-divergence"},
		"promoted twice":            {at(func(p *Position) { p.Timeline, p.EndLSN = 1, 300 }), func(s *outbox.System) { s.ConfirmedFlush = 300 }, nil, ""},
		"promoted twice, lost":      {at(func(p *Position) { p.Timeline, p.EndLSN = 1, 500 }), nil, halt.ErrDiverged, "pgtee repair --accept-divergence"},
		"back to an older timeline": {at(func(p *Position) { p.Timeline = 4 }), nil, halt.ErrDiverged, "pgtee repair --accept-divergence"},
		"half a giant, lost":        {at(func(p *Position) { p.Timeline, p.EndLSN, p.Ordinal = 2, 600, 7 }), nil, halt.ErrDiverged, "pgtee repair --accept-divergence"},
		"half a giant, shared":      {at(func(p *Position) { p.Timeline, p.EndLSN, p.Ordinal = 2, 599, 7 }), nil, nil, ""},
		"promoted with a gap":       {at(func(p *Position) { p.Timeline, p.EndLSN = 1, 300 }), nil, halt.ErrGap, "pgtee repair --accept-divergence"},
	} {
		s := server
		if c.server != nil {
			c.server(&s)
		}
		err := check(s, c.recorded, history)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.want != nil && (halt.FateOf(err) != halt.Stop || !strings.Contains(err.Error(), c.repair)) {
			t.Errorf("%s: %v, which does not halt, or not name %q", name, err, c.repair)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	value, err := Position{Version: 1, Timeline: 1, EndLSN: 0x16B3748, SystemID: "7300", Slot: "pgtee"}.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`{"v":1,"timeline":1,"end_lsn":"x"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		p, err := ParsePosition(value)
		if err != nil {
			if halt.FateOf(err) != halt.Stop {
				t.Fatalf("%v does not halt", err)
			}
			return
		}
		again, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParsePosition(again); err != nil || back.EndLSN != p.EndLSN {
			t.Fatalf("%s became %s: %v", value, again, err)
		}
	})
}
