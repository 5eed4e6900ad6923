package integration

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

// A publisher with nothing to publish says in a topic of its own that it is alive, in committed transactions.
func TestHeartbeat(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Setup()
	r.publisher = r.process("publish", append(r.publishArgs(), "--heartbeat", "200ms")...)
	topic := "__debezium-heartbeat." + r.prefix
	value := regexp.MustCompile(`^{"ts_ms":\d{13}}$`)
	r.must(harness.Eventually(30*time.Second, func(context.Context) error {
		topics, err := verdict.Read(r.broker.Address, verdict.Only(topic))
		if err != nil {
			return err
		}
		records := verdict.Visible(topics[topic])
		for _, record := range records {
			if string(record.Key) != `{"serverName":"`+r.prefix+`"}` || !value.Match(record.Value) {
				t.Fatalf("key %s, value %s", record.Key, record.Value)
			}
		}
		if len(records) < 3 {
			return fmt.Errorf("%d heartbeats", len(records))
		}
		return nil
	}))
}
