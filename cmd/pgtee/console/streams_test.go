package console

import (
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/publisher"
)

// TestLagUnknown: a publisher that does not hold the slot is not called up to date.
func TestLagUnknown(t *testing.T) {
	holds := true
	f := newFixture(t, func(c *Config) {
		c.Streams[0].Stats = func() publisher.Stats { return publisher.Stats{State: "halted"} }
		c.Streams[0].Lag = func() (int64, time.Duration, bool) { return 0, 0, holds }
	})
	f.series[prefix].add(sampleNow(f.cfg.Streams[0], time.Now()))
	f.expect(f.page("/streams"), "up to date")
	holds = false
	f.series[prefix].add(sampleNow(f.cfg.Streams[0], time.Now()))
	page := f.page("/streams")
	f.expect(page, "not known", "does not hold the slot")
	if strings.Contains(page, "up to date") {
		t.Error("it is up to date")
	}
	_, series, _ := f.get("/streams/series")
	f.expect(series, `"lag_bytes":[0,null],"lag_seconds":[0,null]`)
}

// TestPredictions: a slot or a snapshot that hardly moves has no end in sight.
func TestPredictions(t *testing.T) {
	began := time.Now()
	growing := func(bytes, rows int64) (list []sampleOf) {
		for n := range int64(10) {
			list = append(list, sampleOf{at: began.Add(time.Duration(n) * sampleEvery), retained: 100<<30 + n*bytes, copied: n * rows})
		}
		return list
	}
	const limit = 1 << 40
	copying := publisher.Stats{}
	copying.Snapshot.State, copying.Snapshot.RowsEstimated = "copying", 1e12
	for growth, want := range map[int64]time.Duration{0: 0, 1: 0, 100 << 10: 0, 924 << 20: 1015 * sampleEvery, 1 << 40: time.Second} {
		if got := untilFull(growing(growth, 0), limit).Round(time.Second); got != want {
			t.Errorf("with %d bytes in each sample the slot is lost in %s, want %s", growth, got, want)
		}
	}
	for rows, want := range map[int64]time.Duration{0: 0, 1: 0, 1e6: 1e6 * sampleEvery} {
		if got := untilCopied(growing(0, rows), copying).Round(time.Second); got != want {
			t.Errorf("with %d rows in each sample the snapshot ends in %s, want %s", rows, got, want)
		}
	}
}
