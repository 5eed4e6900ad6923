package main

import (
	"context"
	"io"
	"os"

	"github.com/pgtee/pgtee/subscriber"
)

type subscribeCommand struct {
	kafkaFlags
	Tables []string        `help:"Follow these tables, such as public.orders, in place of the audit stream." placeholder:"TABLE"`
	From   subscriber.From `help:"Where to start: beginning, end, a time (2025-01-31T12:00:00Z) or how long ago (10m)." default:"end"`
	JSON   bool            `help:"Print JSON lines."`
}

func (c *subscribeCommand) Run(ctx context.Context, term terminal) error {
	kafka, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	printer := subscriber.Printer{Out: term.out, JSON: c.JSON, Color: isTerminal(term.out), Audit: len(c.Tables) == 0}
	config := subscriber.Config{Brokers: kafka.brokers, KafkaOptions: kafka.options, Prefix: c.Prefix, Tables: c.Tables, From: c.From}
	return subscriber.Follow(ctx, config, printer.Print)
}

// isTerminal tells whether colours make sense: https://no-color.org
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
