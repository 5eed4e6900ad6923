package main

import (
	"context"

	"github.com/pgtee/pgtee/outbox"
)

type teardownCommand struct {
	setupFlags `embed:""`
}

func (c *teardownCommand) Run(ctx context.Context, term terminal) error {
	return c.forEach(ctx, term, outbox.Teardown, selectionFlags{AllowUnkeyed: true}, 0)
}
