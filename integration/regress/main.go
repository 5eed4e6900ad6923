// Command regress runs PostgreSQL's own regression and isolation suites against a database without pgtee, against one in which pgtee setup has run,
// and through the proxy, and compares their output line by line. A line that differs is a defect of pgtee unless differences.txt has a reason for it,
// and makes the command fail.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// leg is one way from the suites to their database.
type leg struct {
	name   string
	setup  bool   // pgtee setup has run there
	outbox string // outbox of the proxy; "": no proxy
}

// virgin is the leg with which the others are compared. again is a repetition of it: differences between the two occur by chance.
const virgin = "virgin"

var legs = []leg{
	{name: virgin},
	{name: "again"},
	{name: "setup", setup: true},
	{name: "table", setup: true, outbox: "table"},
	{name: "message", setup: true, outbox: "message"},
}

// options say what a run covers.
type options struct {
	suites, legs string // comma-separated
	work         string
	timeout      time.Duration
	judge        bool
}

func main() {
	var o options
	flag.StringVar(&o.suites, "suites", "regress,isolation", "suites to run, comma-separated")
	flag.StringVar(&o.legs, "legs", "virgin,again,setup,table,message", "legs to run, comma-separated; without virgin they are compared with the leg virgin of an earlier run")
	flag.StringVar(&o.work, "work", "bin/regress", "folder for the output of the suites, the servers' logs and the differences")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Minute, "time limit of a suite in one leg")
	flag.BoolVar(&o.judge, "judge", false, "run nothing: compare the output of an earlier run again")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "regress:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	known, err := readReasons(differencesText)
	if err != nil {
		return err
	}
	b := &bench{options: o}
	if !o.judge {
		if err := b.open(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.world.Close()) }()
	}
	unexplained, complete := 0, true
	for _, s := range suites {
		for _, l := range legs {
			if !chosen(o.suites, s.name) || !chosen(o.legs, l.name) {
				complete = false
				continue
			}
			n, err := b.try(s, l, known)
			if err != nil {
				return fmt.Errorf("suite %s, leg %s: %w", s.name, l.name, err)
			}
			unexplained += n
		}
	}
	if complete {
		known.printStale()
	}
	if unexplained > 0 {
		return fmt.Errorf("%d lines differ without a reason in differences.txt; see %s", unexplained, filepath.Join(o.work, "*", "unexplained.diff"))
	}
	return nil
}

func chosen(list, name string) bool { return slices.Contains(strings.Split(list, ","), name) }

// bench is one run of the command.
type bench struct {
	options
	world    *harness.World
	binary   string
	postgres string              // the folder of PostgreSQL's source, see source.sh
	owner    *syscall.Credential // user as which servers and suites run; nil: the current user
}

// open creates what every leg needs. The caller closes the World.
func (b *bench) open() (err error) {
	if b.world, err = harness.Open(); err != nil {
		return err
	}
	steps := []func() error{
		func() (err error) { b.binary, err = b.world.Build(); return err },
		func() (err error) { b.postgres, err = source(b.world.Source); return err },
		func() (err error) { b.owner, err = harness.Unprivileged(); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return errors.Join(err, b.world.Close())
		}
	}
	return nil
}

// source builds PostgreSQL unless that has been done, and returns its folder.
func source(root string) (string, error) {
	cmd := exec.Command(filepath.Join(root, "integration", "regress", "source.sh"))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build PostgreSQL: %w: %s", err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// try runs a suite in a leg, prints the differences from the leg virgin, and returns the number of lines without a reason.
func (b *bench) try(s suite, l leg, known reasons) (unexplained int, err error) {
	dir := filepath.Join(b.work, s.name+"-"+l.name)
	if !b.judge {
		began := time.Now()
		if err := b.measure(s, l, dir); err != nil {
			return 0, err
		}
		fmt.Printf("%s in leg %s took %v\n", s.name, l.name, time.Since(began).Round(time.Second))
	}
	c, err := compare(s.name, l.name, filepath.Join(b.work, s.name+"-"+virgin), dir, known)
	if err != nil {
		return 0, err
	}
	c.print()
	return c.unexplained, nil
}
