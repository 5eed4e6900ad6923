package integration

import (
	"math/rand"
	"regexp"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

// Bad input ends the program with one line that says what to do, and nothing is lost by it.
func TestBadInput(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Start(workSchema, workTables...)
	r.Drain()
	nobody, release, err := harness.DeadAddress()
	r.must(err)
	defer release()
	dead := "postgres://postgres@" + nobody + "/" + r.database + "?sslmode=disable"
	strict := must(t, func() (*embedded.Postgres, error) {
		return world.AdoptPostgres(embedded.PostgresConfig{Major: 15, Dir: must(t, func() (string, error) { return world.Sub("strict") }),
			Password: "right-one", Settings: map[string]string{"wal_level": "replica"}})
	})
	wrong := strings.Replace(strict.URL("postgres"), "right-one", "wrong-one", 1)
	with := func(args []string, flag, value string) []string {
		changed := append([]string{}, args...)
		for i := range changed {
			if changed[i] == flag {
				changed[i+1] = value
			}
		}
		return changed
	}
	publish := r.publishArgs()
	proxy := []string{"proxy", "--listen", "127.0.0.1:0", "--postgres", r.URL(), "--key", r.keyFile()}
	cases := []struct {
		name string
		args []string
		says string // regular expression of the last line
	}{
		{"unknown command", []string{"frobnicate"}, `frobnicate.*--help`},
		{"unknown flag", append(publish, "--nonsense"), `--nonsense.*pgtee publish --help`},
		{"no key file", with(publish, "--key", "/nonexistent/key"), `/nonexistent/key.*openssl rand`},
		{"unreachable Postgres, setup", []string{"setup", "--postgres", dead, "--slot", "x"}, nobody},
		{"unreachable Postgres, publish", with(publish, "--postgres", dead), nobody},
		{"unreachable Postgres, proxy", with(proxy, "--postgres", dead), nobody},
		{"unreachable Kafka", with(publish, "--kafka", nobody), nobody + `.*--kafka`},
		{"wrong password", []string{"setup", "--postgres", wrong, "--slot", "x"}, `password`},
		{"wal_level", []string{"setup", "--postgres", strict.URL("postgres"), "--slot", "x"}, `wal_level is replica`},
		{"not set up", with(publish, "--postgres", r.server.URL("postgres")), `pgtee setup`},
		{"no such database", with(publish, "--postgres", r.server.URL("nirvana")), `nirvana`},
		{"slot in use", publish, `slot ` + r.slot + ` is in use by.*--standby`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			output, code := r.Pgtee(c.args...)
			expectComplaint(t, output, code, c.says)
		})
	}
	r.Exec("INSERT INTO work.item VALUES (1, '', 0)")
	t.Log(r.ExpectClean())
}

// expectComplaint wants an exit code that is not 0 and exactly one line that is a complaint, the last one.
func expectComplaint(t *testing.T, output string, code int, says string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(output), "\n")
	last := lines[len(lines)-1]
	if code == 0 || code == -1 {
		t.Errorf("exit code %d, want a failure", code)
	}
	if !strings.HasPrefix(last, "pgtee: ") || !regexp.MustCompile(says).MatchString(last) {
		t.Errorf("the last line is\n%s\nwant pgtee: ...%s...", last, says)
	}
	if n := strings.Count("\n"+output, "\npgtee: "); n != 1 {
		t.Errorf("%d complaints, want 1:\n%s", n, output)
	}
	for _, never := range []string{"goroutine ", "panic", "wrong-one", "right-one"} {
		if strings.Contains(output, never) {
			t.Errorf("the output contains %q:\n%s", never, output)
		}
	}
}

// A progress record that another cluster left under the same name stops the publisher: going on would
// take that cluster's position for its own. The record of the first stays good.
func TestProgressOfAnotherCluster(t *testing.T) {
	first := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	first.Start(workSchema, workTables...)
	first.Exec("INSERT INTO work.item VALUES (1, '', 0)")
	first.ExpectClean()
	first.Stop(first.publisher)

	second := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	second.Exec("CREATE DATABASE " + first.database)
	second.dropDatabase()
	second.database, second.prefix, second.slot = first.database, first.prefix, first.slot
	second.Setup()
	output, code := second.Pgtee(second.publishArgs()...)
	expectComplaint(t, output, code, `progress record belongs to another server.*--prefix`)

	first.Exec("INSERT INTO work.item VALUES (2, '', 0)")
	first.StartPublisher()
	first.ExpectClean()
}

// While Kafka or the publisher is away clients write on; all of it is published afterwards.
func TestKafkaAway(t *testing.T) {
	kafka, err := world.StartKafka()
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Kill()
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "message")
	r.broker = kafka
	r.Start(workSchema, workTables...)
	r.Drain()
	kafka.Kill()
	s := &session{ctx: r.ctx, name: "ann", url: r.ProxyURL("ann", "ann"), random: rand.New(rand.NewSource(1))}
	r.must(s.run(1))
	r.must(kafka.Start())
	t.Log(r.ExpectClean())
}
