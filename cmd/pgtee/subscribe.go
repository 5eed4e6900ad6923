package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pgtee/pgtee/subscriber"
)

type subscribeCommand struct {
	kafkaFlags `group:"Kafka"`
	Tables     []string        `help:"Follow these tables, such as public.orders, in place of the audit stream." placeholder:"TABLE"`
	From       subscriber.From `help:"Where to start: beginning, end, a time (2025-01-31T12:00:00Z) or how long ago (10m)." default:"end"`
	JSON       bool            `help:"Print JSON lines."`

	User    string `help:"Of the audit stream, print transactions of this user only, each with the moment before it for --to of pgtee replay." placeholder:"NAME"`
	Command string `help:"... with a statement of this kind only, such as DELETE." placeholder:"COMMAND"`
}

func (c *subscribeCommand) Run(ctx context.Context, term terminal) error {
	cluster, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	chosen := c.User != "" || c.Command != ""
	if chosen && len(c.Tables) > 0 {
		return usage(errors.New("--user and --command choose transactions of the audit stream: leave --tables out"))
	}
	printer := subscriber.Printer{Out: term.out, JSON: c.JSON, Color: isTerminal(term.out), Audit: len(c.Tables) == 0}
	config := subscriber.Config{Brokers: cluster.brokers, KafkaOptions: cluster.options, Prefix: c.Prefix, Tables: c.Tables, From: c.From}
	return subscriber.Follow(ctx, config, func(e subscriber.Event) error {
		if !chosen {
			return printer.Print(e)
		}
		audit, err := subscriber.ParseAudit(e)
		if err != nil || !audit.By(c.User, c.Command) {
			return err
		}
		if err := printer.Print(e); err != nil || c.JSON {
			return err
		}
		_, err = fmt.Fprintf(term.out, "%12s before:%s\n", "", e.ID)
		return err
	})
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
