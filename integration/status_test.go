package integration

import (
	"context"
	"errors"
	"fmt"
	"regexp"
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

// A standby does not know what is published, and says so; once it has taken over it does.
func TestLagOfAStandby(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Start("CREATE TABLE t (id int PRIMARY KEY);", "t")
	r.Drain()
	first := r.publisher
	r.metrics = must(t, harness.FreeAddress)
	r.publisher = r.process("standby", append(r.publishArgs(), "--standby", "--metrics", r.metrics)...)
	lag := func(isNaN bool) error {
		return harness.Eventually(time.Minute, func(context.Context) error {
			text, err := harness.Metrics(r.metrics)
			if err != nil {
				return err
			}
			for _, name := range []string{"pgtee_lag_seconds", "pgtee_lag_bytes"} {
				value := regexp.MustCompile(name + `\{.*\} (\S+)`).FindStringSubmatch(text)
				if value == nil || (value[1] == "NaN") != isNaN {
					return fmt.Errorf("%s: %s", name, value)
				}
			}
			if !regexp.MustCompile(`pgtee_retained_wal_bytes\{.*\} [1-9]`).MatchString(text) {
				return errors.New("it has not looked at the slot yet")
			}
			return nil
		})
	}
	r.must(lag(true))
	r.Stop(first)
	r.Drain()
	r.must(lag(false))
}
