package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

const (
	settleTime = 4 * time.Minute
	made       = "work.made_" // prefix of the names of tables created during the run
)

// calm ends unfinished work, and waits until Kafka has everything.
func (c *chaos) calm(ctx context.Context) error {
	c.note("calm")
	if err := c.endPrepared(ctx); err != nil {
		return err
	}
	if err := c.exec(ctx, database, "INSERT INTO work.mark VALUES (1)"); err != nil {
		return err
	}
	err := harness.Eventually(settleTime, func(context.Context) error {
		if c.failure() != nil {
			return nil // waiting is pointless
		}
		records, err := c.read("work.mark")
		if err == nil && len(records) == 0 {
			err = errors.New("the last commit is not in its topic")
		}
		return err
	})
	if err := errors.Join(c.failure(), err); err != nil {
		return fmt.Errorf("the publishers do not get to the end of the log: %w", err)
	}
	c.note("published")
	for _, s := range append([]*service{c.proxy}, c.publishers...) {
		s.stop()
	}
	return nil
}

func (c *chaos) endPrepared(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT gid FROM pg_prepared_xacts")
	if err != nil {
		return err
	}
	gids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, gid := range gids {
		if _, err := conn.Exec(ctx, fmt.Sprintf("COMMIT PREPARED '%s'", gid)); err != nil {
			return err
		}
	}
	return nil
}

// read returns the committed records of one topic, named without the prefix. It fails if a record is undecided.
func (c *chaos) read(name string) ([]verdict.Record, error) {
	topics, err := c.readAll(func(topic string) bool { return topic == name })
	return topics[name], err
}

// readAll returns the committed records of the wanted topics.
func (c *chaos) readAll(wanted func(string) bool) (topics map[string][]verdict.Record, err error) {
	topics, c.aborted, err = verdict.ReadDecided(c.brokers[0].Address, func(topic string) (string, bool) {
		name, ours := strings.CutPrefix(topic, prefix+".")
		return name, ours && wanted(name)
	})
	return topics, err
}

// judge compares the contents of Kafka with the truth, and prints the verdict.
func (c *chaos) judge(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	truth, err := verdict.LoadTruth(ctx, conn, c.start)
	if err != nil {
		return err
	}
	for _, commit := range truth.Commits {
		for _, change := range commit.Changes {
			if strings.HasPrefix(change.Table, made) { // it may have been dropped
				truth.Keys[change.Table] = []string{"id"}
			}
		}
	}
	var topics map[string][]verdict.Record
	err = harness.Eventually(time.Minute, func(context.Context) (err error) { // markers follow the reply to EndTxn
		topics, err = c.readAll(func(string) bool { return true })
		return err
	})
	if err != nil {
		return err
	}
	torn, details, err := verdict.Torn(topics["progress"], without(topics, "progress"))
	if err != nil {
		return err
	}
	tables := maps.Clone(topics)
	maps.DeleteFunc(tables, func(name string, _ []verdict.Record) bool { return !strings.HasPrefix(name, "work.") })
	v, err := verdict.Check(truth, tables)
	if err != nil {
		return err
	}
	if err := v.CheckAudit(truth, topics["audit"]); err != nil {
		return err
	}
	if err := v.CheckHistory(ctx, conn, topics["truth.history"]); err != nil {
		return err
	}
	if err := v.CheckCreated(truth, made, topics["ddl"]); err != nil {
		return err
	}
	return c.report(v, torn, details, silence(topics["progress"]))
}

// silence says for how long, at most, no progress record was written, and when that was; an idle publisher writes one every ten seconds.
func silence(progress []verdict.Record) string {
	var longest time.Duration
	var since time.Time
	for i := 1; i < len(progress); i++ {
		if d := progress[i].Time.Sub(progress[i-1].Time); d > longest {
			longest, since = d, progress[i-1].Time
		}
	}
	return fmt.Sprintf("%v since=%s", longest.Round(time.Second), since.UTC().Format(time.TimeOnly))
}

func without(topics map[string][]verdict.Record, name string) map[string][]verdict.Record {
	rest := maps.Clone(topics)
	delete(rest, name)
	return rest
}

// report prints the injected faults, the errors, and the closing line. It fails if there are errors.
func (c *chaos) report(v *verdict.Verdict, torn int, details []string, silence string) error {
	line, kills := c.tally()
	closing := fmt.Sprintf("chaos kills=%d transactions=%d lost=%d duplicated=%d reordered=%d torn=%d unattributed=%d misattributed=%d",
		kills, v.Transactions, v.Lost, v.Duplicated, v.Reordered, torn, v.Unattributed, v.Misattributed)
	fmt.Println(line)
	fmt.Printf("chaos events=%d aborted=%d invented=%d complaints=%d silence=%s seed=%d took=%v\n", v.Events, c.aborted, v.Invented, len(c.wrong), silence, c.seed, time.Since(c.began).Round(time.Second))
	complaints := slices.Concat(c.wrong, v.Details, details)
	for _, text := range complaints {
		fmt.Println("  " + text)
	}
	fmt.Println(closing)
	if v.Clean() && torn == 0 && len(c.wrong) == 0 {
		return nil
	}
	text := strings.Join(append(complaints, line, closing), "\n")
	return errors.Join(errors.New("Kafka does not contain what the database has committed"), os.WriteFile(filepath.Join(c.dir, "verdict.log"), []byte(text), 0o644))
}

// tally returns one line with the injected faults, and the number of kills among them.
func (c *chaos) tally() (line string, kills int) {
	line = "chaos faults"
	for _, name := range slices.Sorted(maps.Keys(c.faults)) {
		line += fmt.Sprintf(" %s=%d", strings.ReplaceAll(name, " ", "-"), c.faults[name])
		if strings.HasSuffix(name, kill) {
			kills += c.faults[name]
		}
	}
	return line, kills
}
