package console

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// TestSnapshot: an admin sees how long the copy takes, and can pause, resume and cancel it.
func TestSnapshot(t *testing.T) {
	now := publisher.Stats{State: "publishing"}
	copying := &now.Snapshot
	copying.State, copying.ID, copying.Table, copying.TablesTotal, copying.RowsDone, copying.RowsEstimated = "copying", "4f2a", "public.orders", 2, 1000, 3000
	var asked []string
	f := newFixture(t, func(c *Config) {
		c.Logins = logins(t)
		s := &c.Streams[0]
		s.Stats = func() publisher.Stats { return now }
		s.Signal = func(_ context.Context, r *outbox.SignalRecord) error {
			asked = append(asked, r.Type+" "+r.Snapshot)
			return nil
		}
	})
	began := time.Now()
	f.series[prefix].add(sampleOf{at: began, copied: 500})
	f.series[prefix].add(sampleOf{at: began.Add(10 * time.Second), copied: 1000})
	with := func(secret string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) }
	}
	_, page, _ := f.get("/streams", with(adminSecret))
	f.expect(page, "4f2a", "public.orders", "of about 3\u202f000", "0 of 2", `<td data-label="to go">40 s</td>`, ">Pause<", ">Cancel<")
	copying.State, copying.TablesTotal = "paused", 0
	_, page, _ = f.get("/streams", with(adminSecret))
	f.expect(page, ">Resume<", ">Cancel<")
	_, page, _ = f.get("/streams", with(readerSecret))
	f.expect(page, "An admin can pause")
	post := func(kind string) func(*http.Request) {
		return func(r *http.Request) {
			r.Method, r.Body = "POST", io.NopCloser(strings.NewReader(url.Values{"type": {kind}, "id": {"4f2a"}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	}
	for _, test := range []struct {
		kind, secret string
		want         int
	}{
		{outbox.PauseSnapshot, adminSecret, http.StatusSeeOther}, {outbox.ResumeSnapshot, adminSecret, http.StatusSeeOther}, {outbox.StopSnapshot, adminSecret, http.StatusSeeOther},
		{outbox.Resync, adminSecret, http.StatusBadRequest}, {outbox.PauseSnapshot, readerSecret, http.StatusForbidden},
	} {
		if status, body, _ := f.get("/streams/snapshot", with(test.secret), post(test.kind)); status != test.want {
			t.Errorf("%s: status %d, want %d: %s", test.kind, status, test.want, body)
		}
	}
	if got := strings.Join(asked, ", "); got != "pause-snapshot 4f2a, resume-snapshot 4f2a, stop-snapshot 4f2a" {
		t.Errorf("asked of the publisher: %s", got)
	}
}

// TestRetrySnapshot: an admin requests a stopped snapshot again, once; the log says who. Others and finished snapshots are refused.
func TestRetrySnapshot(t *testing.T) {
	const evil = `"><img src=x onerror=alert(1)>`
	now := publisher.Stats{State: "publishing"}
	at := time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC)
	request := &snapshot.Request{Tables: []string{evil}, Conditions: []outbox.SignalCondition{{Table: evil, Filter: "id > 5"}}}
	now.Snapshot.Finished = []snapshot.FinishedCopy{
		{ID: "whole", Finished: at, Rows: 1234, Tables: 2},
		{ID: "half", Finished: at.Add(time.Second), Rows: 10, Stopped: true, Why: evil, Request: request},
		{ID: "emptying", Finished: at.Add(2 * time.Second), Stopped: true, Why: "stopped by a signal", Request: &snapshot.Request{Resync: true}},
		{ID: "long", Finished: at.Add(3 * time.Second), Stopped: true, Why: "stopped by a signal"},
	}
	var asked []*outbox.SignalRecord
	f := newFixture(t, func(c *Config) {
		c.Logins = logins(t)
		c.Streams[0].Stats = func() publisher.Stats { return now }
		c.Streams[0].Signal = func(_ context.Context, r *outbox.SignalRecord) error {
			asked = append(asked, r)
			return nil
		}
	})
	with := func(secret string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) }
	}
	retry := func(id string) func(*http.Request) {
		return func(r *http.Request) {
			r.Method, r.Body = "POST", io.NopCloser(strings.NewReader(url.Values{"type": {"retry"}, "id": {id}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	}
	_, page, _ := f.get("/streams", with(readerSecret))
	f.expect(page, "whole", "1\u202f234", "half", "stopped", "emptying")
	if strings.Contains(page, ">Retry<") || strings.Contains(page, "<img") {
		t.Error("a reader is offered to retry, or a reason is markup")
	}
	_, page, _ = f.get("/streams", with(adminSecret))
	f.expect(page, "Copy &#34;&gt;&lt;img", "Copy *.* again, from the beginning? The topics of these tables are emptied first.", "request it with <code>pgtee snapshot start")
	if n := strings.Count(page, ">Retry<"); n != 2 || strings.Contains(page, "<img") {
		t.Errorf("%d snapshots can be retried, or one is markup:\n%s", n, page)
	}
	half, emptying := now.Snapshot.Finished[1].Again(), now.Snapshot.Finished[2].Again()
	for _, test := range []struct {
		id, secret string
		want       int
	}{
		{half.ID, readerSecret, http.StatusForbidden}, {half.ID, adminSecret, http.StatusSeeOther}, {emptying.ID, adminSecret, http.StatusSeeOther},
		{"half", adminSecret, http.StatusNotFound}, {"whole", adminSecret, http.StatusNotFound}, {"", adminSecret, http.StatusNotFound},
	} {
		if status, body, _ := f.get("/streams/snapshot", with(test.secret), retry(test.id)); status != test.want {
			t.Errorf("%q: status %d, want %d: %s", test.id, status, test.want, body)
		}
	}
	if want := []*outbox.SignalRecord{half, emptying}; !reflect.DeepEqual(asked, want) || half.Conditions[0].Filter != "id > 5" || emptying.Type != outbox.Resync {
		t.Errorf("asked of the publisher: %+v", asked)
	}
	if entries := f.logged.FilterMessage("console: a snapshot was controlled").All(); len(entries) != 2 || entries[0].ContextMap()["who"] != "ada" || entries[0].ContextMap()["snapshot"] != "half" {
		t.Errorf("the log says %v", entries)
	}
	now.Snapshot.State, now.Snapshot.ID = "copying", half.ID
	_, page, _ = f.get("/streams", with(adminSecret))
	f.expect(page, "requested again")
	if status, _, _ := f.get("/streams/snapshot", with(adminSecret), retry(half.ID)); status != http.StatusNotFound {
		t.Errorf("a second retry: status %d", status)
	}
}

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

// TestSlotLimits: a slot that is lost retains nothing, and a limit of zero is one.
func TestSlotLimits(t *testing.T) {
	for want, c := range map[string]struct {
		wal   string
		limit int64
		meter bool
	}{
		"of 1.0 GB":                           {"reserved", 1 << 30, true},
		"no limit is set":                     {"reserved", -1, false},
		"of 0 B":                              {"reserved", 0, true},
		"the slot has lost WAL that it needs": {"lost", 1 << 30, true},
	} {
		f := newFixture(t, func(cfg *Config) {
			cfg.Streams[0].Retained = func() (outbox.SlotStatus, int64) { return outbox.SlotStatus{WAL: c.wal}, c.limit }
		})
		page := f.page("/streams")
		f.expect(page, want)
		if strings.Contains(page, "Share of the limit") != c.meter || strings.Contains(page, `value="1"`) != (c.wal == "lost" || c.limit == 0) {
			t.Errorf("the meter is wrong where %q: %s", want, page)
		}
	}
}
