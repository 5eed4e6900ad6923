package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/proxy"
)

// limited starts a proxy with limits in front of a shared server, and returns a URL for a user.
func limited(t *testing.T, limits proxy.Limits) func(user string) string {
	server := must(t, sharedPostgres[18])
	address, _ := serve(t, proxy.Config{Servers: []proxy.Server{{Address: server.Address()}}, Outbox: proxy.OutboxOff, Limits: limits})
	return func(user string) string {
		return fmt.Sprintf("postgres://%s@%s/postgres?sslmode=disable", user, address)
	}
}

// code is the SQLSTATE of an error, "" if it has none.
func code(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

func open(t *testing.T, url string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return openConfig(t, config)
}

func openConfig(t *testing.T, config *pgconn.Config) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		t.Cleanup(func() { conn.Close(context.Background()) })
	}
	return conn, err
}

func TestLimitsOfSessions(t *testing.T) {
	for name, limits := range map[string]proxy.Limits{
		"in all": {Sessions: 2}, "of a user": {PerUser: 2}, "of a database": {PerDatabase: 2},
	} {
		t.Run(name, func(t *testing.T) {
			url := limited(t, limits)("postgres")
			first, err := open(t, url)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := open(t, url); err != nil {
				t.Fatal(err)
			}
			if _, err := open(t, url); code(err) != "53300" {
				t.Fatalf("the third session: %v", err)
			}
			first.Close(t.Context())
			err = harness.Eventually(10*time.Second, func(context.Context) error {
				_, err := open(t, url)
				return err
			})
			if err != nil {
				t.Errorf("after one has ended: %v", err)
			}
		})
	}
}

func TestLimitsOfNames(t *testing.T) {
	url := limited(t, proxy.Limits{Users: proxy.Names{Refuse: []string{"mall*"}}, Databases: proxy.Names{Allow: []string{"post*", "other"}}})
	for target, want := range map[string]string{
		url("postgres"): "", url("mallory"): "28000", strings.Replace(url("postgres"), "/postgres?", "/template1?", 1): "28000",
	} {
		if _, err := open(t, target); code(err) != want {
			t.Errorf("%s: %v, want %q", target, err, want)
		}
	}
}

func TestLimitsOfTime(t *testing.T) {
	const short = 300 * time.Millisecond
	t.Run("idle", func(t *testing.T) {
		conn, err := open(t, limited(t, proxy.Limits{Idle: short})("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		expectEnd(t, conn, "57P05")
	})
	t.Run("idle in a transaction", func(t *testing.T) {
		conn, err := open(t, limited(t, proxy.Limits{IdleInTransaction: short})("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Exec(t.Context(), "BEGIN").Close(); err != nil {
			t.Fatal(err)
		}
		expectEnd(t, conn, "25P03")
	})
	t.Run("query", func(t *testing.T) {
		conn, err := open(t, limited(t, proxy.Limits{Query: short, IdleInTransaction: time.Minute})("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := conn.Exec(ctx, "SELECT pg_sleep(60)").Close(); code(err) != "57014" {
			t.Errorf("a long query: %v", err)
		}
		if err := conn.Exec(ctx, "SELECT 1").Close(); err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
}

// expectEnd waits until the session is ended with that SQLSTATE, without a request of the client.
func expectEnd(t *testing.T, conn *pgconn.PgConn, want string) {
	t.Helper()
	conn.Conn().SetReadDeadline(time.Now().Add(20 * time.Second))
	if message, err := conn.ReceiveMessage(t.Context()); code(err) != want {
		t.Errorf("%T (%v), want %s", message, err, want)
	}
}
