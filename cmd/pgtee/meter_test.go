package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgtee/pgtee/publisher/snapshot"
)

func TestMeter(t *testing.T) {
	tests := []struct {
		copy snapshot.Copy
		rate float64
		want string
	}{
		{snapshot.Copy{ID: "a", TablesTotal: 1, RowsDone: 1_000_000, RowsEstimated: 2_000_000}, 250_000,
			"a [############------------]  50% 1,000,000 of about 2,000,000 rows, 0 of 1 tables, 250,000 rows/s, 4s to go"},
		{snapshot.Copy{ID: "a", TablesDone: 2, TablesTotal: 3, RowsDone: 300, RowsEstimated: 200, Paused: true}, 5,
			"a [########################] 100% 300 of about 300 rows, 2 of 3 tables, paused"},
		{snapshot.Copy{ID: "a", RowsEstimated: -1}, 0, "a [------------------------]   0% 0 of about 0 rows, 0 of 0 tables"},
	}
	for _, test := range tests {
		if got := meter(&test.copy, test.rate); got != test.want {
			t.Errorf("%s\nwant\n%s", got, test.want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1: "-1", -999: "-999", -1000: "-1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestWatchSnapshot(t *testing.T) {
	for name, last := range map[string]struct {
		finished  snapshot.FinishedCopy
		out, fail string
	}{
		"finished":  {snapshot.FinishedCopy{ID: "a", Tables: 1, Rows: 2000}, "snapshot a finished: 2,000 rows of 1 tables\n", ""},
		"cancelled": {snapshot.FinishedCopy{ID: "a", Stopped: true, Rows: 5}, "", "snapshot a cancelled after 5 rows"},
		"refused":   {snapshot.FinishedCopy{ID: "a", Stopped: true, Why: "no such table"}, "", "snapshot a stopped: no such table"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				var out bytes.Buffer
				err := watchSnapshot(context.Background(), &out, "a", time.Time{}, func() (*snapshot.State, error) {
					calls++
					switch {
					case calls < 3:
						return &snapshot.State{Finished: []snapshot.FinishedCopy{{ID: "b"}}}, nil
					case calls < 60:
						return &snapshot.State{Copies: []snapshot.Copy{{ID: "a", RowsDone: int64(calls) * 100, RowsEstimated: 10_000}}}, nil
					}
					return &snapshot.State{Finished: []snapshot.FinishedCopy{{ID: "b"}, last.finished}}, nil
				})
				const waited = "snapshot a: waiting for the publisher\n"
				text, ok := strings.CutPrefix(out.String(), waited)
				if !ok || strings.Count(text, "200 rows/s") != 2 || !strings.HasSuffix(text, last.out) {
					t.Errorf("%s", out.String())
				}
				if (err == nil) != (last.fail == "") || err != nil && err.Error() != last.fail {
					t.Errorf("error %v, want %q", err, last.fail)
				}
			})
		})
	}
}

func TestWatchSnapshotIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := watchSnapshot(ctx, &bytes.Buffer{}, "a", time.Time{}, func() (*snapshot.State, error) { return &snapshot.State{}, nil })
	if err == nil || !strings.Contains(err.Error(), "goes on without") {
		t.Errorf("%v", err)
	}
}
