package apply

import (
	"context"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// A command may be about several tables: one that has nothing to fill says nothing about the others.
func TestEachTableIsCheckedForFilledColumns(t *testing.T) {
	conn := answering(t, func(sql string, params [][]byte) string {
		switch {
		case sql != filledQuery:
			return "true" // the table has rows
		case string(params[0]) == "filled":
			return "n"
		}
		return ""
	})
	target := &target{conn: conn}
	for range 20 { // in any order
		err := target.checkFilled(t.Context(), &ddlRecord{Command: "ALTER TABLE"}, "", map[string]string{"a": "1", "filled": "1", "z": "1"})
		if !isHalt(err) {
			t.Fatalf("no halt: %v", err)
		}
	}
}

// answering connects to a server that answers each query with one text.
func answering(t *testing.T, answer func(sql string, params [][]byte) string) *pgconn.PgConn {
	client, server := net.Pipe()
	config, err := pgconn.ParseConfig("postgres://u@server/db?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"server"}, nil }
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return client, nil }
	go func() {
		defer server.Close()
		b := pgproto3.NewBackend(server, server)
		_, err := b.ReceiveStartupMessage()
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		var sql string
		for err == nil && b.Flush() == nil {
			var message pgproto3.FrontendMessage
			message, err = b.Receive()
			switch m := message.(type) {
			case *pgproto3.Parse:
				sql = m.Query
				b.Send(&pgproto3.ParseComplete{})
			case *pgproto3.Bind:
				b.Send(&pgproto3.BindComplete{})
				b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("text"), DataTypeOID: 25}}})
				b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(answer(sql, m.Parameters))}})
			case *pgproto3.Execute:
				b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
			case *pgproto3.Sync:
				b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			}
		}
	}()
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return conn
}
