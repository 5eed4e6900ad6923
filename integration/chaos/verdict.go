package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration"
	"github.com/pgtee/pgtee/integration/harness"
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
func (c *chaos) read(name string) ([]integration.Record, error) {
	topics, err := c.readAll(func(topic string) bool { return topic == name })
	return topics[name], err
}

// readAll returns the committed records of the wanted topics.
func (c *chaos) readAll(wanted func(string) bool) (map[string][]integration.Record, error) {
	w, err := integration.NewWitness(c.brokers[0].Address)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	all, err := w.Topics()
	if err != nil {
		return nil, err
	}
	topics := map[string][]integration.Record{}
	c.aborted = 0
	for topic, partitions := range all {
		name, ours := strings.CutPrefix(topic, prefix+".")
		if !ours || !wanted(name) {
			continue
		}
		records, err := w.Read(topic, partitions)
		if err != nil {
			return nil, err
		}
		topics[name] = slices.DeleteFunc(records, func(r integration.Record) bool { return r.Fate == integration.Aborted })
		c.aborted += len(records) - len(topics[name])
		if i := slices.IndexFunc(topics[name], func(r integration.Record) bool { return r.Fate == integration.Open }); i >= 0 {
			return nil, fmt.Errorf("the record at offset %d of topic %s/%d is undecided", topics[name][i].Offset, topic, topics[name][i].Partition)
		}
	}
	return topics, nil
}

// judge compares the contents of Kafka with the truth, and prints the verdict.
func (c *chaos) judge(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	truth, err := integration.LoadTruth(ctx, conn, c.start)
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
	var topics map[string][]integration.Record
	err = harness.Eventually(time.Minute, func(context.Context) (err error) { // markers follow the reply to EndTxn
		topics, err = c.readAll(func(string) bool { return true })
		return err
	})
	if err != nil {
		return err
	}
	torn, details, err := integration.Torn(topics["progress"], without(topics, "progress"))
	if err != nil {
		return err
	}
	tables := maps.Clone(topics)
	maps.DeleteFunc(tables, func(name string, _ []integration.Record) bool { return !strings.HasPrefix(name, "work.") })
	verdict, err := integration.Check(truth, tables)
	if err != nil {
		return err
	}
	if err := verdict.CheckAudit(truth, topics["audit"]); err != nil {
		return err
	}
	if err := c.checkHistory(ctx, conn, verdict, topics["truth.history"]); err != nil {
		return err
	}
	if err := checkDefinitions(verdict, truth, topics["ddl"]); err != nil {
		return err
	}
	return c.report(verdict, torn, details, silence(topics["progress"]))
}

// silence says for how long, at most, no progress record was written, and when that was; an idle publisher writes one every ten seconds.
func silence(progress []integration.Record) string {
	var longest time.Duration
	var since time.Time
	for i := 1; i < len(progress); i++ {
		if d := progress[i].Time.Sub(progress[i-1].Time); d > longest {
			longest, since = d, progress[i-1].Time
		}
	}
	return fmt.Sprintf("%v since=%s", longest.Round(time.Second), since.UTC().Format(time.TimeOnly))
}

func without(topics map[string][]integration.Record, name string) map[string][]integration.Record {
	rest := maps.Clone(topics)
	delete(rest, name)
	return rest
}

// checkHistory counts the events of the history itself, which is a table like others.
func (c *chaos) checkHistory(ctx context.Context, conn *pgx.Conn, v *integration.Verdict, records []integration.Record) error {
	var rows int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM truth.history").Scan(&rows); err != nil {
		return err
	}
	repeats := checkRepeats(v, records)
	if missing := rows - (len(records) - repeats); missing != 0 {
		v.Lost += max(missing, 0)
		v.Invented += max(-missing, 0)
		v.Details = append(v.Details, fmt.Sprintf("truth.history has %d rows, its topic %d events", rows, len(records)))
	}
	return nil
}

// checkDefinitions looks for the creation of every table that was created and written to during the run.
func checkDefinitions(v *integration.Verdict, truth *integration.Truth, records []integration.Record) error {
	checkRepeats(v, records)
	created := map[string]bool{}
	for _, r := range records {
		var d struct {
			Command string
			Objects []struct{ Name string }
		}
		if err := json.Unmarshal(r.Value, &d); err != nil {
			return fmt.Errorf("DDL record at offset %d: %w", r.Offset, err)
		}
		for _, object := range d.Objects {
			created[object.Name] = created[object.Name] || d.Command == "CREATE TABLE"
		}
	}
	for table := range truth.Keys {
		if strings.HasPrefix(table, made) && !created[table] {
			v.Lost++
			v.Details = append(v.Details, "lost: the DDL record that creates "+table)
		}
	}
	return nil
}

// checkRepeats counts the event ids that occur more than once in a topic.
func checkRepeats(v *integration.Verdict, records []integration.Record) (repeats int) {
	seen := map[string]bool{}
	for _, r := range records {
		id := r.Headers["pgtee-event-id"]
		if seen[id] {
			repeats++
			v.Details = append(v.Details, fmt.Sprintf("duplicated: event %s is twice in %s", id, r.Topic))
		}
		seen[id] = true
	}
	v.Duplicated += repeats
	return repeats
}

// report prints the injected faults, the errors, and the closing line. It fails if there are errors.
func (c *chaos) report(v *integration.Verdict, torn int, details []string, silence string) error {
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
