package integration

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// stop is something that stops the publisher, what it says then, and how it goes on.
type stop struct {
	row   string   // words of the row in README's table "When the publisher stops"
	cause []string // SQL, while no publisher runs; those of a publisher that runs are in meanwhile
	while []string // SQL, while it runs: it stops by itself
	flags []string // of the publisher that stops
	says  string
	mends []string // flags of the publisher that goes on, which the message names
}

const stopSchema = `CREATE TABLE item (id int PRIMARY KEY, v text); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);`

const write = "INSERT INTO item VALUES (1, 'a'), (2, 'b'); UPDATE item SET v = 'c' WHERE id = 1; DELETE FROM item WHERE id = 2"

var stops = map[string]stop{
	"publication of identities dropped": {row: "publications changed or missing", cause: []string{"DROP PUBLICATION pgtee_identity", write}, says: "pgtee_identity is missing"},
	"publication of rows dropped":       {row: "publications changed or missing", while: []string{"DROP PUBLICATION pgtee_rows", write}, says: "publication"},
	"sibling dropped":                   {row: "publications changed or missing", cause: []string{"DROP PUBLICATION pgtee_identity_3", write}, says: "pgtee_identity_3 is missing"},
	"publication renamed":               {row: "publications changed or missing", cause: []string{"ALTER PUBLICATION pgtee_identity RENAME TO other", write, "DROP PUBLICATION other"}, says: "pgtee_identity is missing"},
	"publication made anew by hand": {row: "publications changed or missing", cause: []string{"DROP PUBLICATION pgtee_identity", write,
		"CREATE PUBLICATION pgtee_identity WITH (publish = 'update, delete', publish_via_partition_root = true)"}, says: "pgtee_identity was made after slot"},
	"publication altered": {row: "publications changed or missing", cause: []string{"ALTER PUBLICATION pgtee_rows SET (publish = 'truncate')", write}, says: "publication pgtee_rows was altered"},
	"slot dropped":        {row: "slot lost / missing", cause: []string{"SELECT pg_drop_replication_slot(current_database())", write}, says: "slot"},
	"slot advanced":       {row: "transactions are lost", cause: []string{write, "SELECT pg_replication_slot_advance(current_database(), pg_current_wal_lsn())"}, says: "lost between Kafka and the slot"},
}

// Whatever stops the publisher, doing word for word what it says has it go on, and the topic folds to the table.
func TestStops(t *testing.T) {
	for name, c := range stops {
		for _, major := range []int{15, 18} {
			t.Run(fmt.Sprintf("PostgreSQL %d, %s", major, name), func(t *testing.T) {
				r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
				r.Exec(stopSchema)
				r.Setup()
				r.StartPublisher()
				r.Drain()
				if c.while == nil {
					r.Stop(r.publisher)
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
				r.publisher = r.process("publish", append(r.publishArgs(), c.mends...)...)
				r.Drain()
				r.awaitResync()
				r.ExpectFolded("item", []string{"id"})
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

// Every row of README's table has something that stops the publisher so.
func TestStopsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../README.md")
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
		if !found {
			t.Errorf("no test stops the publisher so:%s", cells[1])
		}
	}
}
