package integration

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/proxy"
)

// pathsOf has conversations for each row of the proxy's table of paths (proxy/inject.go), in its order, and for what
// a client can see of the notes.
var pathsOf = []struct {
	name  string
	steps []say
}{
	{"Q, Never", []say{simple("SELECT 1")}},
	{"Q, Always", []say{simple("INSERT INTO t VALUES (1, 'é') RETURNING id"), simple("UPDATE t SET v = 'b'; COMMIT; DELETE FROM t; SELCT")}},
	{"Q, InBlock", []say{simple("DO 'BEGIN INSERT INTO t VALUES (2); END'"), simple("BEGIN"), simple("DO 'BEGIN INSERT INTO t VALUES (3); END'"), simple("COMMIT")}},
	{"Q, IfNoted", []say{simple("SELECT writes(4)"), simple("BEGIN; INSERT INTO t VALUES (5)"), simple("SELECT writes(6)"), simple("COMMIT")}},
	{"Q, After", []say{simple("VACUUM t"), simple("CREATE INDEX CONCURRENTLY i ON t (id)"), simple("CREATE DATABASE made"), simple("VACUUM nosuch"), simple("BEGIN"), simple("VACUUM t"), simple("ROLLBACK")}},
	{"E, Never", []say{burst("Z", all(once("SELECT 1"), sync_)...)}},
	{"E, Always", []say{burst("Z", all(once("INSERT INTO t VALUES (7)"), sync_)...), burst("Z", all(once("DELETE FROM t"), once("INSERT INTO t VALUES (1/0)"), once("SELECT 1"), sync_)...)}},
	{"E, InBlock", []say{simple("BEGIN"), burst("Z", all(once("DO 'BEGIN INSERT INTO t VALUES (8); END'"), sync_)...), simple("COMMIT")}},
	{"E, IfNoted", []say{simple("BEGIN; INSERT INTO t VALUES (9)"), burst("Z", all(once("SELECT writes(10)"), sync_)...), simple("COMMIT")}},
	{"E, After", []say{burst("Z", all(once("VACUUM t"), sync_)...), burst("Z", all(bind("", ""), execute(""), sync_)...), burst("Z", all(once("DROP DATABASE made"), sync_)...), burst("ZZ", all(once("CREATE INDEX CONCURRENTLY i ON t (id)"), sync_, once("SELECT 1"), sync_)...),
		burst("Z", all(once("VACUUM nosuch"), sync_)...), simple("BEGIN"), burst("Z", all(once("VACUUM t"), sync_)...), simple("ROLLBACK")}},
	{"COPY", []say{burst("G", &pgproto3.Query{String: "COPY t FROM STDIN"}), burst("Z", data("1\ta\n"), &pgproto3.CopyDone{})}},
	{"the same again", []say{simple("BEGIN"), simple("INSERT INTO t VALUES (1)"), simple("INSERT INTO t VALUES (1)"), simple("SAVEPOINT a"),
		simple("ROLLBACK TO a"), simple("INSERT INTO t VALUES (1)"), simple("COMMIT")}},
	{"read-only", []say{simple("BEGIN READ ONLY"), simple("INSERT INTO t VALUES (1)"), simple("ROLLBACK")}},
	{"what a client sees", []say{simple("SELECT nextval('s')"), simple("INSERT INTO t SELECT 1, current_query() RETURNING v"), simple("SELECT lastval()"),
		burst("Z", all(once("INSERT INTO t VALUES (1)"), sync_)...), simple("SELECT name, statement FROM pg_prepared_statements"),
		simple("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"), simple("DEALLOCATE ALL"), burst("Z", all(once("INSERT INTO t VALUES (1)"), sync_)...)}},
}

// What a client of the proxy may see of the notes, beside what one of a virgin database sees.
var (
	ownQuery = regexp.MustCompile(`(?m)^B D .*(INSERT INTO t SELECT 1, current_query|SELECT query FROM pg_stat_activity).*\n`) // a note stands before it
)

var update = flag.Bool("update", false, "rewrite the golden conversations")

// TestPaths shows what the server receives and what the client sees on each path: the same with every major version, and
// the latter the same as in a virgin database.
// PATHS names the versions; make paths takes all, and -update writes the files.
func TestPaths(t *testing.T) {
	majors := "15 18"
	if all := os.Getenv("PATHS"); all != "" {
		majors = all
	}
	for _, outbox := range []proxy.Outbox{proxy.OutboxTable, proxy.OutboxMessage} {
		file := fmt.Sprintf("testdata/paths_%s.txt", outbox)
		want, err := os.ReadFile(file)
		if err != nil && !*update {
			t.Fatal(err)
		}
		for _, major := range strings.Fields(majors) {
			t.Run(fmt.Sprintf("%s/%s", outbox, major), func(t *testing.T) {
				got := talkOnPaths(t, postgresOf(t, major), outbox)
				if *update {
					want = []byte(got)
					if err := os.WriteFile(file, want, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if at, line, instead := differingLine(got, string(want)); at > 0 {
					t.Errorf("line %d of %s\ngot:  %s\nwant: %s", at, file, line, instead)
				}
			})
		}
	}
}

// differingLine returns the number of the first line that is not the same, and what it is; 0 if there is none.
func differingLine(got, want string) (at int, line, instead string) {
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		line, instead := "nothing more", "nothing more"
		if i < len(gotLines) {
			line = gotLines[i]
		}
		if i < len(wantLines) {
			instead = wantLines[i]
		}
		if line != instead {
			return i + 1, line, instead
		}
	}
	return 0, "", ""
}

func postgresOf(t *testing.T, version string) *embedded.Postgres {
	major, _ := strconv.Atoi(version)
	if shared := sharedPostgres[major]; shared != nil {
		return must(t, shared)
	}
	return must(t, func() (*embedded.Postgres, error) { return world.StartPostgres(major, nil) })
}

// talkOnPaths returns all conversations as text: F what the server receives, B what the client sees.
func talkOnPaths(t *testing.T, server *embedded.Postgres, outbox proxy.Outbox) string {
	wiretap := listenIn(t, server.Address())
	address, p := serve(t, proxy.Config{Servers: []proxy.Server{{Address: wiretap.address}}, Key: make([]byte, 32), SQLText: true, Outbox: outbox})
	w := &tap{server.Address(), address, server.URL, p}
	w.setup(t)
	captured, virgin := w.walk(t, address, tapDatabase, wiretap), w.walk(t, w.server, virginDatabase, wiretap)
	seen := ownQuery.ReplaceAllString(ofServer.ReplaceAllString(captured, ""), "")
	if at, line, instead := differingLine(seen, ownQuery.ReplaceAllString(virgin, "")); at > 0 {
		t.Errorf("the client sees another line %d than in a virgin database\ngot:  %s\nwant: %s", at, line, instead)
	}
	return captured
}

var ofServer = regexp.MustCompile(`(?m)^F .*\n`)

// walk has the conversations of all paths with a server or a proxy.
func (w *tap) walk(t *testing.T, address, database string, wiretap *wiretap) string {
	var text strings.Builder
	for _, path := range pathsOf {
		w.admin(t, t.Context(), database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public", bytesSchema, "CREATE SEQUENCE s")
		client, err := openWire(address, false, 0, database)
		if err != nil {
			t.Fatal(err)
		}
		wiretap.take()
		fmt.Fprintf(&text, "\n# %s\n", path.name)
		for _, step := range path.steps {
			seen := asText("B", exchange(t, client.conn, step))
			text.WriteString(asText("F", wiretap.take()) + seen)
		}
		client.conn.Close()
	}
	return text.String()
}

// exchange is converse where the connection must not end.
func exchange(t *testing.T, conn net.Conn, step say) []byte {
	seen, err := converse(conn, step)
	if err != nil {
		t.Fatalf("step %v: %v", step, err)
	}
	return seen
}

// converse sends the messages of a step, and returns all that comes until the last message that it awaits.
func converse(conn net.Conn, step say) (seen []byte, err error) {
	if err := speak(conn, step.messages); err != nil {
		return nil, err
	}
	for await := step.await; await != ""; {
		kind, body, err := readMessage(conn)
		if err != nil {
			return seen, err
		}
		seen = append(binary.BigEndian.AppendUint32(append(seen, kind), uint32(len(body)+4)), body...)
		if kind == await[0] {
			await = await[1:]
		}
	}
	return seen, nil
}

// wiretap passes connections on, and keeps what the client's side sends.
type wiretap struct {
	address string
	mu      sync.Mutex
	sent    []byte
}

func listenIn(t *testing.T, server string) *wiretap {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	w := &wiretap{address: listener.Addr().String()}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				near.Close()
				return
			}
			go func() { defer far.Close(); io.Copy(far, io.TeeReader(near, w)) }()
			go func() { defer near.Close(); io.Copy(near, far) }()
		}
	}()
	return w
}

func (w *wiretap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, p...)
	return len(p), nil
}

func (w *wiretap) take() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}

var (
	noteText   = regexp.MustCompile(`A[w-z0-9+/][A-Za-z0-9+/]{123,}={0,2}`)
	objectName = regexp.MustCompile(`pgtee_[0-9a-f]{8}`)
)

// asText writes each message as a line, without what differs from run to run and from version to version.
func asText(prefix string, messages []byte) string {
	var text strings.Builder
	for len(messages) >= 5 {
		size := 1 + int(binary.BigEndian.Uint32(messages[1:]))
		kind, body := messages[0], bytes.Clone(messages[5:size])
		messages = messages[size:]
		switch {
		case prefix == "B" && kind == 'T':
			forgetNumbers('T', body)
			name, _, _ := bytes.Cut(body[2:], []byte{0})
			body = name
		case prefix == "B" && kind == 'E':
			var fields []byte
			for _, field := range bytes.Split(body, []byte{0}) {
				if len(field) > 0 && bytes.IndexByte([]byte("CMP"), field[0]) >= 0 {
					fields = append(append(fields, field...), ' ')
				}
			}
			body = fields
		case prefix == "F" && kind == 'B' && noteText.Match(body):
			body = []byte("note on a portal of our own")
		}
		body = noteText.ReplaceAll(body, []byte("NOTE"))
		body = objectName.ReplaceAll(body, []byte("pgtee_ID"))
		fmt.Fprintf(&text, "%s %c %q\n", prefix, kind, body)
	}
	return text.String()
}
