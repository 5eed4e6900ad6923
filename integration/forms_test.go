package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/verdict"
)

// Every form that a transaction takes, one after the other in one session, on each version and in each
// mode: savepoints, chains, two phases, deferred failures, COPY, pipelines, psql. Nothing is killed:
// what is wrong here is wrong always.
func TestEveryFormOfTransaction(t *testing.T) {
	for major, outbox := range map[int]string{15: "message", 18: "table"} {
		t.Run(fmt.Sprintf("PostgreSQL %d, outbox %s", major, outbox), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), outbox)
			r.Start(workSchema, workTables...)
			s := &session{ctx: r.ctx, name: "ann", url: r.ProxyURL("ann", "ann"), random: rand.New(rand.NewSource(1))}
			r.must(s.run(1))
			t.Log(r.ExpectClean())
		})
	}
}

// The trap of PostgreSQL 18: an implicit transaction that stays open behind a success tag. What the
// client was told is committed must be seen by others at once, and the session must be idle.
func TestAutocommitInsertIsSeenByOthers(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Start(workSchema, workTables...)
			conn := r.dial(r.ProxyURL("ann", "ann"))
			defer conn.Close(r.ctx)
			for i, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement} {
				tag, err := conn.Exec(r.ctx, fmt.Sprintf("INSERT INTO work.item VALUES (%d, 'x', 0)", i), mode)
				r.must(err)
				if tag.String() != "INSERT 0 1" || conn.PgConn().TxStatus() != 'I' {
					t.Errorf("%v: tag %q, status %c; want INSERT 0 1, I", mode, tag, conn.PgConn().TxStatus())
				}
				if seen := r.Query("SELECT count(*)::text FROM work.item WHERE id = $1", i); seen != "1" {
					t.Errorf("%v: another session sees %s rows, want 1", mode, seen)
				}
			}
		})
	}
}

// CREATE TABLE AS writes its rows before any trigger can know the table. All of them are published,
// and the DDL record, with the same transaction, names the table.
func TestCreateTableAs(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Start(workSchema, workTables...)
			r.createTableAs()
			r.Drain()
			for _, table := range []string{"work.made", "work.chosen"} {
				r.expectRowsOf(table)
				r.expectDDL(table)
			}
		})
	}
}

// createTableAs makes two tables with rows, then writes on into the first.
func (r *runner) createTableAs() {
	r.t.Helper()
	conn := r.dial(r.ProxyURL("postgres", "ddl"))
	defer conn.Close(r.ctx)
	s := &session{ctx: r.ctx, conn: conn}
	r.must(s.simple("CREATE TABLE work.made AS SELECT id, 'm' || id AS text FROM generate_series(1, 7) AS id",
		"BEGIN", "SELECT id, 'c' || id AS text INTO work.chosen FROM generate_series(1, 3) AS id", "COMMIT",
		"INSERT INTO work.made VALUES (8, 'm8')"))
}

// expectRowsOf compares the create events of a table with what it holds.
func (r *runner) expectRowsOf(table string) {
	r.t.Helper()
	got := map[string]string{}
	for _, e := range r.Events(table) {
		if e.Op != "c" || e.Pgtee.Via != "proxy" || e.Pgtee.Session.Application != "ddl" {
			r.t.Errorf("%s: op %q by %q via %q, want c by ddl via proxy", table, e.Op, e.Pgtee.Session.Application, e.Pgtee.Via)
		}
		got[e.After.Key([]string{"id"})] = e.After.Text()
	}
	if want := r.tableRows(table); fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("topic of %s holds\n%v\nthe table\n%v", table, got, want)
	}
}

// expectDDL looks for the DDL record of the command that made a table, in the transaction of its first row.
func (r *runner) expectDDL(table string) {
	r.t.Helper()
	var seen []string
	for _, record := range r.Topic("ddl") {
		var ddl struct {
			Command string
			Commit  string `json:"commit_lsn"`
			Objects []struct{ Schema, Name string }
			Pgtee   verdict.Attribution
		}
		r.must(json.NewDecoder(bytes.NewReader(record.Value)).Decode(&ddl))
		seen = append(seen, fmt.Sprint(ddl.Command, " ", ddl.Objects, " ", ddl.Commit))
		if len(ddl.Objects) == 0 || !strings.HasSuffix(ddl.Objects[0].Name, table) {
			continue
		}
		var ends []string
		for _, e := range r.Events(table) {
			ends = append(ends, e.Commit)
		}
		if len(ends) == 0 || ends[0] != ddl.Commit || ddl.Pgtee.Session.Application != "ddl" {
			r.t.Errorf("DDL record of %s: commit %s by %q, its rows are of %q", table, ddl.Commit, ddl.Pgtee.Session.Application, ends)
		}
		return
	}
	r.t.Errorf("no DDL record of %s among %q", table, seen)
}
