package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// snapshots is a run in which tables are copied under load while everything is killed: those of the first set by the initial snapshot, those of each
// further set by one request. Each table is copied once, so that no later copy repairs what one has lost.
type snapshots struct {
	*chaos
	hot   atomic.Int32 // set being copied; most of the load writes to it
	asked int          // number of sets whose copy has been requested
}

const (
	sets     = 10    // the first is for the initial snapshot
	setRows  = 24000 // in the largest table of a set
	copyRate = "8000"
)

// setSchema creates the tables of set %[1]d. Values of big are too long for a row, and an update that does not touch them does not write them to the
// WAL.
const setSchema = `
CREATE SCHEMA IF NOT EXISTS work;
CREATE TABLE work.plain_%[1]d (id bigint PRIMARY KEY, stmt text, n int);
CREATE TABLE work.wide_%[1]d (id bigint PRIMARY KEY, stmt text, n int, big text);
ALTER TABLE work.wide_%[1]d ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE TABLE work.named_%[1]d (area text, id bigint, stmt text, n int, PRIMARY KEY (area, id));
CREATE TABLE work.cut_%[1]d (id bigint PRIMARY KEY, stmt text, n int);
CREATE TABLE work.full_%[1]d (id bigint NOT NULL, stmt text, n int, big text);
ALTER TABLE work.full_%[1]d REPLICA IDENTITY FULL;
ALTER TABLE work.full_%[1]d ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE TABLE work.part_%[1]d (id bigint PRIMARY KEY, stmt text, n int) PARTITION BY HASH (id);
CREATE TABLE work.part_%[1]d_a PARTITION OF work.part_%[1]d FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE work.part_%[1]d_b PARTITION OF work.part_%[1]d FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO work.plain_%[1]d SELECT id, 'old', 0 FROM generate_series(1, %[2]d) AS id;
INSERT INTO work.wide_%[1]d SELECT id, 'old', 0, repeat(md5(id::text), 120) FROM generate_series(1, %[2]d / 6) AS id;
INSERT INTO work.named_%[1]d SELECT chr(97 + id %% 26) || chr(65 + id %% 7), id, 'old', 0 FROM generate_series(1, %[2]d / 2) AS id;
INSERT INTO work.cut_%[1]d SELECT id, 'old', 0 FROM generate_series(1, %[2]d / 2) AS id;
INSERT INTO work.full_%[1]d SELECT id, 'old', 0, CASE WHEN id %% 7 = 0 THEN repeat(md5(id::text), 120) END FROM generate_series(1, %[2]d / 4) AS id;
INSERT INTO work.part_%[1]d SELECT id, 'old', 0 FROM generate_series(1, %[2]d / 2) AS id;
CREATE INDEX ON work.full_%[1]d (id);`

// kinds are the tables of a set, with the columns that identify their rows.
var kinds = map[string][]string{
	"plain": {"id"}, "wide": {"id"}, "named": {"area", "id"}, "cut": {"id"}, "full": {"id"}, "part": {"id"},
}

func runSnapshots(ctx context.Context, c *chaos) error {
	s := &snapshots{chaos: c}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if err := s.runStorm(ctx, s.publishers, s.actors(), s.lanes()); err != nil {
		return err
	}
	if err := s.calm(ctx); err != nil {
		return err
	}
	return s.judge(ctx)
}

func (s *snapshots) prepare(ctx context.Context) error {
	binary, err := s.build()
	if err != nil {
		return err
	}
	if s.server, err = s.world.StartPostgres(s.major, settings); err != nil {
		return err
	}
	broker, err := s.world.StartKafka()
	if err != nil {
		return err
	}
	s.brokers = []*harness.Kafka{broker}
	var schema strings.Builder
	for set := range sets {
		fmt.Fprintf(&schema, setSchema, set, setRows)
	}
	if err := s.makeDatabase(ctx, schema.String()); err != nil {
		return err
	}
	if err := s.makeProgressTopic(ctx); err != nil {
		return err
	}
	if err := s.setup(ctx, binary); err != nil {
		return err
	}
	s.publishers = []*service{s.newService("publisher", binary, "publish", "--postgres", s.server.URL(database), "--kafka", broker.Address,
		"--prefix", prefix, "--slot", slot, "--key", s.keyFile(), "--standby", "--snapshot", "initial", "--snapshot-tables", "work.*_0,work.part_0*", "--snapshot-rows-per-second", copyRate)}
	return nil
}

// lanes returns faults that kill all participants of the copy, the publisher most often.
func (s *snapshots) lanes() []lane {
	return s.chosen([]lane{
		{"publisher", 3 * time.Second, serviceFaults(s.publishers[0])},
		{"postgres", 12 * time.Second, s.serverFaults()},
		{"kafka", 15 * time.Second, s.brokerFaults()},
	})
}

// ask requests the copy of one set after another, each when the previous one has finished, and pauses and resumes some of them.
func (s *snapshots) ask(ctx context.Context, random *rand.Rand) {
	s.asked = 1 // by the initial snapshot
	for set := 1; set < sets; set++ {
		s.await(ctx)
		if ctx.Err() != nil {
			return
		}
		s.hot.Store(int32(set))
		s.asked++
		s.request(ctx, fmt.Sprintf("SELECT pgtee.snapshot(ARRAY(SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'work'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname ~ '_%d$')::regclass[], NULL, 'set-%d')", set, set))
		if random.Intn(3) == 0 {
			sleep(ctx, time.Duration(random.Intn(3000))*time.Millisecond)
			s.request(ctx, "SELECT pgtee.snapshot_pause()")
			sleep(ctx, time.Duration(random.Intn(3000))*time.Millisecond)
			s.request(ctx, "SELECT pgtee.snapshot_resume()")
		}
	}
}

// request tries until it gets an answer, even if the storm has ended by then; a repeated request has the same id.
func (s *snapshots) request(ctx context.Context, sql string) {
	answer := func(context.Context) error { return s.exec(context.WithoutCancel(ctx), database, sql) }
	if err := harness.Eventually(time.Minute, answer); err != nil {
		s.complain("%v", err)
	}
	s.note("%s", sql)
}

// await waits until no copy is in progress.
func (s *snapshots) await(ctx context.Context) {
	for ctx.Err() == nil {
		if progress, err := s.progress(); err == nil && progress.idle() {
			s.note("%d snapshots are finished", len(progress.finished))
			return
		}
		sleep(ctx, 500*time.Millisecond)
	}
}

// progress is the state of snapshots in the progress records: those in progress, and all that have finished, with errors.
type progress struct {
	left     []json.RawMessage
	finished map[string]string // error by id
}

// idle reports whether the initial snapshot, and all others that were requested, have finished.
func (p progress) idle() bool { return len(p.left) == 0 && len(p.finished) > 0 }

func (s *snapshots) progress() (progress, error) {
	p := progress{finished: map[string]string{}}
	records, err := s.read("progress")
	for _, r := range records {
		var position struct {
			Snapshots struct {
				Copies   []json.RawMessage
				Finished []struct{ ID, Why string }
			}
		}
		if err := json.Unmarshal(r.Value, &position); err != nil {
			return p, err
		}
		p.left = position.Snapshots.Copies
		for _, f := range position.Snapshots.Finished {
			p.finished[f.ID] = f.Why
		}
	}
	return p, err
}

// calm resumes paused copies, and waits until all copies have finished and Kafka has the last write.
func (s *snapshots) calm(ctx context.Context) error {
	s.note("calm")
	if err := s.endPrepared(ctx); err != nil {
		return err
	}
	err := harness.Eventually(settleTime, func(ctx context.Context) error {
		if s.failure() != nil {
			return nil
		}
		progress, err := s.progress()
		if err != nil {
			return err
		}
		if !progress.idle() {
			if err := s.exec(ctx, database, "SELECT pgtee.snapshot_resume()"); err != nil {
				return err
			}
			time.Sleep(2 * time.Second)
			return fmt.Errorf("copies are left: %s", progress.left)
		}
		for id, why := range progress.finished {
			if why != "" {
				s.complain("snapshot %s: %s", id, why)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.drain(ctx)
}

// drain waits until everything committed is in Kafka, and stops the publisher.
func (s *snapshots) drain(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE TABLE work.mark (id int PRIMARY KEY)"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "INSERT INTO work.mark VALUES (1)"); err != nil {
		return err
	}
	err = harness.Eventually(settleTime, func(context.Context) error {
		records, err := s.read("work.mark")
		if err == nil && len(records) == 0 && s.failure() == nil {
			err = fmt.Errorf("the last commit is not in its topic")
		}
		return err
	})
	s.publishers[0].stop()
	return err
}
