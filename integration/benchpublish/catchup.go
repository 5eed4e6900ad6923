package main

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// backlog is a workload that is in the WAL, and the slot from which it can be read repeatedly.
type backlog struct {
	name     string // of the work, its database and the publisher's slot
	rows     int
	end      string // LSN after the work; one more row follows it
	conn     *pgx.Conn
	original string // copy of the publisher's slot before the work; each round starts with a copy of it
}

// effort is what one process used for a backlog.
type effort struct {
	took, cpu time.Duration
	rss       int64 // peak, in bytes
}

func (e effort) rate(rows int) float64 { return float64(rows) / e.took.Seconds() }

func (e effort) cpuPerRow(rows int) float64 {
	return float64(e.cpu.Nanoseconds()) / 1000 / float64(rows)
}

// measureWork processes the same WAL with pg_recvlogical and with the publisher in turn, and prints a line.
func (b *bench) measureWork(name string) error {
	w, known := works[name]
	if !known {
		return fmt.Errorf("there is no work of that name")
	}
	l, err := b.writeBacklog(name, w)
	if err != nil {
		return err
	}
	defer l.conn.Close(b.ctx)
	var limits, ours []effort
	for round := range b.rounds {
		turns := []func() error{
			func() error { e, err := b.receiveOnce(l, round); limits = append(limits, e); return err },
			func() error { e, err := b.publishOnce(l, round); ours = append(ours, e); return err },
		}
		for i := range turns {
			if err := turns[(i+round)%2](); err != nil { // alternate, so that neither is always first
				return err
			}
		}
	}
	printWork(l, limits, ours)
	return b.dropBacklog(l)
}

func (b *bench) writeBacklog(name string, w work) (*backlog, error) {
	if err := b.createDatabase(name, func(database string) error { return w.schema(b, database) }); err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(b.ctx, b.Server.URL(name))
	if err != nil {
		return nil, err
	}
	l := &backlog{name: name, rows: w.rows * b.percent / 100 / 1000 * 1000, conn: conn, original: name + "_original"}
	for _, sql := range []string{
		fmt.Sprintf("SELECT pg_copy_logical_replication_slot('%s', '%s')", name, l.original),
		"SET synchronous_commit = off",
		fmt.Sprintf(w.write, l.rows),
	} {
		if _, err := conn.Exec(b.ctx, sql); err != nil {
			return nil, err
		}
	}
	if err := conn.QueryRow(b.ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&l.end); err != nil {
		return nil, err
	}
	// A row after the end, because a position without events would be recorded late.
	_, err = conn.Exec(b.ctx, "SET synchronous_commit = on; CREATE TABLE mark AS SELECT 1; CHECKPOINT")
	return l, err
}

// dropBacklog lets the server remove the WAL.
func (b *bench) dropBacklog(l *backlog) error {
	for _, slot := range []string{l.name, l.original} {
		if _, err := l.conn.Exec(b.ctx, "SELECT pg_drop_replication_slot($1)", slot); err != nil {
			return err
		}
	}
	_, err := l.conn.Exec(b.ctx, "CHECKPOINT")
	return err
}

func (b *bench) receiveOnce(l *backlog, round int) (effort, error) {
	slot := fmt.Sprintf("%s_raw_%d", l.name, round)
	if _, err := l.conn.Exec(b.ctx, "SELECT pg_copy_logical_replication_slot($1, $2)", l.original, slot); err != nil {
		return effort{}, err
	}
	host, port, err := net.SplitHostPort(b.Server.Address())
	if err != nil {
		return effort{}, err
	}
	p, err := b.StartCommand(harness.Command{Name: "pg_recvlogical", Args: []string{"pg_recvlogical", "-h", host, "-p", port, "-U", "postgres", "-d", l.name,
		"--slot", slot, "--start", "--no-loop", "--endpos", l.end, "-f", "/dev/null",
		"-o", "proto_version=1", "-o", "publication_names=pgtee_rows,pgtee_identity", "-o", "messages=true"}})
	if err != nil {
		return effort{}, err
	}
	code, err := p.Wait(5 * time.Minute)
	took := time.Since(p.Started)
	if err != nil || code != 0 {
		return effort{}, fmt.Errorf("pg_recvlogical exits with %d (%v): %s", code, err, p.Log())
	}
	err = harness.Eventually(10*time.Second, func(ctx context.Context) error {
		_, err := l.conn.Exec(ctx, "SELECT pg_drop_replication_slot($1)", slot)
		return err
	})
	return effort{took, p.CPU(), p.PeakRSS()}, err
}

// publishOnce starts a publisher on a new copy of the slot and waits until the slot is confirmed up to the end.
func (b *bench) publishOnce(l *backlog, round int) (effort, error) {
	if _, err := l.conn.Exec(b.ctx, "SELECT pg_drop_replication_slot($1)", l.name); err != nil {
		return effort{}, err
	}
	if _, err := l.conn.Exec(b.ctx, "SELECT pg_copy_logical_replication_slot($1, $2)", l.original, l.name); err != nil {
		return effort{}, err
	}
	p, err := b.publish(l.name, fmt.Sprintf("%s.%d", l.name, round))
	if err != nil {
		return effort{}, err
	}
	err = harness.Eventually(5*time.Minute, func(ctx context.Context) error {
		if !p.Running() {
			return fmt.Errorf("the publisher ended: %s", p.Tail(5))
		}
		var reached bool
		err := l.conn.QueryRow(ctx, "SELECT confirmed_flush_lsn >= $1::text::pg_lsn FROM pg_replication_slots WHERE slot_name = $2", l.end, l.name).Scan(&reached)
		if err == nil && !reached {
			err = fmt.Errorf("slot %s has not confirmed %s", l.name, l.end)
		}
		return err
	})
	if err != nil {
		return effort{}, err
	}
	took := time.Since(p.Started)
	if err := p.Stop(syscall.SIGTERM, 30*time.Second); err != nil {
		return effort{}, err
	}
	return effort{took, p.CPU(), p.PeakRSS()}, nil
}
