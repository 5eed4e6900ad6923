package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestFilters: each filter lets through what it names and nothing else.
func TestFilters(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	f.make("shop.sales.lines", 1)
	f.write(ann, "INSERT", "first text", "public.orders", `{"id":1}`, "null", `{"id":1}`)
	f.write(who{"bea", "desk", "10.0.0.8:1"}, "UPDATE", "second Text", "sales.lines", `{"id":1}`, `{"id":1}`, `{"id":1}`)
	f.commit(record("shop.audit", "", `{"v":1,"database":"shop","timeline":1,"xid":80,"commit_lsn":"0/9000","end_lsn":"0/9001","commit_time":"2025-01-31T12:00:00Z","via":"direct","verified":null,"reason":"no note","session":null,"statements":[],"statements_omitted":0,"tables":[{"table":"public.bypassed","inserted":1,"updated":0,"deleted":0,"truncated":0}],"tables_omitted":0,"direct_rows":1,"ddl":0}`, "7300/pgtee/1/0/9000/audit"))
	for query, want := range map[string]string{
		"": "first second bypassed", "user=ann": "first", "application=desk": "second", "client=10.0.0.8": "second", "client=10.0.0.9:51000": "first", "session=652f": "first second",
		"table=orders": "first", "table=sales.lines": "second", "table=public.lines": "", "command=update": "second", "text=TEXT": "first second",
		"unattributed=1": "bypassed", "unverified=1": "bypassed", "user=ann&command=UPDATE": "", "user=nobody": "",
	} {
		page := f.page("/live?" + query)
		_, list, _ := strings.Cut(page, `<ol id="events"`)
		var got []string
		for _, word := range []string{"first", "second", "bypassed"} {
			if strings.Contains(list, word) {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("/live?%s shows %v, want %q", query, got, want)
		}
	}
}

// events reads server-sent events until one of kind rows has come whose HTML has want; it returns all ids and rows seen,
// and how many of the rows were in the first frame.
func (f *fixture) events(path, lastID, want string) (ids []string, rows, first, skipped int) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 20*time.Second)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", f.server.URL+path, nil)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 4<<20)
	kind := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			kind = value
		case "id":
			ids = append(ids, value)
		case "data":
			var frame frameOfRows
			if kind != "rows" || json.Unmarshal([]byte(value), &frame) != nil {
				continue
			}
			if rows == 0 {
				first = frame.Rows
			}
			rows, skipped = rows+frame.Rows, skipped+frame.Skipped
			if strings.Contains(frame.HTML, want) {
				return ids, rows, first, skipped
			}
		}
	}
	f.Fatalf("no event has %q: %v; %d rows, ids %v", want, lines.Err(), rows, ids)
	return nil, 0, 0, 0
}

// TestResume: a browser that comes back gets each event behind its last id, once.
func TestResume(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	write := func(n int) {
		f.write(ann, "INSERT", fmt.Sprintf("statement number %d.", n), "public.orders", fmt.Sprintf(`{"id":%d}`, n), "null", "{}")
	}
	write(1)
	ids, rows, _, _ := f.events("/live/events?after=0:0", "", "number 1.")
	if rows != 1 || len(ids) == 0 {
		t.Fatalf("%d rows, ids %v", rows, ids)
	}
	for n := 2; n <= 90; n++ {
		write(n)
	}
	last, rows, first, skipped := f.events("/live/events?after=0:0", ids[len(ids)-1], "number 90.")
	if rows != 89 || skipped != 0 {
		t.Errorf("behind the first event come %d rows, %d skipped, want 89", rows, skipped)
	}
	_, rows, _, _ = f.events("/live/events", last[0], "number 90.") // the first frame's id is behind its own rows only
	if first > frameRows || rows != 89-first {                      // a frame ends early if no further row is there to be read
		t.Errorf("behind the first frame, of %d rows, come %d, want %d", first, rows, 89-first)
	}
	arrived := make(chan int)
	go func() {
		_, rows, _, _ := f.events("/live/events", last[len(last)-1], "number 91.")
		arrived <- rows
	}()
	write(91)
	if rows := <-arrived; rows != 1 {
		t.Errorf("%d rows at once, want 1", rows)
	}
}

// TestResumeUnknown: a browser whose position names no or not all partitions gets what was published in the others meanwhile.
func TestResumeUnknown(t *testing.T) {
	f := newFixture(t, nil)
	f.expect(f.page("/live"), `data-after=""`)
	f.make("shop.audit", 2)
	f.make("shop.public.orders", 1)
	f.write(ann, "INSERT", "the first statement", "public.orders", `{"id":1}`, "null", "{}")
	f.events("/live/events?after=", "", "the first statement")
	for partition := range 2 {
		f.events("/live/events?after=", fmt.Sprintf("%d:0", partition), "the first statement")
	}
}

// browser receives what a viewer writes.
type browser struct{ *httptest.ResponseRecorder }

func (browser) SetWriteDeadline(time.Time) error { return nil }

// viewer is a browser that watches the stream, and what it has received.
func (f *fixture) viewer() (*viewer, browser) {
	to := browser{httptest.NewRecorder()}
	return &viewer{c: f.Console, tail: f.tails[prefix], stream: &f.cfg.Streams[0], to: http.NewResponseController(to), w: to, admitted: func() bool { return true }}, to
}

// TestResumeCut: a browser that comes back while Kafka is away learns how much was not read.
func TestResumeCut(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	f.write(ann, "INSERT", "missed", "public.orders", `{"id":1}`, "null", "{}")
	v, _ := f.viewer()
	_, end, err := v.tail.join(f.Context())
	defer v.tail.leave()
	if err != nil || end[0] == 0 {
		t.Fatalf("the tail begins at %v: %v", end, err)
	}
	f.broker.Close()
	if err := v.resume(f.Context(), position{0: 0}, end); err != nil {
		t.Fatal(err)
	}
	if v.unread != end[0] || v.at[0] != end[0] {
		t.Errorf("of %d offsets %d are said to be unread; the viewer is at %v", end[0], v.unread, v.at)
	}
}

// TestResumeFails: after an error the browser keeps its id, and so asks again for what it lacks.
func TestResumeFails(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	f.write(ann, "INSERT", "missed", "public.orders", `{"id":1}`, "null", "{}")
	v, received := f.viewer()
	if _, _, err := v.tail.join(f.Context()); err != nil {
		t.Fatal(err)
	}
	defer v.tail.leave()
	v.c = &Console{topics: &topics{options: []kgo.Opt{kgo.SeedBrokers()}, turns: make(chan struct{}, 1)}} // no client can be made
	v.serve(f.Context(), position{0: 0})
	if text := received.Body.String(); !strings.Contains(text, "event: trouble\n") || strings.Contains(text, "id:") {
		t.Errorf("the browser receives %q", text)
	}
}

// TestQuietStream: a browser is connected at once, before anything is published.
func TestQuietStream(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	ctx, cancel := context.WithTimeout(t.Context(), aliveEvery/2)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", f.server.URL+"/live/events", nil)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
}

// TestAlive: a browser is told that the connection works by an event that scripts receive, which they do not a comment.
func TestAlive(t *testing.T) {
	f := newFixture(t, nil)
	v, received := f.viewer()
	v.at = position{0: 7}
	if err := v.sendAlive(); err != nil {
		t.Fatal(err)
	}
	if text := received.Body.String(); text != "event: alive\nid: 0:7\ndata: {}\n\n" {
		t.Errorf("the browser receives %q", text)
	}
}

// TestBacklog: what a viewer cannot be shown is counted.
func TestBacklog(t *testing.T) {
	v := &viewer{c: &Console{}, at: position{}}
	for i := range maxBacklog + 25 {
		v.take(&event{Offset: int64(i)})
	}
	if len(v.waiting) != maxBacklog || v.skipped != 25 || v.waiting[0].Offset != 25 || v.at[0] != maxBacklog+25 {
		t.Errorf("%d wait, %d skipped, first %d, at %v", len(v.waiting), v.skipped, v.waiting[0].Offset, v.at)
	}
	const large = maxBacklogBytes / 4
	v.skipped = 0
	for i := range 6 {
		v.take(&event{Offset: int64(i), bytes: large})
	}
	if len(v.waiting) != 4 || v.bytes != 4*large || v.skipped != maxBacklog+2 || v.waiting[0].Offset != 2 {
		t.Errorf("of large ones %d wait, %d bytes, %d skipped, first %d", len(v.waiting), v.bytes, v.skipped, v.waiting[0].Offset)
	}
	if v.take(&event{Offset: 6, bytes: 2 * maxBacklogBytes}); len(v.waiting) != 1 || v.waiting[0].Offset != 6 {
		t.Errorf("beside one that is too large %d wait", len(v.waiting))
	}
}
