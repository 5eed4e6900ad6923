package apply

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// readTo gives a source records of partition 0 of a topic.
func readTo(t *testing.T, s *source, topic string, records ...*kgo.Record) {
	t.Helper()
	if s.partitions == nil {
		s.partitions, s.strangers = map[string]map[int32]*partition{}, map[string]bool{}
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
	s.weigh(p)
	s.fix(p)
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
	s := &source{cfg: &Config{Log: zap.NewNop()}, slot: "s", mark: 150}
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
