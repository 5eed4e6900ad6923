package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// play is a stream of transactions, each of some events of two partitions, read on from a mark.
type play struct {
	events []apply.Event
	at     int          // what Next has returned last is the one before
	rests  map[int]bool // before which events everything published is taken
	rested bool
	end    error // behind the last event
	after  int   // events until the end
}

// script makes a stream by chance.
func script(random *rand.Rand, transactions int) []apply.Event {
	var events []apply.Event
	offset := int64(0)
	for i := range transactions {
		for range 1 + random.Intn(5) {
			offset++
			e := event("t", offset, fmt.Sprintf(`{"id":%d}`, offset), fmt.Sprintf(`{"op":"c","after":{"id":%d,"text":"%d"}}`, offset, random.Int63()))
			e.Commit, e.Record.Partition = LSN(1000+10*i), 0
			e.Record.Headers[0].Value = fmt.Appendf(nil, "7300/pgtee/1/0/%X/%d", 1000+10*i, offset)
			e.ID = e.Record.Headers[0].Value
			events = append(events, e)
		}
	}
	return events
}

func (p *play) Next(ctx context.Context) (apply.Event, bool, error) {
	if err := ctx.Err(); err != nil {
		return apply.Event{}, false, err
	}
	if p.rests[p.at] && !p.rested {
		p.rested = true
		return apply.Event{}, false, nil
	}
	if p.at == len(p.events) || p.after == 0 {
		return apply.Event{}, false, p.end
	}
	p.rested = false
	p.at++
	p.after--
	return p.events[p.at-1], true, nil
}

func (p *play) Whole() bool { return p.rested }

func (p *play) Mark() apply.Mark {
	m := apply.Mark{SystemID: "7300", Slot: "pgtee", Timeline: 1, Topics: map[string]string{"t": "id"}}
	if p.rested {
		m.Exact, m.EndLSN = true, p.Published()
		m.Offsets = map[string][]int64{"t": {p.events[p.at-1].Record.Offset + 1}}
		return m
	}
	m.EndLSN, m.Offsets = p.events[p.at-1].Commit, map[string][]int64{"t": {p.events[p.at-1].Record.Offset}}
	return m
}

func (p *play) Published() LSN {
	if p.at == 0 {
		return 0
	}
	return p.events[p.at-1].Commit + 1
}

// scene is a folder that sessions write, one after the other.
type scene struct {
	*testing.T
	dir    string
	cfg    Config
	events []apply.Event
}

func newScene(t *testing.T, format Format, events []apply.Event) *scene {
	dir := t.TempDir()
	cfg := Config{Dir: dir, Format: format, Bytes: 1 << 30, After: time.Nanosecond, Source: apply.Config{Prefix: "shop", Log: zap.NewNop()}, Stats: &Stats{}}
	return &scene{t, dir, cfg, events}
}

var errCut = errors.New("the stream breaks")

// session goes on where the manifest ends, for some events, or with after below 0 to the end.
func (s *scene) session(after int) error {
	s.Helper()
	f, err := openFolder(s.dir)
	if err != nil {
		return err
	}
	defer f.close()
	m, err := openManifest(f)
	if err != nil {
		return err
	}
	defer m.close()
	if m.header == nil {
		if err := m.begin(Header{Prefix: "shop", Slot: "pgtee", SystemID: "7300", Format: s.cfg.Format}); err != nil {
			return err
		}
	}
	if err := f.clean(m); err != nil {
		return err
	}
	p := &play{events: s.events, end: errCut, after: after, rests: map[int]bool{len(s.events): true}}
	for _, e := range s.events {
		if list := m.mark.Offsets["t"]; list != nil && e.Record.Offset < list[0] {
			p.at++
		}
	}
	a := &archiver{cfg: &s.cfg, folder: f, once: s.events[len(s.events)-1].Commit + 1}
	w := writer{archiver: a, manifest: m, events: p}
	defer w.abandon()
	return w.run(context.Background())
}

// finish runs sessions until the archive has everything, and reads it.
func (s *scene) finish() {
	s.Helper()
	if err := s.session(-1); err != nil {
		s.Fatal(err)
	}
	s.expect(s.read(), s.events)
}

// read returns the records that an archive holds.
func (s *scene) read() (offsets []int64) {
	s.Helper()
	a, err := Open(s.dir)
	if err != nil {
		s.Fatal(err)
	}
	records, err := a.Open(0)
	if err != nil {
		s.Fatal(err)
	}
	defer records.Close()
	for {
		r, err := records.Next()
		if errors.Is(err, io.EOF) {
			return offsets
		}
		if err != nil {
			s.Fatal(err)
		}
		offsets = append(offsets, r.Offset)
	}
}

func (s *scene) expect(got []int64, want []apply.Event) {
	s.Helper()
	if len(got) != len(want) {
		s.Fatalf("the archive holds %d records, want %d", len(got), len(want))
	}
	for i, e := range want {
		if got[i] != e.Record.Offset {
			s.Fatalf("record %d has offset %d, want %d", i, got[i], e.Record.Offset)
		}
	}
}

// damage is what Verify finds.
func (s *scene) damage(head string) string {
	s.Helper()
	report, err := Verify(s.dir, head)
	if err != nil {
		s.Fatal(err)
	}
	return strings.Join(report.Damage, "\n")
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, name) }

// files are those of the archive, by their names.
func (s *scene) files() []string {
	s.Helper()
	names, err := (&folder{path: s.dir}).files()
	if err != nil {
		s.Fatal(err)
	}
	return names
}

// However often the writing breaks off, and whatever of it is left, each event stands in the archive once, and whole transactions only.
func TestSessionsThatBreakOff(t *testing.T) {
	for seed := range int64(6) {
		random := rand.New(rand.NewSource(seed))
		s := newScene(t, JSONLines, script(random, 30))
		for range 6 {
			s.cfg.After = []time.Duration{time.Nanosecond, time.Hour}[random.Intn(2)]
			if err := s.session(random.Intn(40)); err != nil && !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			if random.Intn(3) == 0 { // a file was renamed, its line not written
				write(t, s.path(fileName(JSONLines, 1, 2, random.Int63())), "anything")
			}
			if random.Intn(3) == 0 { // the line was written in part
				appendTo(t, s.path(manifestName), `{"line":99,"prev":"ab`)
			}
		}
		s.finish()
		if found := s.damage(""); found != "" {
			t.Errorf("seed %d: %s", seed, found)
		}
		a, _ := Open(s.dir)
		transactions := int64(0)
		for _, f := range a.manifest.files {
			transactions += f.Transactions
		}
		if transactions != 30 {
			t.Errorf("seed %d: the files hold %d transactions, want 30: one was cut", seed, transactions)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), fileMode); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(old)+text)
}

// Every byte counts: a flipped one in any file or line, a file that is gone, a tail that is cut are found and named.
func TestVerify(t *testing.T) {
	s := newScene(t, JSONLines, script(rand.New(rand.NewSource(1)), 8))
	s.finish()
	names := s.files()
	if len(names) < 5 {
		t.Fatalf("%d files", len(names))
	}
	report, err := Verify(s.dir, "")
	if err != nil || len(report.Damage) > 0 || report.Files != len(names) || report.Records != int64(len(s.events)) {
		t.Fatalf("%+v, %v", report, err)
	}
	random := rand.New(rand.NewSource(2))
	for _, name := range append(names, manifestName) {
		whole, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			broken := bytes.Clone(whole)
			at := random.Intn(len(broken))
			broken[at] ^= 1 << random.Intn(8)
			write(t, s.path(name), string(broken))
			if found := s.damage(""); !strings.Contains(found, name) {
				t.Errorf("byte %d of %s is flipped, found is %q", at, name, found)
			}
		}
		write(t, s.path(name), string(whole[:len(whole)-1]))
		if found := s.damage(""); !strings.Contains(found, name) || !strings.Contains(found, "truncated") {
			t.Errorf("the tail of %s is cut, found is %q", name, found)
		}
		write(t, s.path(name), string(whole))
	}
	for _, name := range names {
		whole, _ := os.ReadFile(s.path(name))
		if err := os.Remove(s.path(name)); err != nil {
			t.Fatal(err)
		}
		if found := s.damage(""); found != "file "+name+" is missing" {
			t.Errorf("%s is removed, found is %q", name, found)
		}
		write(t, s.path(name), string(whole))
	}
	lines := strings.SplitAfter(string(must(os.ReadFile(s.path(manifestName)))), "\n")
	write(t, s.path(manifestName), strings.Join(lines[:len(lines)-2], ""))
	last := names[len(names)-1]
	if found := s.damage(""); !strings.Contains(found, "file "+last+" is not in the manifest: the manifest is truncated") {
		t.Errorf("the last line is gone, found is %q", found)
	}
	if err := os.Remove(s.path(last)); err != nil {
		t.Fatal(err)
	}
	if found := s.damage(report.Head); !strings.Contains(found, "has no line with hash "+report.Head) {
		t.Errorf("the last line and its file are gone, found is %q", found)
	}
	write(t, s.path(manifestName), strings.Join(append(lines[:3:3], lines[4:]...), ""))
	if found := s.damage(""); !strings.Contains(found, manifestName+", line 4") {
		t.Errorf("a line in the middle is gone, found is %q", found)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// A manifest whose end was cut is not a reason to remove the files that it has named.
func TestCutManifestRemovesNothing(t *testing.T) {
	s := newScene(t, JSONLines, script(rand.New(rand.NewSource(1)), 30))
	s.finish()
	names := s.files()
	lines := strings.SplitAfter(string(must(os.ReadFile(s.path(manifestName)))), "\n")
	write(t, s.path(manifestName), strings.Join(lines[:len(lines)-4], ""))
	if err := s.session(-1); err == nil || !strings.Contains(err.Error(), "end of the manifest was cut off") {
		t.Errorf("the session ends with %v", err)
	}
	if got := s.files(); strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("left are %d of %d files", len(got), len(names))
	}
}

// Files of others in the folder stay, whatever their suffix; unfinished files of the archive go.
func TestForeignFilesStay(t *testing.T) {
	s := newScene(t, JSONLines, script(rand.New(rand.NewSource(1)), 3))
	foreign := []string{"sales.parquet", "x.jsonl.zst", "download.tmp", "next.tmp", "0-0-1.parquet", "next.parquet.tmp.tmp"}
	for _, name := range append(foreign, "next.parquet.tmp", "views.sql.tmp") {
		write(t, s.path(name), "anything")
	}
	s.finish()
	for _, name := range foreign {
		if text, err := os.ReadFile(s.path(name)); err != nil || string(text) != "anything" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, name := range []string{"next.parquet.tmp", "views.sql.tmp"} {
		if _, err := os.Stat(s.path(name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	if found := s.damage(""); found != "" {
		t.Error(found)
	}
}

// An archive whose manifest was lost is not begun anew over its files, even if there is only one.
func TestLostManifestRemovesNothing(t *testing.T) {
	s := newScene(t, JSONLines, script(rand.New(rand.NewSource(1)), 3))
	s.cfg.After = time.Hour
	s.finish()
	names := s.files()
	if len(names) != 1 {
		t.Fatalf("%d files, want one", len(names))
	}
	for _, lose := range []func() error{func() error { return os.Remove(s.path(manifestName)) }, func() error { return os.Truncate(s.path(manifestName), 0) }} {
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var halt Halt
			if err := s.session(-1); !errors.As(err, &halt) || !strings.Contains(err.Error(), names[0]) {
				t.Errorf("the session ends with %v", err)
			}
		}
		if got := s.files(); len(got) != 1 {
			t.Errorf("left are %v", got)
		}
	}
}

// What the retention removes is said first: the chain stays whole, and the archive tells that it does not begin at its beginning.
func TestRetention(t *testing.T) {
	s := newScene(t, JSONLines, script(rand.New(rand.NewSource(3)), 40))
	s.cfg.Keep = 3000
	if err := s.session(-1); err != nil {
		t.Fatal(err)
	}
	if found := s.damage(""); found != "" {
		t.Error(found)
	}
	report := must(Verify(s.dir, ""))
	if report.Bytes > 3000+1000 || report.Removed == 0 || report.Files != len(s.files()) {
		t.Errorf("%+v", report)
	}
	offsets := s.read()
	s.expect(offsets, s.events[len(s.events)-len(offsets):])
	begins, _, whole := must(Open(s.dir)).Held()
	if whole || begins.EndLSN == 0 {
		t.Errorf("the archive begins at %s, whole %v", begins.EndLSN, whole)
	}
	s.cfg.Keep, s.cfg.KeepFor = 0, time.Nanosecond
	names := must(openManifestOf(s.dir)).expired(&s.cfg, time.Now())
	if len(names) != report.Files-1 {
		t.Errorf("by age %d of %d files go, want all but the newest", len(names), report.Files)
	}
	if err := os.Remove(filepath.Join(s.dir, s.files()[0])); err != nil {
		t.Fatal(err)
	}
	s.cfg.Keep, s.cfg.KeepFor = 1, 0
	if err := s.session(-1); err != nil {
		t.Errorf("the file that the retention removes next is gone already: %v", err)
	}
}

// The views tell DuckDB of lines that it would not read.
func TestViewsOfLongLines(t *testing.T) {
	s := newScene(t, JSONLines, script(rand.New(rand.NewSource(1)), 3))
	e := &s.events[1]
	e.Value = []byte(`{"text":"` + strings.Repeat("x", objectBytes) + `"}`)
	s.finish()
	longest := must(openManifestOf(s.dir)).longest
	text, err := os.ReadFile(filepath.Join(s.dir, viewsName))
	if err != nil || longest <= len(e.Value) || !strings.Contains(string(text), fmt.Sprintf("value64: 'VARCHAR'}, maximum_object_size = %d)", longest)) {
		t.Errorf("the longest line has %d bytes, the views (%v):\n%.2000s", longest, err, text)
	}
}

func openManifestOf(dir string) (*manifest, error) {
	m, _, err := readManifest(&folder{path: dir})
	return m, err
}

// One process writes a folder; and an archive of something else is not continued.
func TestOneWriter(t *testing.T) {
	s := newScene(t, JSONLines, script(rand.New(rand.NewSource(1)), 3))
	f := must(openFolder(s.dir))
	if err := s.session(-1); err == nil || !strings.Contains(err.Error(), "another process writes the archive") {
		t.Errorf("a second writer: %v", err)
	}
	f.close()
	s.finish()
	header := must(openManifestOf(s.dir)).header
	for _, change := range []func(*Config){func(c *Config) { c.Source.Prefix = "other" }, func(c *Config) { c.Source.Slot = "other" }, func(c *Config) { c.Format = Parquet }} {
		cfg := s.cfg
		change(&cfg)
		var halt Halt
		if err := header.matches(&cfg); !errors.As(err, &halt) {
			t.Errorf("%+v is continued: %v", cfg.Source, err)
		}
	}
}

// Nothing of a damaged file is handed out.
func TestDamagedFileIsNotRead(t *testing.T) {
	s := newScene(t, JSONLines, script(rand.New(rand.NewSource(1)), 10))
	s.cfg.After = time.Hour
	s.finish()
	name := s.files()[0]
	whole := must(os.ReadFile(s.path(name)))
	whole[len(whole)-1] ^= 1
	write(t, s.path(name), string(whole))
	records := must(must(Open(s.dir)).Open(0))
	if r, err := records.Next(); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("record %v, error %v", r, err)
	}
}

// idle is a stream without events.
type idle struct{ mark apply.Mark }

func (i idle) Next(context.Context) (apply.Event, bool, error) { return apply.Event{}, false, nil }
func (i idle) Whole() bool                                     { return true }
func (i idle) Mark() apply.Mark                                { return i.mark }
func (i idle) Published() LSN                                  { return i.mark.EndLSN }

// An archive that has nothing to store yet goes on where it has read to, not at the end of the topics of that time: what Kafka deletes in between is
// noticed then.
func TestArchiveWithoutFilesKeepsItsPosition(t *testing.T) {
	s := newScene(t, JSONLines, nil)
	at := func(end LSN, offset int64) apply.Mark {
		return apply.Mark{EndLSN: end, SystemID: "7300", Slot: "pgtee", Timeline: 1, Offsets: map[string][]int64{"t": {offset}}, Topics: map[string]string{"t": "id"}}
	}
	start, read := at(1000, 5), at(1500, 9)
	read.Exact = true
	f := must(openFolder(s.dir))
	defer f.close()
	m := must(openManifest(f))
	if err := m.begin(Header{Prefix: "shop", Slot: "pgtee", SystemID: "7300", Format: JSONLines, Begins: 1000, Start: &start}); err != nil {
		t.Fatal(err)
	}
	m.close()
	for _, want := range []apply.Mark{start, read} {
		m := must(openManifest(f))
		defer m.close()
		if !reflect.DeepEqual(m.mark, want) {
			t.Errorf("it goes on at %+v, want %+v", m.mark, want)
		}
		w := writer{archiver: &archiver{cfg: &s.cfg, folder: f, once: 1}, manifest: m, events: idle{read}}
		if err := w.run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if report := must(Verify(s.dir, "")); report.Lines != 2 || len(report.Damage) > 0 || report.Begins != 1000 || report.Ends != 1500 {
		t.Errorf("%+v", report)
	}
	if begins, ends, _ := must(Open(s.dir)).Held(); begins.EndLSN != ends.EndLSN {
		t.Errorf("there is nothing to restore from %s to %s", begins.EndLSN, ends.EndLSN)
	}
}
