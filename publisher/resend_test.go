package publisher

import (
	"errors"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

// The recorded position is at 500, its last transaction is number 7, which ended at 460; the slot starts at 300.
func TestResendCheck(t *testing.T) {
	at := time.Unix(1e9, 5000).UTC()
	row := func(end outbox.LSN, xid outbox.XID) *outbox.Transaction {
		return &outbox.Transaction{XID: xid, CommitLSN: end - 48, EndLSN: end, CommitTime: at, Changes: []outbox.Change{{Op: outbox.Insert, Relation: simTable}}}
	}
	later := func(tx *outbox.Transaction) *outbox.Transaction {
		tx.CommitTime = tx.CommitTime.Add(time.Microsecond)
		return tx
	}
	note := func(end outbox.LSN, xid outbox.XID) *outbox.Transaction {
		return &outbox.Transaction{XID: xid, CommitLSN: end - 48, EndLSN: end, CommitTime: at, Notes: simNotes}
	}
	part := func(tx *outbox.Transaction, number int, more bool) *outbox.Transaction {
		if tx.Part, tx.More = number, more; more {
			tx.EndLSN = 0
		}
		return tx
	}
	marker := func(end outbox.LSN) *outbox.Transaction { return &outbox.Transaction{EndLSN: end} }
	type list = []*outbox.Transaction
	usual := func(*Position) {}
	for name, c := range map[string]struct {
		change func(*Position)
		stream list
		halts  bool
	}{
		"all comes again":                        {usual, list{row(400, 6), row(460, 7), row(600, 8)}, false},
		"a marker ends it":                       {usual, list{row(460, 7), marker(500)}, false},
		"notes behind the last one":              {usual, list{row(460, 7), note(490, 8), marker(501)}, false},
		"the last one is a giant":                {usual, list{part(row(460, 7), 0, true), part(row(460, 7), 1, false), marker(500)}, false},
		"nothing comes":                          {usual, list{marker(300), marker(700)}, true},
		"nothing comes, and all is acknowledged": {func(p *Position) { p.LastLSN = 290 }, list{marker(700)}, false},
		"another id at its place":                {usual, list{row(460, 9), row(600, 10)}, true},
		"another time at its place":              {usual, list{later(row(460, 7)), marker(700)}, true},
		"the same id at another place":           {usual, list{row(452, 7), marker(700)}, true},
		"rows behind the last one":               {usual, list{row(460, 7), row(500, 8), marker(700)}, true},
		"a giant behind the last one":            {usual, list{row(460, 7), part(row(490, 8), 0, true), part(row(490, 8), 1, false), marker(700)}, true},
		"rows in an acknowledged history":        {func(p *Position) { p.LastLSN = 290 }, list{row(400, 9), marker(700)}, true},
		"rows, where nothing was published yet":  {func(p *Position) { p.LastLSN, p.XID = 300, 0 }, list{row(400, 9), marker(700)}, true},
		"half a giant is out":                    {func(p *Position) { p.Ordinal = 4 }, list{row(460, 7), part(row(548, 8), 0, true)}, false},
		"half a giant is out, its past is not":   {func(p *Position) { p.Ordinal = 4 }, list{row(460, 9), part(row(548, 8), 0, true)}, true},
		"an older record":                        {func(p *Position) { p.LastLSN = 0 }, list{row(400, 6), row(460, 7), marker(700)}, false},
		"an older record, acknowledged":          {func(p *Position) { p.LastLSN = 0 }, list{marker(700)}, false},
		"an older record, another history":       {func(p *Position) { p.LastLSN = 0 }, list{row(400, 6), row(460, 9), marker(700)}, true},
		"a record that knows nothing":            {func(p *Position) { p.LastLSN, p.XID = 0, 0 }, list{row(400, 6), marker(700)}, false},
	} {
		p := Position{Version: positionVersion, Timeline: 1, EndLSN: 500, XID: 7, CommitTime: at, LastLSN: 460}
		c.change(&p)
		r := newResendCheck(p, 300)
		var err error
		for _, tx := range c.stream {
			if err = r.observe(tx); err != nil {
				break
			}
		}
		if c.halts != errors.Is(err, halt.ErrDiverged) || !r.over {
			t.Errorf("%s: %v, over: %t", name, err, r.over)
		}
	}
}
