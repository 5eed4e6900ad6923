package outbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// scriptedServer answers each query by the first of its answers whose key the query contains, on any
// number of connections over a loopback socket.
type scriptedServer struct {
	t        *testing.T
	answers  []answer
	encoding string // server_encoding; "": not told
}

type answer struct {
	query string
	rows  [][]string
	err   *pgproto3.ErrorResponse
	also  pgproto3.BackendMessage // sent before the rows
	asked chan struct{}           // gets a token for the query
	mute  bool                    // it is never answered
	once  chan struct{}           // this answers only while it holds a token; nil: always
}

// goodAnswers are those of a server that was set up, with slot s.
func goodAnswers() []answer {
	return []answer{
		{query: "pg_is_in_recovery", rows: [][]string{{"f"}}},
		{query: "IDENTIFY_SYSTEM", rows: [][]string{{"77", "3", "0/500", "app"}}},
		{query: "->> 'publications'", rows: [][]string{{"pgtee_rows=1", "pgtee_rows=1"}}},
		{query: "pgtee.meta", rows: [][]string{{"t", "16384", "1", "s", "0/100", "t", `\x0102`, "1"}}},
		{query: "pg_event_trigger", rows: [][]string{{"t"}}},
		{query: "pg_publication", rows: [][]string{{"pgtee_identity", "2"}, {"pgtee_partitioned", "3"}, {"pgtee_rows", "1"}}},
		{query: "s.plugin", rows: [][]string{{"pgoutput", "app", "reserved", "", ""}}},
		{query: "START_REPLICATION"},
		{query: "s.confirmed_flush_lsn", rows: [][]string{{"0/400", "4711", "77"}}},
		{query: "SELECT s.active_pid", rows: [][]string{{"4711"}}},
		{query: "TIMELINE_HISTORY 3", rows: [][]string{{"00000003.history", "1\t0/200\ta\n2\t0/300\tb\n"}}},
	}
}

// change replaces the answer to a query.
func change(query string, to answer) []answer {
	answers := goodAnswers()
	for i := range answers {
		if answers[i].query == query {
			to.query = query
			answers[i] = to
		}
	}
	return answers
}

func startScriptedServer(t *testing.T, answers []answer) (connString string) {
	return (&scriptedServer{t: t, answers: answers}).start()
}

func (s *scriptedServer) start() (connString string) {
	t := s.t
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return fmt.Sprintf("postgres://bob@%s/app?sslmode=disable", listener.Addr())
}

func (s *scriptedServer) serve(conn net.Conn) {
	defer conn.Close()
	backend := pgproto3.NewBackend(conn, conn)
	startup, err := backend.ReceiveStartupMessage()
	if err != nil {
		return
	}
	first, ok := startup.(*pgproto3.StartupMessage)
	if !ok { // a CancelRequest: somebody has waited long enough
		return
	}
	parameters := first.Parameters
	if parameters["replication"] == "database" && (parameters["wal_sender_timeout"] != "10s" || parameters["client_min_messages"] != "warning") {
		s.t.Errorf("startup parameters %v", parameters)
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	if s.encoding != "" {
		backend.Send(&pgproto3.ParameterStatus{Name: "server_encoding", Value: s.encoding})
	}
	backend.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for backend.Flush() == nil {
		message, err := backend.Receive()
		if err != nil {
			return
		}
		switch message := message.(type) {
		case *pgproto3.Query:
			s.reply(backend, message.String)
		case *pgproto3.Terminate:
			return
		}
	}
}

func (s *scriptedServer) reply(backend *pgproto3.Backend, query string) {
	if query == laterSettings {
		sendRows(backend, nil)
		backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		return
	}
	for _, a := range s.answers {
		if !strings.Contains(query, a.query) {
			continue
		}
		if a.once != nil {
			select {
			case <-a.once:
			default:
				continue
			}
		}
		if a.asked != nil {
			a.asked <- struct{}{}
		}
		if a.mute {
			return
		}
		if a.also != nil {
			backend.Send(a.also)
		}
		if a.err == nil && a.query == "START_REPLICATION" {
			backend.Send(&pgproto3.CopyBothResponse{})
			return
		}
		if a.err != nil {
			backend.Send(a.err)
		} else {
			sendRows(backend, a.rows)
		}
		backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		return
	}
	s.t.Errorf("no answer to %s", query)
}

func sendRows(backend *pgproto3.Backend, rows [][]string) {
	description := &pgproto3.RowDescription{}
	if len(rows) > 0 {
		description.Fields = make([]pgproto3.FieldDescription, len(rows[0]))
	}
	backend.Send(description)
	for _, row := range rows {
		values := make([][]byte, len(row))
		for i, value := range row {
			values[i] = []byte(value)
		}
		backend.Send(&pgproto3.DataRow{Values: values})
	}
	backend.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
}

func TestOpenStream(t *testing.T) {
	stream, err := OpenStream(t.Context(), StreamConfig{ConnString: startScriptedServer(t, goodAnswers()), Slot: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	got := stream.System()
	if len(got.PublicationHash) != 16 {
		t.Errorf("publication hash %q", got.PublicationHash)
	}
	got.PublicationHash = ""
	want := System{ID: "77", Timeline: 3, DatabaseOID: 16384, Database: "app", Server: 0x500, ConfirmedFlush: 0x400, ConsistentPoint: 0x100, Generation: 1, Triggers: true,
		Publications: []string{"pgtee_identity", "pgtee_partitioned", "pgtee_rows"}, secret: []byte{1, 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if stream.Received() != 0x400 || stream.Acked() != 0 {
		t.Errorf("received %s, acked %s", stream.Received(), stream.Acked())
	}
	history, err := stream.TimelineHistory(t.Context(), 3)
	if err != nil || len(history) != 2 || history[1].End != 0x300 {
		t.Errorf("history %v, %v", history, err)
	}
	if err := stream.CheckPublications(t.Context()); err != nil {
		t.Error(err)
	}
}

// The text of a database of SQL_ASCII is that of no encoding, and a byte of WIN1252 may stand for nothing: the server would end the
// stream.
func TestTextIsTakenRaw(t *testing.T) {
	answers := append([]answer{{query: "SET client_encoding", rows: [][]string{}}}, change("START_REPLICATION", answer{err: &pgproto3.ErrorResponse{Code: "55006"}})...)
	for encoding, want := range map[string]bool{"SQL_ASCII": true, "LATIN1": true, "WIN1252": true, "UTF8": false, "EUC_JP": false} {
		asked := make(chan struct{}, 1)
		answers[0].asked = asked
		server := &scriptedServer{t: t, answers: answers, encoding: encoding}
		if _, err := OpenStream(t.Context(), StreamConfig{ConnString: server.start(), Slot: "s"}); !errors.Is(err, ErrSlotBusy) {
			t.Fatal(err)
		}
		if got := len(asked) == 1; got != want {
			t.Errorf("%s: text is taken raw: %v, want %v", encoding, got, want)
		}
	}
}

// Who found the slot busy waits on one connection until it is free, and only then tries to take it.
func TestStandByLooksBeforeItTakesTheSlot(t *testing.T) {
	looked := make(chan struct{}, 2)
	costly := answer{query: "pg_stat_replication", err: &pgproto3.ErrorResponse{Code: "XX000"}} // it is too much for a look at each slotPoll
	answers := append([]answer{costly, {query: "WHERE s.active AND", rows: [][]string{}, asked: looked}}, change("START_REPLICATION", answer{err: &pgproto3.ErrorResponse{Code: "55006"}})...)
	standBy := StandBy{StreamConfig: StreamConfig{ConnString: startScriptedServer(t, answers), Slot: "s"}}
	for try := range 2 {
		if _, err := standBy.Open(t.Context()); !errors.Is(err, ErrSlotBusy) {
			t.Fatal(err)
		}
		if len(looked) != try {
			t.Errorf("try %d: looked %d times at the slot", try+1, len(looked))
		}
	}
}

func TestAwaitSlotEndsWithItsContext(t *testing.T) {
	answers := append([]answer{{query: "WHERE s.active AND", rows: [][]string{{"server process 7"}}}}, goodAnswers()...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*slotPoll)
	defer cancel()
	holder := ""
	err := AwaitSlot(ctx, startScriptedServer(t, answers), "s", func(by string) { holder = by })
	if !errors.Is(err, context.DeadlineExceeded) || holder != "server process 7" {
		t.Errorf("%v, in use by %q", err, holder)
	}
}

func TestOpenStreamRefuses(t *testing.T) {
	failed := func(code string) answer {
		return answer{err: &pgproto3.ErrorResponse{Severity: "ERROR", Code: code, Message: "no"}}
	}
	one := func(values ...string) answer { return answer{rows: [][]string{values}} }
	warning := answer{also: &pgproto3.NoticeResponse{SeverityUnlocalized: "WARNING", Message: "hm"}}
	tests := []struct {
		name    string
		answers []answer
		is      error
		want    string
	}{
		{"standby", change("pg_is_in_recovery", one("t")), nil, "is a standby"},
		{"no schema", change("pgtee.meta", failed("42P01")), ErrNotSetUp, "no pgtee.meta"},
		{"no row in meta", change("pgtee.meta", answer{}), ErrNotSetUp, "no pgtee.meta"},
		{"meta not readable", change("pgtee.meta", failed("42501")), nil, "GRANT SELECT"},
		{"copy of a database", change("pgtee.meta", one("f", "16384", "1", "s", "0/100", "t", `\x01`, "1")), ErrNotSetUp, "copied"},
		{"newer objects", change("pgtee.meta", one("t", "16384", "99", "s", "0/100", "t", `\x01`, "1")), nil, "upgrade pgtee"},
		{"objects without a secret", change("pgtee.meta", one("t", "16384", "1", "s", "0/100", "t", "", "1")), ErrNotSetUp, "older pgtee"},
		{"no slot in meta", change("pgtee.meta", one("t", "16384", "1", "", "", "t", `\x01`, "1")), ErrNotSetUp, "names slot"},
		{"one publication", change("pg_publication", one("pgtee_rows", "1")), ErrPublicationMissing, "pgtee_identity"},
		{"no slot", change("s.plugin", answer{}), ErrSlotMissing, ""},
		{"slot lost", change("s.plugin", one("pgoutput", "app", "lost", "", "")), ErrSlotLost, ""},
		{"slot invalidated", change("s.plugin", one("pgoutput", "app", "reserved", "", "rows_removed")), ErrSlotLost, "rows_removed"},
		{"slot in conflict", change("s.plugin", one("pgoutput", "app", "reserved", "true", "")), ErrSlotLost, ""},
		{"slot of another database", change("s.plugin", one("pgoutput", "other", "reserved", "", "")), nil, "--slot"},
		{"slot of another plugin", change("s.plugin", one("wal2json", "app", "reserved", "", "")), nil, "wal2json"},
		{"slot in use", change("START_REPLICATION", failed("55006")), ErrSlotBusy, ""},
		{"slot dropped meanwhile", change("START_REPLICATION", failed("42704")), ErrSlotMissing, ""},
		{"slot lost meanwhile", change("START_REPLICATION", failed("55000")), ErrSlotLost, ""},
		{"warning at the start", change("START_REPLICATION", warning), ErrServerWarning, "hm"},
		{"two servers", change("s.confirmed_flush_lsn", one("0/400", "4711", "78")), nil, "second connection"},
		{"slot not held", change("s.confirmed_flush_lsn", one("0/400", "", "77")), nil, "second connection"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stream, err := OpenStream(t.Context(), StreamConfig{ConnString: startScriptedServer(t, test.answers), Slot: "s"})
			if err == nil {
				stream.Close()
			}
			if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
		})
	}
}

// A server that never answers START_REPLICATION does not hold the opening beyond its context.
func TestOpenStreamCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			cancel()
			defer conn.Close()
			<-t.Context().Done()
		}
	}()
	_, err = OpenStream(ctx, StreamConfig{ConnString: "postgres://bob@" + listener.Addr().String() + "/app?sslmode=disable", Slot: "s"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// Where the network swallows an answer, nobody else would ever end the wait; a publisher that waits for
// ever while its stream lives keeps every other one from the slot.
func TestAnswersThatNeverCome(t *testing.T) {
	for _, query := range []string{"pg_is_in_recovery", "IDENTIFY_SYSTEM", "pgtee.meta", "s.plugin", "START_REPLICATION", "s.confirmed_flush_lsn"} {
		t.Run("open: "+query, func(t *testing.T) {
			connString := startScriptedServer(t, change(query, answer{mute: true}))
			_, err := OpenStream(t.Context(), StreamConfig{ConnString: connString, Slot: "s", answerTimeout: 20 * time.Millisecond})
			if err == nil {
				t.Error("the stream is open")
			}
		})
	}
	mute := startScriptedServer(t, append([]answer{{query: "pg_publication", mute: true}}, change("TIMELINE_HISTORY 3", answer{mute: true})...))
	s := &Stream{cfg: StreamConfig{ConnString: mute, answerTimeout: 20 * time.Millisecond}, holder: "4711"}
	if err := s.CheckPublications(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("publications: %v, want a deadline that passed", err)
	}
	if _, err := s.TimelineHistory(t.Context(), 3); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timelines: %v, want a deadline that passed", err)
	}
}

// The stream begins anew if the event triggers of pgtee are switched off, because then notes report DDL.
func TestStreamOfSwitchedTriggers(t *testing.T) {
	stream, err := OpenStream(t.Context(), StreamConfig{ConnString: startScriptedServer(t, change("pg_event_trigger", answer{rows: [][]string{{"f"}}})), Slot: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if err := stream.CheckPublications(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stream.Err(); err == nil || !strings.Contains(err.Error(), "event triggers") {
		t.Errorf("the stream ended with %v, want the event triggers", err)
	}
}

// A server process that is gone ends the stream, though the network has told us nothing.
func TestStreamOfALostServerProcess(t *testing.T) {
	for name, now := range map[string][][]string{"nobody": {{""}}, "another": {{"4712"}}, "no slot": {}} {
		t.Run(name, func(t *testing.T) {
			stream, err := OpenStream(t.Context(), StreamConfig{ConnString: startScriptedServer(t, change("SELECT s.active_pid", answer{rows: now})), Slot: "s"})
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			if err := stream.CheckPublications(t.Context()); err != nil {
				t.Error(err)
			}
			if err := stream.Err(); err == nil || !strings.Contains(err.Error(), "4711") {
				t.Errorf("the stream ended with %v, want the process that is gone", err)
			}
		})
	}
}

// A table that another session drops meanwhile does not prevent the start.
func TestTableDroppedWhileLookedAt(t *testing.T) {
	const query = "FROM pg_class AS c JOIN pg_namespace"
	once := make(chan struct{}, 1)
	once <- struct{}{}
	connString := startScriptedServer(t, []answer{
		{query: query, err: &pgproto3.ErrorResponse{Code: "XX000", Message: "could not open relation with OID 57726"}, once: once},
		{query: query, rows: [][]string{{"public", "kept", "public.kept"}}},
	})
	if names, err := TableNames(t.Context(), connString); err != nil || len(names) != 1 || names[0] != "public.kept" {
		t.Errorf("tables %q, %v", names, err)
	}
}
