// Command drivers runs the test suites of PostgreSQL drivers in databases without pgtee, after setup, and with the proxy between driver and server,
// and compares the results test by test. A difference is a defect of pgtee, and makes the command fail; a test that also fails without pgtee is
// ignored.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// options say what a run covers.
type options struct {
	suites  string
	modes   string
	major   int
	logs    string
	timeout time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.suites, "suites", "", "suites to run, comma-separated; by default all")
	flag.StringVar(&o.modes, "modes", "direct,off,table,message", "comma-separated modes: direct (after setup, without the proxy), or an --outbox of the proxy")
	flag.IntVar(&o.major, "major", 18, "major version of PostgreSQL")
	flag.StringVar(&o.logs, "logs", "bin/drivers", "folder for the output and the reports of the suites")
	flag.DurationVar(&o.timeout, "timeout", time.Hour, "time limit of one run of a suite")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "drivers:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	chosen, err := choose(o.suites)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.logs, 0o755); err != nil {
		return err
	}
	world, err := harness.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	binary, err := world.Build()
	if err != nil {
		return err
	}
	b := &bench{options: o, world: world, binary: binary}
	var failures []error
	differences := 0
	for _, s := range chosen {
		found, err := b.compare(s)
		if err != nil {
			failures = append(failures, fmt.Errorf("suite %s: %w", s.name, err))
		}
		differences += found
	}
	if differences > 0 {
		failures = append(failures, fmt.Errorf("%d tests end differently with pgtee; see %s", differences, filepath.Clean(o.logs)))
	}
	return errors.Join(failures...)
}

func choose(names string) ([]suite, error) {
	if names == "" {
		return suites, nil
	}
	var chosen []suite
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no suite %q: choose from %s", name, strings.Join(suiteNames(), ", "))
		}
		chosen = append(chosen, suites[i])
	}
	return chosen, nil
}

func suiteNames() (names []string) {
	for _, s := range suites {
		names = append(names, s.name)
	}
	return names
}

// bench is one run of the command.
type bench struct {
	options
	world  *harness.World
	binary string
}

// compare runs s without pgtee and in every mode, and prints a line for each. If there is a difference, it runs s without pgtee again: a test for
// which these two runs differ says nothing about pgtee.
func (b *bench) compare(s suite) (differences int, err error) {
	folder, err := s.install(b.world.Source, filepath.Join(b.logs, s.name+"-install.log"))
	if err != nil {
		return 0, err
	}
	first, err := b.measure(s, folder, virgin)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", virgin, err)
	}
	first.print(s.name, virgin, nil, first)
	var unstable map[string]bool // nil until s has run without pgtee twice
	for mode := range strings.SplitSeq(b.modes, ",") {
		got, err := b.measure(s, folder, mode)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", mode, err)
		}
		if unstable == nil && len(first.differences(got, nil)) > 0 {
			if unstable, err = b.findUnstable(s, folder, first); err != nil {
				return 0, err
			}
		}
		differences += got.print(s.name, mode, unstable, first)
	}
	return differences, nil
}

// findUnstable runs s without pgtee again and returns the tests with a different outcome.
func (b *bench) findUnstable(s suite, folder string, first results) (map[string]bool, error) {
	const again = virgin + "-again"
	got, err := b.measure(s, folder, again)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", again, err)
	}
	got.print(s.name, again, nil, first)
	unstable := map[string]bool{}
	for _, name := range first.differences(got, nil) {
		unstable[name] = true
	}
	return unstable, nil
}

// print prints the line of a run and the tests with another outcome than in the first one, and counts these.
func (r results) print(suite, mode string, unstable map[string]bool, first results) (differences int) {
	different, explained := explain(suite, first.differences(r, unstable))
	fmt.Printf("drivers suite=%s mode=%s tests=%d passed=%d failed=%d skipped=%d unstable=%d explained=%d differences=%d\n",
		suite, mode, len(r), r.count(passed), r.count(failed), r.count(skipped), len(unstable), explained, len(different))
	for _, name := range different {
		fmt.Printf("\t%s: %s %s, %s %s\n", name, virgin, first.outcome(name), mode, r.outcome(name))
	}
	return len(different)
}
