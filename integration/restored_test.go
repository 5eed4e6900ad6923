package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
)

const restoredSchema = `CREATE TABLE item (id int PRIMARY KEY, v text);
CREATE TABLE quiet (id int PRIMARY KEY, v text);
CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);`

// A copy of the data folder, slot included, takes the place of a server of which Kafka knows more: system identifier and
// timeline are the same. The publisher finds that out wherever the new history has got to; a repair goes on after the last
// transaction that both have, and what the lost ones changed is published afresh.
func TestRestoredDataFolder(t *testing.T) {
	for _, major := range []int{15, 18} {
		server := must(t, func() (*embedded.Postgres, error) { return world.StartPostgres(major, nil) })
		for name, c := range map[string]struct {
			again string // what clients write after the restore
			says  string
		}{
			"written past Kafka": {"INSERT INTO item SELECT g, repeat('new', 100) FROM generate_series(96, 3000) AS g", "restored, or rolled back"},
			"written less":       {"INSERT INTO item VALUES (96, 'new')", "Kafka"}, // behind it, unless the server itself has written meanwhile
			"others write":       {"CREATE DATABASE other", "restored, or rolled back"},
		} {
			if major == 15 && name != "written past Kafka" {
				continue // one of them, to spare time
			}
			t.Run(fmt.Sprintf("PostgreSQL %d, %s", major, name), func(t *testing.T) {
				r := newRunner(t, must(t, sharedBinary), server, "table")
				r.Exec(restoredSchema)
				r.Setup()
				r.StartPublisher()
				r.Exec("INSERT INTO quiet VALUES (1, 'a')")
				r.write("INSERT INTO item VALUES (%d, 'shared')", 1, 90)
				r.Drain()
				back := r.copyData()
				r.write("INSERT INTO item VALUES (%d, 'lost')", 91, 100)
				r.Exec("DELETE FROM item WHERE id = 5", "UPDATE item SET v = 'lost' WHERE id = 6")
				r.Drain()
				r.Kill(r.publisher)
				back()
				for _, sql := range strings.Split(c.again, ";") {
					r.Exec(sql)
				}
				if name == "others write" {
					r.Exec("DROP DATABASE other")
				}

				r.StartPublisher()
				if fault := r.expectHalt(c.says, "pgtee repair --accept-divergence"); fault != "" {
					t.Fatal(fault)
				}
				out, code := r.Pgtee("repair", "--accept-divergence", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot)
				if code != 0 || !strings.Contains(out, "13 transactions") || !strings.Contains(out, "published again once the publisher runs: mark.mark, public.item: resync repair-") {
					t.Fatalf("repair exits with %d:\n%s", code, out)
				}
				r.write("INSERT INTO item VALUES (%d, 'later')", 3001, 3010)
				r.StartPublisher()
				r.Drain()
				r.awaitProgress(`"finished":[{"id":"repair-`)
				for _, table := range []string{"item", "quiet"} {
					for _, line := range r.ExpectFolded(table, []string{"id"}).Repeated {
						t.Error(line)
					}
				}
				for _, e := range r.Events("public.quiet") {
					if e.Op != "c" {
						t.Errorf("a record of op %s in the topic of a table that is as it was", e.Op)
					}
				}
				r.Stop(r.publisher)
			})
		}
	}
}

// write runs a statement for each number, in transactions of their own.
func (r *runner) write(sql string, from, to int) {
	r.t.Helper()
	var texts []string
	for i := from; i <= to; i++ {
		texts = append(texts, fmt.Sprintf(sql, i))
	}
	r.Exec(texts...)
}

// copyData copies the data folder as a crash leaves it; back has the copy take the folder's place.
func (r *runner) copyData() (back func()) {
	r.t.Helper()
	run := func(name string, args ...string) {
		r.t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			r.t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	data, copied := r.server.DataDir(), filepath.Join(r.t.TempDir(), "data")
	r.must(r.server.Stop(r.ctx, embedded.Immediate))
	run("cp", "-a", data, copied)
	r.must(r.server.Start(r.ctx))
	return func() {
		r.t.Helper()
		r.must(r.server.Stop(r.ctx, embedded.Immediate))
		run("rm", "-rf", data)
		run("mv", copied, data)
		r.must(r.server.Start(r.ctx))
	}
}

// A renamed database is published under its new name from where it was left, without a repair.
func TestPublishingARenamedDatabase(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec(restoredSchema)
			r.Setup()
			r.StartPublisher()
			r.Exec("INSERT INTO item VALUES (1, 'a')")
			r.Drain()
			r.Kill(r.publisher)
			r.Exec("INSERT INTO item VALUES (2, 'b')")
			for _, name := range []string{r.database + "-later", r.database} { // with a dash, the id has another form
				r.rename(name)
				r.StartPublisher()
				r.Exec("UPDATE item SET v = v || '.'")
				r.Drain()
				r.Kill(r.publisher)
			}
			if ops := r.ops("public.item"); ops != "ccuuuu" {
				t.Errorf("operations %s, want ccuuuu", ops)
			}
		})
	}
}
