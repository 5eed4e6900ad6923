package debezium

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// catalogServer answers the questions of a Database from a script, and hangs up after as many
// questions as hangUp says.
type catalogServer struct {
	*testing.T
	listener  net.Listener
	questions atomic.Int32
	hangUp    int32
}

func startCatalogServer(t *testing.T, hangUp int32) (*catalogServer, string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &catalogServer{T: t, listener: listener, hangUp: hangUp}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if err := s.serve(conn); err != nil {
				t.Log(err)
			}
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return s, fmt.Sprintf("postgres://u@%s/d?sslmode=disable", listener.Addr())
}

// serve is one connection.
func (s *catalogServer) serve(conn net.Conn) error {
	defer conn.Close()
	backend := pgproto3.NewBackend(conn, conn)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return err
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	var question, parameter string
	for {
		if err := backend.Flush(); err != nil {
			return err
		}
		message, err := backend.Receive()
		if err != nil {
			return nil // the client is gone
		}
		switch m := message.(type) {
		case *pgproto3.Parse:
			question = m.Query
		case *pgproto3.Bind:
			parameter = string(m.Parameters[0])
		case *pgproto3.Terminate:
			return nil
		case *pgproto3.Sync:
			if s.questions.Add(1) == s.hangUp {
				return nil
			}
			answer(backend, question, parameter)
		}
	}
}

func answer(backend *pgproto3.Backend, question, parameter string) {
	backend.Send(&pgproto3.ParseComplete{})
	backend.Send(&pgproto3.BindComplete{})
	backend.Send(&pgproto3.RowDescription{})
	for _, line := range strings.Fields(script[parameter+" "+question]) {
		row := &pgproto3.DataRow{}
		for _, v := range strings.Split(line, "|") {
			row.Values = append(row.Values, []byte(v))
		}
		backend.Send(row)
	}
	backend.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
}

var script = map[string]string{
	"20001 " + typeQuery:    "mood|e|0|-1|0|,|sad,ok",
	"20002 " + typeQuery:    "_boxes|b|0|-1|603|;|",
	"20003 " + typeQuery:    "price|d|1700|655366|0|,|",
	"30001 " + columnsQuery: "id|true|0 tenant|true| note|false|'x'::text",
	"30001 " + keysQuery:    "500|tenant 500|id 501|id",
}

func TestDatabase(t *testing.T) {
	server, address := startCatalogServer(t, 2) // the second question meets a broken connection
	d := NewDatabase(address)
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	for oid, want := range map[uint32]Type{
		20001: {Name: "mood", Kind: 'e', TypeMod: -1, Delimiter: ',', Labels: "sad,ok"},
		20002: {Name: "_boxes", Kind: 'b', TypeMod: -1, Element: 603, Delimiter: ';'},
		20003: {Name: "price", Kind: 'd', Base: 1700, TypeMod: 655366, Delimiter: ','},
	} {
		for range 2 { // the second answer is remembered, save that for an enum
			if got, ok, err := d.Type(oid); err != nil || !ok || got != want {
				t.Errorf("type %d: %+v %t %v, want %+v", oid, got, ok, err, want)
			}
		}
	}
	if got := server.questions.Load(); got != 5 {
		t.Errorf("%d questions, want 3, one again, and the enum's twice", got)
	}
	if _, ok, err := d.Type(20009); ok || err != nil {
		t.Errorf("unknown type: %t %v", ok, err)
	}
	want := Table{NotNull: []string{"id", "tenant"}, Keys: [][]string{{"tenant", "id"}, {"id"}}, Defaults: map[string]string{"id": "0", "note": "'x'::text"}}
	if got, ok, err := d.Table(30001); err != nil || !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("table: %+v %t %v, want %+v", got, ok, err, want)
	}
}

func TestDatabaseAway(t *testing.T) {
	server, address := startCatalogServer(t, 0)
	server.listener.Close()
	_, _, err := NewDatabase(address).Table(1)
	var lookup *LookupError
	if !errors.As(err, &lookup) || !lookup.Temporary() {
		t.Errorf("error %v, want a LookupError", err)
	}
}
