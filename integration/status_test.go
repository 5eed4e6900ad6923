package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// A publisher that holds the slot and cannot reach Kafka is behind; one whose server was idle until now is not.
func TestStatusOfAPublisherThatIsBehind(t *testing.T) {
	way := must(t, harness.NewRelay)
	defer way.Close()
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.broker = must(t, func() (*harness.Kafka, error) { return world.StartKafka(way) })
	defer r.broker.Kill()
	r.login = []string{"--kafka", way.Address}
	r.Start("CREATE TABLE t (id int PRIMARY KEY);", "t")
	r.Drain()
	const maxLag = 2 * time.Second
	status := func() (string, int) {
		return r.Pgtee("status", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot, "--max-lag", maxLag.String())
	}
	time.Sleep(2 * maxLag)
	r.Exec("INSERT INTO t VALUES (1)")
	if out, code := status(); code != 0 {
		t.Errorf("after a pause status exits with %d:\n%s", code, out)
	}
	r.Drain()
	way.Freeze(harness.Upstream, harness.Downstream)
	r.Exec("INSERT INTO t VALUES (2)")
	time.Sleep(2 * maxLag)
	if out, code := status(); code != 1 || !strings.Contains(out, "see to publisher-behind") || !strings.Contains(out, "  behind     for ") {
		t.Errorf("without Kafka status exits with %d:\n%s", code, out)
	}
	way.Heal()
	r.Drain()
	if out, code := status(); code != 0 {
		t.Errorf("once it goes on status exits with %d:\n%s", code, out)
	}
}
