package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

// appliers is a run in which the stream is applied to a second server.
type appliers struct {
	*chaos
	name     string // name of the run, for its output
	binary   string
	target   *embedded.Postgres
	way      *harness.Relay // between the first applier and the target
	services []*service     // of the appliers
	marks    int            // number of quiesced points so far
	unequal  []string       // tables that differed at one of them
	compared int
	shown    int // number of source rows that were compared at the last point
}

// applySchema is the initial schema of both servers, in addition to that of the other runs.
const applySchema = `
CREATE SCHEMA truth; CREATE PROCEDURE truth.watch(t regclass) LANGUAGE sql AS 'SELECT 1'; -- what the scripts call after CREATE TABLE
GRANT USAGE ON SCHEMA truth TO PUBLIC;
CREATE TABLE work.bare (a int, stmt text);
ALTER TABLE work.bare REPLICA IDENTITY FULL;
CREATE TABLE work.toast (id bigint PRIMARY KEY, stmt text, n int, big text);
ALTER TABLE work.toast ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE TABLE work.named (name text PRIMARY KEY, slot bigint UNIQUE, stmt text);
CREATE TABLE work.part (id bigint PRIMARY KEY, stmt text, n int) PARTITION BY HASH (id);
CREATE TABLE work.part_a PARTITION OF work.part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE work.part_b PARTITION OF work.part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE work.child (id bigint PRIMARY KEY, item bigint REFERENCES work.part ON DELETE CASCADE, stmt text);
GRANT ALL ON ALL TABLES IN SCHEMA work TO PUBLIC;`

const rounds = 4 // number of quiesced points of a run

func runAppliers(ctx context.Context, c *chaos) error {
	a := &appliers{chaos: c, name: "chaos-apply"}
	if err := a.prepareServers(ctx); err != nil {
		return err
	}
	a.startAppliers()
	for _, s := range append(append([]*service{a.proxy}, a.publishers...), a.services...) {
		s.keep()
	}
	for range rounds {
		if err := a.round(ctx, a.lanes(), rounds); err != nil {
			return err
		}
		if err := a.compare(ctx); err != nil {
			return err
		}
	}
	return a.report(ctx)
}

// prepareServers starts everything except the programs that read the topics.
func (a *appliers) prepareServers(ctx context.Context) (err error) {
	if a.binary, err = a.build(); err != nil {
		return err
	}
	if a.server, err = a.world.StartPostgres(a.major, settings); err != nil {
		return err
	}
	if a.target, err = a.world.StartPostgres(a.major, settings); err != nil {
		return err
	}
	if err := a.startNetwork(); err != nil {
		return err
	}
	if a.way, err = harness.NewRelay(); err != nil {
		return err
	}
	a.world.OnClose(a.way.Close)
	a.way.Serve(a.target.Address())
	if err := a.makeDatabase(ctx, schema+applySchema); err != nil {
		return err
	}
	if err := a.onTarget(ctx, "postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	if err := a.onTarget(ctx, database, schema+applySchema); err != nil {
		return err
	}
	if err := a.makeProgressTopic(ctx); err != nil {
		return err
	}
	if err := a.setup(ctx, a.binary); err != nil {
		return err
	}
	a.startServices(a.binary)
	return nil
}

func (a *appliers) startAppliers() {
	for i, address := range []string{a.way.Address, a.target.Address()} {
		args := a.applyArgs(address, a.producers[i].Address)
		if i == 1 {
			args = append(args, "--standby")
		}
		s := a.newService(fmt.Sprintf("applier-%d", i+1), args...)
		s.excused = "fenced off"
		a.services = append(a.services, s)
	}
}

func (a *appliers) applyArgs(target, kafka string) []string {
	return []string{a.binary, "apply", "--kafka", kafka, "--prefix", prefix, "--postgres", a.postgresAt(target, "postgres", ""), "--ddl", "apply", "--ddl-as-superuser", "--exclude-tables", "truth.*"}
}

// onTarget runs SQL on the second server.
func (a *appliers) onTarget(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, a.target.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// round runs load and faults together for a while.
func (a *appliers) round(ctx context.Context, lanes []lane, rounds int) error {
	storm, cancel := context.WithTimeout(ctx, a.length/time.Duration(rounds))
	defer cancel()
	a.giveUp = cancel
	var running sync.WaitGroup
	for i, actor := range a.load() {
		running.Go(func() { actor(storm, rand.New(rand.NewSource(a.seed+int64(a.marks*10_000+i)))) })
	}
	for i, lane := range lanes {
		running.Go(func() { a.drive(storm, lane, rand.New(rand.NewSource(a.seed+int64(a.marks*10_000+1000+i)))) })
	}
	running.Go(func() { a.limitWAL(storm, cancel) })
	running.Wait()
	return errors.Join(ctx.Err(), a.failure())
}

// lanes returns faults that kill all participants, the appliers most often.
func (a *appliers) lanes() []lane {
	return a.chosen([]lane{
		{"applier-1", 2 * time.Second, serviceFaults(a.services[0])},
		{"applier-2", 4 * time.Second, serviceFaults(a.services[1])},
		{"usurper", 9 * time.Second, []fault{{kill, 1, a.usurp}}},
		{"publisher-a", 6 * time.Second, a.publisherFaults(a.publishers[0])},
		{"publisher-b", 9 * time.Second, a.publisherFaults(a.publishers[1])},
		{"proxy", 10 * time.Second, serviceFaults(a.proxy)},
		{"postgres", 12 * time.Second, a.serverFaults()},
		{"target", 8 * time.Second, a.faultsOf(a.target)},
		{"kafka", 15 * time.Second, a.brokerFaults()},
		{"network-target", 8 * time.Second, networkFaults(a.way)},
		{"network-kafka", 12 * time.Second, networkFaults(a.producers[0])},
	})
}

// usurp starts a third applier, which takes over the stream from the others, and kills it.
func (a *appliers) usurp(_ *rand.Rand, draw between) {
	lives := draw(500*time.Millisecond, 4*time.Second)
	p, err := harness.Start(a.dir, harness.Command{Name: "usurper", Args: a.applyArgs(a.target.Address(), a.brokers[0].Address)})
	if err != nil {
		a.complain("%v", err)
		return
	}
	lives()
	p.Kill()
	for _, bad := range []string{"panic: ", "fatal error: ", "conflict "} {
		if strings.Contains(p.Log(), bad) {
			a.complain("the usurper: %s", p.Tail(10))
		}
	}
}

// quiesce writes the mark after everything that the round has committed.
func (a *appliers) quiesce(ctx context.Context) error {
	a.marks++
	a.note("quiesced point %d", a.marks)
	if err := a.endPrepared(ctx); err != nil {
		return err
	}
	mark := fmt.Sprintf("INSERT INTO work.mark VALUES (%d)", a.marks)
	return harness.Eventually(time.Minute, func(ctx context.Context) error { return a.exec(ctx, database, mark) })
}

// compare waits until the target has everything that was committed, and compares every table.
func (a *appliers) compare(ctx context.Context) error {
	if err := a.quiesce(ctx); err != nil {
		return err
	}
	err := harness.Eventually(settleTime, func(ctx context.Context) error {
		if a.failure() != nil {
			return nil
		}
		conn, err := pgx.Connect(ctx, a.target.URL(database))
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		var there bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM work.mark WHERE id = $1)", a.marks).Scan(&there); err != nil || there {
			return err
		}
		return fmt.Errorf("mark %d is not in the target", a.marks)
	})
	if err := errors.Join(a.failure(), err); err != nil {
		return fmt.Errorf("the appliers do not get to the end of the stream: %w", err)
	}
	return a.compareTables(ctx)
}

func (a *appliers) compareTables(ctx context.Context) error {
	source, err := pgx.Connect(ctx, a.server.URL(database))
	if err != nil {
		return err
	}
	defer source.Close(ctx)
	target, err := pgx.Connect(ctx, a.target.URL(database))
	if err != nil {
		return err
	}
	defer target.Close(ctx)
	const list = "SELECT relname FROM pg_class WHERE relnamespace = 'work'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1"
	rows, err := source.Query(ctx, list)
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	a.compared, a.shown = len(tables), 0
	for _, table := range tables {
		// The same rows, each as often: EXCEPT ALL in both directions, across two servers.
		digest := fmt.Sprintf("SELECT count(*), coalesce(md5(string_agg(h, '' ORDER BY h)), '') FROM (SELECT md5(t::text) AS h FROM work.%s AS t) AS t", table)
		var rows, other int
		var one, two string
		if err := source.QueryRow(ctx, digest).Scan(&rows, &one); err != nil {
			return err
		}
		if err := target.QueryRow(ctx, digest).Scan(&other, &two); err != nil {
			a.unequal = append(a.unequal, fmt.Sprintf("work.%s at point %d: %v", table, a.marks, err))
			continue
		}
		a.shown += rows
		if one != two {
			a.unequal = append(a.unequal, fmt.Sprintf("work.%s at point %d: %d rows in the source, %d in the target", table, a.marks, rows, other))
		}
	}
	a.note("quiesced point %d: %d tables, %d rows, %d unequal", a.marks, len(tables), a.shown, len(a.unequal))
	fmt.Printf("%s point=%d tables=%d rows=%d unequal=%d\n", a.name, a.marks, len(tables), a.shown, len(a.unequal))
	return nil
}

// report prints the injected faults and the closing line.
func (a *appliers) report(ctx context.Context) error {
	for _, s := range append([]*service{a.proxy}, append(a.publishers, a.services...)...) {
		s.stop()
	}
	conn, err := pgx.Connect(ctx, a.target.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var transactions, conflicts int
	if err := conn.QueryRow(ctx, "SELECT (SELECT transactions FROM pgtee.applied), (SELECT count(*) FROM pgtee.conflicts)").Scan(&transactions, &conflicts); err != nil {
		return err
	}
	line, kills := a.tally()
	fmt.Println(line)
	for _, text := range append(a.unequal, a.wrong...) {
		fmt.Println("  " + text)
	}
	fmt.Printf("chaos-apply rows=%d conflicts=%d complaints=%d seed=%d took=%v\n", a.shown, conflicts, len(a.wrong), a.seed, time.Since(a.began).Round(time.Second))
	fmt.Printf("chaos-apply kills=%d transactions=%d tables=%d unequal=%d\n", kills, transactions, a.compared, len(a.unequal))
	if len(a.unequal) > 0 || len(a.wrong) > 0 || conflicts > 0 {
		return errors.New("the target is not what the source is")
	}
	return nil
}
