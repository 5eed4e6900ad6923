package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

// Faults that lost, doubled or misattributed data once. A test that passes proves little until it has
// been seen red: each scenario runs with the fault planted, and must notice it, then without.
var (
	dropByCommitLSN = harness.Bug{File: "publisher/compose.go",
		Old: "if position.holds(tx) {",
		New: "if position.holds(tx) || len(tx.Changes) > 0 && tx.CommitLSN <= position.EndLSN {"}
	resumeByRowLSN = harness.Bug{File: "publisher/compose.go",
		Old: "if position.holds(tx) {",
		New: "if position.holds(tx) || len(tx.Changes) > 0 && tx.Changes[0].LSN <= position.EndLSN {"}
	ackBeforeCommit = harness.Bug{File: "publisher/publisher.go",
		Old: "if err := p.log.Publish(ctx, p.batch, next); err != nil {\n\t\t\t\treturn unpublished(next, err)",
		New: "p.ack(next.EndLSN)\n\t\t\tif err := p.log.Publish(ctx, p.batch, next); err != nil {\n\t\t\t\treturn unpublished(next, err)"}
	ackBeyondPosition = harness.Bug{File: "publisher/publisher.go",
		Old: "p.ack(min(position.EndLSN, p.source.Received()))",
		New: "p.ack(min(next.EndLSN, p.source.Received()))"}

	sendOutAgain = harness.Bug{File: "publisher/compose.go",
		Old: "case c.Ordinal < out:",
		New: "case false:"}
	keepTornQueue = harness.Bug{File: "publisher/publisher.go",
		Old: "if p.giant.torn {",
		New: "if false {"}
	countWhatIsNewOnly = harness.Bug{File: "publisher/compose.go",
		Old: "p.composer.audit.add(tx, p.composer.notes)",
		New: "if tx.Part == 0 || tx.UpTo() > out {\n\t\tp.composer.audit.add(tx, p.composer.notes)\n\t}"}

	trustPublications = []harness.Bug{
		{File: "publisher/check.go", Old: "if p.PublicationHash != s.PublicationHash {", New: "if false {"},
		{File: "outbox/stream.go", Old: "err = s.notice(body)", New: ""},
		{File: "outbox/stream.go", Old: "case state == \"42704\": // undefined_object: we hold the slot, so it is a publication", New: "case state == \"none\":"},
		{File: "outbox/stream.go", Old: "if hash != s.system.PublicationHash {", New: "if false {"},
		{File: "outbox/replication.go", Old: "return system, checkYounger(ctx, conn)", New: "return system, nil"},
	}
	trustTimeline = []harness.Bug{
		{File: "publisher/check.go", Old: "if p.Timeline == s.Timeline {", New: "if true {"},
		{File: "publisher/check.go", Old: "if p.isBefore(s.Generation) {", New: "if false {"},
		{File: "publisher/resend.go", Old: "r.over = true\n\treturn r.verdict()", New: "r.over = true\n\treturn nil"},
	}
	listTablesOnly = []harness.Bug{
		{File: "outbox/publication.go", Old: "const all = \"FOR ALL TABLES\"", New: "const all = \"FOR TABLE ONLY pgtee.outbox, ONLY pgtee.outbox_0, ONLY pgtee.outbox_1, ONLY pgtee.outbox_2\""},
		{File: "outbox/sql/capture.sql", Old: "    FOREACH publication IN ARRAY publications LOOP",
			New: "    PERFORM pgtee.alter('ALTER PUBLICATION pgtee_rows ADD TABLE ONLY ' || name);\n    FOREACH publication IN ARRAY publications LOOP"},
	}
	noteAtBind = []harness.Bug{
		{File: "proxy/extended.go",
			Old: "\t\tif err := s.noteBefore(p, st, of, bound, set); err != nil {\n\t\t\treturn err\n\t\t}\n",
			New: "\t\t_ = bound\n"},
		{File: "proxy/extended.go",
			Old: "s.statements.bind(portal, st, s.tx.group)",
			New: "s.statements.bind(portal, st, s.tx.group)\n\t\tif err := s.noteBefore(pathOf('E', s.need(st.need, st.effects)), st, st.subject, s.tx.group, s.pending.settings.Load()); err != nil {\n\t\t\treturn err\n\t\t}"},
	}

	// Not a bug: the idle position is recorded at once, not every ten seconds.
	hastyProgress = harness.Bug{File: "publisher/config.go",
		Old: "cmp.Or(c.IdleProgress, 10*time.Second)",
		New: "cmp.Or(c.IdleProgress, 50*time.Millisecond)"}
)

// make planted runs the tests below, which build the program for each bug. The bugs must fit the code at all times.
func TestBugsMeetTheCode(t *testing.T) {
	bugs := slices.Concat([]harness.Bug{dropByCommitLSN, resumeByRowLSN, ackBeforeCommit, ackBeyondPosition, sendOutAgain, keepTornQueue, countWhatIsNewOnly, hastyProgress},
		trustPublications, trustTimeline, listTablesOnly, noteAtBind)
	for _, bug := range bugs {
		if _, err := world.Overlay(bug); err != nil {
			t.Error(err)
		}
	}
}

// What lies between a crash and what survives it is seen only in the publisher's simulation, which
// drops what was not durable and tries every step.
func TestPlantedInSimulation(t *testing.T) {
	for name, bug := range map[string]harness.Bug{
		"drop by commit LSN":                dropByCommitLSN,
		"resume by row LSN":                 resumeByRowLSN,
		"ack before the Kafka commit":       ackBeforeCommit,
		"ack beyond the recorded position":  ackBeyondPosition,
		"send again what is out of a giant": sendOutAgain,
		"go on in the middle of a giant":    keepTornQueue,
		"count what is new of a giant only": countWhatIsNewOnly,
	} {
		t.Run(name, func(t *testing.T) {
			output, passed, err := world.GoTest("./publisher", "Simulation", bug)
			if err != nil {
				t.Fatal(err)
			}
			if passed || !strings.Contains(output, "--- FAIL") {
				t.Errorf("the simulation does not notice the bug:\n%s", output)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		if output, passed, err := world.GoTest("./publisher", "Simulation"); err != nil || !passed {
			t.Errorf("the simulation fails without a bug (%v):\n%s", err, output)
		}
	})
}

// planted runs a scenario with the bugs, where it must find a fault, and without, where it must not. The
// scenario returns what it found wrong, "" for nothing. Tuning is in both.
func planted(t *testing.T, server *embedded.Postgres, bugs, tuning []harness.Bug, scenario func(*runner) string) {
	t.Helper()
	t.Run("red", func(t *testing.T) {
		r := newRunner(t, build(t, append(slices.Clone(bugs), tuning...)), server, "table")
		r.patience = 4 * time.Second // with the bug, what is waited for does not come
		fault := scenario(r)
		if fault == "" {
			t.Error("the scenario does not notice the planted bug")
		}
		t.Logf("seen: %.300s", fault)
	})
	t.Run("green", func(t *testing.T) {
		if fault := scenario(newRunner(t, build(t, tuning), server, "table")); fault != "" {
			t.Errorf("without the bug: %s", fault)
		}
	})
}

// builds are the binaries made so far, by their bugs.
var builds = map[string]string{}

func build(t *testing.T, bugs []harness.Bug) string {
	t.Helper()
	if len(bugs) == 0 {
		return must(t, sharedBinary)
	}
	key := fmt.Sprint(bugs)
	if builds[key] == "" {
		builds[key] = must(t, func() (string, error) { return world.Build(bugs...) })
	}
	return builds[key]
}

// fault is what the verdict says, "" if it is clean.
func (r *runner) fault() string {
	r.t.Helper()
	v := r.Verdict()
	if v.Clean() {
		return ""
	}
	return v.String()
}

// A position is recorded exactly where the commit record of an open transaction is going to start.
func TestPlantedDropByCommitLSN(t *testing.T) {
	planted(t, must(t, sharedPostgres[15]), []harness.Bug{dropByCommitLSN}, []harness.Bug{hastyProgress}, func(r *runner) string {
		r.Start(workSchema, workTables...)
		r.Drain()
		conn := r.dial(r.DirectURL("postgres", verdict.Direct))
		defer conn.Close(r.ctx)
		s := &session{ctx: r.ctx, conn: conn, name: verdict.Direct}
		for range 5 { // a checkpoint or the like may come in between
			r.must(s.simple("BEGIN", s.insert()))
			r.flushElsewhere()
			r.must(s.simple("COMMIT"))
		}
		return r.fault()
	})
}

// flushElsewhere commits in another database, and waits until the publisher has recorded and
// acknowledged the end of that commit.
func (r *runner) flushElsewhere() {
	r.t.Helper()
	conn := r.dial(r.server.URL("postgres"))
	defer conn.Close(r.ctx)
	_, err := conn.Exec(r.ctx, "CREATE TABLE IF NOT EXISTS elsewhere (i int); INSERT INTO elsewhere VALUES (1)")
	r.must(err)
	var flushed string
	r.must(conn.QueryRow(r.ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&flushed))
	r.must(harness.Eventually(20*time.Second, func(ctx context.Context) error {
		var reached bool
		err := conn.QueryRow(ctx, "SELECT confirmed_flush_lsn >= $1::text::pg_lsn FROM pg_replication_slots WHERE slot_name = $2", flushed, r.slot).Scan(&reached)
		if err == nil && !reached {
			err = fmt.Errorf("slot %s has not confirmed %s", r.slot, flushed)
		}
		return err
	}))
}

// A publication is dropped, rows are written, it is made again, all while the publisher works.
// PostgreSQL 15 then refuses, 18 skips the rows with a WARNING: the publisher has to stop and say
// so. TestStops does the same while it is away.
func TestPlantedPublicationMadeAgain(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprintf("PostgreSQL %d", major), func(t *testing.T) {
			planted(t, must(t, sharedPostgres[major]), trustPublications, nil, func(r *runner) string {
				r.Start(workSchema, workTables...)
				r.Drain()
				r.Exec("DROP PUBLICATION pgtee_rows", "INSERT INTO work.item VALUES (1, '', 0)",
					"CREATE PUBLICATION pgtee_rows FOR ALL TABLES WITH (publish = 'insert, truncate')",
					"INSERT INTO work.item VALUES (2, '', 0)")
				fault := r.expectHalt("publication", "pgtee repair")
				if fault != "" && major == 18 { // 15 cannot go on
					fault += ": " + r.fault()
				}
				return fault
			})
		})
	}
}

// expectHalt waits for the publisher to end by itself; its last line must hold all these words. It
// returns what is wrong with that, "" for nothing.
func (r *runner) expectHalt(words ...string) string {
	r.t.Helper()
	select {
	case <-r.publisher.Done():
	case <-time.After(r.patience):
		return "the publisher goes on"
	}
	code, err := r.publisher.Wait(time.Second)
	r.must(err)
	last := r.publisher.Tail(1)
	if code != 3 {
		return fmt.Sprintf("exit code %d, want 3: %s", code, last)
	}
	for _, word := range words {
		if !strings.Contains(last, word) {
			return fmt.Sprintf("the last line does not say %q: %s", word, last)
		}
	}
	return ""
}

// An asynchronous standby that lacks published transactions becomes the primary, and writes on past
// the recorded position before the publisher comes.
func TestPlantedStandbyWithLessHistory(t *testing.T) {
	primary := must(t, func() (*embedded.Postgres, error) { return world.StartPostgres(15, nil) })
	planted(t, primary, trustTimeline, nil, func(r *runner) string {
		r.Start(workSchema, workTables...)
		r.Drain()
		standby := r.standby()
		r.must(standby.Stop(r.ctx, embedded.Fast)) // from here on it lacks what is written
		r.Exec("INSERT INTO work.item SELECT id, '', 0 FROM generate_series(1, 20000) AS id")
		r.Drain()
		published := r.Query("SELECT pg_current_wal_insert_lsn()::text")
		r.Kill(r.publisher)
		r.must(primary.Stop(r.ctx, embedded.Fast))
		defer func() { r.must(primary.Start(r.ctx)); r.server = primary }()
		r.must(standby.Start(r.ctx))
		r.must(standby.Promote(r.ctx))
		r.server = standby
		defer standby.Kill()

		r.Setup()
		for written := ""; written != "true"; written = r.Query("SELECT (pg_current_wal_insert_lsn() > $1::text::pg_lsn)::text", published) {
			r.Exec("INSERT INTO work.item SELECT (SELECT coalesce(max(id), 0) FROM work.item) + n, '', 0 FROM generate_series(1, 50) AS n")
		}
		r.StartPublisher()
		if fault := r.expectHalt("timeline", "--accept-divergence"); fault != "" {
			return fault + ": " + r.fault()
		}
		return ""
	})
}

// standby makes and starts an asynchronous standby that has all of the primary's log.
func (r *runner) standby() *embedded.Postgres {
	r.t.Helper()
	standby, err := world.StartStandby(r.server)
	r.must(err)
	written := r.Query("SELECT pg_current_wal_flush_lsn()::text")
	r.must(harness.Eventually(30*time.Second, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, standby.URL("postgres"))
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		var caughtUp bool
		if err := conn.QueryRow(ctx, "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written).Scan(&caughtUp); err != nil {
			return err
		}
		if !caughtUp {
			return fmt.Errorf("the standby has not replayed %s", written)
		}
		return nil
	}))
	return standby
}

// Rows of CREATE TABLE AS, if tables are only listed when the event trigger sees them.
func TestPlantedListedTables(t *testing.T) {
	planted(t, must(t, sharedPostgres[18]), listTablesOnly, nil, func(r *runner) string {
		r.Start(workSchema, workTables...)
		r.createTableAs()
		r.Drain()
		if got, want := len(r.Events("work.made")), len(r.tableRows("work.made")); got != want {
			return fmt.Sprintf("%d events of work.made, it has %d rows", got, want)
		}
		return ""
	})
}

// Two portals are bound before either is executed: a note at Bind would blame all rows on the second.
func TestPlantedTwoPortals(t *testing.T) {
	planted(t, must(t, sharedPostgres[18]), noteAtBind, nil, func(r *runner) string {
		r.Start(workSchema, workTables...)
		r.twoPortals()
		return r.fault()
	})
}

func (r *runner) twoPortals() {
	r.t.Helper()
	conn := r.dial(r.ProxyURL("ann", "ann"))
	defer conn.Close(r.ctx)
	f := conn.PgConn().Frontend()
	for _, name := range []string{"one", "two"} {
		sql := fmt.Sprintf("INSERT /* n-%s */ INTO work.log VALUES ('n-%[1]s', 0)", name)
		f.SendParse(&pgproto3.Parse{Name: name, Query: sql})
		f.SendBind(&pgproto3.Bind{DestinationPortal: name, PreparedStatement: name})
	}
	for _, name := range []string{"one", "two"} {
		f.SendExecute(&pgproto3.Execute{Portal: name})
	}
	f.SendSync(&pgproto3.Sync{})
	r.must(f.Flush())
	for {
		message, err := f.Receive()
		r.must(err)
		switch m := message.(type) {
		case *pgproto3.ErrorResponse:
			r.t.Fatalf("two portals: %s", m.Message)
		case *pgproto3.ReadyForQuery:
			return
		}
	}
}
