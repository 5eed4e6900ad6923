package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// event makes one of a record.
func event(topic string, offset int64, key, value string, headers ...kgo.RecordHeader) apply.Event {
	id := fmt.Sprintf("7300/pgtee/1/0/%X/1", 100+offset)
	r := &kgo.Record{Topic: topic, Partition: 3, Offset: offset, Timestamp: time.UnixMilli(1735689600123), Headers: append([]kgo.RecordHeader{{Key: idHeader, Value: []byte(id)}}, headers...)}
	e := apply.Event{Record: r, ID: []byte(id), Commit: LSN(100 + offset)}
	if key != "" {
		e.Key = []byte(key)
	}
	if value != "" {
		e.Value = []byte(value)
	}
	r.Key, r.Value = e.Key, e.Value
	return e
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

var samples = []apply.Event{
	event("shop.public.orders", 1, `{"id":7}`, `{"before":null,"after":{"id":7,"name":"a } \" , b"},"op":"c"}`),
	event("shop.public.orders", 2, "", `{"op":"t"}`, header("pgtee-resync", "mine")),
	event("shop.public.orders", 3, `{"a":[{"b":"]}"}]}`, `{"op":"d"}`, header("__debezium.newkey", `{"id":"x\ny"}`), header("__debezium.newkey", "again"), kgo.RecordHeader{Key: "none"}),
	event("shop.public.\"ü\"", 4, `"text, with a comma"`, `12`),
	event("t", 5, "no JSON", "{\n\"op\":\"c\"}", header("bytes", "\xff\x00")),
	event("t", 6, "12", "\x00\x01"),
}

// same compares what an archive keeps.
func same(a, b *kgo.Record) bool {
	return a.Topic == b.Topic && a.Partition == b.Partition && a.Offset == b.Offset && a.Timestamp.Equal(b.Timestamp) && bytes.Equal(a.Key, b.Key) &&
		(a.Key == nil) == (b.Key == nil) && bytes.Equal(a.Value, b.Value) && reflect.DeepEqual(a.Headers, b.Headers)
}

// written is a file with events of a format.
func written(t *testing.T, format Format, events []apply.Event) *os.File {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"+suffixes[format]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	e, err := newEncoder(format, file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		if _, err := e.add(int64(i+1), &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return file
}

// What is read back is what was written, whatever keys, values and headers hold.
func TestRecordsAreReadBack(t *testing.T) {
	many := samples
	random := rand.New(rand.NewSource(1))
	for i := range 3000 {
		e := samples[random.Intn(4)]
		r := *e.Record
		r.Offset = int64(10 + i)
		e.Record = &r
		many = append(many, e)
	}
	long := event("t", 9999, `{"id":1}`, `{"after":"`+string(bytes.Repeat([]byte("x"), 3<<20))+`"}`)
	many = append(many, long, samples[0])
	for _, format := range []Format{JSONLines, Parquet} {
		d, err := newDecoder(format, written(t, format, many))
		if err != nil {
			t.Fatal(err)
		}
		for i := range many {
			number, got, err := d.next()
			if err != nil || number != int64(i+1) || !same(got, many[i].Record) {
				t.Fatalf("%s: record %d is read as number %d, error %v, and is not the one with offset %d", format, i+1, number, err, many[i].Record.Offset)
			}
		}
		if _, _, err := d.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: behind the last record comes %v", format, err)
		}
		d.close()
	}
}

// A line is one line, and JSON with the fields that views.sql names.
func TestLine(t *testing.T) {
	for i := range samples {
		line := appendLine(nil, 1, &samples[i])
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Errorf("a line feed in %q", line)
		}
	}
	want := `{"n":17,"id":"7300/pgtee/1/0/66/1","topic":"shop.public.orders","partition":3,"offset":2,"ts":1735689600123,"headers":{"pgtee-resync":"mine"},"value":{"op":"t"}}` + "\n"
	if got := appendLine(nil, 17, &samples[1]); string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzParseRecord(f *testing.F) {
	for i := range samples {
		f.Add(appendLine(nil, 1, &samples[i]))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		number, r, err := parseRecord(line)
		if err != nil {
			return
		}
		e := apply.Event{Record: r, ID: r.Headers[0].Value, Key: r.Key, Value: r.Value}
		again := appendLine(nil, number, &e)
		if n, second, err := parseRecord(again); bytes.IndexByte(line, '\n') == len(line)-1 && (err != nil || n != number || second.Topic != r.Topic || !bytes.Equal(second.Value, r.Value)) {
			t.Errorf("%q becomes %q: %v", line, again, err)
		}
	})
}

func BenchmarkAppendLine(b *testing.B) {
	e := event("shop.public.orders", 1, `{"id":7}`, `{"before":null,"after":{"id":7,"name":"`+string(bytes.Repeat([]byte("x"), 700))+`"},"op":"c"}`)
	var line []byte
	for b.Loop() {
		line = appendLine(line[:0], 1, &e)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
}

// A record of the largest size that a publisher allows is longer as a line than one of the manifest may be.
func TestLongLines(t *testing.T) {
	long := event("t", 1, `{"id":1}`, `{"op":"c","after":{"text":"`+strings.Repeat("x", maxLineBytes+blockBytes)+`"}}`)
	d, err := newDecoder(JSONLines, written(t, JSONLines, []apply.Event{long}))
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if _, r, err := d.next(); err != nil || !same(r, long.Record) {
		t.Errorf("it is not read back: %v", err)
	}
}
