package query

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Cron is a schedule as in crontab(5): minute, hour, day of month, month, day of week.
type Cron struct {
	minutes, hours, days, months, weekdays uint64 // one bit per value
	anyDay, anyWeekday                     bool   // the field starts with *
}

var errCron = errors.New("want five fields, minute hour day month weekday, such as 0 6 * * 1-5")

// ParseCron accepts numbers, *, ranges, lists and steps.
func ParseCron(text string) (c Cron, err error) {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return c, errCron
	}
	for i, f := range []struct {
		bits      *uint64
		low, high int
	}{{&c.minutes, 0, 59}, {&c.hours, 0, 23}, {&c.days, 1, 31}, {&c.months, 1, 12}, {&c.weekdays, 0, 7}} {
		for part := range strings.SplitSeq(fields[i], ",") {
			bits, err := parseCronPart(part, f.low, f.high)
			if err != nil {
				return c, err
			}
			*f.bits |= bits
		}
	}
	if c.weekdays>>7&1 != 0 { // Sunday is both 0 and 7
		c.weekdays |= 1
	}
	c.anyDay, c.anyWeekday = strings.HasPrefix(fields[2], "*"), strings.HasPrefix(fields[4], "*")
	if c.Next(time.Now()).IsZero() {
		return c, fmt.Errorf("no such day exists: %w", errCron)
	}
	return c, nil
}

// parseCronPart parses *, 5, 1-5, */10 or 1-30/5.
func parseCronPart(part string, low, high int) (bits uint64, err error) {
	values, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
			return 0, errCron
		}
	}
	from, to := low, high
	if values != "*" {
		first, last, isRange := strings.Cut(values, "-")
		if from, err = strconv.Atoi(first); err != nil {
			return 0, errCron
		}
		switch {
		case isRange:
			if to, err = strconv.Atoi(last); err != nil {
				return 0, errCron
			}
		case !stepped:
			to = from
		}
	}
	if from < low || to > high || from > to {
		return 0, errCron
	}
	for ; from <= to; from += step {
		bits |= 1 << from
	}
	return bits, nil
}

const cronYears = 9 // there may be eight years between two leap days

// Next returns the first time of the schedule after another, in the time zone of the latter; zero if there is none.
func (c Cron) Next(after time.Time) time.Time {
	t := after.Truncate(time.Minute).Add(time.Minute)
	for end := after.AddDate(cronYears, 0, 0); t.Before(end); {
		switch {
		case c.months>>t.Month()&1 == 0:
			t = later(t, time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, t.Location()))
		case !c.onDay(t):
			t = later(t, time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location()))
		case c.hours>>t.Hour()&1 == 0:
			t = t.Add(time.Duration(60-t.Minute()) * time.Minute)
		case c.minutes>>t.Minute()&1 == 0:
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

// later returns next, or the next hour if the clock has skipped that midnight and time.Date() returns an earlier time.
func later(t, next time.Time) time.Time {
	if !next.After(t) {
		return t.Add(time.Hour)
	}
	return next
}

// onDay reports whether a day matches. If both day fields are restricted, one of them must match.
func (c Cron) onDay(t time.Time) bool {
	day, weekday := c.days>>t.Day()&1 != 0, c.weekdays>>t.Weekday()&1 != 0
	if c.anyDay || c.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

// Every is a schedule with a fixed distance between the starts of runs. A run that takes longer is followed immediately by the next one.
func Every(distance time.Duration) func(time.Time) time.Time {
	due := time.Now()
	return func(now time.Time) time.Time {
		if due = due.Add(distance); due.Before(now) {
			due = now
		}
		return due
	}
}
