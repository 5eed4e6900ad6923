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

// measureCatchUp has pg_recvlogical, then the publisher, work off what the rounds have written, each
// from a slot of the same age. pg_recvlogical throws the bytes away: it is the limit of the server.
func (b *bench) measureCatchUp() error {
	if err := b.query(database, "SELECT pg_switch_wal()"); err != nil {
		return err
	}
	var end string
	conn, err := pgx.Connect(b.ctx, b.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(b.ctx)
	if err := conn.QueryRow(b.ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&end); err != nil {
		return err
	}
	fmt.Printf("\nbacklog of %d rows, published to Apache Kafka\n%-24s %12s %12s\n", b.rows, "", "rows/s", "CPU us/row")
	took, cpu, err := b.receive(end)
	if err != nil {
		return err
	}
	b.printCatchUp("pg_recvlogical", took, cpu)
	if took, cpu, err = b.publish(conn, end); err != nil {
		return err
	}
	b.printCatchUp("pgtee publish", took, cpu)
	return nil
}

func (b *bench) printCatchUp(name string, took, cpu time.Duration) {
	fmt.Printf("%-24s %12.0f %12.2f\n", name, float64(b.rows)/took.Seconds(), float64(cpu.Microseconds())/float64(b.rows))
}

func (b *bench) receive(end string) (took, cpu time.Duration, err error) {
	host, port, err := net.SplitHostPort(b.server.Address())
	if err != nil {
		return 0, 0, err
	}
	p, err := b.startCommand(harness.Command{Name: "pg_recvlogical", Args: []string{"pg_recvlogical", "-h", host, "-p", port, "-U", "postgres", "-d", database,
		"--slot", rawSlot, "--start", "--no-loop", "--endpos", end, "-f", "/dev/null",
		"-o", "proto_version=1", "-o", "publication_names=pgtee_rows,pgtee_identity", "-o", "messages=true"}})
	if err != nil {
		return 0, 0, err
	}
	code, err := p.Wait(5 * time.Minute)
	if err != nil || code != 0 {
		return 0, 0, fmt.Errorf("pg_recvlogical exits with %d (%v): %s", code, err, p.Log())
	}
	return time.Since(p.Started), p.CPU(), nil
}

// publish starts the publisher and waits until the slot is confirmed up to end.
func (b *bench) publish(conn *pgx.Conn, end string) (took, cpu time.Duration, err error) {
	p, err := b.start("publish", "--postgres", b.server.URL(database), "--kafka", b.broker.Address, "--prefix", "bench",
		"--slot", slot, "--key", b.dir+"/key", "--max-retained-wal", "8GB:warn")
	if err != nil {
		return 0, 0, err
	}
	// The end is a mark: a position without events is recorded late, a row at once.
	if _, err := conn.Exec(b.ctx, "CREATE TABLE mark AS SELECT 1"); err != nil {
		return 0, 0, err
	}
	err = harness.Eventually(5*time.Minute, func(ctx context.Context) error {
		if !p.Running() {
			return fmt.Errorf("the publisher ended: %s", p.Tail(5))
		}
		var reached bool
		err := conn.QueryRow(ctx, "SELECT confirmed_flush_lsn >= $1::text::pg_lsn FROM pg_replication_slots WHERE slot_name = $2", end, slot).Scan(&reached)
		if err == nil && !reached {
			err = fmt.Errorf("slot %s has not confirmed %s", slot, end)
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	took = time.Since(p.Started)
	if err := p.Stop(syscall.SIGTERM, 30*time.Second); err != nil {
		return 0, 0, err
	}
	return took, p.CPU(), nil
}
