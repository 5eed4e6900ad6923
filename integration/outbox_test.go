package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// outboxSchema has an outbox table of the application's own, and in schema evil what would betray pgtee.publish()
// and pgtee.note() if they trusted the search_path of their caller: functions, an operator, and domains with the
// names of types.
const outboxSchema = workSchema + `
CREATE TABLE work.events (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), aggregatetype text NOT NULL, aggregateid text NOT NULL, type text NOT NULL, payload jsonb);
GRANT ALL ON work.events TO PUBLIC;
CREATE SCHEMA evil;
CREATE FUNCTION evil.octet_length(bytea) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil as %', current_user; END $$;
CREATE FUNCTION evil.encode(bytea, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil as %', current_user; END $$;
CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil as %', current_user; END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE FUNCTION evil.betray() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil as %', current_user; END $$;
DO $$ DECLARE type name; BEGIN
    FOREACH type IN ARRAY ARRAY['bytea', 'int4', 'int8', 'text', 'name', 'bool', 'pg_lsn'] LOOP
        EXECUTE format('CREATE DOMAIN evil.%1$I AS pg_catalog.%1$I CHECK (evil.betray())', type);
    END LOOP;
END $$;
GRANT USAGE ON SCHEMA evil TO PUBLIC;`

// startOutbox starts a scenario in which ann may publish.
func startOutbox(t *testing.T, major int) *runner {
	t.Helper()
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
	r.Watch(outboxSchema+"\nCREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);", "mark.mark")
	r.Setup()
	if out, code := r.Pgtee("setup", "--postgres", r.URL(), "--slot", r.slot, "--grant-publish", "ann"); code != 0 {
		t.Fatalf("setup exits with %d:\n%s", code, out)
	}
	r.StartProxy()
	return r
}

func (r *runner) startRouting() {
	r.t.Helper()
	r.publisher = r.process("publish", append(r.publishArgs(), "--event-table", "work.events", "--event-option", "table.expand.json.payload=true",
		"--event-option", "route.topic.replacement="+r.prefix+".outbox.table.${routedByValue}")...)
}

func runSQL(r *runner, conn *pgx.Conn, sql string) error {
	_, err := conn.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// Only roles that were named may publish, and nothing that they do makes the function theirs.
func TestPublishIsGrantedByName(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := startOutbox(t, major)
			if out, code := r.Pgtee("setup", "--postgres", r.URL(), "--slot", r.slot, "--grant-publish", "Public"); code == 0 || !strings.Contains(out, "PUBLIC never may") {
				t.Errorf("setup exits with %d:\n%s", code, out)
			}
			r.Exec("GRANT EXECUTE ON FUNCTION pgtee.publish(text, text, text, jsonb) TO PUBLIC")
			if out, _ := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot); !strings.Contains(out, "PUBLIC may execute pgtee.publish()") {
				t.Errorf("check says nothing of PUBLIC:\n%s", out)
			}
			r.Setup()
			eve, ann := r.dial(r.DirectURL("eve", "x")), r.dial(r.DirectURL("ann", "x"))
			defer eve.Close(r.ctx)
			defer ann.Close(r.ctx)
			for _, call := range []string{"pgtee.publish('t', 'k', 'text')", `pgtee.publish('t', '\x00'::bytea, '\x00')`, "pgtee.put_event('t', 'k', 'x', NULL)"} {
				r.must(refused(runSQL(r, eve, "SELECT "+call), "42501"))
			}
			r.must(refused(runSQL(r, ann, "SELECT pgtee.put_event('t', 'k', 'x', NULL)"), "42501"))
			r.must(refused(runSQL(r, ann, "SELECT note FROM pgtee.outbox"), "42501"))
			r.must(refused(runSQL(r, ann, "SELECT pgtee.publish('t', 'k', repeat('x', 900000))"), "54000"))
			r.must(refused(runSQL(r, ann, "SELECT pgtee.publish('a b', 'k', '')"), "22023"))
			r.must(refused(runSQL(r, ann, `SELECT pgtee.publish('t', 'k', '', '{"pgtee-event-id": "1"}')`), "22023"))
			r.must(runSQL(r, ann, "SET search_path = evil, pg_catalog; SELECT pgtee.publish('t', 'k', 'text')"))
			if got := r.Emitted("e"); len(got) != 1 || got[0].user != "ann" {
				t.Errorf("in the log: %+v, want one event of ann", got)
			}
		})
	}
}

// Everybody may call pgtee.note(), which runs with the rights of whoever ran setup: nothing that a caller can put in
// front of pg_catalog gets hold of them.
func TestNoteTrustsNoSearchPath(t *testing.T) {
	r := startOutbox(t, 15)
	eve := r.dial(r.DirectURL("eve", "x"))
	defer eve.Close(r.ctx)
	r.must(runSQL(r, eve, "SET search_path = evil, pg_catalog"))
	for _, flags := range []note.Flags{0, note.FlagQuery, note.FlagRow, note.FlagRow | note.FlagQuery} {
		payload := append([]byte{1, byte(flags)}, make([]byte, 79)...)
		r.must(runSQL(r, eve, "SELECT pgtee.note('"+base64.StdEncoding.EncodeToString(payload)+"', current_user)"))
	}
	if got := r.Query("SELECT count(*)::text FROM pgtee.outbox WHERE user_name = 'eve'"); got != "2" {
		t.Errorf("the outbox has %s notes of eve, want 2", got)
	}
	// Where a column of the outbox is gone, one write fails; the sessions after it write without notes, until setup has run again.
	write := func(event int) error {
		ann := r.dial(r.ProxyURL("ann", "x"))
		defer ann.Close(r.ctx)
		return runSQL(r, ann, fmt.Sprintf("INSERT INTO work.events (aggregatetype, aggregateid, type) VALUES ('x', '%d', 'x')", event))
	}
	r.must(write(1))
	r.Exec("ALTER TABLE pgtee.outbox DROP COLUMN sql")
	r.must(refused(write(2), "42703"))
	r.must(write(3))
	r.Setup()
	r.must(harness.Eventually(20*time.Second, func(context.Context) error {
		r.must(write(4))
		if r.Query("SELECT count(*)::text FROM pgtee.outbox WHERE user_name = 'ann'") == "0" {
			return errors.New("no notes after setup")
		}
		return nil
	}))
}

// Events are in Kafka once each, in the order of their rows, if their transaction committed and where their
// savepoint was kept, however the publisher dies and however early the outbox is pruned.
func TestEventsAmongTheRows(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := startOutbox(t, major)
			conn := r.dial(r.ProxyURL("ann", "shop"))
			defer conn.Close(r.ctx)
			const transactions = 60
			for n := range transactions {
				if n == transactions/3 {
					r.startRouting()
				}
				if n == 2*transactions/3 {
					r.Kill(r.publisher)
				}
				r.must(runSQL(r, conn, checkout(n)))
			}
			r.must(runSQL(r, conn, "BEGIN; SELECT pgtee.publish('orders', 'gone', 'gone'); ROLLBACK"))
			r.Exec("TRUNCATE pgtee.outbox, pgtee.outbox_0, pgtee.outbox_1, pgtee.outbox_2")
			r.startRouting()
			r.must(runSQL(r, conn, "SELECT pgtee.publish('set', id::text, to_jsonb(i)) FROM work.item AS i WHERE id <= 3 ORDER BY id"))
			r.must(runSQL(r, conn, "SELECT pgtee.publish(topic, NULL, topic) FROM unnest(ARRAY['a.b', 'a_b', 'progress']) AS topic"))
			r.Exec("SELECT pgtee.publish('direct', 'k', NULL)")
			r.Drain()
			topics := r.Topics()
			r.checkOrders(topics, transactions)
			if got, want := keysAndValues(topics["outbox.set"]), `1={"n": 0, "id": 1, "stmt": "order 0"} 2={"n": 0, "id": 2, "stmt": "order 1"} 3={"n": 0, "id": 3, "stmt": "order 2"}`; got != want {
				t.Errorf("the set is %s, want %s", got, want)
			}
			if got := keysAndValues(topics["outbox.a.b"]) + ", " + keysAndValues(topics["outbox.refused"]); got != "=a.b, =a_b =progress" {
				t.Errorf("a.b and refused: %s", got)
			}
			if direct := topics["outbox.direct"]; len(direct) != 1 || direct[0].Value != nil || !strings.HasPrefix(direct[0].Headers["pgtee"], `{"user":"postgres","session":null`) {
				t.Errorf("direct: %+v", direct)
			}
		})
	}
}

// What the application may delete from its outbox table is what is in Kafka for good: not what is still open, nor
// what was there before the slot.
func TestConfirmedRowsOfAnOutboxTable(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Watch(outboxSchema+"\nCREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);", "mark.mark")
	const insert = "INSERT INTO work.events (aggregatetype, aggregateid, type) VALUES ('order', '%s', 'x')"
	r.Exec(fmt.Sprintf(insert, "old"))
	r.Setup()
	open := r.dial(r.DirectURL("ann", "x"))
	defer open.Close(r.ctx)
	r.Exec(fmt.Sprintf(insert, "done"))
	horizon, err := outbox.Confirm(r.ctx, r.URL(), 0, outbox.Horizon{})
	r.must(err)
	r.must(runSQL(r, open, "BEGIN; "+fmt.Sprintf(insert, "open")+"; SAVEPOINT a; "+fmt.Sprintf(insert, "inner")))
	r.Exec(fmt.Sprintf(insert, "late"))
	const confirmed = "SELECT coalesce(string_agg(aggregateid, ' '), 'none') FROM work.events WHERE pgtee.confirmed(xmin)"
	for _, step := range []struct {
		acked, want string
	}{
		{"0/0", "none"}, // the horizon is not acknowledged
		{r.Query("SELECT pg_current_wal_insert_lsn()::text"), "done"},
		{r.Query("SELECT pg_current_wal_insert_lsn()::text"), "done"}, // the new one is not, either
	} {
		acked, err := pgoutput.ParseLSN(step.acked)
		r.must(err)
		horizon, err = outbox.Confirm(r.ctx, r.URL(), acked, horizon)
		r.must(err)
		if got := r.Query(confirmed); got != step.want {
			t.Errorf("acknowledged up to %s: %s are confirmed, want %s", step.acked, got, step.want)
		}
	}
	r.must(runSQL(r, open, "COMMIT"))
	for range 2 {
		acked, err := pgoutput.ParseLSN(r.Query("SELECT pg_current_wal_insert_lsn()::text"))
		r.must(err)
		horizon, err = outbox.Confirm(r.ctx, r.URL(), acked, horizon)
		r.must(err)
	}
	r.must(runSQL(r, open, "DELETE FROM work.events WHERE pgtee.confirmed(xmin)"))
	if got := r.Query("SELECT string_agg(aggregateid, ' ') FROM work.events"); got != "old" {
		t.Errorf("left: %s, want what the slot never saw", got)
	}
}

// checkout is transaction n: an event between two rows, one that a savepoint takes back, one of the table.
func checkout(n int) string {
	return fmt.Sprintf(`BEGIN;
		INSERT INTO work.item VALUES (%[1]d, 'order %[2]d', 0);
		SELECT pgtee.publish('orders', '%[2]d', jsonb_build_object('order', %[2]d), '{"n": "%[2]d"}');
		SAVEPOINT a; SELECT pgtee.publish('orders', 'gone', 'gone'); ROLLBACK TO a;
		INSERT INTO work.log VALUES ('order %[2]d', %[2]d);
		INSERT INTO work.events (aggregatetype, aggregateid, type, payload) VALUES ('order', '%[2]d', 'Placed', '{"order": %[2]d}');
		DELETE FROM work.events; COMMIT`, n+1, n)
}

func keysAndValues(records []verdict.Record) string {
	var all []string
	for _, record := range records {
		all = append(all, fmt.Sprintf("%s=%s", record.Key, record.Value))
	}
	return strings.Join(all, " ")
}

// checkOrders compares the events of each checkout with the rows of its transaction.
func (r *runner) checkOrders(topics map[string][]verdict.Record, transactions int) {
	r.t.Helper()
	names := []string{"work.item", "outbox.orders", "work.log", "outbox.table.order"}
	for _, name := range names {
		if len(topics[name]) != transactions {
			r.t.Fatalf("%d records in %s, want %d", len(topics[name]), name, transactions)
		}
	}
	for n := range transactions {
		end, last := "", -1
		for _, name := range names {
			id := topics[name][n].EventID()
			i := strings.LastIndexByte(id, '/')
			ordinal, err := strconv.Atoi(id[i+1:])
			r.must(err)
			if end == "" {
				end = id[:i]
			}
			if id[:i] != end || ordinal <= last {
				r.t.Fatalf("transaction %d: %s has id %s behind %s/%d", n, name, id, end, last)
			}
			last = ordinal
		}
		r.checkOrder(topics["outbox.orders"][n], topics["outbox.table.order"][n], n)
	}
}

func (r *runner) checkOrder(published, inserted verdict.Record, n int) {
	r.t.Helper()
	if string(published.Key) != fmt.Sprint(n) || string(published.Value) != fmt.Sprintf(`{"order": %d}`, n) || published.Headers["n"] != fmt.Sprint(n) {
		r.t.Errorf("event %d is %s=%s %v", n, published.Key, published.Value, published.Headers)
	}
	if string(inserted.Key) != fmt.Sprintf(`"%d"`, n) || string(inserted.Value) != fmt.Sprintf(`{"order":%d}`, n) || len(inserted.Headers["id"]) != 36 {
		r.t.Errorf("event %d of the table is %s=%s %v", n, inserted.Key, inserted.Value, inserted.Headers)
	}
	for what, want := range map[string]struct {
		record verdict.Record
		text   string
	}{"pgtee.publish": {published, "SELECT pgtee.publish('orders'"}, "the table": {inserted, "INSERT INTO work.events"}} {
		var who verdict.Attribution
		if err := json.Unmarshal([]byte(want.record.Headers["pgtee"]), &who); err != nil {
			r.t.Fatal(err)
		}
		if who.Session.User != "ann" || who.Via != "proxy" || !who.Verified || !strings.HasPrefix(who.Statement.Text, want.text) {
			r.t.Errorf("event %d by %s: %+v", n, what, who)
		}
	}
}
