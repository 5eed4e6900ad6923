package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/pgtee/pgtee/integration/harness"
)

// queryArgs are those of pgtee query.
func (s *strangers) queryArgs(topic, sql string, more ...string) []string {
	return append([]string{"query", "--kafka", s.broker.Address, "--postgres", s.URL(), "--topic", topic, "--sql", sql}, more...)
}

// RunQuery runs pgtee query once and expects exit code 0.
func (s *strangers) RunQuery(topic, sql string, more ...string) string {
	s.t.Helper()
	out, code := s.Pgtee(s.queryArgs(topic, sql, more...)...)
	if code != 0 {
		s.t.Fatalf("query exits with %d:\n%s", code, out)
	}
	return out
}

// Pairs are the records of a topic, named without the prefix, as KEY=VALUE, in the order of keys within a run.
func (s *strangers) Pairs(topic string) (pairs []string) {
	s.t.Helper()
	run, from := "", 0
	for _, record := range s.runner.Topic(topic) {
		if record.Headers["pgtee-run"] != run {
			slices.Sort(pairs[from:])
			run, from = record.Headers["pgtee-run"], len(pairs)
		}
		pairs = append(pairs, fmt.Sprintf("%s=%s", record.Key, record.Value))
	}
	slices.Sort(pairs[from:])
	return pairs
}

func (s *strangers) expectPairs(topic string, want ...string) {
	s.t.Helper()
	if got := s.Pairs(topic); !slices.Equal(got, want) {
		s.t.Errorf("topic %s:\ngot\n%s\nwant\n%s", topic, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestQuery(t *testing.T) {
	s := newStrangers(t, `CREATE TABLE item (id int, name text, at timestamptz); INSERT INTO item VALUES (1, 'a "b"', '2025-01-31 12:00+00'), (2, NULL, NULL)`)
	topic := s.prefix + ".all"
	out := s.RunQuery(topic, "SELECT * FROM item ORDER BY id -- all of it;")
	if !strings.Contains(out, "2 rows, 2 published to "+topic+", 0 tombstones") {
		t.Errorf("query says %s", out)
	}
	s.RunQuery(topic, "SELECT count(*) FROM item;", "--key", "'all'")
	s.expectPairs("all", `={"id":1,"name":"a \"b\"","at":"2025-01-31T12:00:00+00:00"}`, `={"id":2,"name":null,"at":null}`, `all={"count":2}`)
	records := s.runner.Topic("all")
	if h := records[0].Headers; h["pgtee-run"] == "" || h["pgtee-run"] != records[1].Headers["pgtee-run"] || h["pgtee-run"] == records[2].Headers["pgtee-run"] || h["pgtee-run-rows"] != "2" {
		t.Errorf("headers %v and %v", records[0].Headers, records[2].Headers)
	}
	if _, err := time.Parse(time.RFC3339Nano, records[0].Headers["pgtee-run-time"]); err != nil {
		t.Error(err)
	}

	topic = s.prefix + ".changes"
	changes := func(more ...string) string {
		return s.RunQuery(topic, "SELECT id, name FROM item", append(more, "--key", "id", "--changes")...)
	}
	changes()
	changes() // nothing is new
	s.Exec("UPDATE item SET name = 'c' WHERE id = 1; DELETE FROM item WHERE id = 2; INSERT INTO item VALUES (3, 'd')")
	if out := changes(); !strings.Contains(out, "2 rows, 2 published to "+topic+", 1 tombstones") {
		t.Errorf("query says %s", out)
	}
	s.Exec("INSERT INTO item VALUES (2, 'back')")
	changes()
	s.expectPairs("changes", `1={"id":1,"name":"a \"b\""}`, `2={"id":2,"name":null}`, `1={"id":1,"name":"c"}`, `2=`, `3={"id":3,"name":"d"}`, `2={"id":2,"name":"back"}`)

	s.queryHalts(topic, "SELECT 1 AS id FROM item", []string{"--key", "id", "--changes"}, "two rows have the key 1")
	s.queryHalts(topic, "SELECT NULL AS id", []string{"--key", "id", "--changes"}, "the key of a row is NULL")
	s.queryHalts(topic, "DELETE FROM item RETURNING id", nil, "syntax error", "--sql")
	s.queryHalts(topic, "SELECT setval('none', 1)", nil, "does not exist")
	s.expectPairs("changes", s.Pairs("changes")[:6]...) // of runs that failed nothing shows
}

func (s *strangers) queryHalts(topic, sql string, more []string, words ...string) {
	s.t.Helper()
	s.halts(s.queryArgs(topic, sql, more...), words...)
}

// A row that does not change is published once: its topic keeps it.
func TestQueryKeepsUnchangedRows(t *testing.T) {
	s := newStrangers(t, "CREATE TABLE item (id int); INSERT INTO item VALUES (1)")
	changes := []string{"--key", "id", "--changes"}
	kept := s.prefix + ".kept"
	if out := s.RunQuery(kept, "SELECT * FROM item", changes...); strings.Contains(out, "query-topic-retention") {
		t.Errorf("a topic of its own: %s", out)
	}
	resources, err := s.admin().DescribeTopicConfigs(s.ctx, kept)
	s.must(err)
	for _, config := range resources[0].Configs {
		if config.Key == "cleanup.policy" && config.MaybeValue() != "compact" {
			t.Errorf("topic %s has cleanup.policy=%s", kept, config.MaybeValue())
		}
	}
	forgetful := s.NewTopic("forgetful", 1)
	if out := s.RunQuery(forgetful, "SELECT * FROM item", changes...); !strings.Contains(out, "query-topic-retention") || !strings.Contains(out, "retention.ms=604800000") ||
		!strings.Contains(out, "--entity-name "+forgetful+" --add-config cleanup.policy=compact") {
		t.Errorf("a topic that deletes rows: %s", out)
	}
	if out := s.RunQuery(forgetful, "SELECT * FROM item"); strings.Contains(out, "query-topic-retention") {
		t.Errorf("each run publishes all rows: %s", out)
	}
}

// Queries of different names may share a topic, but none buries the keys of another.
func TestQueriesShareATopic(t *testing.T) {
	s := newStrangers(t, "")
	topic := s.prefix + ".shared"
	changes := []string{"--key", "id", "--changes"}
	s.RunQuery(topic, "SELECT 1 AS id", append(changes, "--name", s.prefix+"-one")...)
	s.queryHalts(topic, "SELECT 2 AS id", append(changes, "--name", s.prefix+"-two"), "remembers the rows of query "+s.prefix+"-one", "--state-topic")
	s.RunQuery(topic, "SELECT 2 AS id", append(changes, "--name", s.prefix+"-two", "--state-topic", topic+".two")...)
	s.RunQuery(topic, "SELECT 3 AS id", append(changes, "--name", s.prefix+"-one")...)
	s.expectPairs("shared", `1={"id":1}`, `2={"id":2}`, "1=", `3={"id":3}`)
}

// The brokers abort a run that takes too long: the line says so, and does not blame another process.
func TestQueryTakesTooLong(t *testing.T) {
	s := newStrangers(t, "")
	topic := s.prefix + ".slow"
	s.queryHalts(topic, "SELECT 1", []string{"--transaction-timeout", "24h"}, "--transaction-timeout", "transaction.max.timeout.ms")
	slow := []string{"--transaction-timeout", "1s", "--key", "id || pg_sleep(1)::text"} // for each row, which the server sends at once, because it is long
	s.queryHalts(topic, "SELECT i AS id, repeat('x', 10000) FROM generate_series(1, 16) AS i", slow, "the brokers abort it after 1s", "raise --transaction-timeout")
	s.RunQuery(topic, "SELECT 1 AS id")
	s.expectPairs("slow", `={"id":1}`)
}

// The privileges in docs/query.md are enough.
func TestQueryNeedsFewPrivileges(t *testing.T) {
	dir := t.TempDir()
	kafka, secure, ca := startSecureKafka(t, dir)
	s := newStrangers(t, "")
	s.broker = kafka
	password := filepath.Join(dir, "password")
	s.must(os.WriteFile(password, []byte("pw"), 0o600))
	_, err := s.admin().CreateACLs(s.ctx, kadm.NewACLs().Topics("*").ResourcePatternType(kadm.ACLPatternLiteral).Allow("User:pgtee").AllowHosts("*").Operations(kadm.OpRead, kadm.OpWrite, kadm.OpCreate))
	s.must(err)
	login := []string{"query", "--kafka", secure.Address, "--kafka-tls", "--kafka-ca", ca.file, "--kafka-sasl", "plain", "--kafka-user", "pgtee", "--kafka-password-file", password}
	for _, sql := range []string{"SELECT 1 AS id", "SELECT 2 AS id"} {
		out, code := s.Pgtee(append(login, "--postgres", s.URL(), "--topic", s.prefix+".few", "--sql", sql, "--key", "id", "--changes")...)
		if code != 0 || !strings.Contains(out, "without DESCRIBE_CONFIGS") {
			t.Errorf("exits with %d: %s", code, out)
		}
	}
	s.expectPairs("few", `1={"id":1}`, "1=", `2={"id":2}`)
}

// One that is killed in the middle goes on from what readers have seen; one that is shut out ends.
func TestQueryAgain(t *testing.T) {
	s := newStrangers(t, `CREATE TABLE big (id int, n int); INSERT INTO big SELECT i, 0 FROM generate_series(1, 20000) AS i`)
	topic := s.prefix + ".big"
	args := s.queryArgs(topic, "SELECT * FROM big", "--key", "id", "--changes", "--every", "50ms")
	for i := range 5 {
		p := s.process("query", args...)
		time.Sleep(time.Duration(200+137*i) * time.Millisecond) // whatever it is doing then
		s.Exec("UPDATE big SET n = n + 1; DELETE FROM big WHERE id % 100 = 0; INSERT INTO big SELECT i, 0 FROM generate_series(100, 20000, 300) AS i")
		time.Sleep(time.Duration(100+211*i) * time.Millisecond)
		s.Kill(p)
	}
	first := s.process("query-1", args...)
	want := s.Query("SELECT count(*) || ' ' || sum(n) FROM big")
	s.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if got := s.foldedSum("big"); got != want {
			return fmt.Errorf("the topic folds to %s, the query returns %s", got, want)
		}
		return nil
	}))
	second := s.process("query-2", args...)
	s.must(harness.Eventually(60*time.Second, func(context.Context) error {
		s.Exec("UPDATE big SET n = n + 1 WHERE id = 1") // one that has nothing to publish does not learn of the other
		if first.Running() {
			return fmt.Errorf("the first goes on: %s", first.Tail(3))
		}
		return nil
	}))
	if code, err := first.Wait(30 * time.Second); err != nil || code != 3 || !strings.Contains(first.Log(), "fenced off") {
		t.Errorf("the first exits with %d (%v): %s", code, err, first.Tail(3))
	}
	s.Stop(second)
}

// foldedSum is the number of rows that a topic folds to, and the sum of their n.
func (s *strangers) foldedSum(topic string) string {
	rows := map[string]int{}
	sum := 0
	for _, record := range s.runner.Topic(topic) {
		var id, n int
		delete(rows, string(record.Key))
		if _, err := fmt.Sscanf(string(record.Value), `{"id":%d,"n":%d}`, &id, &n); err == nil {
			rows[string(record.Key)] = n
		}
	}
	for _, n := range rows {
		sum += n
	}
	return fmt.Sprintf("%d %d", len(rows), sum)
}
