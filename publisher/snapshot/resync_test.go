package snapshot

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// barredReader has empty tables, of which some cannot be read.
type barredReader struct {
	results chan outbox.Reading
	tables  []outbox.ListedTable
	barred  map[uint32]bool
	read    []uint32
}

func (r *barredReader) Begin(task int) {
	r.results <- outbox.Reading{Task: task, Done: true, Visible: &outbox.Visible{Xmin: 5, Xmax: 5}}
}
func (r *barredReader) List(task int) {
	r.results <- outbox.Reading{Task: task, Done: true, Tables: r.tables}
}
func (r *barredReader) Nudge(int)                      {}
func (r *barredReader) Close()                         {}
func (r *barredReader) Results() <-chan outbox.Reading { return r.results }

func (r *barredReader) Describe(task int, tables []outbox.ListedTable) {
	reading := outbox.Reading{Task: task, Done: true, Refused: map[uint32]error{}}
	tables = slices.DeleteFunc(tables, func(t outbox.ListedTable) bool { return !slices.Contains(r.tables, t) })
	refused := map[uint32]bool{}
	for _, t := range tables {
		if r.barred[t.OID] {
			refused[t.Root] = true
			reading.Refused[t.OID] = outbox.ErrTableRefused
		}
	}
	for _, t := range tables {
		if !refused[t.Root] && !slices.ContainsFunc(reading.Relations, func(r *pgoutput.Relation) bool { return r.OID == t.Root }) {
			reading.Relations = append(reading.Relations, &pgoutput.Relation{OID: t.Root})
		}
	}
	r.results <- reading
}

func (r *barredReader) Read(s outbox.Span) {
	r.read = append(r.read, s.Table)
	r.results <- outbox.Reading{Task: s.Task, Done: true, Chunk: &outbox.Chunk{Table: s.Table, Relation: &pgoutput.Relation{OID: s.Root}, Visible: outbox.Visible{Xmin: 5, Xmax: 5}, End: true}}
}

// A resync empties the topics of the tables that can be read; the others follow when they can be, with the leaves that the copy has passed over, whatever
// process goes on with it. One that can read no table empties nothing.
func TestResyncOfTablesThatCannotBeRead(t *testing.T) {
	reader := &barredReader{results: make(chan outbox.Reading, 100), barred: map[uint32]bool{30: true}, tables: []outbox.ListedTable{
		{OID: 10, Root: 50, Schema: "s", Name: "parted"}, {OID: 20, Root: 20, Schema: "s", Name: "plain"}, {OID: 30, Root: 50, Schema: "s", Name: "parted"}, {OID: 40, Root: 50, Schema: "s", Name: "parted"},
	}}
	c := testCopier(Config{Open: func() TableReader { return reader }})
	now := time.Unix(1e9, 0)
	var did []string
	turn := func() {
		t.Helper()
		for range 20 {
			now = now.Add(refusedPause)
			c.Turn(10)
			if c.Emptying() != nil {
				for _, r := range c.Emptying() {
					did = append(did, "empty", string(rune('a'+r.OID/10)))
				}
				c.Emptied()
			}
			for chunk := c.Ready(10); chunk != nil; chunk = c.Ready(10) {
				did = append(did, "read", string(rune('a'+chunk.Table/10)))
				c.Published(chunk)
			}
		}
	}
	expect := func(want string) {
		t.Helper()
		if got := strings.Join(did, " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		did = nil
	}
	c.Now = func() time.Time { return now }
	c.request(Copy{ID: "a", Resync: true})
	reader.barred[20] = true
	turn()
	expect("")
	if work := c.Current(); work == nil || work.Emptied || !strings.Contains(work.Waiting, "s.parted: the table cannot be read") {
		t.Errorf("waits: %+v", work)
	}
	delete(reader.barred, 20)
	turn()
	expect("empty c read c")
	state := *c.State()
	c.Stop()
	c = New(c.cfg, c.Host, &state)
	c.Now = func() time.Time { return now }
	turn()
	expect("")
	delete(reader.barred, 30)
	turn()
	expect("empty f read b read d read e")
	if c.Current() != nil || !c.ended("a") {
		t.Errorf("left: %+v", c.state)
	}
	c.request(Copy{ID: "b", Resync: true})
	reader.barred[20] = true
	turn()
	expect("empty f read b read d read e")
	c.request(Copy{ID: "c", Tables: []string{"s.parted"}})
	c.request(Copy{ID: "d", Tables: []string{"s.plain"}, Resync: true})
	turn()
	expect("read b read d read e")
	if copies := c.State().Copies; len(copies) != 2 || !c.ended("c") {
		t.Errorf("a copy that waits keeps another one waiting: %+v", copies)
	}
	reader.tables = reader.tables[:1] // the other one is dropped
	turn()
	expect("")
	if c.Current() != nil {
		t.Errorf("left: %+v", c.state)
	}
}

// A table that is renamed before its resync begins is resynced under its new name.
func TestMissedTableThatWasRenamed(t *testing.T) {
	c := testCopier(Config{Mode: Initial, Open: func() TableReader { return nil }})
	for oid, name := range map[uint32]string{7: "public.a", 8: "public.b"} {
		if why := c.Obey(&outbox.SignalRecord{ID: outbox.MissedPrefix + name, Type: outbox.Resync, User: "ann", Tables: []string{name}, Roots: map[string]uint32{name: oid}}); why != "" {
			t.Fatal(why)
		}
	}
	work := &c.state.Copies[0]
	for _, table := range []struct {
		listed outbox.ListedTable
		want   bool
	}{
		{outbox.ListedTable{OID: 7, Root: 7, Schema: "public", Name: "renamed"}, true},
		{outbox.ListedTable{OID: 9, Root: 8, Schema: "public", Name: "renamed_root"}, true},
		{outbox.ListedTable{OID: 10, Root: 10, Schema: "public", Name: "a"}, true},
		{outbox.ListedTable{OID: 11, Root: 11, Schema: "public", Name: "c"}, false},
	} {
		if work.wants(&table.listed) != table.want {
			t.Errorf("%+v: want %t", table.listed, table.want)
		}
	}
	if left := c.unmatched(work, []outbox.ListedTable{{OID: 7, Root: 7, Schema: "public", Name: "renamed"}}); len(c.state.Copies) != 1 || len(left) != 1 || left[0] != "public.b" {
		t.Errorf("%d copies, unmatched %q", len(c.state.Copies), left)
	}
}

// Changes of a table that an operator has excluded from the pending resync are missed again: the table gets a resync of its own.
func TestMissedTableThatWasExcluded(t *testing.T) {
	c := testCopier(Config{Mode: Initial, Open: func() TableReader { return nil }})
	c.state.Copies = []Copy{{ID: outbox.MissedPrefix + "1", Resync: true, Tables: []string{"public.a", "public.b"}, Except: []string{"public.b"}}}
	for _, missed := range []struct {
		table  string
		copies int
	}{{"public.c", 1}, {"public.b", 2}} {
		c.requestMissed(Copy{ID: outbox.MissedPrefix + missed.table, Resync: true, Tables: []string{missed.table}})
		if len(c.state.Copies) != missed.copies || !c.state.Copies[missed.copies-1].wants(&outbox.ListedTable{Schema: "public", Name: missed.table[len("public."):]}) {
			t.Errorf("%s is missed: %+v", missed.table, c.state.Copies)
		}
	}
}
