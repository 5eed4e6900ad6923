package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pgtee/pgtee/outbox"
)

func TestBatchKeepsWhatWasAddedWhileItGrows(t *testing.T) {
	b := NewBatch("7300", "pgtee")
	b.Timeline, b.History = 4, []outbox.TimelineSwitch{{Timeline: 1, End: 0x16B3748}, {Timeline: 3, End: 0x16B3749}}
	tx := &outbox.Transaction{CommitLSN: 0x16B3748, Changes: []outbox.Change{{Ordinal: 12, Note: -1}}}
	for range 2 {
		b.Reset()
		b.Begin(tx)
		b.At(tx, 0)
		for i := range 1000 {
			key := len(b.Buf)
			b.Buf = fmt.Appendf(b.Buf, "key %d", i)
			value := len(b.Buf)
			b.Buf = fmt.Appendf(b.Buf, "value %d", i)
			b.Add("t", key, value)
		}
		for i, r := range b.Records() {
			if string(r.Key) != fmt.Sprintf("key %d", i) || string(r.Value) != fmt.Sprintf("value %d", i) {
				t.Fatalf("record %d: key %q, value %q", i, r.Key, r.Value)
			}
			want := "7300/pgtee/3/0/16B3748/12"
			if i > 0 {
				want += fmt.Sprintf(".%d", i)
			}
			if len(r.Headers) != 1 || r.Headers[0].Key != EventIDHeader || string(r.Headers[0].Value) != want {
				t.Fatalf("record %d: headers %q, want %s", i, r.Headers, want)
			}
		}
	}
}

func TestBatchNullsAndHeaders(t *testing.T) {
	var b Batch
	b.Buf = append(b.Buf, "k1"...)
	b.Add("deleted", 0, Null)
	b.Header("reason", b.Buf[:2])
	value := len(b.Buf)
	b.Buf = append(b.Buf, "v2"...)
	b.Add("without key", Null, value)
	b.Add("empty", len(b.Buf), len(b.Buf))
	got := b.Records()
	if len(got) != 3 || b.Len() != 3 {
		t.Fatalf("%d records", len(got))
	}
	if string(got[0].Key) != "k1" || got[0].Value != nil || len(got[0].Headers) != 2 || string(got[0].Headers[1].Value) != "k1" {
		t.Errorf("tombstone: %+v", got[0])
	}
	if got[1].Key != nil || string(got[1].Value) != "v2" {
		t.Errorf("without key: %+v", got[1])
	}
	if got[2].Key == nil || got[2].Value == nil {
		t.Errorf("empty is not null: %+v", got[2])
	}
}

func TestBatchDoesNotAllocatePerRecord(t *testing.T) {
	b := NewBatch("7300", "pgtee")
	tx := &outbox.Transaction{Changes: []outbox.Change{{Note: -1}}}
	fill := func() {
		b.Reset()
		b.Begin(tx)
		for range 1000 {
			b.At(tx, 0)
			value := len(b.Buf)
			b.Buf = append(b.Buf, "value"...)
			b.Add("t", Null, value)
		}
		b.Records()
	}
	fill()
	if n := testing.AllocsPerRun(10, fill); n > 5 {
		t.Errorf("%v allocations for 1000 records", n)
	}
}

// privateUse has characters of private use in place of the bytes that are not UTF-8.
func privateUse(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			r = 0xF700 + rune(s[i])
		}
		b.WriteRune(r)
	}
	return b.String()
}

func FuzzAppendJSONString(f *testing.F) {
	for _, s := range []string{"", "a", `"\`, "\x00\x1f\n\r\t", "<>&\u2028", "\xff\xc3", "ä€😀", "\xe2\x82", "\xef\xbf\xbd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := AppendJSONString([]byte("x"), s)
		if !bytes.Equal(got, AppendJSONString([]byte("x"), []byte(s))) {
			t.Fatal("string and bytes differ")
		}
		var back string
		if err := json.Unmarshal(got[1:], &back); err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if want := privateUse(s); back != want {
			t.Fatalf("%q became %q, want %q", s, back, want)
		}
		if !utf8.Valid(got) {
			t.Fatalf("%q is not UTF-8", got)
		}
	})
}

func TestJSONTimeAndHex(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	got := AppendJSONTime(nil, time.Date(2025, 1, 31, 12, 0, 0, 1000, zone))
	if want := `"2025-01-31T10:00:00.000001Z"`; string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := AppendHex16(nil, 0xab); string(got) != "00000000000000ab" {
		t.Errorf("%s", got)
	}
	if got := AppendJSONBase64(nil, []byte{0xff}); string(got) != `"/w=="` {
		t.Errorf("%s", got)
	}
}
