package main

import (
	"context"

	"github.com/pgtee/pgtee/outbox"
)

type checkCommand struct {
	setupFlags     `embed:""`
	selectionFlags `embed:""`
}

func (c *checkCommand) Run(ctx context.Context, term terminal) error {
	return c.forEach(ctx, term, outbox.Check, c.selectionFlags, 0)
}
