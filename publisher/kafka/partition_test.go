package kafka

import (
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A key goes where Kafka's Java client would put it, so that topics can be joined with those of others.
// testdata/murmur2.golden was written by that client: testdata/Murmur2.java makes the same keys, 131,072 of all
// bytes and of all lengths from 0 on.
func TestPartitionsAreThoseOfTheJavaClient(t *testing.T) {
	golden, err := os.ReadFile("testdata/murmur2.golden")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	if len(lines) != 1024 {
		t.Fatalf("%d lengths, want 1024", len(lines))
	}
	state := uint64(1)
	choose := partitioner().ForTopic("t")
	for length, want := range lines {
		sum := crc32.NewIEEE()
		for range 128 {
			key := make([]byte, length)
			for i := range key {
				state = state*6364136223846793005 + 1442695040888963407
				key[i] = byte(state >> 56)
			}
			for _, count := range []int{1, 2, 3, 7, 12, 251} {
				sum.Write([]byte{byte(choose.Partition(&kgo.Record{Key: key}, count))})
			}
		}
		if got := fmt.Sprintf("%d %08x", length, sum.Sum32()); got != want {
			t.Errorf("keys of %d bytes: %s, the Java client %s", length, got, want)
		}
	}
}

// Records without a key stay together, for their order counts too.
func TestRecordsWithoutKeyGoToPartition0(t *testing.T) {
	choose := partitioner().ForTopic("t")
	for range 100 {
		if got := choose.Partition(&kgo.Record{Value: []byte("v")}, 12); got != 0 {
			t.Fatalf("partition %d", got)
		}
	}
}
