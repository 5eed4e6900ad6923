package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestDeepRecord: a small record that would become large when it is indented is shown as it is.
func TestDeepRecord(t *testing.T) {
	const depth = 2000
	deep := []byte(strings.Repeat("[", depth) + "1" + strings.Repeat(",1", 50_000) + strings.Repeat("]", depth)) // indented 200 MB
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	page := recordOf(&kgo.Record{Key: deep, Value: deep})
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("a record of %d bytes takes %d bytes of memory", len(deep), used)
	}
	if page.Value != string(deep) || page.Key != string(deep) || page.Cut {
		t.Errorf("the page shows %d bytes of the value and %d of the key, want %d", len(page.Value), len(page.Key), len(deep))
	}
}

// TestIndentedBytes: the length is known before JSON is indented.
func TestIndentedBytes(t *testing.T) {
	for _, text := range []string{`{}`, `[1,[2,{"a":null}],"x,[{\\\"}]:"]`, `{"a":{"b":[1,2,3],"c":{"d":"e"}},"f":[[],{}]}`, `[` + strings.Repeat(`[1,`, 50) + `2` + strings.Repeat(`]`, 51)} {
		var indented bytes.Buffer
		if err := json.Indent(&indented, []byte(text), "", "  "); err != nil {
			t.Fatal(err)
		}
		if most, size := indentedBytes([]byte(text)), indented.Len(); most < size || most > size+40 {
			t.Errorf("%s has %d bytes, expected were at most %d", text, size, most)
		}
	}
	if text, _ := pretty([]byte(`{"a":1}`)); text != "{\n  \"a\": 1\n}" {
		t.Errorf("indented: %s", text)
	}
}

// TestWideRecord: a small record that would become large when it is parsed is shown as unreadable.
func TestWideRecord(t *testing.T) {
	many := func(n int, element string) string { return strings.TrimSuffix(strings.Repeat(element+",", n), ",") }
	for name, value := range map[string]string{
		"statements": `{"v":1,"statements":[` + many(200_000, `{}`) + `]}`,
		"tables":     `{"v":1,"tables":[` + many(200_000, `{}`) + `]}`,
		"names":      `{"v":1,"statements":[{"command":"DELETE","tables":[` + many(200_000, `""`) + `]}]}`,
		"bytes":      `{"v":1,"reason":"` + strings.Repeat("x", 3<<20) + `"}`,
	} {
		e := eventOf("shop", &kgo.Record{Value: []byte(value)})
		if e.Broken == "" || len(e.Statements) > 0 || len(e.Tables) > 0 || e.Reason != "" {
			t.Errorf("%s: a record of %d bytes is kept, with %d statements", name, len(value), len(e.Statements))
		}
	}
	statement := `{"number":null,"command":null,"fingerprint":null,"text":null,"rows":1,"tables":["public.t"]}`
	if e := eventOf("shop", &kgo.Record{Value: []byte(`{"v":1,"statements":[` + many(2500, statement) + `]}`)}); e.Broken != "" || len(e.Statements) != 2500 {
		t.Errorf("the largest record of the publisher: %s, %d statements", e.Broken, len(e.Statements))
	}
	var row strings.Builder
	for n := range 2000 {
		fmt.Fprintf(&row, `,"c%d":1`, n)
	}
	if c := changeOf(&kgo.Record{Value: []byte(`{"op":"c","after":{` + row.String()[1:] + `}}`)}); !strings.Contains(c.Broken, "more than 1600 fields") {
		t.Errorf("a row of 2000 columns: %q", c.Broken)
	}
}

// TestCompressedBatches: one response does not contain many batches that become large when they are decompressed.
func TestCompressedBatches(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	bomb, err := kgo.NewClient(kgo.SeedBrokers(f.broker.Address()), kgo.ProducerBatchMaxBytes(40<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer bomb.Close()
	value := make([]byte, maxBatchBytes-1<<10)
	for range 30 {
		if err := bomb.ProduceSync(t.Context(), &kgo.Record{Topic: "shop.audit", Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := f.topics.reader("shop.audit", map[int32]kgo.Offset{0: kgo.NewOffset().AtStart()})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for read := 0; read < 30; {
		records := reader.PollFetches(t.Context()).Records()
		if read += len(records); len(records) > 16 {
			t.Fatalf("one response becomes %d MiB", len(records)*maxBatchBytes>>20)
		}
	}
}

// TestCompressedBatch: a batch that would become large when it is decompressed is skipped, and said to be, by pages and by a live one.
func TestCompressedBatch(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	bomb, err := kgo.NewClient(kgo.SeedBrokers(f.broker.Address()), kgo.ProducerBatchMaxBytes(40<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer bomb.Close()
	f.write(ann, "DELETE", "DELETE FROM before", "public.orders", `{"id":1}`, `{"id":1}`, "null")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tail := f.tails[prefix]
	number, _, err := tail.join(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.leave()
	if err := bomb.ProduceSync(t.Context(), &kgo.Record{Topic: "shop.audit", Value: make([]byte, maxBatchBytes+1)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f.write(ann, "DELETE", "DELETE FROM behind", "public.orders", `{"id":1}`, `{"id":1}`, "null")
	f.expect(f.page("/live"), "DELETE FROM before", "DELETE FROM behind", "unreadable")
	f.expect(f.page("/record?topic=shop.audit&partition=0&offset=2"), "these records are not read")
	var followed []*event
	for deadline := time.Now().Add(10 * time.Second); len(followed) < 2 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		followed, _, _, _ = tail.since(number)
	}
	if len(followed) != 2 || followed[0].Broken == "" || followed[1].Statements[0].Text != "DELETE FROM behind" {
		t.Errorf("a live page has %d events, want the one that is not read and the one behind it", len(followed))
	}
}
