package main

import (
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

func TestLag(t *testing.T) {
	var l lag
	start := time.Unix(1_700_000_000, 0)
	expect := func(published outbox.LSN, after time.Duration, wantBytes int64, wantAge time.Duration) {
		t.Helper()
		if bytes, age := l.behind(published, start.Add(after)); bytes != wantBytes || age != wantAge {
			t.Errorf("published %s: %d bytes, %s, want %d, %s", published, bytes, age, wantBytes, wantAge)
		}
	}
	expect(0, 0, 0, 0)
	l.observe(outbox.SlotStatus{Server: 100}, start)
	l.observe(outbox.SlotStatus{Server: 100}, start.Add(10*time.Second)) // idle
	l.observe(outbox.SlotStatus{Server: 200}, start.Add(20*time.Second))
	expect(50, 30*time.Second, 150, 30*time.Second)
	expect(100, 30*time.Second, 100, 10*time.Second)
	expect(200, 40*time.Second, 0, 0)
	expect(300, 40*time.Second, 0, 0) // the answer is older than what was published
	l.observe(outbox.SlotStatus{Server: 400}, start.Add(50*time.Second))
	l.observe(outbox.SlotStatus{Server: 50}, start.Add(60*time.Second)) // a backup was restored
	expect(50, 70*time.Second, 0, 0)
	l.observe(outbox.SlotStatus{Server: 60}, start.Add(80*time.Second))
	expect(50, 90*time.Second, 10, 10*time.Second)
	l = lag{}
	for i := range 10 * maxMarks {
		l.observe(outbox.SlotStatus{Server: outbox.LSN(1000 + i)}, start.Add(time.Duration(i)*time.Second))
	}
	if len(l.marks) > maxMarks {
		t.Errorf("%d marks", len(l.marks))
	}
	expect(300, 20000*time.Second, 1000+10*maxMarks-1-300, 20000*time.Second)
}
