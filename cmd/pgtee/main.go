// Command pgtee publishes committed PostgreSQL writes to Kafka, with their authors: `pgtee --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process immediately
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program: it returns the exit code, and writes only to stdout and stderr. The end of ctx corresponds to the first signal.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := execute(ctx, args, terminal{stdout, stderr})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted during startup")
	}
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintf(stderr, "pgtee: %s\n", explained(err))
	}
	return exitCode(err)
}

// terminal is where a command writes: its results to stdout, errors and the log to stderr.
type terminal struct {
	out, err io.Writer
}

// execute runs the command that args name.
func execute(ctx context.Context, args []string, term terminal) error {
	command, err := parse(args, term)
	if err != nil || command == nil {
		return err
	}
	return command.Run(ctx, term)
}
