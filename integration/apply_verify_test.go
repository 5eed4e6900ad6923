package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Both sides are compared at one moment, while the source is being written to and appliers run; what differs is named by its key.
func TestApplyVerify(t *testing.T) {
	a := newApplied(t, applySchema)
	admin := a.dial(a.server.URL("postgres"))
	defer admin.Close(a.ctx)
	for _, sql := range []string{"DROP DATABASE " + a.target, "CREATE DATABASE " + a.target + " TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"} { // the same letters are other bytes there
		_, err := admin.Exec(a.ctx, sql)
		a.must(err)
	}
	a.ExecTarget(applySchema + "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);")
	a.Write("INSERT INTO plain SELECT i, 'Zürich', i / 3.0, now(), '{\"a\": 1}', '{a,b}' FROM generate_series(1, 510) AS i", "INSERT INTO bare VALUES (1, 'x'), (1, 'x')", "INSERT INTO made (v) VALUES (1), (2)")
	a.Drain()
	applier := a.process("apply", a.applyArgs()...)
	a.awaitMark()
	standby := a.process("apply", a.applyArgs("--standby")...)
	writing, stop := context.WithCancel(a.ctx)
	written := make(chan error, 1)
	go func() {
		conn, err := pgx.Connect(writing, a.DirectURL("postgres", "load"))
		for i := 0; err == nil; i++ {
			_, err = conn.Exec(writing, fmt.Sprintf("UPDATE plain SET n = n + 1 WHERE id = %d; INSERT INTO bare VALUES (%d, 'y')", 1+i%500, i), pgx.QueryExecModeSimpleProtocol)
		}
		written <- err
	}()
	verify := a.applyArgs("--verify", "--source", a.URL())
	out, code := a.Pgtee(verify...)
	if code != 0 || !strings.Contains(out, "equal    public.plain: 510 rows") || !strings.Contains(out, "equal    public.bare: ") {
		t.Errorf("while it is written to verify exits with %d:\n%s", code, out)
	}
	if code, err := applier.Wait(20 * time.Second); err != nil || code != 3 {
		t.Errorf("the applier that was running exits with %d (%v): %s", code, err, applier.Tail(3))
	}
	a.Stop(standby)
	stop()
	if err := <-written; writing.Err() == nil {
		t.Fatal(err)
	}
	a.ExecTarget("DELETE FROM plain WHERE id = 507", "UPDATE plain SET name = 'drifted' WHERE id = 505", "INSERT INTO plain (id) VALUES (1000)", "DROP TABLE only_key", "ALTER TABLE two DROP COLUMN c", "ALTER TABLE bare DROP COLUMN b")
	out, code = a.Pgtee(append(verify, "--on-conflict", "skip", "--ignore-columns", "public.bare.b")...)
	for _, part := range []string{"DIFFERS  public.plain: 510 rows in the source, 510 in the target", "(507) is missing in the target", "(505) differs", "(1000) is in the target only", "MISSING  public.only_key: the target has no such table",
		"DIFFERS  public.two: 0 rows in the source, 0 in the target", "column c is missing in the target", "equal    public.bare"} {
		if !strings.Contains(out, part) {
			t.Errorf("does not tell %q", part)
		}
	}
	if code != 1 {
		t.Errorf("verify of tables that differ exits with %d:\n%s", code, out)
	}
}
