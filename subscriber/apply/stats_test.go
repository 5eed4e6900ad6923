package apply

import (
	"testing"
	"testing/synctest"
	"time"
)

// An applier that is stuck from its start on is as late as its fence row says; one whose source is idle is not late.
func TestLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Stats
		start := time.Now()
		expect := func(what string, want time.Duration) {
			t.Helper()
			if got := s.Values().Lag(time.Now()); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		s.begin(&position{end: 100, at: start.Add(-time.Hour)}, &progress{EndLSN: 200})
		time.Sleep(time.Minute)
		expect("stuck since the start", time.Hour+time.Minute)
		s.committed(&batch{end: 150, commitTime: start.Add(-time.Minute)})
		expect("nearer", 2*time.Minute)
		s.committed(&batch{end: 200, commitTime: start})
		expect("it has everything", 0)
		time.Sleep(time.Hour)
		s.published(300) // without a transaction, as of an idle source
		time.Sleep(5 * time.Second)
		expect("the source was idle", 5*time.Second)
		s.published(400)
		expect("the source is still idle", 5*time.Second)
		s.committed(&batch{end: 400})
		expect("it has everything again", 0)

		s = Stats{}
		s.begin(&position{fresh: true}, &progress{EndLSN: 200})
		time.Sleep(time.Minute)
		expect("a new stream that is stuck", time.Minute)
	})
}
