package integration

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
)

const namesTheSource = "--postgres names the source of the stream: database "

// --postgres may come from PGTEE_POSTGRES or a file of all commands, and then name the source: nothing is written there.
func TestApplyIntoTheSource(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, v text);")
	a.Write("INSERT INTO t VALUES (1, 'old')")
	folder := filepath.Join(t.TempDir(), "files")
	a.Archive(folder)
	lsn := a.Query("SELECT pg_current_wal_insert_lsn()::text")
	a.Write("UPDATE t SET v = 'new'")
	a.Drain()
	topics := []string{"--kafka", a.broker.Address, "--prefix", a.prefix}
	for _, c := range []struct {
		args []string
		code int
	}{
		{append([]string{"apply", "--once"}, topics...), 3},
		{append([]string{"apply", "--once", "--from", "end"}, topics...), 3},
		{append([]string{"replay", "--to", lsn}, topics...), 3},
		{append([]string{"apply", "--verify", "--source", a.URL()}, topics...), 3},
		{append([]string{"apply", "--check"}, topics...), 2},
		{[]string{"apply", "--from", folder}, 3},
	} {
		out, code := a.Pgtee(append(c.args, "--postgres", a.URL())...)
		if code != c.code || !strings.Contains(out, namesTheSource+a.database) {
			t.Errorf("%v exits with %d:\n%s", c.args, code, out)
		}
	}
	if got := a.rows(a.URL(), "t"); got != "(1,new)" {
		t.Errorf("the source has %s", got)
	}
	if got := a.Query("SELECT (to_regclass('pgtee.applied') IS NULL)::text || (SELECT count(*) FROM pg_replication_origin WHERE roname = $1)", "pgtee apply "+a.prefix); got != "true0" {
		t.Errorf("pgtee.applied is missing, origins of the stream: %s, want true0", got)
	}
}

// A copy of the source has its system identifier but no slot, and may become a target.
func TestApplyIntoACopyOfTheSource(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, func() (*embedded.Postgres, error) { return world.StartPostgres(18, nil) }), "table")
	r.Exec("CREATE TABLE t (id int PRIMARY KEY); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	r.Setup()
	r.StartPublisher()
	r.Drain()
	standby := r.standby()
	r.must(standby.Promote(r.ctx))
	out, code := r.Pgtee("apply", "--kafka", r.broker.Address, "--prefix", r.prefix, "--postgres", standby.URL(r.database), "--from", "end", "--once")
	if code != 0 {
		t.Errorf("apply exits with %d:\n%s", code, out)
	}
}
