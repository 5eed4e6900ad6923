package integration

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/proxy"
)

var (
	conversationCount = flag.Int("conversations", 20, "random conversations per server and outbox mode")
	conversationSeed  = flag.Int64("seed", 1, "of the first random conversation; the next ones count up")
)

// TestProxyIsTransparentAtRandom holds legal conversations drawn by chance. What the client says next
// depends on the seed and on what it has heard, so the first difference shows what the proxy did.
func TestProxyIsTransparentAtRandom(t *testing.T) {
	for _, major := range []int{15, 18} {
		for _, mode := range []proxy.Outbox{proxy.OutboxTable, proxy.OutboxMessage} {
			t.Run(fmt.Sprintf("%d %s", major, mode), func(t *testing.T) {
				server := must(t, sharedPostgres[major])
				w := newTap(t, server.Address(), server.URL, mode)
				for seed := *conversationSeed; seed < *conversationSeed+int64(*conversationCount); seed++ {
					t.Run(fmt.Sprint(seed), func(t *testing.T) { w.compareTalks(t, seed) })
				}
			})
		}
	}
}

func (w *tap) compareTalks(t *testing.T, seed int64) {
	direct, proxied := w.talk(t, w.server, seed), w.talk(t, w.proxied, seed)
	for i := range max(len(direct), len(proxied)) {
		a, b := at(direct, i), at(proxied, i)
		if a != b {
			t.Fatalf("after\n%s\ndirect:  %.2000s\nproxied: %.2000s", strings.Join(direct[max(0, i-30):i], "\n"), a, b)
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "nothing"
}

// talk holds the conversation of that seed and returns what was said and heard.
func (w *tap) talk(t *testing.T, address string, seed int64) []string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.admin(t, ctx, tapDatabase, "DROP SCHEMA public CASCADE; CREATE SCHEMA public", bytesSchema)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	c := &talker{conn: conn, random: rand.New(rand.NewSource(seed))}
	err = c.run()
	if err != nil {
		c.note("end: %v", err)
	}
	return c.transcript
}

// talker is a client that talks at random.
type talker struct {
	conn       net.Conn
	random     *rand.Rand
	transcript []string
	failed     bool // an error was heard since the last ReadyForQuery
}

func (c *talker) note(format string, values ...any) {
	c.transcript = append(c.transcript, fmt.Sprintf(format, values...))
}

func (c *talker) run() error {
	startup, err := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber,
		Parameters: map[string]string{"user": "postgres", "database": tapDatabase}}).Encode(nil)
	if err != nil {
		return err
	}
	if _, err := c.conn.Write(startup); err != nil {
		return err
	}
	if _, err := hear(c.conn, "Z"); err != nil {
		return err
	}
	for range 30 {
		if err := c.turn(); err != nil {
			return err
		}
	}
	if err := c.say(1, &pgproto3.Query{String: "ROLLBACK"}, sync_); err != nil {
		return err
	}
	return c.say(0, &pgproto3.Query{String: "SELECT count(*), sum(id) FROM t"})
}

// turn is one write of several requests, or a request whose replies are awaited piece by piece.
func (c *talker) turn() error {
	if c.random.Intn(3) == 0 {
		return c.stepwise()
	}
	var messages []pgproto3.FrontendMessage
	for range 1 + c.random.Intn(3) {
		messages = append(messages, c.request()...)
	}
	ready := 0
	for _, m := range messages {
		switch m.(type) {
		case *pgproto3.Sync, *pgproto3.Query, *pgproto3.FunctionCall:
			ready++
		}
	}
	return c.say(ready-1, messages...)
}

// request is a Query, a function call, a copy, or extended messages up to a Sync.
func (c *talker) request() []pgproto3.FrontendMessage {
	switch c.random.Intn(8) {
	case 0, 1, 2:
		return []pgproto3.FrontendMessage{&pgproto3.Query{String: c.text()}}
	case 3:
		return c.copying()
	case 4:
		return []pgproto3.FrontendMessage{&pgproto3.FunctionCall{Function: 1397, Arguments: [][]byte{[]byte(c.pick("-8", "x"))}}} // abs(int4)
	default:
		return append(c.extended(1+c.random.Intn(8)), sync_)
	}
}

func (c *talker) pick(texts ...string) string { return texts[c.random.Intn(len(texts))] }

// statement is one that a Parse may hold, too. None calls forgets(): that the proxy's own statement is gone after
// a DEALLOCATE ALL inside a function it learns from an error only. None is SET CONSTRAINTS, which warns unless a
// statement came before it in its Query or pipeline, be it a note.
func (c *talker) statement() string {
	return c.pick(
		"INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, 'b') RETURNING *", "INSERT INTO t SELECT g, 'g' FROM generate_series(1, 5) AS g RETURNING id",
		"UPDATE t SET v = v || 'é' WHERE id = 1", "DELETE FROM t WHERE id = 2", "WITH x AS (DELETE FROM t WHERE id = 3 RETURNING id) SELECT count(*) FROM x",
		"SELECT * FROM t ORDER BY id, v LIMIT 4", "SELECT g FROM generate_series(1, 5) AS g", "SELECT 1 AS one", "VALUES (1), (2), (3)",
		"INSERT INTO noisy VALUES (7)", "INSERT INTO silent VALUES (1)", "SELECT writes(3)", "SELECT count(*) FROM t",
		"BEGIN", "COMMIT", "ROLLBACK", "BEGIN", "COMMIT", "COMMIT AND CHAIN", "SAVEPOINT a", "ROLLBACK TO a", "RELEASE a",
		"LISTEN news", "UNLISTEN *", "NOTIFY news, 'hot'", "SET application_name = 'random'", "SET LOCAL application_name = 'local'", "RESET application_name",
		"SET client_encoding = 'LATIN1'", "SET client_encoding = 'UTF8'", "SHOW application_name",
		"DECLARE cur CURSOR FOR SELECT g FROM generate_series(1, 9) AS g", "DECLARE held CURSOR WITH HOLD FOR SELECT 1", "FETCH 2 FROM cur", "FETCH held", "CLOSE ALL",
		"PREPARE made AS INSERT INTO t VALUES ($1, 'p')", "EXECUTE made (8)", "DEALLOCATE made", "DEALLOCATE ALL",
		"CREATE TABLE made (id int)", "DROP TABLE made", "CREATE TEMP TABLE scratch AS SELECT 1 AS x", "TRUNCATE t", "ALTER TABLE noisy ADD COLUMN more int",
		"DO 'BEGIN INSERT INTO t VALUES (40, ''d''); END'", "CALL commits()", "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) INSERT INTO noisy VALUES (9)",
		"COPY t TO STDOUT", "INSERT INTO child VALUES (404)", "SELECT 1/0", "INSERT INTO t VALUES (1/0, 'z')", "INSERT INTO t VALUES (1, nosuch)", "SELCT",
		"INSERT INTO nosuch VALUES (1)", "SELECT lastval()", "", "-- nothing", "LOCK TABLE t", "MERGE INTO t USING (VALUES (1)) AS s(i) ON t.id = s.i WHEN MATCHED THEN UPDATE SET v = 'm'",
		"SET standard_conforming_strings = off", "SET standard_conforming_strings = on", `INSERT INTO t VALUES (11, 'x\'';y')`, "DISCARD ALL", "DISCARD TEMP",
		"SET TRANSACTION READ ONLY", "SET default_transaction_read_only = on", "SET default_transaction_read_only = off", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
		"INSERT INTO t VALUES (21, $q$;INSERT INTO t VALUES (22, 'x')$q$) /* ; */",
	)
}

// text is the text of a Query.
func (c *talker) text() string {
	statements := make([]string, 1+max(0, c.random.Intn(6)-2))
	for i := range statements {
		statements[i] = c.statement()
	}
	return strings.Join(statements, c.pick(";", "; ", ";\n"))
}

func (c *talker) copying() []pgproto3.FrontendMessage {
	rows := []pgproto3.FrontendMessage{data("31\tc\n"), data("32\t"), data("é\n")}
	end := []pgproto3.FrontendMessage{&pgproto3.CopyDone{}, &pgproto3.CopyFail{Message: "enough"}}[c.random.Intn(2)]
	if c.random.Intn(4) == 0 {
		rows = append(rows, data("bad\n"))
	}
	if c.random.Intn(2) == 0 {
		return all(&pgproto3.Query{String: c.pick("", "INSERT INTO t VALUES (30, 'q'); ", "SELECT 1; ") + "COPY t FROM STDIN" + c.pick("", "; SELECT 2", "; INSERT INTO t VALUES (33, 'r')")}, rows, end)
	}
	return all(c.extended(c.random.Intn(3)), parse("", "COPY t FROM STDIN"), bind("", ""), execute(""), rows, end, c.extended(c.random.Intn(2)), sync_)
}

// extended is n extended messages, not all of which succeed.
func (c *talker) extended(n int) (messages []pgproto3.FrontendMessage) {
	name := func() string { return c.pick("", "s1", "s2") }
	portal := func() string { return c.pick("", "", "p1") }
	for range n {
		switch c.random.Intn(9) {
		case 0:
			messages = append(messages, parse(name(), c.statement()))
		case 1:
			messages = append(messages, bind(portal(), name()))
		case 2:
			messages = append(messages, describe('S', name()))
		case 3:
			messages = append(messages, execute(portal(), uint32(c.random.Intn(3))))
		case 4:
			messages = append(messages, &pgproto3.Close{ObjectType: c.pick("S", "P")[0], Name: c.pick("", "s1", "p1")})
		case 5:
			messages = append(messages, flush)
		case 6: // a named statement twice
			messages = all(messages, &pgproto3.Close{ObjectType: 'S', Name: "s1"}, parse("s1", c.statement()), bind("", "s1"), execute("", uint32(c.random.Intn(2))),
				bind("p1", "s1"), describe('P', "p1"), execute("p1"), &pgproto3.Close{ObjectType: 'P', Name: "p1"})
		default:
			messages = all(messages, once(c.statement()))
		}
	}
	return messages
}

// stepwise sends extended messages one by one with a Flush, and awaits the reply of each.
func (c *talker) stepwise() error {
	c.failed = false
	sql := c.statement()
	for _, m := range c.steps(sql) {
		if err := c.sayUntil(replies(m), m, flush); err != nil {
			return err
		}
		if c.failed {
			break
		}
	}
	return c.say(0, sync_)
}

func (c *talker) steps(sql string) []pgproto3.FrontendMessage {
	name, portal := c.pick("", "s3"), c.pick("", "p3")
	messages := all(&pgproto3.Close{ObjectType: 'S', Name: name}, parse(name, sql), describe('S', name), bind(portal, name), describe('P', portal), execute(portal, uint32(c.random.Intn(3))), execute(portal))
	if c.random.Intn(2) == 0 {
		messages = all(messages, bind(portal, name), execute(portal))
	}
	return messages
}

// replies are the kinds of which one ends the answer to m.
func replies(m pgproto3.FrontendMessage) string {
	switch m.(type) {
	case *pgproto3.Parse:
		return "1E"
	case *pgproto3.Bind:
		return "2E"
	case *pgproto3.Close:
		return "3E"
	case *pgproto3.Describe:
		return "TnE"
	default:
		return "CsIE"
	}
}

// say sends messages and hears the ReadyForQuery of each that has one: more beside the last.
func (c *talker) say(more int, messages ...pgproto3.FrontendMessage) error {
	if err := c.sayUntil("Z", messages...); err != nil {
		return err
	}
	for range more {
		if err := c.hearUntil("Z"); err != nil {
			return err
		}
	}
	return nil
}

func (c *talker) sayUntil(kinds string, messages ...pgproto3.FrontendMessage) error {
	for _, m := range messages {
		c.note("F %.200s", strings.TrimPrefix(fmt.Sprintf("%T %+v", m, m), "*pgproto3."))
	}
	if err := speak(c.conn, messages); err != nil {
		return err
	}
	return c.hearUntil(kinds)
}

func (c *talker) hearUntil(kinds string) error {
	for {
		kind, body, err := hearOne(c.conn)
		if err != nil {
			return err
		}
		c.note("B %c %q", kind, body)
		c.failed = kind == 'E' || c.failed && kind != 'Z'
		if strings.IndexByte(kinds, kind) >= 0 {
			return nil
		}
	}
}

func hearOne(conn io.Reader) (kind byte, body []byte, err error) {
	var header [5]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, int(header[1])<<24|int(header[2])<<16|int(header[3])<<8|int(header[4])-4)
	_, err = io.ReadFull(conn, body)
	forgetNumbers(header[0], body)
	return header[0], body, err
}
