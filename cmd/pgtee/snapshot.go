package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/filter"
	"github.com/pgtee/pgtee/publisher/kafka"
	"github.com/pgtee/pgtee/publisher/shape"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// snapshotCommand requests copies of tables from the running publisher, and shows their progress. Its subcommands communicate with the database and
// with Kafka, not with the publisher.
type snapshotCommand struct {
	Start  snapshotStart  `cmd:"" help:"Have the running publisher copy the rows of tables into their topics."`
	Pause  snapshotPause  `cmd:"" help:"Pause a snapshot."`
	Resume snapshotResume `cmd:"" help:"Resume a snapshot."`
	Cancel snapshotCancel `cmd:"" help:"Cancel the rest of a snapshot."`
	Status snapshotStatus `cmd:"" help:"Show what is being copied and what has been."`
}

// snapshotFrom identifies the publisher whose snapshots a command is about.
type snapshotFrom struct {
	logged
	postgresFlags `group:"Connection"`
	databaseFlags `group:"Connection"`
	slotFlags     `group:"Connection"`
	kafkaFlags    `group:"Kafka"`
}

// snapshotRequest has the flags for sending a request to the publisher.
type snapshotRequest struct {
	snapshotFrom
	SignalTopic string `help:"Send the request through this topic, which the publisher reads (its --signal-topic), without connecting to the database." placeholder:"TOPIC"`
}

type snapshotStart struct {
	snapshotRequest
	Table  []string `help:"Copy the rows of these tables into their topics, as schema.table; * stands for any characters. May be repeated." placeholder:"TABLE" required:""`
	Where  string   `help:"Copy only the rows that satisfy this condition, in the language of the filters (where: of tables)." placeholder:"CONDITION"`
	Resync bool     `help:"Empty the topics of the tables first, so that rows that were deleted while changes were missed leave consumers, too."`
	ID     string   `name:"id" help:"Name of the snapshot; by default one is generated." placeholder:"ID"`
	Wait   bool     `help:"Wait until the copy is finished, and show its progress."`
}

// snapshotOf identifies a snapshot in progress.
type snapshotOf struct {
	snapshotRequest
	ID string `arg:"" help:"The snapshot; * means all."`
}

type (
	snapshotPause  struct{ snapshotOf }
	snapshotResume struct{ snapshotOf }
	snapshotCancel struct{ snapshotOf }
	snapshotStatus struct{ snapshotFrom }
)

func (c *snapshotPause) Run(ctx context.Context, term terminal) error {
	return c.control(ctx, term, outbox.PauseSnapshot)
}

func (c *snapshotResume) Run(ctx context.Context, term terminal) error {
	return c.control(ctx, term, outbox.ResumeSnapshot)
}

func (c *snapshotCancel) Run(ctx context.Context, term terminal) error {
	return c.control(ctx, term, outbox.StopSnapshot)
}

func (c *snapshotOf) control(ctx context.Context, term terminal, kind string) error {
	s, cluster, err := c.open(ctx)
	if err != nil {
		return err
	}
	_, _, err = c.request(ctx, term, &outbox.SignalRecord{Type: kind, Snapshot: strings.TrimSuffix(c.ID, "*")}, s, cluster)
	return err
}

func (c *snapshotStart) Run(ctx context.Context, term terminal) error {
	s, cluster, err := c.open(ctx)
	if err != nil {
		return err
	}
	signal, err := c.signal()
	if err != nil {
		return usage(err)
	}
	if err := c.matchTables(ctx, s); err != nil {
		return usage(err)
	}
	id, before, err := c.request(ctx, term, signal, s, cluster)
	if err != nil || !c.Wait {
		return err
	}
	return watchSnapshot(ctx, term.out, id, before, func() (*snapshot.State, error) { return snapshotsOf(ctx, s, cluster) })
}

func (c *snapshotStatus) Run(ctx context.Context, term terminal) error {
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	cluster, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	for _, s := range sources {
		snapshots, err := snapshotsOf(ctx, s, cluster)
		if err != nil {
			return usage(fmt.Errorf("database %s: %w", s.database, err))
		}
		fmt.Fprintf(term.out, "%s:\n", s.database)
		printSnapshots(term.out, snapshots)
	}
	return nil
}

// open returns the database of a request, which must be the only one.
func (c *snapshotRequest) open(ctx context.Context) (s source, cluster cluster, err error) {
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return s, cluster, err
	}
	if len(sources) > 1 {
		return s, cluster, usage(fmt.Errorf("name one database at a time in --database: a snapshot is of a single one"))
	}
	cluster, err = c.openAndPing(ctx)
	return sources[0], cluster, err
}

// request sends a request after checking its id. before is the time at which the last snapshot with the same id ended.
func (c *snapshotRequest) request(ctx context.Context, term terminal, signal *outbox.SignalRecord, s source, cluster cluster) (id string, before time.Time, err error) {
	if before, err = c.checkID(ctx, signal, s, cluster); err != nil {
		return "", before, usage(err)
	}
	if id, err = c.send(ctx, signal, s, cluster); err != nil {
		return "", before, usage(fmt.Errorf("database %s: %w", s.database, err))
	}
	subject := signal.Type
	if snapshot.AsksForRows(signal) {
		subject = "snapshot " + id
	}
	fmt.Fprintf(term.out, "%s: requested\n", subject)
	return id, before, nil
}

// send sends a request through the topic of signals, or otherwise through the database.
func (c *snapshotRequest) send(ctx context.Context, signal *outbox.SignalRecord, s source, cluster cluster) (id string, err error) {
	if c.SignalTopic == "" {
		err = s.ask(ctx, func(ctx context.Context) (err error) {
			id, err = outbox.SendSignal(ctx, s.connString, signal)
			return err
		})
		return id, err
	}
	config := s.publisherConfig(cluster)
	config.SignalTopic = c.SignalTopic
	return kafka.SendSignal(ctx, config, signal)
}

// signal returns the request that the flags describe.
func (c *snapshotStart) signal() (*outbox.SignalRecord, error) {
	s := &outbox.SignalRecord{ID: c.ID, Type: outbox.ExecuteSnapshot, Tables: c.Table}
	if c.Resync {
		s.Type = outbox.Resync
	}
	switch {
	case c.Where == "":
		return s, nil
	case c.Resync:
		return nil, errors.New("--resync publishes all rows of a table: leave out --where")
	}
	if err := filter.Check(c.Where); err != nil {
		return nil, fmt.Errorf("--where: %w", err)
	}
	for _, table := range s.Tables {
		s.Conditions = append(s.Conditions, outbox.SignalCondition{Table: table, Filter: c.Where})
	}
	return s, nil
}

// matchTables reports a misspelt name before the request is sent.
func (c *snapshotStart) matchTables(ctx context.Context, s source) error {
	if c.SignalTopic != "" { // otherwise the publisher reports it
		return nil
	}
	var tables []string
	err := s.ask(ctx, func(ctx context.Context) (err error) {
		tables, err = outbox.PublishedTables(ctx, s.connString)
		return err
	})
	if err != nil {
		return err
	}
	for _, glob := range c.Table {
		if !slices.ContainsFunc(tables, func(name string) bool { return shape.Matches(glob, name) }) {
			return fmt.Errorf("--table %s: nothing of that name is published in database %s: want schema.table, or for a partition its root; pgtee check names tables that are not published", glob, s.database)
		}
	}
	return nil
}

// knownPatience is how long the publisher may take to start a requested snapshot.
const knownPatience = 5 * time.Second

// checkID returns an error if the snapshot to control is not in progress, or if the snapshot to start already is. For a new snapshot it returns when the
// last one with its id ended.
func (c *snapshotRequest) checkID(ctx context.Context, signal *outbox.SignalRecord, s source, cluster cluster) (before time.Time, err error) {
	starts := snapshot.AsksForRows(signal)
	for until := time.Now().Add(knownPatience); ; {
		snapshots, err := snapshotsOf(ctx, s, cluster)
		if err != nil {
			return before, err
		}
		working := slices.ContainsFunc(snapshots.Copies, func(c snapshot.Copy) bool { return c.ID == cmp.Or(signal.Snapshot, signal.ID) })
		for _, f := range snapshots.Finished {
			if f.ID == signal.ID {
				before = f.Finished
			}
		}
		switch {
		case starts && working:
			return before, fmt.Errorf("--id %s: a snapshot of that name is under way: see pgtee snapshot status", signal.ID)
		case starts, signal.Snapshot == "" && len(snapshots.Copies) > 0, working:
			return before, nil
		case time.Now().After(until) && signal.Snapshot == "":
			return before, fmt.Errorf("no snapshot is under way: see pgtee snapshot status")
		case time.Now().After(until):
			return before, fmt.Errorf("no snapshot %s is under way: see pgtee snapshot status", signal.Snapshot)
		}
		select {
		case <-ctx.Done():
			return before, ctx.Err()
		case <-time.After(meterInterval):
		}
	}
}

// snapshotsOf returns the copies in the progress record; never nil.
func snapshotsOf(ctx context.Context, s source, cluster cluster) (*snapshot.State, error) {
	position, err := kafka.LastPosition(ctx, s.publisherConfig(cluster))
	if err != nil {
		return nil, err
	}
	if position.Position == nil || position.Snapshots == nil {
		return &snapshot.State{}, nil
	}
	return position.Snapshots, nil
}

// publisherConfig returns the settings needed to find the progress record.
func (s source) publisherConfig(cluster cluster) kafka.Config {
	return kafka.Config{Brokers: cluster.brokers, KafkaOptions: cluster.options, Config: publisher.Config{Prefix: s.prefix, Database: s.database, Slot: s.slot}}
}

// printSnapshots prints a line for each unfinished snapshot, and for the last finished ones.
func printSnapshots(out io.Writer, s *snapshot.State) {
	if len(s.Copies)+len(s.Finished) == 0 {
		fmt.Fprintln(out, "  snapshots  none")
	}
	for _, f := range s.Finished {
		fmt.Fprintf(out, "  snapshot   %s  %s at %s\n", doctor.Clean(f.ID), endOf(f), f.Finished.UTC().Format(time.RFC3339))
	}
	for i := range s.Copies {
		fmt.Fprintf(out, "  snapshot   %s\n", meter(&s.Copies[i], 0))
	}
}

// endOf says how a snapshot ended, on one line for a terminal.
func endOf(f snapshot.FinishedCopy) string {
	switch {
	case f.Why != "":
		return "stopped: " + doctor.Clean(f.Why)
	case f.Stopped:
		return fmt.Sprintf("cancelled after %s rows", grouped(f.Rows))
	}
	end := fmt.Sprintf("finished: %s rows of %d tables", grouped(f.Rows), f.Tables)
	if len(f.Unmatched) > 0 {
		end += "; no published table matches " + doctor.Clean(strings.Join(f.Unmatched, ", "))
	}
	return end
}
