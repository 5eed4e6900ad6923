package property

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// pass is one publication of a place's WAL, from its start.
type pass struct {
	run      *Run
	place    *place
	topics   topics
	flags    []string
	filtered bool // tables whose own flag has the same value have a filter

	publisher *harness.Process
	halted    map[int]string // the publisher's error when it halted at a table, by table number
}

const maxHalted = 10 // number of tables after which the run gives up

// newPass writes the configuration of the filters.
func (r *Run) newPass(p *place, name string, filtered bool, flags ...string) (*pass, error) {
	s := &pass{run: r, place: p, filtered: filtered, halted: map[int]string{}, topics: topics{broker: r.Broker.Address, prefix: p.database + name}}
	config := filepath.Join(r.dir, s.topics.prefix+".yaml")
	var text strings.Builder
	text.WriteString("tables:\n")
	for _, t := range p.tables {
		if t.filtered == filtered {
			fmt.Fprintf(&text, "  - match: \"*.t%d_*\"\n    where: c2 >= 0\n", t.number)
		}
	}
	text.WriteString("  - match: mark.mark\n    partitions: 1\n")
	s.flags = append([]string{"publish", "--config", config, "--postgres", r.Server.URL(p.database), "--kafka", r.Broker.Address, "--prefix", s.topics.prefix, "--slot", p.database,
		"--key", filepath.Join(r.dir, "key"), "--max-retained-wal", "8GB:warn", "--decimal-handling-mode", "string", "--snapshot", "initial", "--snapshot-rows-per-second", strconv.Itoa(r.CopyRows)}, flags...)
	if p.declared != "" {
		s.flags = append(s.flags, "--source-encoding", p.declared)
	}
	return s, os.WriteFile(config, []byte(text.String()), 0o600)
}

func (s *pass) start() (err error) {
	s.publisher, err = harness.Start(s.run.dir, harness.Command{Name: "publish-" + s.topics.prefix, Args: append([]string{s.run.Binary}, s.flags...)})
	return err
}

var halt = regexp.MustCompile(`pgtee: publisher of .*?[.]t(\d+)_.*`)

// alive restarts a publisher that has halted at a table, without that table, and records a finding. It returns an error if the publisher has ended
// for another reason.
func (s *pass) alive() error {
	if s.publisher.Running() {
		return nil
	}
	if said := halt.FindStringSubmatch(s.publisher.Log()); said != nil && len(s.halted) < maxHalted {
		number, _ := strconv.Atoi(said[1])
		if s.halted[number] == "" {
			s.halted[number] = said[0]
			s.flags = append(s.flags, "--exclude-tables", fmt.Sprintf("*.t%d_*", number))
			return s.start()
		}
	}
	return fmt.Errorf("the publisher of %s ended by itself:\n%s", s.topics.prefix, s.publisher.Tail(8))
}

func (s *pass) stop() error {
	if err := s.alive(); err != nil {
		return err
	}
	return s.publisher.Stop(syscall.SIGTERM, 30*time.Second) // its exit code is 1 if it had not started completely
}

// copied reports whether one of the publishers of this pass has completed its copy.
func (s *pass) copied() bool {
	logs, _ := filepath.Glob(filepath.Join(s.run.dir, "publish-"+s.topics.prefix+"-*.log"))
	return slices.ContainsFunc(logs, func(name string) bool {
		text, err := os.ReadFile(name)
		return err == nil && strings.Contains(string(text), "snapshot ended")
	})
}

// whileCopied makes the players act until the copy has ended.
func (s *pass) whileCopied(ctx context.Context, players []*script) error {
	for began := time.Now(); !s.copied() && time.Since(began) < copyTime; time.Sleep(250 * time.Millisecond) {
		if err := acts(ctx, s.place, players, 1, 3, 0, len(s.place.tables)); err != nil {
			return err
		}
	}
	return nil
}

// disturb kills and restarts the publisher until ctx ends.
func (s *pass) disturb(ctx context.Context, r *rand.Rand) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2*time.Second + time.Duration(r.IntN(5000))*time.Millisecond):
		}
		if err := s.alive(); err != nil {
			return err
		}
		if r.IntN(3) > 0 {
			s.publisher.Kill()
		} else if err := s.publisher.Stop(syscall.SIGTERM, 30*time.Second); err != nil {
			return err
		}
		if err := s.start(); err != nil {
			return err
		}
	}
}
