package integration

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

var giantRows = flag.Int("giant-rows", 800_000, "rows of the giant transaction")

// What pgtee publish may take of memory, however large a transaction is.
const giantMemoryBytes = 200 << 20

// A transaction that is too long for one Kafka transaction becomes visible in parts. The publisher is killed
// between two of them, and each row still comes once, in order, in little memory.
func TestGiantInParts(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.ctx = t.Context() // as long as a larger one takes
	r.Start("CREATE TABLE public.giant (id int PRIMARY KEY, note text, at timestamptz DEFAULT now());")
	r.Kill(r.publisher)
	start := func() {
		r.publisher = r.process("publish", append(r.publishArgs(), "--part-bytes", "300000", "--part-after", "200ms", "--provide-transaction-metadata")...)
	}
	start()
	conn := r.dial(r.ProxyURL("postgres", "import"))
	defer conn.Close(r.ctx)
	_, err := conn.Exec(r.ctx, fmt.Sprintf("INSERT INTO public.giant (id, note) SELECT g, 'a note of row ' || g FROM generate_series(1, %d) AS g", *giantRows))
	r.must(err)
	r.must(harness.Eventually(60*time.Second, r.inTheMiddle))
	r.Kill(r.publisher)
	start()
	audit := r.awaitAudit("INSERT", *giantRows)
	if audit.Parts < 2 || audit.Via != "proxy" || !audit.Verified || len(audit.Statements) != 1 {
		t.Errorf("audit record: %+v", audit)
	}
	r.expectGiant("giant", *giantRows)
	_, err = conn.Exec(r.ctx, fmt.Sprintf("UPDATE public.giant SET note = note || '!' WHERE id <= %d", *giantRows/5))
	r.must(err)
	r.awaitAudit("UPDATE", *giantRows/5)
	r.Stop(r.publisher)
	t.Logf("giant rows=%d parts=%d rss_mb=%d", *giantRows, audit.Parts, r.publisher.PeakRSS()>>20)
	if rss := r.publisher.PeakRSS(); rss > giantMemoryBytes {
		t.Errorf("the publisher took %d MiB of memory", rss>>20)
	}
	if out, code := r.Pgtee("status", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot); code != 2 || !strings.Contains(out, "publisher-absent") {
		t.Errorf("status exits with %d: %s", code, out)
	}
}

// inTheMiddle fails until some changes of a transaction are out and others are not.
func (r *runner) inTheMiddle(context.Context) error {
	for _, record := range r.Topic("progress") {
		var position struct{ Ordinal, Part int }
		r.must(json.Unmarshal(record.Value, &position))
		if position.Part > 1 {
			return nil
		}
	}
	return fmt.Errorf("no position in the middle of a transaction")
}

// giantAudit is what the audit record of a giant says.
type giantAudit struct {
	Parts      int    `json:"parts"`
	Via        string `json:"via"`
	Verified   bool   `json:"verified"`
	Statements []struct {
		Command string `json:"command"`
		Rows    int    `json:"rows"`
	} `json:"statements"`
}

// awaitAudit waits for the audit record of a statement with that many rows.
func (r *runner) awaitAudit(command string, rows int) (found giantAudit) {
	r.t.Helper()
	r.must(harness.Eventually(2*time.Minute+time.Duration(*giantRows)*100*time.Microsecond, func(context.Context) error {
		for _, record := range r.Topic("audit") {
			var audit giantAudit
			r.must(json.Unmarshal(record.Value, &audit))
			if len(audit.Statements) == 1 && audit.Statements[0].Command == command && audit.Statements[0].Rows == rows {
				found = audit
				return nil
			}
		}
		if !r.publisher.Running() {
			r.t.Fatal("the publisher ended")
		}
		return fmt.Errorf("no audit record of %s with %d rows", command, rows)
	}))
	return found
}

// expectGiant reads the only partition of a table's topic to its end, as any consumer would, and expects the rows 1 to n, each once and in order.
func (r *runner) expectGiant(table string, n int) {
	r.t.Helper()
	topic := r.prefix + ".public." + table
	client, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Address), kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	r.must(err)
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(r.ctx, topic)
	r.must(err)
	end, _ := ends.Lookup(topic, 0)
	r.must(end.Err)
	parts, want := map[string]int{}, 1
	for next := int64(0); next < end.Offset; {
		fetches := client.PollFetches(r.ctx)
		r.must(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			if next = record.Offset + 1; record.Attrs.IsControl() {
				return
			}
			if key := fmt.Sprintf(`{"id":%d}`, want); string(record.Key) != key {
				r.t.Fatalf("record at offset %d is %s, want %s", record.Offset, record.Key, key)
			}
			want++
			for _, h := range record.Headers {
				if h.Key == "pgtee-part" {
					parts[string(h.Value)]++
				}
			}
		})
	}
	if want != n+1 {
		r.t.Errorf("%d rows, want %d", want-1, n)
	}
	if parts["1"] == 0 || parts["2"] == 0 {
		r.t.Errorf("records by part: %v", parts)
	}
}

var giantField = flag.Int("giant-field", 60_000_000, "characters of a field that no record takes")

// A field that no record of Kafka takes, and a message that any login may write, stop the publisher; or the row is
// published without it, and the dead-letter topic tells. Neither takes more memory than others.
func TestFieldThatNoRecordTakes(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Watch("CREATE TABLE public.docs (id int PRIMARY KEY, title text, body text); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);", "public.docs", "mark.mark")
	r.Setup()
	r.StartProxy()
	r.publisher = r.process("publish", append(r.publishArgs(), "--record-too-large", "halt")...)
	r.Exec(fmt.Sprintf("INSERT INTO public.docs VALUES (1, 'first', repeat('x', %d)), (2, 'second', 'short')", *giantField))
	code, err := r.publisher.Wait(2 * time.Minute)
	if log := r.publisher.Log(); err != nil || code != 3 || !strings.Contains(log, "column body has") || !strings.Contains(log, "--record-too-large dead-letter") {
		t.Fatalf("exit code %d (%v): %s", code, err, log)
	}
	r.StartPublisher()
	r.Exec("SELECT pg_logical_emit_message(true, 'app', repeat('m', 3000000))",
		"UPDATE public.docs SET title = 'third', body = repeat('y', 1200000) WHERE id = 2", "DELETE FROM public.docs WHERE id = 1")
	r.Drain()
	const missing = "__debezium_unavailable_value"
	r.expectDocs(missing, "short", missing, "", "")
	var letters []string
	pieces := 0
	for _, record := range r.Topic("dead-letter") {
		var letter struct {
			Source, Key string
			Published   bool
			Pieces      int
		}
		if record.Headers["pgtee-piece"] != "" {
			pieces--
			continue
		}
		r.must(json.Unmarshal(record.Value, &letter))
		if letter.Pieces > 0 != (letter.Key != `{"id":1}`) { // of a field that is not even held there are none
			t.Errorf("%s: %d pieces", letter.Key, letter.Pieces)
		}
		pieces += letter.Pieces
		letters = append(letters, fmt.Sprint(letter.Source, letter.Key, letter.Published))
	}
	want := `[table public.docs{"id":1}true logical messages with prefix app{"prefix":"app"}false table public.docs{"id":2}true]`
	if got := fmt.Sprint(letters); got != want || pieces != 0 {
		t.Errorf("dead letters %s, want %s", got, want)
	}
	r.Stop(r.publisher)
	t.Logf("field characters=%d rss_mb=%d", *giantField, r.publisher.PeakRSS()>>20)
	if rss := r.publisher.PeakRSS(); rss > giantMemoryBytes {
		t.Errorf("the publisher took %d MiB of memory", rss>>20)
	}
}

// expectDocs expects the bodies of the rows after each event; "" for a row that is no more, and for a tombstone.
func (r *runner) expectDocs(bodies ...string) {
	r.t.Helper()
	records := r.Topic("public.docs")
	if len(records) != len(bodies) {
		r.t.Fatalf("%d events, want %d", len(records), len(bodies))
	}
	for i, record := range records {
		e, err := verdict.ParseEvent(record)
		r.must(err)
		body, _ := e.After["body"].(string)
		if body != bodies[i] {
			r.t.Errorf("event %d has body %.40q, want %.40q", i, body, bodies[i])
		}
	}
}

// A row whose field is larger than what may be held is copied as the stream publishes it: it halts the publisher, or comes
// without the value, and the dead-letter topic tells.
func TestCopiedRowTooLarge(t *testing.T) {
	for _, c := range []struct {
		name, key string
	}{{"by key", "PRIMARY KEY"}, {"by ctid", ""}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
			r.Exec("CREATE TABLE huge (id int "+c.key+", body text, v text)", "ALTER TABLE huge ALTER body SET STORAGE EXTERNAL",
				"INSERT INTO huge SELECT g, repeat(E'ab\\t\\\\', CASE g WHEN 2 THEN 8000000 ELSE 3 END), 'v' || g FROM generate_series(1, 3) AS g")
			r.Setup()
			out, code := r.Pgtee(append(r.publishArgs(), "--snapshot", "only", "--record-too-large", "halt")...)
			if code != 3 || !strings.Contains(out, "column body has 32000000 bytes") || !strings.Contains(out, "--record-too-large dead-letter") {
				t.Fatalf("publish exits with %d:\n%s", code, out)
			}
			p := r.process("publish", append(r.publishArgs(), "--snapshot", "only")...)
			if code, err := p.Wait(time.Minute); err != nil || code != 0 {
				t.Fatalf("publish exits with %d (%v):\n%s", code, err, p.Log())
			}
			if rss := p.PeakRSS(); rss > giantMemoryBytes {
				t.Errorf("%d MB at most", rss>>20)
			}
			var got []string
			for _, e := range r.Events("public.huge") {
				got = append(got, fmt.Sprintf("%s %s %v %.20q", e.Op, e.After["v"], e.Headers["pgtee-left-out"], e.After["body"]))
			}
			const short = `"ab\t\\ab\t\\ab\t\\"`
			if want := []string{"r v1  " + short, `r v2 1 "__debezium_unavailab"`, "r v3  " + short}; !slices.Equal(got, want) {
				t.Errorf("rows %q, want %q", got, want)
			}
			letters := r.Topic("dead-letter")
			if len(letters) != 1 || !strings.Contains(string(letters[0].Value), `"left_out":[{"column":"body","bytes":32000000}]`) || !strings.Contains(string(letters[0].Value), `"published":true`) {
				t.Errorf("%d dead letters: %v", len(letters), letters)
			}
		})
	}
}
