package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pgtee/pgtee/integration/harness"
)

// suite is one of PostgreSQL's suites (https://www.postgresql.org/docs/15/regress-run.html).
type suite struct {
	name     string
	database string
	folder   string   // in PostgreSQL's source
	command  []string // run in that folder
}

// The arguments are those of PostgreSQL's makefiles. Isolation tests of prepared transactions are not in the schedule, since
// a server may not allow them.
var suites = []suite{
	{name: "regress", database: "regression", folder: "src/test/regress",
		command: []string{"./pg_regress", "--dlpath=.", "--max-concurrent-tests=20", "--schedule=parallel_schedule"}},
	{name: "isolation", database: "isolation_regression", folder: "src/test/isolation",
		command: []string{"./pg_isolation_regress", "--schedule=isolation_schedule", "prepared-transactions", "prepared-transactions-cic"}},
}

// call runs the suite at a port, with its output in the folder out. It also fails if a test fails; only the output counts.
func (b *bench) call(s suite, port, out string) (printed string, err error) {
	args := append(s.command[:len(s.command):len(s.command)], "--inputdir=.", "--outputdir="+out, "--bindir="+b.program(""),
		"--use-existing", "--dbname="+s.database, "--host=127.0.0.1", "--port="+port, "--user=postgres")
	p, err := harness.Start(b.world.Dir, harness.Command{Name: s.name, Args: args, Dir: filepath.Join(b.postgres, "src", s.folder), User: b.owner})
	if err != nil {
		return "", err
	}
	defer p.Kill()
	_, err = p.Wait(b.timeout)
	return p.Log(), err
}

// The two forms of a line that pg_regress prints for a test: alone and in a parallel group.
var ended = regexp.MustCompile(`(?m)^(?:test|    ) (\S+) +\.\.\. (ok|FAILED|failed \(ignored\))`)

// outcomes returns the tests in order, and those whose output differed from PostgreSQL's expected output.
func outcomes(dir string) (tests, failed []string, err error) {
	printed, err := os.ReadFile(filepath.Join(dir, "printed"))
	if err != nil {
		return nil, nil, err
	}
	for _, found := range ended.FindAllStringSubmatch(string(printed), -1) {
		tests = append(tests, found[1])
		if !strings.HasPrefix(found[2], "ok") {
			failed = append(failed, found[1])
		}
	}
	if len(tests) == 0 {
		return nil, nil, fmt.Errorf("no test has run:\n%s", printed)
	}
	return tests, failed, nil
}
