package apply

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/record"
)

// readTo gives a source records of partition 0 of a topic.
func readTo(t *testing.T, s *source, topic string, records ...*kgo.Record) {
	t.Helper()
	if s.partitions == nil {
		s.partitions, s.warned = map[string]map[int32]*partition{}, map[string]bool{}
	}
	if s.partitions[topic] == nil {
		s.partitions[topic] = map[int32]*partition{}
		s.begin(topic, 0)
	}
	p := s.partitions[topic][0]
	for _, r := range records {
		if err := s.put(p, r); err != nil {
			t.Fatalf("%s: %v", placeOf(r), err)
		}
	}
	s.updateLacking(p)
	s.fixHeap(p)
}

// commits takes everything that may be taken, and returns where it committed.
func commits(s *source) (list []LSN) {
	for e, ok := s.peek(); ok; e, ok = s.peek() {
		list = append(list, e.commit)
		s.take()
	}
	return list
}

// Retention may delete the end of Kafka's transaction behind the last record that was taken.
func TestWhatFollowsTheLastRecordIsTakenToo(t *testing.T) {
	s := &source{cfg: &Config{Log: zap.NewNop()}, known: progress{Slot: "s"}, mark: 150}
	readTo(t, s, "shop.a", kept("shop.a", 10, "1/s/1/0/64/1"), &kgo.Record{Topic: "shop.a", Offset: 11})
	readTo(t, s, "shop.b", kept("shop.b", 3, "1/s/1/0/64/2"), kept("shop.b", 5, "1/s/1/0/C8/1"))
	want := func(offsets map[string][]int64) {
		t.Helper()
		if got := s.taken(); !reflect.DeepEqual(got, offsets) {
			t.Errorf("to be read again from %v, want %v", got, offsets)
		}
	}
	want(map[string][]int64{"shop.a": {0}, "shop.b": {0}})
	commits(s)
	want(map[string][]int64{"shop.a": {12}, "shop.b": {4}})
}

// A tombstone whose delete is gone tells that the topic is compacted: the row would stay for ever.
func TestCompactedTopics(t *testing.T) {
	tombstone := func(offset int64, id string, headers ...kgo.RecordHeader) *kgo.Record {
		r := kept("shop.a", offset, id)
		r.Value, r.Headers = nil, append(r.Headers, headers...)
		return r
	}
	for name, c := range map[string]struct {
		records []*kgo.Record
		halts   bool
	}{
		"beside its delete":              {[]*kgo.Record{kept("shop.a", 0, "1/s/1/0/64/1"), tombstone(1, "1/s/1/0/64/1")}, false},
		"alone":                          {[]*kgo.Record{tombstone(1, "1/s/1/0/64/1")}, true},
		"of a later change":              {[]*kgo.Record{kept("shop.a", 0, "1/s/1/0/64/1"), tombstone(2, "1/s/1/0/64/2")}, true},
		"its delete ends what was taken": {[]*kgo.Record{tombstone(1, "1/s/1/0/32/1")}, false},
		"of a table that is left out":    {[]*kgo.Record{func() *kgo.Record { r := tombstone(1, "1/s/1/0/64/1"); r.Topic = "shop.public.session"; return r }()}, false},
		"its delete was applied":         {[]*kgo.Record{tombstone(1, "1/s/1/0/30/1")}, false},
		"published twice":                {[]*kgo.Record{kept("shop.a", 0, "1/s/1/0/96/1"), kept("shop.a", 1, "1/s/1/0/64/1"), tombstone(2, "1/s/1/0/64/1")}, false},
		"an event of the application":    {[]*kgo.Record{tombstone(1, "1/s/1/0/64/1", kgo.RecordHeader{Key: record.EventSourceHeader, Value: []byte("pgtee")})}, false},
		"of somebody else":               {[]*kgo.Record{tombstone(1, "1/other/1/0/64/1"), {Topic: "shop.a", Offset: 2}}, false},
		"a delete that was lost since":   {[]*kgo.Record{tombstone(1, "1/s/1/0/A0/1")}, false},
	} {
		s := &source{cfg: &Config{Log: zap.NewNop()}, known: progress{Slot: "s", Cuts: []LSN{150}}, floor: 50, partitions: map[string]map[int32]*partition{"shop.a": {}, "shop.public.session": {}}, warned: map[string]bool{}}
		s.cfg.Prefix, s.cfg.ExcludeTables = "shop", []string{"public.session"}
		p := s.begin(c.records[0].Topic, 0)
		p.resumed = true
		var err error
		for _, r := range c.records {
			if err = s.put(p, r); err != nil {
				break
			}
		}
		if isHalt(err) != c.halts {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A repair has set the stream back to 150. What was published before and commits later is lost; what takes its place counts. A row that was read
// later stays, behind what committed before the cut.
func TestTheSourceHasLostTransactions(t *testing.T) {
	s := &source{cfg: &Config{Log: zap.NewNop()}, known: progress{Slot: "s", Cuts: []LSN{150}}, mark: math.MaxUint64}
	readTo(t, s, "shop.a",
		kept("shop.a", 0, "1/s/1/0/64/1"), // 100
		kept("shop.a", 1, "1/s/1/0/C8/1"), // 200, lost
		kept("shop.a", 2, "1/s/1/0/C8/snapshot.x.1"),
		kept("shop.a", 3, "1/s/1.1/0/A0/1"), // 160
		kept("shop.a", 4, "1/s/1.1/0/C8/1")) // 200
	readTo(t, s, "shop.b", kept("shop.b", 0, "1/s/1/0/12C/1"), kept("shop.b", 1, "1/s/1.1/0/96/snapshot.repair.t1"))
	if got, want := commits(s), []LSN{100, 150, 150, 160, 200}; !reflect.DeepEqual(got, want) {
		t.Errorf("committed at %v, want %v", got, want)
	}
	if err := s.put(s.partitions["shop.a"][0], kept("shop.a", 9, "1/s/1.2/0/C8/1")); !isHalt(err) {
		t.Errorf("a record that is ahead of the publisher's position: %v", err)
	}
}

// Positions of another history end the session, and the next one halts if the target has what the source has lost.
func TestHistories(t *testing.T) {
	was := progress{SystemID: "1", Slot: "s", Timeline: 2, EndLSN: 300}
	target := position{end: 250, systemID: "1", slot: "s", timeline: 2}
	behind := target
	behind.end = 120
	for name, c := range map[string]struct {
		now     progress
		follows bool
		halts   bool // where the target is
		behind  bool // where it is behind the cut
	}{
		"the same":           {progress{SystemID: "1", Slot: "s", Timeline: 2, EndLSN: 400}, true, false, false},
		"promoted":           {progress{SystemID: "1", Slot: "s", Timeline: 3, EndLSN: 400}, false, false, false},
		"repaired":           {progress{SystemID: "1", Slot: "s", Timeline: 2, EndLSN: 400, Cuts: []LSN{150}}, false, true, false},
		"repaired elsewhere": {progress{SystemID: "1", Slot: "s", Timeline: 1, EndLSN: 400, Cuts: []LSN{100}}, false, true, true},
		"set back":           {progress{SystemID: "1", Slot: "s", Timeline: 2, EndLSN: 200}, false, true, false},
		"an older timeline":  {progress{SystemID: "1", Slot: "s", Timeline: 1, EndLSN: 400}, false, true, true},
		"another server":     {progress{SystemID: "2", Slot: "s", Timeline: 2, EndLSN: 400}, false, true, true},
		"another slot":       {progress{SystemID: "1", Slot: "other", Timeline: 2, EndLSN: 400}, true, true, true}, // the watcher finds it first
	} {
		if got := c.now.follows(&was); got != c.follows {
			t.Errorf("%s: follows %v", name, got)
		}
		if err := (&Config{}).check(&target, &c.now); isHalt(err) != c.halts {
			t.Errorf("%s: %v", name, err)
		}
		if err := (&Config{}).check(&behind, &c.now); isHalt(err) != c.behind {
			t.Errorf("%s, the target is behind: %v", name, err)
		}
	}
}

// An earlier build of the publisher only counted the repairs: where they were is not known.
func TestPositionWithNumberOfCuts(t *testing.T) {
	w := &watcher{cfg: &Config{Prefix: "shop"}}
	p, err := w.parse(&kgo.Record{Value: []byte(`{"v":2,"timeline":1,"end_lsn":"0/64","slot":"s","cuts":1}`)})
	if err != nil || len(p.Cuts) != 1 || p.kept(0) != math.MaxUint64 {
		t.Errorf("%+v, %v", p, err)
	}
}

// A slot that comes later is not followed.
func TestPositionsOfTwoSlots(t *testing.T) {
	record := func(slot string) *kgo.Record {
		return &kgo.Record{Value: fmt.Appendf(nil, `{"v":2,"timeline":1,"end_lsn":"0/64","slot":%q}`, slot)}
	}
	for named, halts := range map[string]bool{"": true, "a": false} {
		w := &watcher{cfg: &Config{Prefix: "shop", Slot: named}}
		if p, err := w.parse(record("a")); err != nil || p == nil || p.Slot != "a" {
			t.Errorf("--slot %q: %+v, %v", named, p, err)
		}
		if p, err := w.parse(record("b")); p != nil || isHalt(err) != halts {
			t.Errorf("--slot %q: %+v, %v", named, p, err)
		}
	}
}

// A table is emptied once for a resync, although each partition of its topic says so, and again for a later one, also if that has the same id.
func TestATableIsEmptiedOncePerResync(t *testing.T) {
	a := assembler{cfg: &Config{}, batch: newBatch(), loading: map[string]load{}}
	table := &table{source: "public.t", id: "public.t"}
	for _, c := range []struct{ at, id string }{{"64", "one"}, {"64", "one"}, {"96", "one"}, {"96", "one"}, {"C8", "two"}} {
		id := "1/s/1/0/" + c.at + "/snapshot." + c.id + ".t16384"
		e := event{record: &kgo.Record{Headers: []kgo.RecordHeader{{Key: headerResync, Value: []byte(c.id)}, {Key: headerEventID, Value: []byte(id)}}}}
		a.batch.resync = c.id
		if err := a.addTruncate(t.Context(), table, e); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.batch.truncate) != 3 || a.loading["public.t"] != (load{"two", 200}) {
		t.Errorf("emptied %d times, loading %v", len(a.batch.truncate), a.loading)
	}
}

// What is still to come outlives the applier, also one of an earlier build.
func TestLoadingIsRead(t *testing.T) {
	want := map[string]load{"*": {}, "public.t": {"mine", 150}, "public.u": {ID: "mine"}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(text), `{"*":"","public.t":{"id":"mine","emptied":"0/96"},"public.u":"mine"}`} {
		var got map[string]load
		if err := json.Unmarshal([]byte(text), &got); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}
