package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

const (
	database = "chaos"
	slot     = "chaos"
	prefix   = "chaos"

	transactionalID = "pgtee-" + prefix + "-" + database + "-" + slot

	maxLogBytes = 8 << 30 // of WAL; beyond it, the storm ends early
)

// chaos is one run.
type chaos struct {
	options
	world *harness.World
	began time.Time
	dir   string // for logs and key
	start string // WAL position from which the truth is compared

	server     *embedded.Postgres
	brokers    []*harness.Kafka
	proxy      *service
	publishers []*service

	clients      *harness.Relay   // between clients and proxy
	backends     *harness.Relay   // between proxy and PostgreSQL
	decoders     []*harness.Relay // between each publisher and PostgreSQL
	producers    []*harness.Relay // between each publisher and Kafka
	proxyAddress string

	aborted int // records of aborted Kafka transactions, when the topics were last read

	mu     sync.Mutex
	faults map[string]int // number of injected faults, by name
	log    *os.File       // of the faults
	wrong  []string       // errors that no fault excuses
	giveUp func()         // ends the storm
	giant  chan struct{}  // closed when the next giant transaction has committed
}

// storm runs load and faults together, and waits for the end of both. It fails with an error that no fault excuses.
func (c *chaos) storm(ctx context.Context) error {
	return c.runStorm(ctx, append([]*service{c.proxy}, c.publishers...), c.actors(), c.lanes())
}

// actor is a part of the load; it ends when its context ends.
type actor func(context.Context, *rand.Rand)

func (c *chaos) runStorm(ctx context.Context, services []*service, actors []actor, lanes []lane) error {
	storm, cancel := context.WithTimeout(ctx, c.length)
	defer cancel()
	c.giveUp = cancel
	for _, s := range services {
		s.keep()
	}
	var running sync.WaitGroup
	for i, actor := range actors {
		running.Go(func() { actor(storm, rand.New(rand.NewSource(c.seed+int64(i)))) })
	}
	for i, lane := range lanes {
		running.Go(func() { c.drive(storm, lane, rand.New(rand.NewSource(c.seed+1000+int64(i)))) })
	}
	running.Go(func() { c.limitWAL(storm, cancel) })
	running.Wait()
	return errors.Join(ctx.Err(), c.failure())
}

// limitWAL ends the storm before the server's WAL fills the disk.
func (c *chaos) limitWAL(ctx context.Context, end func()) {
	for ctx.Err() == nil {
		sleep(ctx, 5*time.Second)
		conn, err := pgx.Connect(ctx, c.server.URL(database)) // the server may be down
		if err != nil {
			continue
		}
		var bytes int64
		if err := conn.QueryRow(ctx, "SELECT (pg_current_wal_lsn() - $1::text::pg_lsn)::bigint", c.start).Scan(&bytes); err == nil && bytes > maxLogBytes {
			c.note("the WAL has %d bytes", bytes)
			end()
		}
		conn.Close(ctx)
	}
}

// note writes a line to the log of faults.
func (c *chaos) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.log, "%s %8.3f %s\n", time.Now().Format(time.RFC3339Nano), time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// complain records an error that no fault excuses, and ends the storm.
func (c *chaos) complain(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.note("WRONG %s", text)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, text)
	c.giveUp()
}

// failure returns the first complaint.
func (c *chaos) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) == 0 {
		return nil
	}
	return errors.New(c.wrong[0])
}

// nextGiant returns a channel that is closed when the next giant transaction has committed.
func (c *chaos) nextGiant() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.giant
}

func (c *chaos) giantCommitted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.giant)
	c.giant = make(chan struct{})
}

func (c *chaos) count(fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[fault]++
}

// keepArtefacts copies the logs from the folder that is about to be removed.
func (c *chaos) keepArtefacts() error {
	kept, err := c.world.KeepLogs("pgtee-chaos-")
	fmt.Printf("chaos logs=%s\n", kept)
	return err
}
