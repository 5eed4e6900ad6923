package verdict

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// dateText handles the infinities: the days of pgjdbc's constants, truncated to 32 bits.
func dateText(days int64) string {
	switch days {
	case 2146033979:
		return "infinity"
	case -2147472691:
		return "-infinity"
	}
	date, era := calendar(time.Unix(0, 0).UTC().AddDate(0, 0, int(days)))
	return date + era
}

func clockText(micros int64) string {
	return fmt.Sprintf("%02d:%02d:%02d.%06d", micros/3600e6, micros/60e6%60, micros/1e6%60, micros%1e6)
}

func stampText(count, infinity, minusInfinity int64, from func(int64) time.Time) string {
	switch count {
	case infinity:
		return "infinity"
	case minusInfinity:
		return "-infinity"
	}
	t := from(count).UTC()
	date, era := calendar(t)
	return date + t.Format(" 15:04:05.000000") + era
}

// calendar returns the year as PostgreSQL reads it: there is no year 0, and the year before 1 is 1 BC.
func calendar(t time.Time) (date, era string) {
	year := t.Year()
	if year <= 0 {
		year, era = 1-year, " BC"
	}
	return fmt.Sprintf("%04d-%02d-%02d", year, t.Month(), t.Day()), era
}

// zonedText parses "-0043-03-15T12:00:00Z": ISO 8601 with a year 0 and a sign before long or negative years.
func zonedText(s string) (string, error) {
	date, clock, found := strings.Cut(s, "T")
	if !found { // infinity, -infinity
		return s, nil
	}
	t, err := isoDate(date)
	if err != nil {
		return "", err
	}
	date, era := calendar(t)
	return date + " " + clock + era, nil
}

// isoDateText parses "-0043-03-15Z".
func isoDateText(s string) (string, error) {
	t, err := isoDate(strings.TrimSuffix(s, "Z"))
	return dateText(t.Unix() / (24 * 3600)), err
}

func isoDate(s string) (time.Time, error) {
	parts := strings.Split(strings.TrimLeft(s, "+-"), "-")
	var numbers [3]int
	for i := range numbers {
		var err error
		if len(parts) != len(numbers) {
			return time.Time{}, fmt.Errorf("date %q: want year, month and day", s)
		}
		if numbers[i], err = strconv.Atoi(parts[i]); err != nil {
			return time.Time{}, fmt.Errorf("date %q: %w", s, err)
		}
	}
	if s[0] == '-' {
		numbers[0] = -numbers[0]
	}
	return time.Date(numbers[0], time.Month(numbers[1]), numbers[2], 0, 0, 0, 0, time.UTC), nil
}

func durationText(micros int64) string {
	switch micros {
	case math.MaxInt64:
		return "infinity"
	case math.MinInt64:
		return "-infinity"
	}
	return fmt.Sprintf("%d microseconds", micros)
}
