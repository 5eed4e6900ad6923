package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/kafka"
)

// effort is what the copy of a table used.
type effort struct {
	took                 time.Duration
	cpu, postgres, kafka time.Duration // of the program (or psql), the server, the broker
	rss                  int64         // peak, in bytes
}

// measure reads the same table with COPY and with the publisher in turn, and prints a line.
func (b *bench) measure(name string) error {
	w, known := works[name]
	if !known {
		return fmt.Errorf("there is no work of that name")
	}
	if err := b.Query(b.ctx, "postgres", "CREATE DATABASE "+name); err != nil {
		return err
	}
	if err := w.make(b, name); err != nil {
		return err
	}
	rows, err := b.count(name, w.table)
	if err != nil {
		return err
	}
	var limits, ours []effort
	for round := range b.rounds {
		limit, err := b.around(func() (effort, error) { return b.readOnce(name, w.table) })
		if err != nil {
			return err
		}
		own, err := b.around(func() (effort, error) { return b.copyOnce(name, w.table, round) })
		if err != nil {
			return err
		}
		limits, ours = append(limits, limit), append(ours, own)
	}
	printWork(name, rows, limits, ours)
	return nil
}

func (b *bench) count(database, table string) (rows int, err error) {
	conn, err := pgx.Connect(b.ctx, b.Server.URL(database))
	if err != nil {
		return 0, err
	}
	defer conn.Close(b.ctx)
	err = conn.QueryRow(b.ctx, "SELECT count(*) FROM "+table).Scan(&rows)
	return rows, err
}

// around runs work, and adds what server and broker have used meanwhile.
func (b *bench) around(work func() (effort, error)) (e effort, err error) {
	postgres, kafka, err := b.servers()
	if err != nil {
		return e, err
	}
	if e, err = work(); err != nil {
		return e, err
	}
	postgresAfter, kafkaAfter, err := b.servers()
	e.postgres, e.kafka = postgresAfter-postgres, kafkaAfter-kafka
	return e, err
}

// readOnce runs COPY … TO STDOUT > /dev/null.
func (b *bench) readOnce(database, table string) (effort, error) {
	p, err := b.StartCommand(harness.Command{Name: "psql", Args: []string{"psql", "-XqAt", "-o", "/dev/null", "-c", "COPY " + table + " TO STDOUT", b.Server.URL(database)}})
	if err != nil {
		return effort{}, err
	}
	code, err := p.Wait(5 * time.Minute)
	took := time.Since(p.Started)
	if err != nil || code != 0 {
		return effort{}, fmt.Errorf("psql exits with %d (%v): %s", code, err, p.Log())
	}
	return effort{took: took, cpu: p.CPU(), rss: p.PeakRSS()}, nil
}

// copyOnce starts a publisher on a new slot and waits until the initial snapshot has ended.
func (b *bench) copyOnce(database, table string, round int) (effort, error) {
	if round > 0 {
		if err := b.Run("teardown", "--postgres", b.Server.URL(database), "--slot", database); err != nil {
			return effort{}, err
		}
	}
	if err := b.Run("setup", "--postgres", b.Server.URL(database), "--slot", database); err != nil {
		return effort{}, err
	}
	prefix := fmt.Sprintf("%s.%d", database, round)
	args := []string{"publish", "--postgres", b.Server.URL(database), "--slot", database, "--kafka", b.broker.Address, "--prefix", prefix,
		"--key", b.KeyFile(), "--max-retained-wal", "8GB:warn", "--snapshot", "initial", "--snapshot-tables", table}
	p, err := b.Start(append(args, strings.Fields(b.args)...)...)
	if err != nil {
		return effort{}, err
	}
	finished, err := b.awaitEnd(p, kafka.Config{Brokers: []string{b.broker.Address}, Config: publisher.Config{Prefix: prefix, Database: database, Slot: database}})
	if err != nil {
		return effort{}, err
	}
	if err := p.Stop(syscall.SIGTERM, 30*time.Second); err != nil {
		return effort{}, err
	}
	e := effort{took: finished.Sub(p.Started), cpu: p.CPU(), rss: p.PeakRSS()}
	return e, b.forget(prefix)
}

func (b *bench) awaitEnd(p *harness.Process, config kafka.Config) (finished time.Time, err error) {
	err = harness.Eventually(10*time.Minute, func(ctx context.Context) error {
		if !p.Running() {
			return fmt.Errorf("the publisher ended: %s", p.Tail(5))
		}
		time.Sleep(200 * time.Millisecond)
		position, err := kafka.LastPosition(ctx, config)
		switch {
		case err != nil:
			return err
		case position.Position == nil || position.Snapshots == nil || len(position.Snapshots.Finished) == 0:
			return fmt.Errorf("the copy goes on; the log of the publisher ends with %s", p.Tail(3))
		}
		finished = position.Snapshots.Finished[0].Finished
		return nil
	})
	return finished, err
}

// forget deletes the topics, which would fill the disk.
func (b *bench) forget(prefix string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.broker.Address))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(b.ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, prefix+".") {
			names = append(names, name)
		}
	}
	_, err = admin.DeleteTopics(b.ctx, names...)
	return err
}
