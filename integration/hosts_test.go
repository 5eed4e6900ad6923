package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/proxy"
)

// TestTargetSessionAttrs has a proxy in front of a primary and its standby, per target; then the primary dies and
// the standby is promoted.
func TestTargetSessionAttrs(t *testing.T) {
	primary, err := world.StartPostgres(18, nil)
	if err != nil {
		t.Fatal(err)
	}
	standby, err := world.StartStandby(primary)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("postgres://postgres@%s,%s/postgres?sslmode=disable&target_session_attrs=", standby.Address(), primary.Address())
	proxies := map[string]string{} // address by target
	for target, first := range map[string]*embedded.Postgres{
		"any": standby, "read-write": primary, "primary": primary, "read-only": standby, "standby": standby, "prefer-standby": standby,
	} {
		p := startProxy(t, "--postgres", url+target)
		proxies[target] = p.address
		if port, err := portBehind(t.Context(), p.address); port != first.Port() {
			t.Errorf("%s leads to port %d (%v), want %d", target, port, err, first.Port())
		}
	}
	older, p := onStandby(t, primary, standby)
	primary.Kill()
	promoted := make(chan error, 1)
	go func() { promoted <- standby.Promote(context.WithoutCancel(t.Context())) }()
	for _, target := range []string{"any", "read-write", "primary", "prefer-standby"} {
		err := harness.Eventually(20*time.Second, func(ctx context.Context) error {
			_, err := portBehind(ctx, proxies[target])
			return err
		})
		if err != nil {
			t.Errorf("%s after the failover: %v", target, err)
		}
	}
	if err := <-promoted; err != nil {
		t.Fatal(err)
	}
	w := &tap{url: standby.URL}
	for _, write := range []say{simple("INSERT INTO t VALUES (1)"), burst("Z", all(once("INSERT INTO t VALUES (1)"), sync_)...)} {
		w.admin(t, t.Context(), tapDatabase, "TRUNCATE pgtee.outbox, pgtee.outbox_0, pgtee.outbox_1, pgtee.outbox_2")
		got, err := older.run(write.messages...)
		if err != nil || !strings.Contains(got, "INSERT 0 1") {
			t.Fatalf("a session from before the promotion: %s (%v)", got, err)
		}
		w.admin(t, t.Context(), tapDatabase, "SELECT 1 / count(*) FROM pgtee.outbox WHERE user_name = 'postgres'")
	}
	if lost := p.Stats().LostReplies; lost != 0 {
		t.Errorf("%d sessions lost track of the replies", lost)
	}
}

// onStandby has a proxy with notes in front of a standby: they do nothing, and what is refused is refused in the standby's
// words. It returns a session that is still there.
func onStandby(t *testing.T, primary, standby *embedded.Postgres) (*wire, *proxy.Proxy) {
	w := &tap{url: primary.URL}
	w.setup(t)
	w.admin(t, t.Context(), tapDatabase, bytesSchema)
	proxied, p := serve(t, proxy.Config{Servers: []proxy.Server{{Address: standby.Address()}}, Key: make([]byte, 32), SQLText: true})
	steps := []say{simple("INSERT INTO t VALUES (1)"), burst("Z", all(once("INSERT INTO t VALUES (1)"), sync_)...), simple("BEGIN"), simple("DELETE FROM t"),
		simple("ROLLBACK"), simple("VACUUM t"), burst("Z", all(once("VACUUM t"), sync_)...), simple("SELECT count(*) FROM t"),
		simple("SELECT pg_catalog.repeat('x', 2)"), simple("DO 'BEGIN PERFORM 1; END'"), burst("Z", all(once("DO 'BEGIN DELETE FROM t; END'"), sync_)...),
		simple("BEGIN; SELECT count(*) FROM t; COMMIT"), simple("CHECKPOINT")}
	said := map[string][]string{}
	err := harness.Eventually(20*time.Second, func(context.Context) error { // until it has the database, and the table before it is asked first
		for _, address := range []string{standby.Address(), proxied} {
			client, err := openWire(address, false, 0, tapDatabase)
			if err != nil {
				return err
			}
			defer client.conn.Close()
			said[address] = nil
			for _, step := range steps {
				got, err := client.run(step.messages...)
				if err != nil {
					return err
				}
				said[address] = append(said[address], got)
			}
		}
		if direct := said[standby.Address()]; !strings.Contains(direct[0], "25006") || !strings.Contains(direct[7], "SELECT 1") {
			return fmt.Errorf("the standby says %q", direct)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, direct := range said[standby.Address()] {
		if said[proxied][i] != direct {
			t.Errorf("step %d\ndirect:  %s\nproxied: %s", i+1, direct, said[proxied][i])
		}
	}
	older, err := openWire(proxied, false, 0, tapDatabase)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { older.conn.Close() })
	return older, p
}

// portBehind is the port of the server that a proxy leads to.
func portBehind(ctx context.Context, address string) (port int, err error) {
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+address+"/postgres?sslmode=disable&connect_timeout=20")
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "SELECT inet_server_port()").Scan(&port)
	return port, err
}
