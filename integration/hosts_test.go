package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
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
