package integration

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

// The commands of README.md, on a server that has no setting but wal_level = logical: what psql writes is published.
func TestReadme(t *testing.T) {
	server := must(t, func() (*embedded.Postgres, error) {
		return world.StartPostgres(18, map[string]string{"max_slot_wal_keep_size": "-1"})
	})
	r := newRunner(t, must(t, sharedBinary), server, "table")
	bin := filepath.Join(r.dir, "bin")
	r.must(os.Mkdir(bin, 0o755))
	r.must(os.Symlink(r.binary, filepath.Join(bin, "pgtee")))
	listen := must(t, harness.FreeAddress)
	_, port, err := net.SplitHostPort(listen)
	r.must(err)
	here := strings.NewReplacer("postgres://admin@db/shop", "'"+r.URL()+"'", "broker:9092", r.broker.Address, "--prefix shop", "--prefix "+r.prefix,
		"port=6432 dbname=shop", "port="+port+" dbname="+r.database+" user=postgres", ":6432", listen)
	start := func(command string) *harness.Process {
		t.Helper()
		p, err := harness.Start(r.dir, harness.Command{Name: "readme", Args: []string{"bash", "-c", "exec " + command}, Env: []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, Dir: r.dir})
		r.must(err)
		t.Cleanup(p.Kill)
		return p
	}
	end := func(command string) error {
		p := start(command)
		code, err := p.Wait(time.Minute)
		if err == nil && code != 0 {
			err = errors.New(command + ": " + p.Log())
		}
		return err
	}
	text, err := os.ReadFile(filepath.Join(world.Source, "README.md"))
	r.must(err)
	_, after, _ := strings.Cut(string(text), "## Use it\n\n```\n")
	block, _, found := strings.Cut(after, "```")
	var seen []string
	for line := range strings.Lines(block) {
		command, _, _ := strings.Cut(strings.TrimSpace(line), "  #")
		command = here.Replace(command)
		words := strings.Fields(command)
		verb := words[0]
		if verb == "pgtee" {
			verb = words[1]
		}
		seen = append(seen, verb)
		switch verb {
		case "setup":
			r.must(end(command))
		case "run":
			start(command)
		case "psql":
			r.must(harness.Eventually(20*time.Second, func(context.Context) error {
				return end(command + " -c 'CREATE TABLE IF NOT EXISTS greeting (id int)' -c 'INSERT INTO greeting VALUES (1)'")
			}))
		case "subscribe":
			p := start(command)
			r.must(harness.Eventually(30*time.Second, func(context.Context) error {
				if log := p.Log(); !strings.Contains(log, "INSERT INTO greeting") {
					return errors.New("subscribe prints " + log)
				}
				return nil
			}))
		}
	}
	if want := "go setup run psql subscribe"; !found || strings.Join(seen, " ") != want {
		t.Errorf("the commands are %v, want %s", seen, want)
	}
}
