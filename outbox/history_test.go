package outbox

import (
	"slices"
	"testing"
)

func TestParseTimelineHistory(t *testing.T) {
	const content = "1\t0/3000148\tno recovery target specified\n\n# a comment\n 2\t1/A0  before 2026-01-02 03:04:05+00\r\n4 1/B0\n"
	got, err := parseTimelineHistory(content)
	want := []TimelineSwitch{
		{1, 0x3000148, "no recovery target specified"},
		{2, 1<<32 + 0xA0, "before 2026-01-02 03:04:05+00"},
		{4, 1<<32 + 0xB0, ""},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
	for _, content := range []string{"1", "x\t0/1\t", "1\tx\t", "2\t0/1\ta\n2\t0/2\tb\n", "9999999999\t0/1\ta\n"} {
		if got, err := parseTimelineHistory(content); err == nil {
			t.Errorf("%q is taken for %v", content, got)
		}
	}
}
