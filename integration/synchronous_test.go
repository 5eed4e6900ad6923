package integration

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// Where every walsender counts as a synchronous standby, commits wait for Kafka, some for ever: check and the publisher say so.
func TestSynchronousPublisher(t *testing.T) {
	server, err := world.StartPostgres(18, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &doctorPatient{newRunner(t, must(t, sharedBinary), server, "table"), false}
	p.Exec("CREATE TABLE item (id int PRIMARY KEY)")
	p.Setup()
	p.configure(map[string]string{"synchronous_standby_names": "*"})
	defer p.configure(map[string]string{"synchronous_standby_names": ""})
	p.StartPublisher()
	p.must(harness.Eventually(time.Minute, func(context.Context) error {
		if p.Query("SELECT count(*)::text FROM pg_stat_replication WHERE sync_state <> 'async'") != "1" {
			return errors.New("nobody waits for the publisher")
		}
		return nil
	}))
	const id = "publisher-synchronous"
	if out, code := p.Pgtee("check", "--postgres", p.URL(), "--slot", p.slot); code != 1 || !strings.Contains(out, id) {
		t.Errorf("check exits with %d:\n%s", code, out)
	}
	if log := p.publisher.Tail(1000); !strings.Contains(log, id) {
		t.Errorf("the publisher says\n%s", log)
	}
	p.Stop(p.publisher)
}
