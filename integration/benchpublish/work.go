package main

import (
	"fmt"
	"net"
	"os/exec"
)

// work is a backlog: the data that are written before the measurement starts.
type work struct {
	rows   int // at 100 percent
	schema func(b *bench, database string) error
	write  string // SQL that writes %d rows
}

var works = map[string]work{
	"tpcb":    {800_000, (*bench).pgbenchTables, tpcb},       // 200,000 transactions of three updates and an insert
	"inserts": {1_000_000, (*bench).orderTable, inserts},     // in transactions of 1,000
	"giant":   {2_000_000, (*bench).orderTable, giantInsert}, // in one
}

const tpcb = `DO $$
DECLARE
	account int;
	delta int;
BEGIN
	FOR i IN 1..%d / 4 LOOP
		account := 1 + (random() * 999999)::int; -- in the UPDATE, random() would keep it from the index
		delta := (random() * 10000)::int - 5000;
		UPDATE pgbench_accounts SET abalance = abalance + delta WHERE aid = account;
		UPDATE pgbench_tellers SET tbalance = tbalance + delta WHERE tid = 1 + i %% 100;
		UPDATE pgbench_branches SET bbalance = bbalance + delta WHERE bid = 1 + i %% 10;
		INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1 + i %% 100, 1 + i %% 10, account, delta, clock_timestamp());
		COMMIT;
	END LOOP;
END $$`

const orderRows = `INSERT INTO orders (customer, item, quantity, price, placed)
	SELECT i %% 5000, 'article ' || i, 1 + i %% 9, (i %% 100000) / 100.0, clock_timestamp() FROM generate_series(1, `

const (
	inserts = "DO $$ BEGIN FOR n IN 1..%d / 1000 LOOP " + orderRows + "1000) AS i; COMMIT; END LOOP; END $$"

	giantInsert = orderRows + "%d) AS i"
)

func (b *bench) orderTable(database string) error {
	return b.Query(b.ctx, database, `CREATE TABLE orders (
		id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int NOT NULL, item text NOT NULL, quantity int NOT NULL,
		price numeric(10,2) NOT NULL, placed timestamptz NOT NULL)`)
}

func (b *bench) pgbenchTables(database string) error {
	host, port, err := net.SplitHostPort(b.Server.Address())
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(b.ctx, "pgbench", "-h", host, "-p", port, "-U", "postgres", "-i", "-I", "dtgp", "-q", "-s", "10", database).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return nil
}
