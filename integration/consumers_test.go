package integration

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

const readSchema = `CREATE SCHEMA read;
CREATE TABLE read.person (id int PRIMARY KEY, name text NOT NULL, note text, active bool, height float8);
CREATE TABLE read.visit (person int, day int, places text[], PRIMARY KEY (person, day));
CREATE TABLE read.log (id int PRIMARY KEY, line text); ALTER TABLE read.log REPLICA IDENTITY FULL;`

var readTables = []string{"read.person", "read.visit", "read.log"}

// Two clients that share no code with ours read what is committed and nothing else: kcat record by
// record, a consumer in Python as copies of the tables.
func TestOtherClientsReadWhatIsCommitted(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Exec(readSchema, "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	r.Setup()
	r.StartProxy()
	r.publisher = r.process("publish", append(r.publishArgs(), "--partitions", "3")...)
	r.readWorkload()
	r.Drain()
	for _, table := range readTables {
		r.abortRecord(r.prefix + "." + table)
	}

	for _, table := range readTables {
		if got, want := inPlace(r.Kcat(table)), inPlace(r.Topic(table)); !slices.EqualFunc(got, want, sameRecord) {
			t.Errorf("%s: kcat reads %d records, other than the %d committed ones", table, len(got), len(want))
		} else {
			t.Logf("%s: %d records", table, len(got))
		}
	}
	for i, copied := range r.Python(readTables...) {
		table := readTables[i]
		if got, want := copied.Records, len(r.Topic(table)); got != want {
			t.Errorf("%s: Python reads %d records, want %d", table, got, want)
		}
		if got, want := canonical(t, copied.Rows), r.rowsOf(table); !slices.Equal(got, want) {
			t.Errorf("%s: Python holds %d rows %.300s, the table %d %.300s", table, len(got), got, len(want), want)
		}
	}
	r.Topics()
	if r.aborted != len(readTables) {
		t.Errorf("%d aborted records in the topics, want %d to be read past", r.aborted, len(readTables))
	}
}

// readWorkload writes through the proxy: every operation, in transactions that commit and that do not.
func (r *runner) readWorkload() {
	r.t.Helper()
	conn := r.dial(r.ProxyURL("postgres", "readers"))
	defer conn.Close(r.ctx)
	for i := range 60 {
		for _, sql := range []string{
			fmt.Sprintf(`INSERT INTO read.person VALUES (%d, 'name "%[1]d" ü', CASE WHEN %[1]d %% 3 = 0 THEN E'tab\tline\n\\' END, %[1]d %% 2 = 0, %[1]d / 8.0)`, i),
			fmt.Sprintf("BEGIN; INSERT INTO read.visit SELECT %d, g, ARRAY['a,b', NULL, '{}'] FROM generate_series(1, 5) AS g; COMMIT", i),
			fmt.Sprintf("BEGIN; INSERT INTO read.person VALUES (%d, 'never'); ROLLBACK", -i-1),
			fmt.Sprintf("INSERT INTO read.log VALUES (%d, 'first'); UPDATE read.log SET line = 'second' WHERE id = %[1]d", i),
			fmt.Sprintf("UPDATE read.person SET id = id + 1000 WHERE id = %d AND id %% 5 = 0", i),
			fmt.Sprintf("DELETE FROM read.visit WHERE person = %d AND day %% 2 = 0", i),
			fmt.Sprintf("BEGIN; SAVEPOINT a; DELETE FROM read.log; ROLLBACK TO a; DELETE FROM read.log WHERE id = %d; COMMIT", i-3),
		} {
			if _, err := conn.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				r.t.Fatalf("%s: %v", sql, err)
			}
		}
	}
}

// abortRecord leaves a record of an aborted Kafka transaction in a topic.
func (r *runner) abortRecord(topic string) {
	r.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Address), kgo.TransactionalID("abort-"+topic))
	r.must(err)
	defer client.Close()
	r.must(client.BeginTransaction())
	record := &kgo.Record{Topic: topic, Key: []byte(`{"id":1}`), Value: []byte(`{"op":"c","after":{"id":"never"}}`)}
	r.must(client.ProduceSync(r.ctx, record).FirstErr())
	r.must(client.EndTransaction(r.ctx, kgo.TryAbort))
}

// rowsOf returns the rows of a table as JSON.
func (r *runner) rowsOf(table string) []string {
	r.t.Helper()
	var rows []json.RawMessage
	r.must(json.Unmarshal([]byte(r.Query("SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]')::text FROM "+table+" AS t")), &rows))
	return canonical(r.t, rows)
}

// canonical sorts the fields of each row and then the rows.
func canonical(t *testing.T, rows []json.RawMessage) []string {
	t.Helper()
	var list []string
	for _, text := range rows {
		var row map[string]any
		if err := json.Unmarshal(text, &row); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		sorted, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(sorted))
	}
	slices.Sort(list)
	return list
}

func sameRecord(a, b verdict.Record) bool {
	return a.Partition == b.Partition && a.Offset == b.Offset && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) &&
		(a.Value == nil) == (b.Value == nil) && a.EventID() == b.EventID()
}

// Kcat returns the records of a topic as kcat prints them to its end.
func (r *runner) Kcat(table string) []verdict.Record {
	r.t.Helper()
	cmd := exec.CommandContext(r.ctx, "kcat", "-C", "-b", r.broker.Address, "-t", r.prefix+"."+table, "-o", "beginning", "-e", "-q", "-J",
		"-X", "isolation.level=read_committed")
	out, err := cmd.Output()
	r.must(explain(err))
	var records []verdict.Record
	for line := range bytes.Lines(out) {
		var printed struct {
			Partition    int32
			Offset       int64
			Headers      []string // name, value, name, value
			Key, Payload *string
		}
		r.must(json.Unmarshal(line, &printed))
		record := verdict.Record{Partition: printed.Partition, Offset: printed.Offset, Key: bytesOf(printed.Key), Value: bytesOf(printed.Payload), Headers: map[string]string{}}
		for pair := range slices.Chunk(printed.Headers, 2) {
			record.Headers[pair[0]] = pair[1]
		}
		records = append(records, record)
	}
	return records
}

// inPlace sorts records by where they stand.
func inPlace(records []verdict.Record) []verdict.Record {
	slices.SortFunc(records, func(a, b verdict.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return records
}

func bytesOf(text *string) []byte {
	if text == nil {
		return nil
	}
	return []byte(*text)
}

// explain adds what a command wrote to its standard error.
func explain(err error) error {
	if failed, ok := err.(*exec.ExitError); ok {
		return fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	return err
}

// copiedTable is what consumer.py holds of a topic.
type copiedTable struct {
	Topic   string
	Records int
	Rows    []json.RawMessage
}

// Python runs consumer.py on the topics of tables and returns its copies, in their order.
func (r *runner) Python(tables ...string) []copiedTable {
	r.t.Helper()
	topics := make([]string, len(tables))
	for i, table := range tables {
		topics[i] = r.prefix + "." + table
	}
	copies, err := runConsumer(r.ctx, r.broker.Address, topics...)
	r.must(err)
	return copies
}

func runConsumer(ctx context.Context, broker string, topics ...string) ([]copiedTable, error) {
	python, err := world.Python()
	if err != nil {
		return nil, err
	}
	script := filepath.Join(world.Source, "integration", "consumer.py")
	out, err := exec.CommandContext(ctx, python, append([]string{script, broker}, topics...)...).Output()
	if err != nil {
		return nil, explain(err)
	}
	var copies []copiedTable
	for line := range bytes.Lines(out) {
		var c copiedTable
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, err
		}
		copies = append(copies, c)
	}
	return copies, nil
}

// The demo prints how to read its topics with kcat: what is inserted by the address that it prints is
// seen by the very command that it prints, and by a consumer in Python.
func TestDemoIsReadAsItSays(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	dir := must(t, func() (string, error) { return world.Sub("demo") })
	binary := must(t, sharedBinary)
	demo := must(t, func() (*harness.Process, error) {
		return harness.Start(dir, harness.Command{Name: "demo", Args: []string{binary, "demo"}})
	})
	defer demo.Kill()
	printed := func(start string) (line string) {
		t.Helper()
		find := regexp.MustCompile(`(?m)^  (` + start + ` .*)$`)
		err := harness.Eventually(time.Minute, func(context.Context) error {
			if found := find.FindStringSubmatch(demo.Log()); found != nil {
				line = found[1]
				return nil
			}
			return fmt.Errorf("the demo does not print %q yet", start)
		})
		if err != nil {
			t.Fatalf("%v:\n%s", err, demo.Tail(20))
		}
		return line
	}
	psql, kcat := printed("psql"), printed("kcat")
	insert := psql + ` -qAt -c "INSERT INTO orders (customer_id) SELECT id FROM customers LIMIT 1 RETURNING id"`
	var out []byte
	err := harness.Eventually(30*time.Second, func(context.Context) (err error) { // the shop may not be open yet
		if out, err = exec.CommandContext(ctx, "sh", "-c", insert).Output(); err == nil && len(out) == 0 {
			err = errors.New("the shop has no customers yet")
		}
		return explain(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(out))
	read := func() (*harness.Process, error) { // by lines, as to a terminal
		return harness.Start(dir, harness.Command{Name: "kcat", Args: []string{"stdbuf", "-oL", "sh", "-c", "exec " + kcat}})
	}
	reader := must(t, read)
	defer func() { reader.Kill() }()
	err = harness.Eventually(30*time.Second, func(context.Context) (err error) {
		if strings.Contains(reader.Log(), `"after":{"id":`+id+`,`) {
			return nil
		}
		seen := reader.Tail(1)
		if !reader.Running() { // the order may not be published yet, and so have no topic
			reader, err = read()
		}
		return errors.Join(err, fmt.Errorf("order %s is not among what %s prints; its last line: %.300s", id, kcat, seen))
	})
	if err != nil {
		t.Fatal(err)
	}
	address := strings.Fields(kcat)[3]
	copies, err := runConsumer(ctx, address, "shop.public.orders")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(copies[0].Rows, func(row json.RawMessage) bool { return strings.HasPrefix(string(row), `{"id": `+id+`,`) }) {
		t.Errorf("order %s is not among the %d rows that Python holds", id, len(copies[0].Rows))
	}
	if err := demo.Stop(syscall.SIGTERM, time.Minute); err != nil {
		t.Error(err)
	}
}
