package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

const (
	meterInterval = 500 * time.Millisecond
	meterLog      = 10 * time.Second // interval between log lines if there is no terminal
	meterWidth    = 24
)

// watchSnapshot shows the progress of a snapshot until it has ended: on a terminal as one line that changes, otherwise as a line now and then. If the
// snapshot was stopped, it returns an error. A snapshot that ended no later than before is an earlier one with the same id.
func watchSnapshot(ctx context.Context, out io.Writer, id string, before time.Time, read func() (*snapshot.State, error)) error {
	terminal := isTerminal(out)
	var observed rate
	var said time.Time
	for {
		s, err := read()
		if err != nil {
			return err
		}
		now := time.Now()
		if i := slices.IndexFunc(s.Finished, func(f snapshot.FinishedCopy) bool {
			return f.ID == id && (before.IsZero() || f.Finished.After(before))
		}); i >= 0 {
			return ended(out, terminal, s.Finished[i])
		}
		line := "snapshot " + id + ": waiting for the publisher"
		if i := slices.IndexFunc(s.Copies, func(c snapshot.Copy) bool { return c.ID == id }); i >= 0 {
			line = meter(&s.Copies[i], observed.add(s.Copies[i].RowsDone, now))
		}
		switch {
		case terminal:
			fmt.Fprintf(out, "\r%s\x1b[K", line) // then erase the rest of the line
		case now.Sub(said) >= meterLog:
			fmt.Fprintln(out, line)
			said = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("snapshot %s goes on without this command: see pgtee snapshot status (%w)", id, ctx.Err())
		case <-time.After(meterInterval):
		}
	}
}

func ended(out io.Writer, terminal bool, f snapshot.FinishedCopy) error {
	if terminal {
		fmt.Fprint(out, "\r\x1b[K")
	}
	if f.Stopped || f.Why != "" {
		return fmt.Errorf("snapshot %s %s", f.ID, endOf(f))
	}
	fmt.Fprintf(out, "snapshot %s %s\n", doctor.Clean(f.ID), endOf(f))
	return nil
}

// meter returns the state of a snapshot on one line: bar, percentage, rows, tables, and rate and remaining time if the rate in rows per second is
// known.
//
//	4f2a [############------------]  50% 1,000,000 of about 2,000,000 rows, 0 of 1 tables, 310,000 rows/s, 3s to go
func meter(c *snapshot.Copy, perSecond float64) string {
	share := 0.0
	if c.RowsEstimated > 0 {
		share = min(float64(c.RowsDone)/float64(c.RowsEstimated), 1)
	}
	filled := int(share * meterWidth)
	line := fmt.Sprintf("%s [%s%s] %3.0f%% %s of about %s rows, %d of %d tables", c.ID, strings.Repeat("#", filled), strings.Repeat("-", meterWidth-filled),
		100*share, grouped(c.RowsDone), grouped(max(c.RowsEstimated, c.RowsDone)), c.TablesDone, c.TablesTotal)
	if c.Paused {
		line += ", paused"
	}
	if len(c.Unmatched) > 0 {
		line += ", no published table matches " + strings.Join(c.Unmatched, ", ")
	}
	if c.Waiting != "" {
		line += ", waiting: " + c.Waiting
	}
	line = doctor.Clean(line)
	if c.Paused || perSecond < 1 {
		return line
	}
	left := time.Duration(float64(max(0, c.RowsEstimated-c.RowsDone)) / perSecond * float64(time.Second))
	return line + fmt.Sprintf(", %s rows/s, %s to go", grouped(int64(perSecond)), left.Round(time.Second))
}

// rate computes the rate of change of a number over the observations of the last ten seconds.
type rate struct {
	at   []time.Time
	rows []int64
}

// add adds an observation and returns the rate, or 0 while it is unknown.
func (r *rate) add(rows int64, now time.Time) float64 {
	for len(r.at) > 1 && now.Sub(r.at[0]) > 10*time.Second {
		r.at, r.rows = r.at[1:], r.rows[1:]
	}
	r.at, r.rows = append(r.at, now), append(r.rows, rows)
	passed := now.Sub(r.at[0]).Seconds()
	if passed <= 0 {
		return 0
	}
	return float64(rows-r.rows[0]) / passed
}

// grouped formats a number with commas between thousands.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
