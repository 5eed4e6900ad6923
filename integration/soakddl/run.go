package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/publisher/halt"
)

const (
	virginName   = "virgin"
	capturedName = "captured"
	slot         = "soak"
	prefix       = "shop"
)

// settings keep autovacuum away from the small tables of the scripts, whose locks it would hold at random times in either leg. The server's log shows
// which process waits for which.
var settings = map[string]string{
	"max_connections":                    "200",
	"max_prepared_transactions":          "100",
	"max_locks_per_transaction":          "256",
	"autovacuum_vacuum_threshold":        "5000",
	"autovacuum_analyze_threshold":       "5000",
	"autovacuum_vacuum_insert_threshold": "5000",
	"deadlock_timeout":                   "100ms",
	"log_lock_waits":                     "on",
	"log_connections":                    "on", // so that pgtee's processes can be identified
	"log_line_prefix":                    "%m [%p] %d %a ",
}

// soak is one run.
type soak struct {
	options
	began     time.Time
	world     *harness.World
	bench     *harness.Bench
	broker    *harness.Kafka
	proxy     *harness.Process
	publisher *harness.Process
	legs      []*leg // virgin, captured
	judge     *judge

	mu  sync.Mutex
	log *os.File // of errors that the scripts did not expect
}

// prepare starts the server and the processes that capture one of its databases.
func (s *soak) prepare(ctx context.Context) (err error) {
	if s.bench, err = s.world.NewBench(s.binary, s.major, settings); err != nil {
		return err
	}
	if s.log, err = os.Create(filepath.Join(s.bench.Dir, "soak.log")); err != nil {
		return err
	}
	s.world.OnClose(s.log.Close)
	if err := s.bench.Query(ctx, "postgres", rolesSQL); err != nil {
		return err
	}
	for _, database := range []string{virginName, capturedName} {
		if err := s.addLeg(ctx, database); err != nil {
			return err
		}
	}
	if !s.twice {
		if err := s.capture(s.legs[1]); err != nil {
			return err
		}
	}
	for _, l := range s.legs {
		if err := s.bench.Query(ctx, l.database, triggersSQL); err != nil {
			return err
		}
	}
	return nil
}

// addLeg creates a database and the sessions that will work in it.
func (s *soak) addLeg(ctx context.Context, database string) error {
	l := &leg{database: database, address: s.bench.Server.Address(), note: s.note}
	if err := s.bench.Query(ctx, "postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	if err := s.bench.Query(ctx, database, schemaSQL); err != nil {
		return err
	}
	for i := range migrators + writers {
		if err := s.bench.Query(ctx, database, groundSQL(i)); err != nil {
			return err
		}
		l.sessions = append(l.sessions, &session{leg: l, number: i, extended: newGenerator(s.seed, i).extended})
	}
	s.legs = append(s.legs, l)
	return nil
}

// capture makes pgtee publish the database of a leg, and the sessions of the leg use the proxy. Kafka and the publisher have machines of their own in
// production: here they get the processor time that clients, proxy and server leave, in both legs.
func (s *soak) capture(l *leg) (err error) {
	if s.broker, err = s.world.StartKafka(); err != nil {
		return err
	}
	if err := s.broker.Lower(); err != nil {
		return err
	}
	postgres := s.bench.Server.URL(l.database)
	if err := s.bench.Run("setup", "--postgres", postgres, "--slot", slot); err != nil {
		return err
	}
	if l.address, err = harness.FreeAddress(); err != nil {
		return err
	}
	if s.proxy, err = s.bench.Start("proxy", "--listen", l.address, "--postgres", postgres, "--key", s.bench.KeyFile()); err != nil {
		return err
	}
	if err := s.publish(); err != nil {
		return err
	}
	return harness.Eventually(time.Minute, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, l.url("postgres", "soak"))
		if err == nil {
			err = conn.Close(ctx)
		}
		return err
	})
}

// stream are the flags that name the stream.
func (s *soak) stream() []string {
	return []string{"--postgres", s.bench.Server.URL(capturedName), "--kafka", s.broker.Address, "--prefix", prefix, "--slot", slot}
}

func (s *soak) publish() (err error) {
	s.publisher, err = s.bench.Start(append([]string{"publish", "--key", s.bench.KeyFile(), "--partitions", "1", "--sql-text", "full"}, s.stream()...)...)
	if err != nil {
		return err
	}
	return s.publisher.Lower()
}

// cure does what the publisher's halt asks for if PostgreSQL could not decode a transaction. The scripts make such transactions at times: see
// docs/operating.md. It reports whether that was the reason why the publisher has ended.
func (s *soak) cure(ctx context.Context) (bool, error) {
	if !strings.Contains(s.publisher.Tail(1), halt.ErrUndecodable.Error()) {
		return false, nil
	}
	fmt.Println("soak-ddl: " + s.publisher.Tail(1))
	err := s.bench.Query(ctx, capturedName, "SELECT pg_drop_replication_slot('"+slot+"')")
	if err == nil {
		err = s.bench.Run("setup", "--postgres", s.bench.Server.URL(capturedName), "--slot", slot)
	}
	if err == nil {
		err = s.bench.Run(append([]string{"repair", "--accept-divergence"}, s.stream()...)...)
	}
	return true, errors.Join(err, s.publish())
}

// soak plays the scripts, alternating piece by piece between the two legs, so that both are exposed to the noise of the machine.
func (s *soak) soak(ctx context.Context) ([]*generator, error) {
	generators := make([]*generator, migrators+writers)
	for i := range generators {
		generators[i] = newGenerator(s.seed, i)
	}
	piece := min(max(s.length/8, 5*time.Second), 30*time.Second)
	played := func(cut func(*generator) []episode, turn int) error {
		pieces := make([][]episode, len(generators))
		for i, g := range generators {
			pieces[i] = cut(g)
		}
		s.playBoth(ctx, pieces, turn)
		return errors.Join(ctx.Err(), s.proxy.Alive())
	}
	for turn := 1; time.Since(s.began) < s.length; turn++ {
		until := time.Duration(turn) * piece
		if err := played(func(g *generator) []episode { return cut(g, until) }, turn); err != nil {
			return nil, err
		}
	}
	if err := played(func(g *generator) []episode { return []episode{g.last()} }, 0); err != nil {
		return nil, err
	}
	for _, l := range s.legs {
		l.close()
	}
	return generators, s.endPrepared(ctx)
}

// playBoth begins with virgin in every other turn.
func (s *soak) playBoth(ctx context.Context, pieces [][]episode, turn int) {
	outcomes := make([][][]outcome, 2)
	for i := range s.legs {
		l := (i + turn) % 2
		outcomes[l] = s.legs[l].play(ctx, pieces)
	}
	if ctx.Err() != nil {
		return
	}
	for i, episodes := range pieces {
		var steps []step
		for _, e := range episodes {
			steps = append(steps, e.steps...)
		}
		s.judge.add(i, steps, outcomes[0][i], outcomes[1][i])
	}
}

// endPrepared ends transactions left behind by scripts that were given up.
func (s *soak) endPrepared(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.bench.Server.URL(capturedName))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
	if err != nil {
		return err
	}
	gids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, gid := range gids {
		_, problem := conn.Exec(ctx, fmt.Sprintf("COMMIT PREPARED '%s'", gid))
		err = errors.Join(err, problem)
	}
	return err
}

// note writes a line to the log.
func (s *soak) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.log, "%s %s\n", time.Now().Format(time.RFC3339Nano), fmt.Sprintf(format, args...))
}

// report prints a line now and then until ctx ends.
func (s *soak) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(30 * time.Second):
		}
		fmt.Printf("soak-ddl %v", time.Since(s.began).Round(time.Second))
		for _, l := range s.legs {
			fmt.Printf(" %s=%d", l.database, l.executed.Load())
		}
		fmt.Println()
	}
}
