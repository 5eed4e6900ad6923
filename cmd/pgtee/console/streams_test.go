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
