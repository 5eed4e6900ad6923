package query

import (
	"testing"
	"time"
	_ "time/tzdata"
)

// In Havana the clock goes from Saturday 23:59 to Sunday 01:00: a midnight that is not there ends no search.
func TestCronWithoutMidnight(t *testing.T) {
	havana, err := time.LoadLocation("America/Havana")
	if err != nil {
		t.Fatal(err)
	}
	cron, err := ParseCron("0 6 * * 1-5")
	if err != nil {
		t.Fatal(err)
	}
	after := time.Date(2025, 3, 7, 12, 0, 0, 0, havana) // Friday
	if got, want := cron.Next(after), time.Date(2025, 3, 10, 6, 0, 0, 0, havana); !got.Equal(want) {
		t.Errorf("next is %v, want %v", got, want)
	}
}

func TestCron(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse("2006-01-02 15:04:05", text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, c := range []struct{ cron, after, want string }{
		{"* * * * *", "2025-01-31 12:00:30", "2025-01-31 12:01:00"},
		{"0 6 * * 1-5", "2025-01-31 12:00:00", "2025-02-03 06:00:00"},
		{"*/15 * * * *", "2025-01-31 23:45:00", "2025-02-01 00:00:00"},
		{"5,35 3-4 1 * *", "2025-01-31 12:00:00", "2025-02-01 03:05:00"},
		{"0 0 29 2 *", "2025-01-31 12:00:00", "2028-02-29 00:00:00"},
		{"0 0 13 * 5", "2025-01-31 12:00:00", "2025-02-07 00:00:00"}, // the 13th or a Friday
		{"0 0 * * 7", "2025-01-31 12:00:00", "2025-02-02 00:00:00"},
		{"10-59/20 * * * *", "2025-01-31 12:30:00", "2025-01-31 12:50:00"},
	} {
		cron, err := ParseCron(c.cron)
		if err != nil {
			t.Fatalf("%s: %v", c.cron, err)
		}
		if got := cron.Next(at(c.after)); !got.Equal(at(c.want)) {
			t.Errorf("%s after %s is %v, want %s", c.cron, c.after, got, c.want)
		}
	}
	for _, text := range []string{"", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *", "*/0 * * * *", "x * * * *", "0 0 31 2 *"} {
		if _, err := ParseCron(text); err == nil {
			t.Errorf("%q is taken for a schedule", text)
		}
	}
}
