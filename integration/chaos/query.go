package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

// queries is a run that publishes the changes of a query while its table is written to.
type queries struct {
	*chaos
	service *service
}

const (
	accounts     = 300
	totalBalance = accounts * 1000
	queryTopic   = "accounts"
	fewestRuns   = 5
)

// The total never changes, and rows are added and removed: a run that shows an inconsistent state has another total, or another number of rows.
const querySchema = `
CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL);
INSERT INTO account SELECT i, 1000 FROM generate_series(1, %d) AS i;`

func runQueries(ctx context.Context, c *chaos) error {
	q := &queries{chaos: c}
	if err := q.prepare(ctx); err != nil {
		return err
	}
	if err := q.runStorm(ctx, []*service{q.service}, []actor{q.transfer, q.transfer}, q.lanes()); err != nil {
		return err
	}
	return q.judge(ctx)
}

func (q *queries) prepare(ctx context.Context) error {
	binary, err := q.begin()
	if err != nil {
		return err
	}
	if err := q.makeDatabase(ctx, fmt.Sprintf(querySchema, accounts)); err != nil {
		return err
	}
	if q.start, err = q.logPosition(ctx); err != nil {
		return err
	}
	err = q.askCluster(func(admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, 1, -1, nil, queryTopic) // one partition: runs follow each other
		return err
	})
	if err != nil {
		return err
	}
	q.service = q.newService("query", binary, "query", "--kafka", q.producers[0].Address, "--postgres", q.postgresAt(q.decoders[0].Address, "postgres", ""),
		"--sql", "SELECT id, balance FROM account", "--key", "id", "--topic", queryTopic, "--changes", "--every", "100ms")
	return nil
}

func (q *queries) lanes() []lane {
	return q.chosen([]lane{
		{"query", 5 * time.Second, serviceFaults(q.service)},
		{"postgres", 12 * time.Second, q.serverFaults()},
		{"kafka", 15 * time.Second, q.brokerFaults()},
		{"network-postgres", 10 * time.Second, networkFaults(q.decoders[0])},
		{"network-kafka", 10 * time.Second, networkFaults(q.producers[0])},
	})
}

// transfer moves money between accounts, including accounts that it opens or closes.
func (q *queries) transfer(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		conn, err := pgx.Connect(ctx, q.server.URL(database))
		if err != nil {
			sleep(ctx, 200*time.Millisecond)
			continue
		}
		for err == nil && ctx.Err() == nil {
			from, to := 1+random.Intn(accounts), 1+random.Intn(accounts)
			amount := fmt.Sprintf("(SELECT least(balance, %d) FROM account WHERE id = %d)", random.Intn(100), from)
			if random.Intn(10) == 0 {
				amount = fmt.Sprintf("(SELECT balance FROM account WHERE id = %d)", from) // this closes the account
			}
			_, err = conn.Exec(ctx, fmt.Sprintf(`BEGIN; SELECT FROM account WHERE id IN (%[1]d, %[2]d) ORDER BY id FOR UPDATE;
INSERT INTO account SELECT %[2]d, %[3]s WHERE %[1]d <> %[2]d AND %[3]s IS NOT NULL ON CONFLICT (id) DO UPDATE SET balance = account.balance + excluded.balance;
UPDATE account SET balance = balance - %[4]s WHERE id = %[1]d AND %[1]d <> %[2]d; DELETE FROM account WHERE balance = 0; COMMIT`, from, to, amount, amount), pgx.QueryExecModeSimpleProtocol)
			sleep(ctx, time.Duration(random.Intn(20))*time.Millisecond)
		}
		conn.Close(context.WithoutCancel(ctx))
	}
}

// judge waits for a run after the last write, and folds the topic run by run.
func (q *queries) judge(ctx context.Context) error {
	q.note("calm")
	var want map[string]string
	var records []verdict.Record
	err := harness.Eventually(settleTime, func(ctx context.Context) (err error) {
		if q.failure() != nil {
			return nil
		}
		if want, err = q.rows(ctx); err != nil {
			return err
		}
		if records, err = q.readTopic(); err != nil {
			return err
		}
		folded := map[string]string{}
		for _, record := range records {
			fold(folded, record)
		}
		return sameRows(folded, want)
	})
	if err := errors.Join(q.failure(), err); err != nil {
		return fmt.Errorf("the topic does not become what the query returns: %w", err)
	}
	q.service.stop()
	runs, torn := q.tornRuns(records)
	line, kills := q.tally()
	fmt.Println(line)
	for _, text := range append(torn, q.wrong...) {
		fmt.Println("  " + text)
	}
	fmt.Printf("chaos-query complaints=%d seed=%d took=%v\n", len(q.wrong), q.seed, time.Since(q.began).Round(time.Second))
	fmt.Printf("chaos-query kills=%d runs=%d records=%d rows=%d torn=%d unequal=0\n", kills, runs, len(records), len(want), len(torn))
	if runs < fewestRuns {
		return errors.New("too few runs to prove anything: increase -for")
	}
	if len(torn) > 0 || len(q.wrong) > 0 {
		return errors.New("a run is not one consistent result of the query")
	}
	return nil
}

func (q *queries) rows(ctx context.Context) (map[string]string, error) {
	conn, err := pgx.Connect(ctx, q.server.URL(database))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT id::text, json_build_object('id', id, 'balance', balance)::text FROM account")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	var key, value string
	_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
		found[key] = strings.ReplaceAll(value, " ", "")
		return nil
	})
	return found, err
}

func (q *queries) readTopic() ([]verdict.Record, error) {
	topics, err := q.readDecided(queryTopic)
	return topics[queryTopic], err
}

func fold(rows map[string]string, record verdict.Record) {
	if record.Value == nil {
		delete(rows, string(record.Key))
		return
	}
	rows[string(record.Key)] = string(record.Value)
}

func sameRows(got, want map[string]string) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d rows in the topic, %d in the table", len(got), len(want))
	}
	for key, value := range want {
		if got[key] != value {
			return fmt.Errorf("key %s is %s in the topic, %s in the table", key, got[key], value)
		}
	}
	return nil
}

// tornRuns folds the topic, and checks at the end of each run whether the result was a consistent state of the table: the number of rows equals that
// in its headers, and no money is missing.
func (q *queries) tornRuns(records []verdict.Record) (runs int, torn []string) {
	rows := map[string]string{}
	ended := map[string]bool{}
	for i, record := range records {
		fold(rows, record)
		run := record.Headers["pgtee-run"]
		if i+1 < len(records) && records[i+1].Headers["pgtee-run"] == run {
			continue
		}
		runs++
		total := 0
		for _, value := range rows {
			var id, balance int
			if _, err := fmt.Sscanf(value, `{"id":%d,"balance":%d}`, &id, &balance); err != nil {
				torn = append(torn, fmt.Sprintf("run %s: %s: %v", run, value, err))
			}
			total += balance
		}
		if ended[run] || total != totalBalance || fmt.Sprint(len(rows)) != record.Headers["pgtee-run-rows"] {
			torn = append(torn, fmt.Sprintf("run %s: %d rows of %s, a total of %d", run, len(rows), record.Headers["pgtee-run-rows"], total))
		}
		ended[run] = true
	}
	return runs, torn
}
