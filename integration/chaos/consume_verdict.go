package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

func jsonText(s string) string {
	text, _ := json.Marshal(s) // a string: it cannot fail
	return string(text)
}

// recordAt identifies a record by its position.
type recordAt struct {
	topic     string
	partition int32
	offset    int64
}

// consumed is the outcome of the records.
type consumed struct {
	records, rows, dead, lost, duplicated int
	wrong                                 []string
}

// judge waits until everything has been consumed, and compares the tables with the topics.
func (r *consumers) judge(ctx context.Context) error {
	r.note("calm")
	var topics map[string][]verdict.Record
	err := harness.Eventually(settleTime, func(ctx context.Context) (err error) {
		if r.failure() != nil {
			return nil
		}
		if topics, err = r.readFeeds(); err != nil {
			return err
		}
		return r.caughtUp(ctx, topics)
	})
	if err := errors.Join(r.failure(), err); err != nil {
		return fmt.Errorf("the consumers do not get to the end of the topics: %w", err)
	}
	for _, s := range r.services {
		s.stop()
	}
	conn, err := pgx.Connect(ctx, r.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var v consumed
	for _, f := range feeds {
		if err := v.judge(ctx, conn, f, topics[f.name]); err != nil {
			return err
		}
	}
	line, kills := r.tally()
	fmt.Println(line)
	for _, text := range append(v.wrong, r.wrong...) {
		fmt.Println("  " + text)
	}
	fmt.Printf("chaos-consume rows=%d wrong=%d complaints=%d seed=%d took=%v\n", v.rows, len(v.wrong), len(r.wrong), r.seed, time.Since(r.began).Round(time.Second))
	fmt.Printf("chaos-consume kills=%d records=%d dead=%d lost=%d duplicated=%d\n", kills, v.records, v.dead, v.lost, v.duplicated)
	if v.lost+v.duplicated+len(v.wrong)+len(r.wrong) > 0 || v.records == 0 || v.dead == 0 {
		return errors.New("the tables are not what the topics are")
	}
	return nil
}

// readFeeds returns the committed records of the feeds.
func (r *consumers) readFeeds() (map[string][]verdict.Record, error) {
	var names []string
	for _, f := range feeds {
		names = append(names, f.name)
	}
	return r.readDecided(names...)
}

// readDecided returns the committed records of topics, and fails while one is undecided.
func (c *chaos) readDecided(topics ...string) (map[string][]verdict.Record, error) {
	records, _, err := verdict.ReadDecided(c.brokers[0].Address, verdict.Only(topics...))
	return records, err
}

// caughtUp returns an error while the offsets in the database are behind the topics.
func (r *consumers) caughtUp(ctx context.Context, topics map[string][]verdict.Record) error {
	conn, err := pgx.Connect(ctx, r.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for topic, records := range topics {
		ends := map[int32]int64{}
		for _, record := range records {
			ends[record.Partition] = record.Offset + 1
		}
		for partition, end := range ends {
			var next int64
			if err := conn.QueryRow(ctx, "SELECT next_offset FROM pgtee.consumed WHERE topic = $1 AND partition = $2", topic, partition).Scan(&next); err != nil {
				return err
			}
			if next < end {
				return fmt.Errorf("topic %s, partition %d is consumed up to %d of %d", topic, partition, next, end)
			}
		}
	}
	return nil
}

func (v *consumed) complain(format string, args ...any) {
	if len(v.wrong) < 20 {
		v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
	}
}

// judge compares one table, and the dead letters of its topic, with the topic.
func (v *consumed) judge(ctx context.Context, conn *pgx.Conn, f feed, records []verdict.Record) error {
	rows, err := places(ctx, conn, f.name, "SELECT p, o FROM public."+f.name)
	if err != nil {
		return err
	}
	dead, err := places(ctx, conn, f.name, fmt.Sprintf(`SELECT partition, "offset" FROM pgtee.dead_letters WHERE topic = '%s'`, f.name))
	if err != nil {
		return err
	}
	wanted := map[recordAt]bool{} // rows
	last := map[string]recordAt{}
	newest := map[string]int64{} // offset of the last record of each key: earlier ones may never have been tried
	for _, record := range records {
		if f.keyed {
			newest[string(record.Key)] = record.Offset
		}
	}
	for _, record := range records {
		v.records++
		at := recordAt{f.name, record.Partition, record.Offset}
		bad := record.Headers[poison] != ""
		switch n := dead[at]; {
		case bad && n == 0 && newest[string(record.Key)] > record.Offset:
		case bad && n == 0:
			v.lost++
			v.complain("poison at %v is not a dead letter", at)
		case bad && n > 1, !bad && n > 0 && rows[at] > 0:
			v.duplicated++
			v.complain("%v is %d times in the dead letters, %d times in the table", at, n, rows[at])
		case !bad && n > 0:
			v.complain("the good record at %v is a dead letter", at)
		}
		v.dead += min(1, dead[at])
		switch {
		case bad:
		case !f.keyed:
			wanted[at] = true
		case record.Value == nil:
			delete(last, string(record.Key))
		default:
			last[string(record.Key)] = at
		}
		delete(dead, at)
	}
	for _, at := range last {
		wanted[at] = true
	}
	v.compare(f, wanted, rows)
	for at := range dead {
		v.complain("the dead letter %v is not in the topic", at)
	}
	return nil
}

// compare counts rows that are missing, duplicated, or should not exist.
func (v *consumed) compare(f feed, wanted map[recordAt]bool, rows map[recordAt]int) {
	for at := range wanted {
		switch n := rows[at]; {
		case n == 0:
			v.lost++
			v.complain("%v is not in table %s", at, f.name)
		case n > 1:
			v.duplicated++
			v.complain("%v is %d times in table %s", at, n, f.name)
		}
		v.rows += rows[at]
		delete(rows, at)
	}
	for _, at := range slices.Collect(maps.Keys(rows)) {
		v.duplicated++
		v.complain("table %s has a row of %v, which should have none", f.name, at)
	}
}

// places counts the rows returned by a query for each record.
func places(ctx context.Context, conn *pgx.Conn, topic, sql string) (map[recordAt]int, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	found := map[recordAt]int{}
	at := recordAt{topic: topic}
	_, err = pgx.ForEachRow(rows, []any{&at.partition, &at.offset}, func() error {
		found[at]++
		return nil
	})
	return found, err
}
