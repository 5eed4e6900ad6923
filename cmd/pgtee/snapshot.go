package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
)

// snapshotCommand asks the running publisher for copies of tables, and tells how far they are. It speaks to the database
// and to Kafka, not to the publisher.
type snapshotCommand struct {
	logged
	postgresFlags
	databaseFlags
	slotFlags
	kafkaFlags

	Table  []string `help:"Copy the rows of these tables into their topics, as schema.table; * is any run of characters. May repeat." placeholder:"TABLE" xor:"what"`
	Where  string   `help:"Only the rows for which this holds: columns and constants, in the language of the filters (where: of tables)." placeholder:"CONDITION"`
	ID     string   `name:"id" help:"Name of the snapshot; else it gets one." placeholder:"ID"`
	Pause  string   `help:"Pause this snapshot; * means all." placeholder:"ID" xor:"what"`
	Resume string   `help:"Go on with this snapshot; * means all." placeholder:"ID" xor:"what"`
	Cancel string   `help:"Leave the rest of this snapshot out; * means all." placeholder:"ID" xor:"what"`
	Status bool     `help:"Tell what is copied and what was." xor:"what"`
	Wait   bool     `help:"Wait until the copy is finished, and show how far it is."`

	SignalTopic string `help:"Ask through this topic, which the publisher reads (its own --signal-topic): then nothing is written into the database, nor is it connected to." placeholder:"TOPIC"`
}

func (c *snapshotCommand) Run(ctx context.Context, term terminal) error {
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	kafka, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	if c.Status {
		if c.Where != "" || c.ID != "" || c.Wait {
			return usage(fmt.Errorf("--where, --id and --wait are for a new snapshot: name its tables with --table"))
		}
		return c.printAll(ctx, term.out, sources, kafka)
	}
	if len(sources) > 1 {
		return usage(fmt.Errorf("name one database at a time in --database: a snapshot is one of it"))
	}
	signal, err := c.signal()
	if err != nil {
		return usage(err)
	}
	if err := c.matchTables(ctx, sources[0]); err != nil {
		return usage(err)
	}
	before, err := c.known(ctx, signal, sources[0], kafka)
	if err != nil {
		return usage(err)
	}
	id, err := c.send(ctx, signal, sources[0], kafka)
	if err != nil {
		return usage(fmt.Errorf("database %s: %w", sources[0].database, err))
	}
	if signal.Type != outbox.ExecuteSnapshot {
		fmt.Fprintf(term.out, "%s: asked for\n", signal.Type)
		return nil
	}
	fmt.Fprintf(term.out, "snapshot %s: asked for\n", id)
	if !c.Wait {
		return nil
	}
	return watchSnapshot(ctx, term.out, id, before, func() (*publisher.Snapshots, error) { return snapshotsOf(ctx, sources[0], kafka) })
}

// send asks through the topic of signals, or else through the database.
func (c *snapshotCommand) send(ctx context.Context, signal *outbox.SignalRecord, s source, kafka kafka) (id string, err error) {
	if c.SignalTopic == "" {
		return outbox.SendSignal(ctx, s.connString, signal)
	}
	config := s.publisherConfig(kafka)
	config.SignalTopic = c.SignalTopic
	return publisher.SendSignal(ctx, config, signal)
}

// signal is what the flags ask for.
func (c *snapshotCommand) signal() (*outbox.SignalRecord, error) {
	if len(c.Table) == 0 && (c.Where != "" || c.ID != "" || c.Wait) {
		return nil, fmt.Errorf("--where, --id and --wait are for a new snapshot: name its tables with --table")
	}
	s := &outbox.SignalRecord{ID: c.ID, Type: outbox.ExecuteSnapshot, Tables: c.Table}
	for _, control := range []struct{ kind, id string }{
		{outbox.PauseSnapshot, c.Pause}, {outbox.ResumeSnapshot, c.Resume}, {outbox.StopSnapshot, c.Cancel},
	} {
		if control.id != "" {
			s.Type, s.Snapshot = control.kind, strings.TrimSuffix(control.id, "*")
		}
	}
	if s.Type == outbox.ExecuteSnapshot && len(s.Tables) == 0 {
		return nil, fmt.Errorf("say what to do: --table, --status, --pause, --resume or --cancel")
	}
	if c.Where == "" {
		return s, nil
	}
	if err := publisher.CheckFilter(c.Where); err != nil {
		return nil, fmt.Errorf("--where: %w", err)
	}
	for _, table := range s.Tables {
		s.Conditions = append(s.Conditions, outbox.SignalCondition{Table: table, Filter: c.Where})
	}
	return s, nil
}

// matchTables tells of a misspelt name before it is too late.
func (c *snapshotCommand) matchTables(ctx context.Context, s source) error {
	if len(c.Table) == 0 || c.SignalTopic != "" { // then the publisher tells
		return nil
	}
	tables, err := outbox.PublishedTables(ctx, s.connString)
	if err != nil {
		return err
	}
	for _, glob := range c.Table {
		if !slices.ContainsFunc(tables, func(name string) bool { return publisher.MatchGlob(glob, name) }) {
			return fmt.Errorf("--table %s: nothing of that name is published in database %s: want schema.table, of a partition its root; pgtee check tells of tables that are not published", glob, s.database)
		}
	}
	return nil
}

// knownPatience is how long the publisher may take to see a request.
const knownPatience = 5 * time.Second

// known tells of an id that says nothing to the publisher, or something else; and when the last one has ended that had the id of
// a new snapshot.
func (c *snapshotCommand) known(ctx context.Context, signal *outbox.SignalRecord, s source, kafka kafka) (before time.Time, err error) {
	for until := time.Now().Add(knownPatience); ; {
		snapshots, err := snapshotsOf(ctx, s, kafka)
		if err != nil {
			return before, err
		}
		working := slices.ContainsFunc(snapshots.Copies, func(c publisher.Copy) bool { return c.ID == cmp.Or(signal.Snapshot, signal.ID) })
		for _, f := range snapshots.Finished {
			if f.ID == signal.ID {
				before = f.Finished
			}
		}
		switch {
		case signal.Type == outbox.ExecuteSnapshot && working:
			return before, fmt.Errorf("--id %s: a snapshot of that name is under way: see --status", signal.ID)
		case signal.Type == outbox.ExecuteSnapshot, signal.Snapshot == "" && len(snapshots.Copies) > 0, working:
			return before, nil
		case time.Now().After(until) && signal.Snapshot == "":
			return before, fmt.Errorf("no snapshot is under way: see --status")
		case time.Now().After(until):
			return before, fmt.Errorf("no snapshot %s is under way: see --status", signal.Snapshot)
		}
		select {
		case <-ctx.Done():
			return before, ctx.Err()
		case <-time.After(meterInterval):
		}
	}
}

// snapshotsOf is what the progress record says; never nil.
func snapshotsOf(ctx context.Context, s source, kafka kafka) (*publisher.Snapshots, error) {
	position, err := publisher.LastPosition(ctx, s.publisherConfig(kafka))
	if err != nil {
		return nil, err
	}
	if position == nil || position.Snapshots == nil {
		return &publisher.Snapshots{}, nil
	}
	return position.Snapshots, nil
}

// publisherConfig is enough of it to find the progress record.
func (s source) publisherConfig(kafka kafka) publisher.Config {
	return publisher.Config{Brokers: kafka.brokers, KafkaOptions: kafka.options, Prefix: s.prefix, Database: s.database, Slot: s.slot}
}

func (c *snapshotCommand) printAll(ctx context.Context, out io.Writer, sources []source, kafka kafka) error {
	for _, s := range sources {
		snapshots, err := snapshotsOf(ctx, s, kafka)
		if err != nil {
			return usage(fmt.Errorf("database %s: %w", s.database, err))
		}
		fmt.Fprintf(out, "%s:\n", s.database)
		printSnapshots(out, snapshots)
	}
	return nil
}

// printSnapshots prints a line for each that is not finished, and for the last ones that are.
func printSnapshots(out io.Writer, s *publisher.Snapshots) {
	if len(s.Copies)+len(s.Finished) == 0 {
		fmt.Fprintln(out, "  snapshots  none")
	}
	for _, f := range s.Finished {
		fmt.Fprintf(out, "  snapshot   %s  %s at %s\n", f.ID, endOf(f), f.Finished.UTC().Format(time.RFC3339))
	}
	for i := range s.Copies {
		fmt.Fprintf(out, "  snapshot   %s\n", meter(&s.Copies[i], 0))
	}
}

// endOf says how a snapshot ended.
func endOf(f publisher.FinishedCopy) string {
	switch {
	case f.Why != "":
		return "stopped: " + f.Why
	case f.Stopped:
		return fmt.Sprintf("cancelled after %s rows", grouped(f.Rows))
	}
	end := fmt.Sprintf("finished: %s rows of %d tables", grouped(f.Rows), f.Tables)
	if len(f.Unmatched) > 0 {
		end += "; no published table matches " + strings.Join(f.Unmatched, ", ")
	}
	return end
}
