package debezium

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/outbox"

	"github.com/pgtee/pgtee/publisher/record"
)

// catalogServer answers the questions of a Database from a script, and hangs up after as many
// questions as hangUp says.
type catalogServer struct {
	*testing.T
	listener  net.Listener
	questions atomic.Int32
	hangUp    int32
	running   atomic.Int32 // so many answers are of a moment at which transaction 500 is still running
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
	question, parameters := "", []string{}
	for {
		if err := backend.Flush(); err != nil {
			return err
		}
		message, err := backend.Receive()
		if err != nil {
			return nil // the client is gone
		}
		switch m := message.(type) {
		case *pgproto3.Query: // the settings of the session
			backend.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")})
			backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Parse:
			question = m.Query
		case *pgproto3.Bind:
			parameters = nil
			for _, p := range m.Parameters {
				parameters = append(parameters, string(p))
			}
		case *pgproto3.Terminate:
			return nil
		case *pgproto3.Sync:
			if parameters[0] != outbox.PastFunction && s.questions.Add(1) == s.hangUp {
				return nil
			}
			s.answer(backend, question, parameters)
		}
	}
}

func (s *catalogServer) answer(backend *pgproto3.Backend, question string, parameters []string) {
	row := &pgproto3.DataRow{Values: [][]byte{[]byte("t")}}
	if parameters[0] != outbox.PastFunction {
		if question != descriptionQuery(parameters[1][0], true) {
			s.Errorf("question %s", question)
		}
		row.Values = [][]byte{[]byte("400:600:"), nil}
		if s.running.Add(-1) >= 0 {
			row.Values[0] = []byte("400:600:500")
		} else if text, ok := script[strings.Join(parameters, " ")]; ok {
			row.Values[1] = []byte(text)
		}
	}
	backend.Send(&pgproto3.ParseComplete{})
	backend.Send(&pgproto3.BindComplete{})
	backend.Send(&pgproto3.RowDescription{})
	backend.Send(row)
	backend.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
}

var script = map[string]string{
	"20001 t 0/10": `{"name": "mood", "kind": 101, "base": 0, "typmod": -1, "element": 0, "delimiter": 44, "labels": "sad,ok"}`,
	"20002 t 0/10": `{"name": "_boxes", "kind": 98, "base": 0, "typmod": -1, "element": 603, "delimiter": 59, "labels": ""}`,
	"20003 t 0/10": `{"name": "price", "kind": 100, "base": 1700, "typmod": 655366, "element": 0, "delimiter": 44, "labels": ""}`,
	"30001 r 0/10": `{"keys": [["tenant", "id"], ["id"]], "identity": null, "partitioned": false, "not_null": ["id", "tenant"], "generated": null, "defaults": {"id": "0", "note": "'x'::text"}}`,
	"30002 r 0/10": `{"keys": null, "identity": [], "partitioned": true, "not_null": null, "generated": ["g"], "defaults": null}`,
}

func TestDatabase(t *testing.T) {
	server, address := startCatalogServer(t, 2) // the second question meets a broken connection
	d := NewDatabase(address, "")
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	at := record.Place{LSN: 16, XID: 500}
	for oid, want := range map[uint32]Type{
		20001: {Name: "mood", Kind: 'e', TypeMod: -1, Delimiter: ',', Labels: "sad,ok"},
		20002: {Name: "_boxes", Kind: 'b', TypeMod: -1, Element: 603, Delimiter: ';'},
		20003: {Name: "price", Kind: 'd', Base: 1700, TypeMod: 655366, Delimiter: ','},
	} {
		for range 2 { // the second answer is remembered, save that for an enum
			if got, ok, err := d.Type(t.Context(), oid, at); err != nil || !ok || got != want {
				t.Errorf("type %d: %+v %t %v, want %+v", oid, got, ok, err, want)
			}
		}
	}
	if got := server.questions.Load(); got != 5 {
		t.Errorf("%d questions, want 3, one again, and the enum's twice", got)
	}
	if _, ok, err := d.Type(t.Context(), 20009, at); ok || err != nil {
		t.Errorf("unknown type: %t %v", ok, err)
	}
	for oid, want := range map[uint32]Table{
		30001: {NotNull: []string{"id", "tenant"}, Keys: [][]string{{"tenant", "id"}, {"id"}}, Defaults: map[string]string{"id": "0", "note": "'x'::text"}},
		30002: {Identity: []string{}, Partitioned: true, Generated: []string{"g"}},
	} {
		if got, ok, err := d.Table(t.Context(), oid, at); err != nil || !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("table: %+v %t %v, want %+v", got, ok, err, want)
		}
	}
}

// What a transaction made that others do not see yet is waited for, and nothing else is.
func TestDatabaseWaits(t *testing.T) {
	for xid, waits := range map[outbox.XID]int32{500: 3, 499: 0, 0: 0} {
		server, address := startCatalogServer(t, 0)
		server.running.Store(3)
		d := NewDatabase(address, "")
		_, ok, err := d.Table(t.Context(), 30001, record.Place{LSN: 16, XID: xid})
		if asked := server.questions.Load(); err != nil || ok != (waits > 0) || asked != waits+1 {
			t.Errorf("transaction %d: found %t, %d questions, error %v; want %d", xid, ok, asked, err, waits+1)
		}
		_ = d.Close(t.Context())
	}
}

// A transaction that stays invisible is not a reason to encode without the catalog.
func TestDatabaseBlind(t *testing.T) {
	server, address := startCatalogServer(t, 0)
	server.running.Store(1 << 30)
	d := NewDatabase(address, "")
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	_, _, err := d.Table(t.Context(), 30001, record.Place{LSN: 16, XID: 500})
	var lookup *LookupError
	if !errors.As(err, &lookup) || !lookup.Temporary() || !strings.Contains(err.Error(), "synchronous_standby_names") {
		t.Errorf("error %v, want a LookupError that names the standby", err)
	}
}

func TestDatabaseAway(t *testing.T) {
	server, address := startCatalogServer(t, 0)
	server.listener.Close()
	_, _, err := NewDatabase(address, "").Table(t.Context(), 1, record.Place{})
	var lookup *LookupError
	if !errors.As(err, &lookup) || !lookup.Temporary() {
		t.Errorf("error %v, want a LookupError", err)
	}
}

// A stop of the publisher does not wait for a database that does not answer.
func TestDatabaseCancelled(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		cancel()
	}()
	_, _, err = NewDatabase(fmt.Sprintf("postgres://u@%s/d?sslmode=disable", listener.Addr()), "").Table(ctx, 1, record.Place{})
	var lookup *LookupError
	if !errors.As(err, &lookup) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want a LookupError of a cancelled context", err)
	}
}
