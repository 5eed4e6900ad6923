package integration

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

var world *harness.World

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if world, err = harness.Open(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	return m.Run(), nil
}

// What the tests share, each started or built when first asked for. Every test has its own database,
// slot and topic prefix in there.
var (
	sharedBinary   = sync.OnceValues(func() (string, error) { return world.Build() })
	sharedBroker   = sync.OnceValues(func() (*harness.Kafka, error) { return world.StartKafka() })
	sharedPostgres = map[int]func() (*embedded.Postgres, error){
		15: sync.OnceValues(func() (*embedded.Postgres, error) { return world.StartPostgres(15, nil) }),
		18: sync.OnceValues(func() (*embedded.Postgres, error) { return world.StartPostgres(18, nil) }),
	}
)

// must returns v, or ends the test with err.
func must[T any](t testing.TB, get func() (T, error)) T {
	t.Helper()
	v, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return v
}
