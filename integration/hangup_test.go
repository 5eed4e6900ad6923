package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/proxy"
)

// A client dies while its statement runs. With client_connection_check_interval PostgreSQL ends that, through the proxy as
// directly: whether it runs, its end is awaited for a note, or its answer for the next request.
func TestClientDiesWhileItsStatementRuns(t *testing.T) {
	s := newEncryptedServer(t, 18)
	w := &tap{url: s.server.URL}
	w.setup(t)
	w.admin(t, t.Context(), tapDatabase, bytesSchema)
	watcher, err := pgx.Connect(t.Context(), w.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close(t.Context())
	for legs, way := range map[string]struct {
		client, server bool
	}{"plain": {}, "TLS to the server": {server: true}, "TLS": {true, true}} {
		mode := "disable"
		if way.server {
			mode = "require"
		}
		config := proxy.Config{Servers: s.ways(mode), Key: make([]byte, 32), SQLText: true}
		if way.client {
			config.TLS = s.other.shown("")
		}
		address, _ := serve(t, config)
		for what, texts := range map[string][]string{
			"a sleep":          {"SELECT pg_sleep(61)"},
			"a VACUUM":         {"VACUUM t"},
			"a pipelined role": {"SET ROLE none; SELECT pg_sleep(61)", "SELECT 1"},
		} {
			t.Run(what+", "+legs, func(t *testing.T) {
				holder, err := pgx.Connect(t.Context(), w.url(tapDatabase))
				if err != nil {
					t.Fatal(err)
				}
				defer holder.Close(t.Context())
				if _, err := holder.Exec(t.Context(), "BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE", pgx.QueryExecModeSimpleProtocol); err != nil {
					t.Fatal(err)
				}
				client, err := openWire(address, way.client, 0, tapDatabase)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := client.run(simple("SET client_connection_check_interval = '200ms'; SET application_name = 'mortal'").messages...); err != nil {
					t.Fatal(err)
				}
				var messages []byte
				for _, text := range texts {
					messages, _ = (&pgproto3.Query{String: text}).Encode(messages)
				}
				client.conn.Write(messages)
				working := func(want int) error {
					return harness.Eventually(4*time.Second, func(context.Context) (err error) {
						var got int
						err = watcher.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mortal' AND state = 'active'").Scan(&got)
						if err == nil && got != want {
							err = fmt.Errorf("%d statements run, want %d", got, want)
						}
						return err
					})
				}
				if err := working(1); err != nil {
					t.Error(err)
				}
				time.Sleep(100 * time.Millisecond) // it works by now, and the proxy waits
				if encrypted, ok := client.conn.(*tls.Conn); ok {
					encrypted.NetConn().Close()
				} else {
					client.conn.Close()
				}
				if err := working(0); err != nil {
					t.Errorf("after its death: %v", err)
				}
			})
		}
	}
}
