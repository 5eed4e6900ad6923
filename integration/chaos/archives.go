package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

// archives is a run in which the stream is stored in files, from which a second server is built.
type archives struct {
	*appliers
	archiver *service
	folder   string
	records  int
	lost     int // events of the topics that are missing from the archive
	repeated int // events that are in the archive twice
	foreign  int // events in the archive that are not in the topics
	found    int // damage that was inflicted and reported
}

const archiveRounds = 2

func runArchives(ctx context.Context, c *chaos) error {
	a := &archives{appliers: &appliers{chaos: c, name: "chaos-archive"}}
	if err := a.prepareServers(ctx); err != nil {
		return err
	}
	a.folder = filepath.Join(a.dir, "archive")
	for _, s := range append([]*service{a.proxy}, a.publishers...) {
		s.keep()
	}
	for range archiveRounds {
		a.archiver = a.newService("archiver", a.archiveArgs(a.producers[0].Address, "--flush-after", "300ms", "--file-bytes", "1MB")...)
		a.archiver.keep()
		if err := a.round(ctx, a.archiverLanes(), archiveRounds); err != nil {
			return err
		}
		if err := a.compareArchive(ctx); err != nil {
			return err
		}
	}
	if err := a.damage(ctx); err != nil {
		return err
	}
	return a.reportArchive()
}

func (a *archives) archiveArgs(kafka string, more ...string) []string {
	return append([]string{a.binary, "archive", "--kafka", kafka, "--prefix", prefix, "--out", a.folder}, more...)
}

func (a *archives) archiverLanes() []lane {
	return a.chosen([]lane{
		{"archiver", time.Second, serviceFaults(a.archiver)},
		{"publisher-a", 6 * time.Second, a.publisherFaults(a.publishers[0])},
		{"publisher-b", 9 * time.Second, a.publisherFaults(a.publishers[1])},
		{"proxy", 10 * time.Second, serviceFaults(a.proxy)},
		{"postgres", 12 * time.Second, a.serverFaults()},
		{"kafka", 15 * time.Second, a.brokerFaults()},
		{"network-kafka", 8 * time.Second, networkFaults(a.producers[0])},
	})
}

// compareArchive lets the archiver reach the end of the stream, and compares the archive with the topics and, after applying it, with the tables.
func (a *archives) compareArchive(ctx context.Context) error {
	if err := a.quiesce(ctx); err != nil {
		return err
	}
	err := harness.Eventually(settleTime, func(context.Context) error {
		records, err := a.read("work.mark")
		if err == nil && len(records) < a.marks {
			err = fmt.Errorf("mark %d is not in its topic", a.marks)
		}
		return err
	})
	if err := errors.Join(a.failure(), err); err != nil {
		return err
	}
	a.archiver.stop()
	if out, code, err := a.pgtee("archive-once", a.archiveArgs(a.brokers[0].Address, "--once")...); err != nil || code != 0 {
		return fmt.Errorf("archive --once exits with %d (%v): %s", code, err, out)
	}
	if out, code, err := a.pgtee("verify", a.binary, "archive", "--verify", a.folder); err != nil || code != 0 {
		return fmt.Errorf("archive --verify exits with %d (%v): %s", code, err, out)
	}
	if err := a.compareEvents(); err != nil {
		return err
	}
	out, code, err := a.pgtee("restore", a.binary, "apply", "--from", a.folder, "--postgres", a.postgresAt(a.target.Address(), "postgres", ""), "--ddl", "apply", "--ddl-as-superuser", "--exclude-tables", "truth.*")
	if err != nil || code != 0 {
		return fmt.Errorf("apply --from exits with %d (%v): %s", code, err, out)
	}
	return a.compareTables(ctx)
}

// pgtee runs a command to its end.
func (a *archives) pgtee(name string, args ...string) (output string, code int, err error) {
	p, err := harness.Start(a.dir, harness.Command{Name: name, Args: args})
	if err != nil {
		return "", 0, err
	}
	code, err = p.Wait(settleTime)
	return p.Tail(20), code, err
}

// compareEvents counts each event of the topics in the archive.
func (a *archives) compareEvents() error {
	topics, err := a.readAll(func(topic string) bool {
		return !slices.Contains([]string{"audit", "dead-letter", "message", "progress", "transaction", "signal"}, topic) && !strings.HasPrefix(topic, "outbox.")
	})
	if err != nil {
		return err
	}
	archived := map[string]int{}
	last := int64(0)
	err = verdict.EachArchived(a.folder, func(r *verdict.Archived) error {
		if last++; r.Number != last {
			return fmt.Errorf("record %d comes where %d should", r.Number, last)
		}
		archived[r.Topic+" "+r.ID]++
		return nil
	})
	if err != nil {
		return err
	}
	a.records = int(last)
	lost, repeated := 0, 0
	for topic, records := range topics {
		for _, r := range records {
			if r.Value == nil {
				continue
			}
			id := prefix + "." + topic + " " + r.EventID()
			switch archived[id] {
			case 0:
				lost++
				a.note("LOST %s", id)
			case 1:
			default:
				repeated++
				a.note("REPEATED %s", id)
			}
			delete(archived, id)
		}
	}
	for id := range archived {
		a.note("FOREIGN %s", id)
	}
	a.lost, a.repeated, a.foreign = a.lost+lost, a.repeated+repeated, a.foreign+len(archived)
	fmt.Printf("chaos-archive point=%d records=%d lost=%d repeated=%d foreign=%d\n", a.marks, a.records, lost, repeated, len(archived))
	return nil
}

// damage flips a byte, removes a file and truncates a file: each must be detected and reported.
func (a *archives) damage(context.Context) error {
	files, err := filepath.Glob(filepath.Join(a.folder, "*.jsonl.zst"))
	if err != nil || len(files) < 3 {
		return fmt.Errorf("%d files in the archive (%v)", len(files), err)
	}
	random := rand.New(rand.NewSource(a.seed))
	manifest := filepath.Join(a.folder, "manifest.jsonl")
	for _, path := range []string{files[random.Intn(len(files))], files[len(files)-1], manifest} {
		whole, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		flipped := slices.Clone(whole)
		flipped[random.Intn(len(flipped))] ^= 1 << random.Intn(8)
		cut := whole[:len(whole)-1-random.Intn(len(whole)/2)]
		for what, broken := range map[string][]byte{"a flipped byte": flipped, "a cut tail": cut, "a removed file": nil} {
			if err := a.expectNamed(path, what, broken); err != nil {
				return err
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (a *archives) expectNamed(path, what string, broken []byte) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	if broken != nil {
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			return err
		}
	}
	name := filepath.Base(path)
	out, code, err := a.pgtee("verify", a.binary, "archive", "--verify", a.folder)
	if err != nil || code == 0 || !strings.Contains(out, name) {
		a.complain("%s of %s: archive --verify exits with %d (%v): %s", what, name, code, err, out)
		return nil
	}
	a.found++
	return nil
}

// reportArchive prints the injected faults and the closing line.
func (a *archives) reportArchive() error {
	for _, s := range append([]*service{a.proxy}, a.publishers...) {
		s.stop()
	}
	line, kills := a.tally()
	fmt.Println(line)
	for _, text := range append(a.unequal, a.wrong...) {
		fmt.Println("  " + text)
	}
	fmt.Printf("chaos-archive tables=%d rows=%d complaints=%d seed=%d took=%v\n", a.compared, a.shown, len(a.wrong), a.seed, time.Since(a.began).Round(time.Second))
	fmt.Printf("chaos-archive kills=%d records=%d lost=%d duplicated=%d foreign=%d unequal=%d damages=%d/9\n", kills, a.records, a.lost, a.repeated, a.foreign, len(a.unequal), a.found)
	if a.lost+a.repeated+a.foreign+len(a.unequal)+len(a.wrong) > 0 || a.found != 9 {
		return errors.New("the archive is not what the topics are")
	}
	return nil
}
