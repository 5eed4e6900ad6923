package kafka

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Two parts take turns: one flies while the next is composed. Neither costs memory of its own each time.
func TestFlightsReuseTheirMemory(t *testing.T) {
	var b record.Batch
	flights := []*flight{{}, {}}
	round := func() {
		for _, f := range flights {
			for range 500 {
				key := len(b.Buf)
				b.Buf = append(b.Buf, "key and value"...)
				b.Add("t", key, key+3)
			}
			if err := f.fill(t.Context(), &b, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range flights {
			if len(f.records) != 500 {
				t.Fatalf("%d records", len(f.records))
			}
			for i := range f.records {
				f.acknowledged(&f.records[i], nil)
			}
			if _, err := f.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.batch.Reset()
		}
	}
	for range 3 {
		round()
	}
	if n := testing.AllocsPerRun(10, round); n > 4 { // two channels, not a slice
		t.Errorf("%v allocations for 1,000 records", n)
	}
}

// DDL is in one order although its records have keys of their own.
func TestRecordsOfOneOrder(t *testing.T) {
	var b record.Batch
	for i := range 2 {
		key := len(b.Buf)
		b.Buf = append(b.Buf, "key and value"...)
		if b.Add("t", key, key+3); i == 0 {
			b.First()
		}
	}
	var f flight
	if err := f.fill(t.Context(), &b, nil, nil); err != nil {
		t.Fatal(err)
	}
	choose := partitioner().ForTopic("t")
	if first, other := choose.Partition(&f.records[0], 12), choose.Partition(&f.records[1], 12); first != 0 || other == 0 || string(f.records[0].Key) != "key" {
		t.Errorf("partitions %d and %d, key %q", first, other, f.records[0].Key)
	}
}

func TestCompressorIsReadByOthers(t *testing.T) {
	c := newCompressor()
	for _, n := range []int{0, 1, 100, 20_000} {
		var batch []byte
		for i := range n {
			batch = fmt.Appendf(batch, `{"before":null,"after":{"id":%d,"item":"article %d"},"op":"c"}`, i, i%7)
		}
		compressed, codec := c.Compress(new(bytes.Buffer), batch)
		got, err := kgo.DefaultDecompressor().Decompress(compressed, codec)
		if err != nil || !bytes.Equal(got, batch) {
			t.Errorf("%d bytes: %d come back, %v", len(batch), len(got), err)
		}
		if codec != kgo.CodecLz4 || n > 100 && len(compressed) > len(batch)/4 {
			t.Errorf("%d bytes: codec %d, %d bytes compressed", len(batch), codec, len(compressed))
		}
	}
}
