package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/pgtee/pgtee/subscriber"
)

type subscribeCommand struct {
	kafkaFlags `group:"Kafka"`
	Tables     []string        `help:"Follow these tables, such as public.orders, instead of the audit stream." placeholder:"TABLE" env:"PGTEE_SUBSCRIBE_TABLES"`
	From       subscriber.From `help:"Where to start: beginning, end, a time (2025-01-31T12:00:00Z) or how long ago (10m)." default:"end" aliases:"since"`
	Until      string          `help:"Read up to this moment and exit: now, a time, or how long ago. Starts at the beginning unless --from is given." placeholder:"TIME"`

	User    string `help:"Print only what this user wrote. In the audit stream, each event is then printed with the position before it, for pgtee replay --to." placeholder:"NAME"`
	App     string `help:"Print only what was written with this application_name." placeholder:"NAME"`
	Client  string `help:"Print only what was written from this address, address:port or network (10.1.0.0/16)." placeholder:"ADDRESS"`
	Table   string `help:"Print only what was written into this table." placeholder:"TABLE"`
	Command string `help:"Print only what was written with this command, such as DELETE." placeholder:"COMMAND"`

	Format     string     `help:"How to print: ${enum}. csv has a line per statement or row." enum:"pretty,json,csv" default:"pretty" env:"PGTEE_SUBSCRIBE_FORMAT"`
	JSON       bool       `help:"The same as --format json."`
	Output     string     `help:"Append to this file instead of printing." type:"path" placeholder:"FILE"`
	OutputSize sizeOption `name:"output-size" help:"When the file is this large, rename it with the time as a suffix and begin another." placeholder:"SIZE"`
}

// sizeOption is a size such as 100MB; zero: not given.
type sizeOption int64

func (s *sizeOption) UnmarshalText(text []byte) error {
	bytes, err := parseSize(string(text))
	*s = sizeOption(bytes)
	return err
}

func (c *subscribeCommand) Run(ctx context.Context, term terminal) error {
	config, err := c.config(term)
	if err != nil {
		return usage(err)
	}
	cluster, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	config.Brokers, config.KafkaOptions = cluster.brokers, cluster.options
	out, next := term.out, func() (bool, error) { return false, nil }
	if c.Output != "" {
		file, err := openRotated(c.Output, int64(c.OutputSize))
		if err != nil {
			return usage(fmt.Errorf("--output: %w", err))
		}
		defer file.Close()
		out, next = file, file.next
	}
	unreadable, printEvent := 0, c.print(out, next)
	err = subscriber.Follow(ctx, config, func(e subscriber.Event) error {
		err := printEvent(e)
		if errors.Is(err, subscriber.ErrUnreadable) { // anybody with WRITE on the topic could hide the records behind it
			unreadable++
			fmt.Fprintln(term.err, "pgtee:", oneLine(err))
			return nil
		}
		return err
	})
	if errors.Is(err, subscriber.ErrNoTopics) {
		return usage(err)
	}
	if err == nil && unreadable > 0 {
		return fmt.Errorf("%d of the records could not be read: see above for their places", unreadable)
	}
	return err
}

// config returns what to read, without the options for connecting to Kafka.
func (c *subscribeCommand) config(term terminal) (subscriber.Config, error) {
	config := subscriber.Config{Prefix: c.Prefix, Tables: c.Tables, From: c.From, Missing: func(topics, prefixes []string) {
		fmt.Fprintf(term.err, "pgtee: waiting for %s, which is not there yet: are --prefix and --tables right? %s\n", strings.Join(topics, ", "), listPrefixes(prefixes))
	}}
	if c.OutputSize > 0 && c.Output == "" {
		return config, errors.New("--output-size needs --output")
	}
	if c.Client != "" {
		_, noAddress := netip.ParseAddr(c.Client)
		_, noPort := netip.ParseAddrPort(c.Client)
		if _, noNetwork := netip.ParsePrefix(c.Client); noAddress != nil && noPort != nil && noNetwork != nil {
			return config, fmt.Errorf("--client %s: want an address, address:port or network such as 10.1.0.0/16", c.Client)
		}
	}
	if c.Until == "" {
		return config, nil
	}
	var until subscriber.From
	text := c.Until
	if text == "now" {
		text = "end"
	}
	err := until.UnmarshalText([]byte(text))
	at, found := until.Time()
	if err != nil || !found || time.Until(at) > 0 {
		return config, fmt.Errorf("--until %s: want a moment that has passed: now, a time such as 2025-01-31T12:00:00Z, or how long ago, such as 10m", c.Until)
	}
	config.Until = at
	if c.From == (subscriber.From{}) {
		config.From = subscriber.Beginning
	}
	return config, nil
}

func listPrefixes(prefixes []string) string {
	if len(prefixes) == 0 {
		return "No publisher has written to this Kafka yet."
	}
	return "Prefixes that are there: " + strings.Join(prefixes, ", ") + "."
}

// print returns a function that prints the selected events. next is called before each event, and reports whether a new file begins.
func (c *subscribeCommand) print(out io.Writer, next func() (bool, error)) func(subscriber.Event) error {
	choice := subscriber.Choice{User: c.User, Application: c.App, Client: c.Client, Table: c.Table, Command: c.Command}
	format := c.Format
	if c.JSON {
		format = "json"
	}
	audit := len(c.Tables) == 0
	printer := subscriber.Printer{Out: out, JSON: format == "json", CSV: format == "csv", Header: c.Output == "", Color: isTerminal(out), Audit: audit}
	return func(e subscriber.Event) error {
		if !choice.IsAny() {
			if chosen, err := chosen(choice, audit, e); err != nil || !chosen {
				return err
			}
		}
		fresh, err := next()
		printer.Header = printer.Header || fresh
		if err := errors.Join(err, printer.Print(e)); err != nil || choice.IsAny() || format != "pretty" || !audit {
			return err
		}
		_, err = fmt.Fprintf(out, "%12s before:%s\n", "", e.ID)
		return err
	}
}

func chosen(choice subscriber.Choice, audit bool, e subscriber.Event) (bool, error) {
	if audit {
		a, err := subscriber.ParseAudit(e)
		return err == nil && choice.Audit(&a), err
	}
	if e.Value == nil {
		return false, nil // the tombstone after a delete has no author
	}
	r, err := subscriber.ParseRow(e)
	return err == nil && choice.Row(&r), err
}

// isTerminal reports whether colours should be used: https://no-color.org
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
