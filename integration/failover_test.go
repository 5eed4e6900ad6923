package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
)

// The primary that apply and consume write to dies. They wait until its standby, which they reach at once, is promoted, and go on there. Who has never
// reached a primary is told at once.
func TestWritersWaitForAPromotion(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY);")
	primary, err := world.StartPostgres(18, nil)
	a.must(err)
	conn := a.dial(primary.URL("postgres"))
	_, err = conn.Exec(a.ctx, "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY)")
	a.must(err)
	conn.Close(a.ctx)
	standby, err := world.StartStandby(primary)
	a.must(err)
	topic := a.prefix + ".numbers"
	_, err = a.admin().CreateTopic(a.ctx, 1, -1, nil, topic)
	a.must(err)
	client, err := kgo.NewClient(kgo.SeedBrokers(a.broker.Address))
	a.must(err)
	defer client.Close()
	write := func(id int) {
		a.Write(fmt.Sprintf("INSERT INTO t VALUES (%d)", id))
		a.must(client.ProduceSync(a.ctx, pair(topic, fmt.Sprintf(`{"id":%d}`, id))).FirstErr())
	}
	args := func(url string) map[string][]string {
		return map[string][]string{
			"apply":   {"apply", "--kafka", a.broker.Address, "--prefix", a.prefix, "--origin", "off", "--postgres", url},
			"consume": {"consume", "--kafka", a.broker.Address, "--topic", topic, "--into", "c", "--key", "id", "--postgres", url},
		}
	}
	write(1)
	for name, args := range args(standby.URL("postgres")) {
		if out, code := a.Pgtee(args...); code != 3 || !strings.Contains(out, "is a standby, or read-only: name its primary") {
			t.Errorf("%s exits with %d: %s", name, code, out)
		}
	}
	writers := map[string]*harness.Process{}
	both := fmt.Sprintf("postgres://postgres@%s,%s/postgres?sslmode=disable&target_session_attrs=any", primary.Address(), standby.Address())
	for name, args := range args(both) {
		writers[name] = a.process(name, args...)
	}
	have := func(url, want string) {
		t.Helper()
		a.must(harness.Eventually(30*time.Second, func(context.Context) error {
			if got := a.valueAt(url, "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM c)"); got != want {
				return fmt.Errorf("%s rows, want %s", got, want)
			}
			return nil
		}))
	}
	have(standby.URL("postgres"), "1 1") // what it lacks is lost
	primary.Kill()
	write(2)
	for name, p := range writers {
		a.must(harness.Eventually(30*time.Second, func(context.Context) error {
			if !strings.Contains(p.Log(), "is a standby, or read-only") {
				return fmt.Errorf("%s says %s", name, p.Tail(3))
			}
			return nil
		}))
	}
	a.must(standby.Promote(a.ctx))
	have(standby.URL("postgres"), "2 2")
	for _, p := range writers {
		a.Stop(p)
	}
}
