package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// replayCommand rebuilds a database as it was at a given time.
type replayCommand struct {
	applyFlags
	From string `help:"What to replay: the topics from their beginning, or the folder of an archive (pgtee archive)." default:"beginning" placeholder:"beginning|DIR"`
	To   string `help:"Where to end, between two commits: a time (2025-01-31T12:00:00Z), an LSN (0/16B3748), the id of the last transaction to apply, or before:EVENT-ID." required:"" placeholder:"MOMENT"`
}

func (c *replayCommand) Run(ctx context.Context, term terminal) error {
	limitGarbage()
	until, err := apply.ParseUntil(c.To)
	if err != nil {
		return usage(fmt.Errorf("--to: %w", err))
	}
	if c.From == "end" {
		return usage(errors.New("--from end: a replay needs the whole stream; give the folder of an archive, or leave the flag out"))
	}
	config, err := c.open(ctx, term, c.From)
	if err != nil {
		return err
	}
	if c.Check {
		return check(ctx, config, term)
	}
	config.Until, config.Once = until, true
	if err := c.apply(ctx, config, term); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	v := config.Stats.Values()
	fmt.Fprintf(term.out, "the target is as the source was before %s: %d transactions applied, the last one committed at %s\n",
		v.Applied, v.Transactions, v.CommitTime.UTC().Format("2006-01-02T15:04:05.000000Z"))
	return nil
}
