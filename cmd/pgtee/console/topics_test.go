package console

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestSearchGoesOn: a search that reaches its limit is continued where it was, and then finds the rest, each record once.
func TestSearchGoesOn(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.public.orders", 2)
	const records = 400
	var list []*kgo.Record
	for n := range records {
		list = append(list, record("shop.public.orders", fmt.Sprint(n), strings.Repeat("x", n), fmt.Sprint(n)))
	}
	f.commit(list...)
	starts, ends, err := f.topics.bounds(t.Context(), "shop.public.orders")
	if err != nil {
		t.Fatal(err)
	}
	for name, limit := range map[string]reading{"records": {bytes: maxReadBytes, records: 50}, "bytes": {bytes: 8 << 10, records: maxReadRecords}, "none": {bytes: maxReadBytes, records: maxReadRecords}} {
		seen, requests := map[string]bool{}, 0
		for before := ends; before != nil; requests++ {
			r := &reading{f.topics, maxReadTime, limit.bytes, limit.records}
			var found []*kgo.Record
			if found, before, err = r.find(t.Context(), search{topic: "shop.public.orders", starts: starts, before: before, want: 30, keep: func(r *kgo.Record) bool { return true }}); err != nil {
				t.Fatal(err)
			}
			for _, one := range found {
				if seen[string(one.Key)] {
					t.Fatalf("%s: record %s is found again", name, one.Key)
				}
				seen[string(one.Key)] = true
			}
			if read := limit.records - r.records; read > limit.records || len(found) > 30 {
				t.Errorf("%s: a request reads %d records and finds %d", name, read, len(found))
			}
			if requests > records {
				t.Fatalf("%s: no end", name)
			}
		}
		if len(seen) != records {
			t.Errorf("%s: %d records are found, want %d", name, len(seen), records)
		}
	}
}
