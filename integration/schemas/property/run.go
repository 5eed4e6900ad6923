// Package property creates tables of all kinds at random, writes and alters them while the publisher is killed, and compares the folded topics with
// the tables.
package property

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

// Run is one run against one server.
type Run struct {
	World    *harness.World
	Binary   string
	Server   *embedded.Postgres
	Major    int
	Broker   *harness.Kafka
	Registry *harness.Registry
	Tables   int
	CopyRows int // rows copied per second: the fewer, the more is written meanwhile
	Seed     int64
	Name     string               // of its databases and topics
	Log      func(string, ...any) // for progress messages

	dir     string
	verdict Verdict
}

const (
	scripts     = 2 // number of concurrent sessions that write
	actsOfTable = 12

	copyTime  = 20 * time.Second // maximum time of writing while tables are copied
	markTime  = 3 * time.Minute  // time limit until the last commit is in Kafka
	equalTime = 15 * time.Second // and until copied rows are, too
)

// Do plays the run. Differences are in the verdict; an error means that the run could not be judged.
func (r *Run) Do(ctx context.Context) (*Verdict, error) {
	var err error
	if r.dir, err = r.World.Sub("schemas-" + r.Name); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(r.dir, "key"), []byte(strings.Repeat("5e", 32)+"\n"), 0o600); err != nil {
		return nil, err
	}
	tenth := max(1, r.Tables/10)
	for i, p := range []*place{{encoding: "UTF8"}, {encoding: "WIN1252"}, {encoding: "SQL_ASCII", declared: "LATIN1"}} {
		p.database = fmt.Sprintf("%s_%s", r.Name, strings.ToLower(p.encoding))
		count := tenth
		if i == 0 {
			count = max(1, r.Tables-2*tenth)
		}
		began := time.Now()
		if err := r.play(ctx, p, count); err != nil {
			return &r.verdict, fmt.Errorf("PostgreSQL %d, %s: %w", r.Major, p.encoding, err)
		}
		r.Log("PostgreSQL %d, %s: %d tables, %v: %s", r.Major, p.encoding, count, time.Since(began).Round(time.Second), &r.verdict)
	}
	return &r.verdict, nil
}

// play works in one database and judges its two passes.
func (r *Run) play(ctx context.Context, p *place, count int) error {
	seed := uint64(r.Seed)<<8 | uint64(len(p.encoding))
	random := rand.New(rand.NewPCG(seed, uint64(r.Major)))
	for n := range count {
		p.tables = append(p.tables, newTable(p, n+1, random, r.Major))
	}
	if err := r.prepare(ctx, p); err != nil {
		return err
	}
	players, err := r.players(ctx, p, seed)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range players {
			s.conn.Close(context.WithoutCancel(ctx))
		}
	}()
	if err := r.first(ctx, p, players, random); err != nil {
		return err
	}
	return r.second(ctx, p, players)
}

// prepare creates the database and the slot, and a copy of the slot for the second pass.
func (r *Run) prepare(ctx context.Context, p *place) error {
	admin, err := (&place{}).connect(ctx, r.Server.URL("postgres"))
	if err != nil {
		return err
	}
	defer admin.conn.Close(ctx)
	if err := admin.do(ctx, fmt.Sprintf("CREATE DATABASE %s ENCODING '%s' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'", p.database, p.encoding)); err != nil {
		return err
	}
	s, err := p.connect(ctx, r.Server.URL(p.database))
	if err != nil {
		return err
	}
	defer s.conn.Close(ctx)
	err = s.do(ctx, `CREATE SCHEMA "Sch.ema"; CREATE SCHEMA "sch""ëma"; CREATE SCHEMA mark; CREATE TABLE mark.mark (c0 int PRIMARY KEY); CREATE EXTENSION hstore SCHEMA public`)
	if err != nil {
		return err
	}
	setup, err := harness.Start(r.dir, harness.Command{Name: "setup", Args: []string{r.Binary, "setup", "--postgres", r.Server.URL(p.database), "--slot", p.database}})
	if err != nil {
		return err
	}
	if code, err := setup.Wait(time.Minute); err != nil || code != 0 {
		return fmt.Errorf("setup exits with %d (%v): %s", code, err, setup.Log())
	}
	return s.do(ctx, fmt.Sprintf("SELECT pg_copy_logical_replication_slot('%s', '%[1]s_kept')", p.database))
}

// players returns the players, which share the tables.
func (r *Run) players(ctx context.Context, p *place, seed uint64) (players []*script, err error) {
	for n := range scripts {
		s, err := p.connect(ctx, r.Server.URL(p.database))
		if err != nil {
			return nil, err
		}
		next := (n + 1) * 10_000_000
		players = append(players, &script{session: s, r: rand.New(rand.NewPCG(seed, uint64(n)+100)), next: &next, major: r.Major})
	}
	return players, nil
}

// acts makes each player act perTable times per table on its share of the tables, with a percentage of DDL.
func acts(ctx context.Context, p *place, players []*script, perTable, ddl int, from, to int) error {
	var running sync.WaitGroup
	failures := make([]error, len(players))
	for n, s := range players {
		running.Go(func() {
			var mine []*table
			for i := from; i < to; i++ {
				if i%len(players) == n {
					mine = append(mine, p.tables[i])
				}
			}
			for range perTable * len(mine) {
				if failures[n] = s.act(ctx, mine[s.r.IntN(len(mine))], ddl); failures[n] != nil {
					return
				}
			}
		})
	}
	running.Wait()
	return errors.Join(failures...)
}

func create(ctx context.Context, p *place, players []*script, from, to int) error {
	for i := from; i < to; i++ {
		if err := players[i%len(players)].create(ctx, p.tables[i]); err != nil {
			return err
		}
	}
	return nil
}

// first is the pass of a publisher that starts while the players write, is killed, and is down while they drop objects that it has not read yet.
func (r *Run) first(ctx context.Context, p *place, players []*script, random *rand.Rand) error {
	half := (len(p.tables) + 1) / 2
	s, err := r.newPass(p, "_json", true)
	if err != nil {
		return err
	}
	if err := create(ctx, p, players, 0, half); err != nil {
		return err
	}
	if err := acts(ctx, p, players, actsOfTable, 10, 0, half); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.publisher.Kill() }()
	err = s.beside(ctx, random, func() error {
		if err := create(ctx, p, players, half, len(p.tables)); err != nil {
			return err
		}
		if err := acts(ctx, p, players, actsOfTable, 10, 0, len(p.tables)); err != nil {
			return err
		}
		return s.whileCopied(ctx, players)
	})
	if err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	if err := acts(ctx, p, players, actsOfTable/2, 40, 0, len(p.tables)); err != nil {
		return err
	}
	if err := r.endExtension(ctx, p, players); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	err = s.beside(ctx, random, func() error { return acts(ctx, p, players, actsOfTable/2, 10, 0, len(p.tables)) })
	if err != nil {
		return err
	}
	if err := s.judge(ctx, players[0]); err != nil {
		return err
	}
	return s.stop()
}

// second reads the same WAL again, later: the catalog has changed since, and the players write while it copies.
func (r *Run) second(ctx context.Context, p *place, players []*script) error {
	err := players[0].do(ctx, fmt.Sprintf("SELECT pg_drop_replication_slot('%s'); SELECT pg_copy_logical_replication_slot('%[1]s_kept', '%[1]s'); SELECT pg_drop_replication_slot('%[1]s_kept')", p.database))
	if err != nil {
		return err
	}
	s, err := r.newPass(p, "_avro", false, "--format", "avro", "--schema-registry", r.Registry.URL())
	if err != nil {
		return err
	}
	s.topics.avro = &avroReader{registry: r.Registry.URL(), schemas: map[uint32]*avroSchema{}}
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.publisher.Kill() }()
	if err := s.whileCopied(ctx, players); err != nil {
		return err
	}
	if err := s.judge(ctx, players[0]); err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	return players[0].do(ctx, fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", p.database))
}

// endExtension changes the columns of type hstore and drops the extension.
func (r *Run) endExtension(ctx context.Context, p *place, players []*script) error {
	p.extensionGone = true
	for i, t := range p.tables {
		s := players[i%len(players)]
		for _, c := range t.columns {
			if t.dropped || c.kind != kindHstore {
				continue
			}
			if t.detached() {
				if err := s.ddl(ctx, t, s.detach(t)); err != nil {
					return err
				}
			}
			if err := s.ddl(ctx, t, s.widen(t, c)); err != nil {
				return err
			}
		}
	}
	return players[0].do(ctx, "DROP EXTENSION hstore")
}

// beside disturbs the publisher while f runs.
func (s *pass) beside(ctx context.Context, random *rand.Rand, f func() error) error {
	disturbing, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error, 1)
	go func() { done <- s.disturb(disturbing, random) }()
	err := f()
	end()
	return errors.Join(err, <-done)
}

// judge waits until everything committed is in Kafka, and compares.
func (s *pass) judge(ctx context.Context, player *script) error {
	mark := player.version()
	if err := player.do(ctx, fmt.Sprintf("INSERT INTO mark.mark VALUES (%d)", mark)); err != nil {
		return err
	}
	err := harness.Eventually(markTime, func(ctx context.Context) error {
		if err := s.alive(); err != nil {
			return nil // reported below
		}
		there, err := s.topics.marked(ctx, mark)
		if err == nil && !there {
			err = errors.New("the last commit is not in its topic")
		}
		return err
	})
	if err := errors.Join(err, s.alive()); err != nil {
		return err
	}
	held := map[int]map[string]row{}
	for _, t := range s.place.tables {
		if held[t.number] = t.last; !t.dropped {
			if held[t.number], err = player.load(ctx, t); err != nil {
				return err
			}
		}
	}
	var found *Verdict
	for began := time.Now(); ; time.Sleep(2 * time.Second) {
		if found, err = s.compare(ctx, held); err != nil {
			return err
		}
		if found.Clean() || time.Since(began) > equalTime {
			break
		}
	}
	s.run.verdict.Add(found)
	return nil
}

func (s *pass) compare(ctx context.Context, held map[int]map[string]row) (*Verdict, error) {
	events, err := s.topics.read(ctx)
	if err != nil {
		return nil, err
	}
	v := &Verdict{}
	for _, t := range s.place.tables {
		j := judged{table: t, fold: newFold(), held: held[t.number], filtered: t.filtered == s.filtered, major: s.run.Major}
		for _, e := range events[t.number] {
			j.fold.add(e)
		}
		v.Tables++
		v.Records += len(events[t.number])
		unequal, keys := j.unequal(), j.keysChanged()
		if said := s.halted[t.number]; said != "" {
			unequal, keys, j.fold.stale = []string{"the publisher halted: " + said}, nil, nil
		}
		v.Unequal += min(1, len(unequal))
		v.Stale += len(j.fold.stale)
		v.KeysChanged += min(1, len(keys))
		if wrong := slices.Concat(keys, j.fold.stale, unequal); len(wrong) > 0 {
			v.Findings = append(v.Findings, s.describe(&j, events[t.number], wrong))
		}
	}
	return v, nil
}

const (
	shownLines   = 4
	shownRecords = 12
)

// describe describes the errors of a table, with the information needed to find the cause.
func (s *pass) describe(j *judged, events []*event, wrong []string) string {
	var b strings.Builder
	t := j.table
	split := "whole"
	if t.split != nil {
		split = "partitioned by " + t.split.name
	}
	fmt.Fprintf(&b, "PostgreSQL %d, %s, table %s: %s, %s, filtered %v, %d records\n", s.run.Major, s.topics.prefix, t, t.style.name, split, j.filtered, len(events))
	for _, line := range wrong[:min(shownLines, len(wrong))] {
		fmt.Fprintf(&b, "  %.700s\n", line)
	}
	if n := len(wrong) - shownLines; n > 0 {
		fmt.Fprintf(&b, "  … and %d more\n", n)
	}
	for _, sql := range t.history {
		fmt.Fprintf(&b, "    %.600s\n", sql)
	}
	ids := map[string]bool{}
	for _, line := range wrong {
		var id string
		if _, err := fmt.Sscanf(line, "row %s", &id); err == nil && len(ids) < 2 {
			ids[strings.TrimRight(id, ":")] = true
		}
	}
	told := 0
	for _, e := range events {
		if told < shownRecords && (e.op == "t" || len(ids) == 0 || ids[e.after[columnID]] || ids[e.before[columnID]]) {
			fmt.Fprintf(&b, "    %.500s\n", e.text)
			told++
		}
	}
	return b.String()
}
