package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/verdict"
)

const shapeTables = `
CREATE TABLE customers (id int PRIMARY KEY, email text NOT NULL, phone text, region text NOT NULL, note text, age int);
ALTER TABLE customers REPLICA IDENTITY FULL;
CREATE TABLE orders (id int PRIMARY KEY, state text NOT NULL);
CREATE TABLE scratch (id int PRIMARY KEY, note text);
CREATE TABLE badges (id int PRIMARY KEY, pin text DEFAULT 'twenty-one') PARTITION BY RANGE (id);
CREATE TABLE badges_1 PARTITION OF badges FOR VALUES FROM (0) TO (9);
CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);`

const shapeFile = `
topic-template: bottledwater
exclude-tables: [public.scr*, public.misspelt]
tables:
  - match: public.*
    partitions: 2
  - match: public.customers
    partitions: 3
    topic-config: {cleanup.policy: compact}
    exclude-columns: [age]
    mask: ["phone:4"]
    hash: [email]
    truncate: ["note:3"]
    where: region = 'eu' AND id < 1000
  - match: public.orders
    key: [id]
    where: state <> 'draft'
  - match: public.badges
    exclude-columns: [pin]
`

// startShaped starts a publisher with a configuration file.
func (r *runner) startShaped(file string, flags ...string) {
	r.t.Helper()
	path := filepath.Join(r.dir, "shape.yaml")
	r.must(os.WriteFile(path, []byte(file), 0o600))
	args := append(r.publishArgs(), "--config", path, "--sql-text", "normalised")
	r.publisher = r.process("publish", append(args, flags...)...)
}

// Topics by a template, partitions and settings per table, rows that a filter lets through, columns that are
// hidden, masked, hashed and cut: with a real server and a real broker, and no trace of what is hidden.
func TestShapeOfTheStream(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec(shapeTables)
			r.Setup()
			r.StartProxy()
			t.Setenv("PGTEE_HASH_SALT", "pepper")
			r.startShaped(shapeFile)
			r.writeShaped()
			r.Drain()
			r.expectCustomers()
			r.expectOps("orders", `c {"id":2}`, `u {"id":1}`, `d {"id":1}`, `tombstone {"id":1}`) // the log does not tell what state 1 had
			r.expectNoTrace("anna@example.org", "bert@example.org", "4711-4712", "longish note", "ninety-nine", "pepper", "twenty-")
			r.expectPartitions(map[string]int{"customers": 3, "orders": 2, "mark.mark": 1})
			r.expectAudit("public.scratch")
			if log := r.publisher.Log(); !strings.Contains(log, `"tables": "public.misspelt"`) || strings.Count(log, "are their names correct") != 1 {
				t.Errorf("the publisher does not warn of the one table that is not there:\n%s", log)
			}
		})
	}
}

func (r *runner) writeShaped() {
	r.t.Helper()
	conn := r.dial(r.ProxyURL("postgres", "shape"))
	defer conn.Close(r.ctx)
	for _, sql := range []string{
		"INSERT INTO customers VALUES (1, 'anna@example.org', '4711-4712', 'eu', 'a longish note', 41), (2, 'bert@example.org', NULL, 'us', 'ninety-nine', 42)",
		"INSERT INTO customers VALUES (1001, 'bert@example.org', NULL, 'eu', 'ninety-nine', 42)",
		"UPDATE customers SET region = 'eu', note = NULL WHERE id = 2", // comes into view
		"UPDATE customers SET phone = '4711-4712' WHERE id = 1",
		"UPDATE customers SET region = 'us' WHERE id = 1", // leaves it
		"DELETE FROM customers WHERE id IN (1, 2)",        // one of them is not in view
		"INSERT INTO orders VALUES (1, 'draft'), (2, 'new')",
		"UPDATE orders SET state = 'new' WHERE id = 1",
		"DELETE FROM orders WHERE id = 1",
		"INSERT INTO scratch VALUES (1, 'ninety-nine')",
		"ALTER TABLE badges_1 ALTER pin SET DEFAULT 'twenty-two'", // of a partition, whose rows have the table's name
		"CREATE TABLE badges_2 PARTITION OF badges (pin DEFAULT 'twenty-three') FOR VALUES FROM (9) TO (18)",
		"ALTER TABLE badges DETACH PARTITION badges_2",
		"CREATE POLICY own ON badges USING (pin <> 'twenty-four')",
	} {
		_, err := conn.Exec(r.ctx, sql)
		r.must(err)
	}
}

// expectCustomers: the hashes are those of sha256sum over salt and address, in key-sized columns and all.
func (r *runner) expectCustomers() {
	r.t.Helper()
	anna, bert := sha("pepper", "anna@example.org"), sha("pepper", "bert@example.org")
	row := func(id int, email, note string) string {
		return fmt.Sprintf(`{"id":%d,"email":%q,"phone":"****","region":"eu","note":%s}`, id, email, note)
	}
	want := map[string][]string{
		`{"id":1}`: {"c null " + row(1, anna, `"a l"`), "u " + row(1, anna, `"a l"`) + " " + row(1, anna, `"a l"`), "d " + row(1, anna, `"a l"`) + " null", "tombstone"},
		`{"id":2}`: {"c null " + row(2, bert, "null"), "d " + row(2, bert, "null") + " null", "tombstone"},
	}
	got := map[string][]string{}
	for _, record := range r.Topic("customers") {
		var event struct {
			Op            string
			Before, After json.RawMessage
		}
		line := "tombstone"
		if record.Value != nil {
			r.must(json.Unmarshal(record.Value, &event))
			line = fmt.Sprintf("%s %s %s", event.Op, event.Before, event.After)
		}
		got[string(record.Key)] = append(got[string(record.Key)], line)
	}
	for key := range got {
		if !slices.Equal(got[key], want[key]) {
			r.t.Errorf("customers with key %s:\ngot  %s\nwant %s", key, strings.Join(got[key], "\n     "), strings.Join(want[key], "\n     "))
		}
	}
	if len(got) != len(want) {
		r.t.Errorf("customers: %d keys, want %d", len(got), len(want))
	}
}

// expectOps compares operations and keys of a topic, of each partition one after the other.
func (r *runner) expectOps(topic string, want ...string) {
	r.t.Helper()
	var got []string
	for _, e := range r.Events(topic) {
		op := e.Op
		if e.Tombstone {
			op = "tombstone"
		}
		got = append(got, op+" "+string(e.Key))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Errorf("topic %s holds %q, want %q", topic, got, want)
	}
}

// expectNoTrace looks for texts in every record of every topic: keys, values and headers.
func (r *runner) expectNoTrace(secrets ...string) {
	r.t.Helper()
	records := 0
	for topic, list := range r.Topics() {
		for _, record := range list {
			records++
			everything := append(append([]byte(fmt.Sprint(record.Headers)), record.Key...), record.Value...)
			for _, secret := range secrets {
				if bytes.Contains(everything, []byte(secret)) {
					r.t.Errorf("topic %s tells %q: %s", topic, secret, everything)
				}
			}
		}
		if strings.Contains(topic, "scratch") {
			r.t.Errorf("topic %s is of an excluded table", topic)
		}
	}
	if records == 0 {
		r.t.Error("there are no records")
	}
}

func (r *runner) expectPartitions(want map[string]int) {
	r.t.Helper()
	all, err := verdict.Partitions(r.broker.Address)
	r.must(err)
	for topic, partitions := range want {
		if got := all[r.prefix+"."+topic]; got != partitions {
			r.t.Errorf("topic %s has %d partitions, want %d", topic, got, partitions)
		}
	}
}

// expectAudit: what is filtered was committed all the same.
func (r *runner) expectAudit(table string) {
	r.t.Helper()
	for _, record := range r.Topic("audit") {
		if bytes.Contains(record.Value, []byte(`"table":"`+table+`","inserted":1`)) {
			return
		}
	}
	r.t.Errorf("no audit record counts the row of %s", table)
}

// A masked column that is renamed would be published in the clear: the publisher halts, and names it. So it does
// at a table without a key, if those are refused; check and setup say so before.
func TestShapeHalts(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Exec(shapeTables, "CREATE TABLE keyless (v int)")
	r.Setup()
	for _, command := range []string{"check", "setup"} {
		args := []string{command, "--postgres", r.URL(), "--slot", r.slot, "--no-allow-unkeyed"}
		out, code := r.Pgtee(args...)
		if code != 2 || !strings.Contains(out, "table public.keyless has no key") || !strings.Contains(out, "ALTER TABLE public.keyless ADD PRIMARY KEY") || strings.Contains(out, "customers") {
			t.Errorf("%s exits with %d:\n%s", command, code, out)
		}
		if out, code := r.Pgtee(append(args, "--exclude-tables", "public.keyless")...); code != 0 {
			t.Errorf("%s without that table exits with %d:\n%s", command, code, out)
		}
	}
	t.Setenv("PGTEE_HASH_SALT", "pepper")
	r.startShaped(shapeFile, "--no-allow-unkeyed")
	r.expectEnd(2, "table public.keyless has no key")

	r.Exec("ALTER TABLE keyless ADD PRIMARY KEY (v)")
	r.startShaped(shapeFile, "--no-allow-unkeyed")
	r.Drain()
	r.Exec("CREATE TABLE late (v int)", "INSERT INTO late VALUES (1)")
	r.expectEnd(3, `ALTER TABLE "public"."late" ADD PRIMARY KEY`)

	r.startShaped(shapeFile)
	r.Drain()
	r.Exec("ALTER TABLE customers RENAME email TO mail", "INSERT INTO customers VALUES (5, 'carl@example.org', NULL, 'eu', NULL, 1)")
	r.expectEnd(3, "column email, which the configuration hides, does not exist")
	r.expectNoTrace("carl@example.org")
	r.startShaped(strings.Replace(shapeFile, "hash: [email]", "hash: [mail]", 1))
	r.Drain()
	r.expectNoTrace("carl@example.org")
	r.expectOps("customers", `c {"id":5}`)
}

// expectEnd waits for the publisher to end by itself.
func (r *runner) expectEnd(code int, want string) {
	r.t.Helper()
	got, err := r.publisher.Wait(60 * time.Second)
	r.must(err)
	if log := r.publisher.Log(); got != code || !strings.Contains(log, want) {
		r.t.Fatalf("the publisher exits with %d, want %d and %q:\n%s", got, code, want, r.publisher.Tail(5))
	}
}

// sha is what sha256sum says of salt and text.
func sha(salt, text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(salt+text))) }
