package apply

import (
	"context"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// shelf hands out records of an archive.
type shelf struct {
	records []*kgo.Record
	err     error // behind them
}

func (s *shelf) Next() (*kgo.Record, error) {
	if len(s.records) == 0 {
		return nil, s.err
	}
	r := s.records[0]
	s.records = s.records[1:]
	return r, nil
}

func (s *shelf) Close() error { return nil }

func kept(topic string, offset int64, id string) *kgo.Record {
	return &kgo.Record{Topic: topic, Offset: offset, Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: headerEventID, Value: []byte(id)}}}
}

// What was applied already is left out by its offset, whatever its position; a row of a snapshot stands behind what came before it; in the
// end the position in the topics is that of the archive.
func TestFiles(t *testing.T) {
	records := &shelf{err: io.EOF, records: []*kgo.Record{
		kept("shop.a", 4, "1/s/1/0/64/1"), // applied
		kept("shop.b", 0, "1/s/1/0/64/2"),
		kept("shop.a", 5, "1/s/1/0/C8/1"),
		kept("shop.a", 6, "1/s/1/0/96/snapshot.x.1"),
		kept("shop.ddl", 0, "1/s/1/0/12C/1"),
	}}
	p := position{end: 100, offsets: map[string][]int64{"shop.a": {5}}}
	ends := Mark{EndLSN: 400, Offsets: map[string][]int64{"shop.a": {7}, "shop.b": {1}, "shop.ddl": {1}, "shop.quiet": {9}}}
	f := newFiles(&Config{Prefix: "shop"}, records, &p, &ends)
	var commits []LSN
	for e, ok := f.peek(); ok; e, ok = f.peek() {
		if f.drained() {
			t.Error("it is drained before its end")
		}
		if e.from.ddl != (e.record.Topic == "shop.ddl") {
			t.Errorf("%s: DDL %v", e.record.Topic, e.from.ddl)
		}
		commits = append(commits, e.commit)
		f.take()
		if e.record.Offset == 5 {
			if got, want := f.taken(), map[string][]int64{"shop.a": {6}, "shop.b": {1}}; !reflect.DeepEqual(got, want) {
				t.Errorf("taken %v, want %v", got, want)
			}
		}
	}
	if want := []LSN{100, 200, 200, 300}; !reflect.DeepEqual(commits, want) {
		t.Errorf("commits %v, want %v", commits, want)
	}
	if !f.drained() || f.broken() != nil || !reflect.DeepEqual(f.taken(), ends.Offsets) {
		t.Errorf("at the end: drained %v, %v, taken %v", f.drained(), f.broken(), f.taken())
	}
	f = newFiles(&Config{Prefix: "shop"}, &shelf{err: errors.New("damaged")}, &p, &ends)
	if _, ok := f.peek(); ok || f.drained() || f.broken() == nil {
		t.Error("an archive that cannot be read is at its end")
	}
}

func TestArchiveReaches(t *testing.T) {
	ends := Mark{EndLSN: 400, Topics: map[string]string{"shop.a": "one"}}
	for name, c := range map[string]struct {
		p      position
		begins LSN
		whole  bool
		halts  bool
	}{
		"an empty target": {position{fresh: true}, 0, true, false},
		"an empty target, the beginning was removed": {position{fresh: true}, 200, false, true},
		"an empty target, begun with --from end":     {position{fresh: true}, 200, true, false},
		"the target is where the archive begins":     {position{end: 200}, 200, false, false},
		"the target is before that":                  {position{end: 199}, 200, false, true},
		"a topic was made anew":                      {position{end: 200, topics: map[string]string{"shop.a": "two"}}, 200, true, true},
		"nothing is in it":                           {position{fresh: true}, 400, true, true},
	} {
		if err := reaches(&c.p, &Mark{EndLSN: c.begins}, &ends, c.whole); (err != nil) != c.halts || err != nil && !isHalt(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A transaction may commit at the very position that a snapshot has read at, and be published later: the fence may not pass it.
func TestFenceStaysBeforeWhatASnapshotHasReadAt(t *testing.T) {
	a := assembler{cfg: &Config{}, batch: newBatch(), skipTo: 1 << 20}
	add := func(e event) LSN {
		if err := a.add(context.Background(), e); err != nil {
			t.Fatal(err)
		}
		return a.past
	}
	if past := add(event{place: place{commit: 100}, snapshot: []byte("x")}); past != 100 {
		t.Errorf("behind a row of a snapshot at 100 the fence is at %d", past)
	}
	if past := add(event{place: place{commit: 100}}); past != 101 {
		t.Errorf("behind a transaction at 100 the fence is at %d", past)
	}
}
