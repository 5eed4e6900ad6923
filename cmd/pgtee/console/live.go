package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Limits of a live stream: what a browser can show, and a person can read.
const (
	liveRows        = 100                    // of a page when it is first shown
	frameRows       = 40                     // per frame
	frameEvery      = 200 * time.Millisecond // minimum interval between frames
	maxBacklog      = 1000                   // events waiting to be shown; beyond this number the oldest are skipped
	maxBacklogBytes = 4 << 20                // of their records; the newest waits however large it is
	maxResume       = 5000                   // offsets of a partition that a returning viewer may be behind
	aliveEvery      = 10 * time.Second
	writeTimeout    = 10 * time.Second // for a browser that does not read
	joinTimeout     = 5 * time.Second
)

// livePage shows the audit stream.
type livePage struct {
	Filter filter
	Events []*item
	After  string // position after the newest event
	Older  string // URL of older events; "" if there are none
	Base   string // URL of the page without a filter
	Stream string
	Empty  bool // nothing has been published yet
	Paged  bool // it shows the events before a position, and is not updated
}

func (p livePage) refresh() int {
	if p.Paged {
		return 0
	}
	return 5
}

// item is an event in a list, with its links.
type item struct {
	*event
	c *Console
}

func (i *item) Link() string {
	return i.c.link("/transaction", i.Stream, "id", transactionID(i.ID), "at", i.Place())
}

// By returns the URL of all events with this value.
func (i *item) By(name, value string) string { return i.c.link("/live", i.Stream, name, value) }

func (c *Console) live(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	p := livePage{Filter: parseFilter(r.URL.Query()), Base: c.link("/live", s.Prefix), Stream: s.Prefix}
	topic := c.tails[s.Prefix].topic
	starts, ends, err := c.topics.bounds(r.Context(), topic)
	if err == errNoTopic {
		p.Empty = true
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	before, paged := startOf(r.FormValue("before"), starts, ends)
	p.Paged = paged
	p.After = ends.String()
	events, more, err := c.events(r.Context(), c.topics.begin(), s, starts, before, liveRows, p.Filter)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		p.Events = append(p.Events, &item{e, c})
	}
	if more != nil {
		q := p.Filter.values()
		q.Set("before", more.String())
		if len(c.cfg.Streams) > 1 {
			q.Set("stream", s.Prefix)
		}
		p.Older = "/live?" + q.Encode()
	}
	return p, nil
}

// startOf returns the position before which a page shows records: the one in the URL of an older page, or the end of the topic.
func startOf(asked string, starts, ends position) (before position, paged bool) {
	if p := parsePosition(asked); p != nil {
		return within(p, starts, ends), true
	}
	return ends, false
}

// within restricts a position received from a browser to the bounds of the topic.
func within(asked, starts, ends position) position {
	p := position{}
	for partition, end := range ends {
		p[partition] = end
		if at, known := asked[partition]; known {
			p[partition] = max(starts[partition], min(at, end))
		}
	}
	return p
}

// events returns the newest events before a position that match the filter, and the position to continue from; nil: there are no more.
func (c *Console) events(ctx context.Context, from *reading, s *Stream, starts, before position, want int, f filter) (events []*event, more position, err error) {
	read := map[*kgo.Record]*event{}
	records, more, err := from.find(ctx, search{topic: c.tails[s.Prefix].topic, starts: starts, before: before, want: want, keep: func(r *kgo.Record) bool {
		e := eventOf(s.Prefix, r)
		if !f.matches(e) {
			return false
		}
		read[r] = e
		return true
	}})
	for _, r := range records {
		events = append(events, read[r])
	}
	return events, more, err
}

// liveEvents sends published events to one browser, as server-sent events whose id is the position: a browser that reconnects continues after the
// last one that it has received.
func (c *Console) liveEvents(w http.ResponseWriter, r *http.Request, who person) {
	s, err := c.stream(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	select {
	case c.viewers <- struct{}{}:
		defer func() { <-c.viewers }()
	default:
		http.Error(w, fmt.Sprintf("pgtee console: %d live pages are open, which is the maximum", maxViewers), http.StatusServiceUnavailable)
		return
	}
	c.looked(r, who, nil)
	after := parsePosition(r.Header.Get("Last-Event-ID"))
	if after == nil {
		after = parsePosition(r.FormValue("after"))
	}
	if after == nil && r.Form.Has("after") && r.FormValue("after") == "" {
		after = position{} // the page was shown before there was a topic
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	v := &viewer{c: c, tail: c.tails[s.Prefix], filter: parseFilter(r.URL.Query()), stream: s, to: http.NewResponseController(w), w: w,
		admitted: func() bool { return c.guard.who(r).Role >= reader }}
	_ = v.to.SetReadDeadline(time.Time{})
	_ = v.to.Flush() // the browser is connected, even if nothing is published for a while
	v.serve(r.Context(), after)
}

// viewer is one browser that watches a stream.
type viewer struct {
	c      *Console
	tail   *tail
	stream *Stream
	filter filter
	to     *http.ResponseController
	w      http.ResponseWriter

	admitted func() bool // false once the login has ended

	at      position // after the events that were sent or skipped
	waiting []*event // events to be sent
	bytes   int      // size of their records
	skipped int      // events that match the filter and are not shown
	unread  int64    // offsets that were not read
	trouble string
}

// serve sends frames until the browser is gone or no longer reads.
func (v *viewer) serve(ctx context.Context, after position) {
	defer v.tail.leave()
	joining, cancel := context.WithTimeout(ctx, joinTimeout)
	number, end, err := v.tail.join(joining)
	cancel()
	if err != nil {
		if ctx.Err() == nil {
			v.sendTrouble("Kafka does not answer; this page tries again.")
		}
		return
	}
	if err := v.resume(ctx, after, end); err != nil {
		v.sendTrouble(err.Error())
		return
	}
	if v.sendTrouble("") != nil || v.sendFrame() != nil { // the page may still show the trouble of its last connection
		return
	}
	tick, alive := time.NewTicker(frameEvery), time.NewTicker(aliveEvery)
	defer tick.Stop()
	defer alive.Stop()
	for v.admitted() {
		events, missed, trouble, news := v.tail.since(number)
		number += missed + int64(len(events))
		v.unread += missed
		for _, e := range events {
			v.take(e)
		}
		if trouble != v.trouble {
			v.trouble = trouble
			if v.sendTrouble(trouble) != nil {
				return
			}
		}
		if v.sendFrame() != nil {
			return
		}
		select { // at most one frame per tick
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if len(v.waiting) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-alive.C:
			if v.sendAlive() != nil {
				return
			}
		}
	}
}

// resume reads the events between the browser's position, if it has one (not nil), and that of the tail. A partition that the position does not name did
// not exist when the browser got it, or had no events. After an error no events may be sent, so that the
// browser reconnects with its old position.
func (v *viewer) resume(ctx context.Context, after, end position) error {
	from := position{}
	for partition, to := range end {
		at := after[partition]
		if after == nil || at > to {
			at = to
		}
		if behind := to - at; behind > maxResume {
			v.unread += behind - maxResume
			at = to - maxResume
		}
		from[partition] = at
	}
	v.at = clonePosition(from)
	cut, err := v.c.topics.begin().read(ctx, v.tail.topic, from, end, func(r *kgo.Record) bool {
		v.take(eventOf(v.stream.Prefix, r))
		return true
	})
	if err != nil {
		return err
	}
	for partition, to := range end {
		if cut {
			v.unread += to - v.at[partition]
		}
		v.at[partition] = to
	}
	return nil
}

// take adds an event to the waiting ones, if it matches.
func (v *viewer) take(e *event) {
	v.at[e.Partition] = e.Offset + 1
	if !v.filter.matches(e) {
		return
	}
	v.waiting = append(v.waiting, e)
	v.bytes += e.bytes
	for len(v.waiting) > maxBacklog || v.bytes > maxBacklogBytes && len(v.waiting) > 1 {
		v.drop(1)
		v.skipped++
	}
}

// drop removes the oldest n of the waiting events.
func (v *viewer) drop(n int) {
	for i, e := range v.waiting[:n] {
		v.bytes -= e.bytes
		v.waiting[i] = nil // the array may live on
	}
	v.waiting = v.waiting[n:]
}

// frameOfRows is sent to a browser: rows, newest first, and the number of preceding events that are not shown.
type frameOfRows struct {
	HTML    string `json:"html"`
	Rows    int    `json:"rows"`
	Skipped int    `json:"skipped"` // events that match the filter
	Unread  int64  `json:"unread"`  // offsets that were not read
}

func (v *viewer) sendFrame() error {
	if len(v.waiting) == 0 && v.skipped == 0 && v.unread == 0 {
		return nil
	}
	n := min(frameRows, len(v.waiting))
	some := slices.Clone(v.waiting[:n])
	v.drop(n)
	var html bytes.Buffer
	for i := len(some) - 1; i >= 0; i-- {
		row, err := part("event", &item{some[i], v.c})
		if err != nil {
			return err
		}
		html.WriteString(row)
	}
	at := v.at
	if len(v.waiting) > 0 { // a browser that reconnects begins with the first event that it has not received
		at = clonePosition(v.at)
		for i := len(v.waiting) - 1; i >= 0; i-- {
			at[v.waiting[i].Partition] = v.waiting[i].Offset
		}
	}
	frame := frameOfRows{html.String(), n, v.skipped, v.unread}
	v.skipped, v.unread = 0, 0
	return v.send("rows", "id: "+at.String()+"\n", frame)
}

// sendTrouble sends the reason why no events arrive; "": they arrive again. The message has no id, so that a browser that reconnects continues after the
// last event that it has received.
func (v *viewer) sendTrouble(text string) error {
	return v.send("trouble", "", map[string]string{"text": text})
}

// sendAlive tells the browser that the connection works and nothing new has been published: a browser that hears nothing for a while connects again.
func (v *viewer) sendAlive() error {
	return v.send("alive", "id: "+v.at.String()+"\n", struct{}{})
}

// send sends one server-sent event; id is its line with the id, or "".
func (v *viewer) send(kind, id string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return v.write(fmt.Appendf(nil, "event: %s\n%sdata: %s\n\n", kind, id, text))
}

// write fails if the browser does not read.
func (v *viewer) write(text []byte) error {
	if err := v.to.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := v.w.Write(text); err != nil {
		return err
	}
	return v.to.Flush()
}
