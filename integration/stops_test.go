package integration

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// stop is something that stops the publisher, what it says then, and how it goes on.
type stop struct {
	row   string // words of the row in docs/operating.md's table "When the publisher stops"
	prior func(*runner)
	cause []string // SQL, while no publisher runs
	while []string // SQL, while it runs: it stops by itself
	flags []string // of the publisher that stops
	says  string
	mends []string // flags of the publisher that goes on, which the message names

	once  bool // no matter of the server: on one is enough
	apart bool // nothing comes afresh, and topic and table need not be the same
}

const stopSchema = `CREATE TABLE item (id int PRIMARY KEY, v text); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);`

const write = "INSERT INTO item VALUES (1, 'a'), (2, 'b'); UPDATE item SET v = 'c' WHERE id = 1; DELETE FROM item WHERE id = 2"

var stops = map[string]stop{
	"publication of identities dropped": {row: "publications changed or missing", cause: []string{"DROP PUBLICATION pgtee_identity", write}, says: "pgtee_identity is missing"},
	"publication of rows dropped":       {row: "publications changed or missing", while: []string{"DROP PUBLICATION pgtee_rows", write}, says: "publication"},
	"sibling dropped":                   {row: "publications changed or missing", cause: []string{"DROP PUBLICATION pgtee_identity_3", write}, says: "pgtee_identity_3 is missing"},
	"publication renamed":               {row: "publications changed or missing", cause: []string{"ALTER PUBLICATION pgtee_identity RENAME TO other", write, "DROP PUBLICATION other"}, says: "pgtee_identity is missing"},
	"publication made anew by hand": {row: "publications changed or missing", cause: []string{"DROP PUBLICATION pgtee_identity", write,
		"CREATE PUBLICATION pgtee_identity WITH (publish = 'update, delete', publish_via_partition_root = true)"}, says: "pgtee_identity was created after slot"},
	"publication altered": {row: "publications changed or missing", cause: []string{"ALTER PUBLICATION pgtee_rows SET (publish = 'truncate')", write}, says: "publication pgtee_rows was altered"},
	"slot dropped":        {row: "slot lost / missing", cause: []string{"SELECT pg_drop_replication_slot(current_database())", write}, says: "slot"},
	"slot advanced":       {row: "transactions are lost", cause: []string{write, "SELECT pg_replication_slot_advance(current_database(), pg_current_wal_lsn())"}, says: "lost between Kafka and the slot"},

	"schema dropped":     {row: "slot lost / missing", cause: []string{"DROP SCHEMA pgtee CASCADE", write}, says: "schema pgtee does not exist", once: true, apart: true},
	"progress lost":      {row: "the progress record is lost", prior: func(r *runner) { r.prefix += "x" }, cause: []string{write}, says: "progress record is lost", once: true},
	"database made anew": {row: "another server / database", prior: (*runner).makeDatabaseAnew, cause: []string{write}, says: "belongs to another database", once: true, apart: true},
	"changes missed": {row: "changes of tables are not in the stream", cause: []string{"ALTER EVENT TRIGGER pgtee_ddl DISABLE", "ALTER EVENT TRIGGER pgtee_drop DISABLE",
		"DROP TABLE item", "CREATE TABLE item (id int PRIMARY KEY, v text)", write, "ALTER EVENT TRIGGER pgtee_ddl ENABLE ALWAYS", "ALTER EVENT TRIGGER pgtee_drop ENABLE ALWAYS"},
		flags: []string{"--on-missed", "halt"}, says: "changes of tables are not in the stream", mends: []string{"--on-missed", "resync"}, once: true},
	"large row": {row: "a record is too large", cause: []string{"INSERT INTO item VALUES (1, repeat('x', 2000000))"}, flags: []string{"--record-too-large", "halt"},
		says: "larger than Kafka accepts", mends: []string{"--record-too-large", "dead-letter"}, once: true, apart: true},
	"large message": {row: "of logical messages", cause: []string{"SELECT pg_logical_emit_message(true, 'x', repeat('x', 2000000))"}, flags: []string{"--record-too-large", "halt"},
		says: "larger than Kafka accepts", mends: []string{"--record-too-large", "dead-letter"}, once: true, apart: true},
	"key without a schema": {row: "a change cannot be encoded", cause: []string{"CREATE TABLE k (id numeric PRIMARY KEY)", "INSERT INTO k VALUES ('NaN')"}, flags: []string{"--exclude-tables", "public.other", "--format", "json-schema"},
		says: "a change cannot be encoded", mends: []string{"--exclude-tables", "public.k", "--format", "json-schema"}, once: true, apart: true},
	"nothing to copy": {row: "the snapshot was stopped", flags: []string{"--snapshot", "only", "--snapshot-tables", "public.nothing"}, says: "snapshot was stopped",
		mends: []string{"--snapshot", "never"}, once: true, apart: true},
	"signals in partitions": {row: "signal topic is unusable", prior: (*runner).makeSignalTopic, flags: []string{"--signal-topic", "two.signal"},
		says: "signal topic is unusable", mends: []string{"--signal-topic", "one.signal"}, once: true, apart: true},
}

// elsewhere are the rows that tests of their own are about.
var elsewhere = map[string]func(*testing.T){
	"the database is behind Kafka":   TestRestoredDataFolder,
	"does not fit the configuration": TestShapeHalts,
	"registry rejected a schema":     TestAvroSchemaEvolves,
	"slot in use":                    TestSecondPublisher,
	"belongs to another database":    TestPrefixAndPromise,
	"may lose what it has confirmed": TestPrefixAndPromise,
	"Kafka refused":                  TestKafkaTakesItOtherwise,
	"text is not what the database":  TestTextOfSQLASCII,
	"cannot send a value":            TestTextOfEUCJP,
	"cannot decode a transaction":    TestTransactionThatPostgreSQLCannotDecode,
}

// makeDatabaseAnew drops the database and makes another of its name.
func (r *runner) makeDatabaseAnew() {
	r.t.Helper()
	r.dropDatabase()
	admin := r.dial(r.server.URL("postgres"))
	defer admin.Close(r.ctx)
	_, err := admin.Exec(r.ctx, "CREATE DATABASE "+r.database)
	r.must(err)
	r.Exec(stopSchema)
	r.Setup()
}

// makeSignalTopic makes a topic whose requests would have no order.
func (r *runner) makeSignalTopic() {
	r.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Address))
	r.must(err)
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopics(r.ctx, 2, 1, nil, "two.signal")
	r.must(err)
}

// A publisher waits some seconds for the slot of another that works, then says what to do.
func TestSecondPublisher(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Exec(stopSchema)
	r.Setup()
	r.StartPublisher()
	r.Drain()
	first := r.publisher
	out, code := r.Pgtee(r.publishArgs()...)
	if code != 2 || !strings.Contains(out, "--standby") {
		t.Errorf("exit code %d: %s", code, out)
	}
	r.publisher = r.process("publish", append(r.publishArgs(), "--standby")...)
	r.Kill(first)
	r.Drain()
	r.Stop(r.publisher)
}

// Whatever stops the publisher, doing word for word what it says has it go on, and the topic folds to the table.
func TestStops(t *testing.T) {
	for name, c := range stops {
		for _, major := range []int{15, 18} {
			if c.once && major != 18 {
				continue
			}
			t.Run(fmt.Sprintf("PostgreSQL %d, %s", major, name), func(t *testing.T) {
				r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
				r.Exec(stopSchema)
				r.Setup()
				r.StartPublisher()
				r.Drain()
				if c.while == nil {
					r.Stop(r.publisher)
				}
				if c.prior != nil {
					c.prior(r)
				}
				r.Exec(c.cause...)
				r.Exec(c.while...)
				if c.while == nil {
					r.publisher = r.process("publish", append(r.publishArgs(), c.flags...)...)
				}
				code, err := r.publisher.Wait(r.patience)
				r.must(err)
				said := r.publisher.Tail(1)
				if code != 2 && code != 3 || !strings.Contains(said, c.says) {
					t.Fatalf("exit code %d, want one that says %q: %s", code, c.says, said)
				}
				r.cure(said)
				if flags := strings.Join(c.mends, " "); c.flags != nil && !strings.Contains(said, flags[:strings.Index(flags, " ")]) {
					t.Errorf("it does not name %s: %s", flags, said)
				}
				r.publisher = r.process("publish", append(r.publishArgs(), c.mends...)...)
				r.Drain()
				if !c.apart {
					r.awaitResync()
					r.ExpectFolded("item", []string{"id"})
				}
				if out, code := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot); code != 0 {
					t.Errorf("check exits with %d:\n%s", code, out)
				}
				r.Stop(r.publisher)
			})
		}
	}
}

var advised = regexp.MustCompile("`pgtee ([^`]*)`")

// cure runs the commands that a message names.
func (r *runner) cure(said string) {
	r.t.Helper()
	for _, command := range advised.FindAllStringSubmatch(said, -1) {
		args := append(strings.Fields(command[1]), "--postgres", r.URL(), "--slot", r.slot)
		if args[0] == "repair" {
			args = append(args, "--kafka", r.broker.Address, "--prefix", r.prefix)
		}
		if out, code := r.Pgtee(args...); code != 0 {
			r.t.Fatalf("%s: pgtee %s exits with %d:\n%s", said, command[1], code, out)
		}
	}
}

// awaitResync waits until no table is to be published afresh any more.
func (r *runner) awaitResync() {
	r.t.Helper()
	r.awaitProgress(`"finished":[{"id":"`)
}

// Every row of docs/operating.md's table has something that stops the publisher so.
func TestStopsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## When the publisher stops")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.Contains(cells[1], "---") || strings.Contains(cells[1], "it says") {
			continue
		}
		found := false
		for _, c := range stops {
			found = found || strings.Contains(cells[1], c.row)
		}
		for row := range elsewhere {
			found = found || strings.Contains(cells[1], row)
		}
		if !found {
			t.Errorf("no test stops the publisher so:%s", cells[1])
		}
	}
}
