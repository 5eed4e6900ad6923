package consume

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A producer may give a record any time: one that PostgreSQL does not read must not keep the record out of pgtee.dead_letters.
func TestTimestampOfADeadLetter(t *testing.T) {
	for year, known := range map[int]bool{-200000: false, 0: false, 1: true, 2025: true, 9999: true, 10000: false, 300000: false} {
		got := timestampOf(&kgo.Record{Timestamp: time.Date(year, 1, 2, 0, 0, 0, 0, time.UTC)})
		if (got != nil) != known {
			t.Errorf("year %d: %q", year, got)
		}
	}
}
