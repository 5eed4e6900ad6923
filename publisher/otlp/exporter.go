// Package otlp sends what a publisher tells about its Kafka transactions to an OpenTelemetry collector, as spans (OTLP over HTTP, protobuf). It never
// makes the publisher wait: what the collector does not take in time is dropped and counted.
package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/pgtee/pgtee/publisher"
)

// Config says where the spans of one publisher go, and what they have in common.
type Config struct {
	Endpoint string                      // URL of the collector, to which /v1/traces is added unless it ends so
	Headers  func() (http.Header, error) // of each request, such as credentials; nil: none

	Resource map[string]string // attributes of the process: service.name and others
	Version  string            // of this program
	Database string
	Prefix   string // of the topics

	Log *zap.Logger
}

// Exporter sends the spans of one publisher. A nil Exporter has sent nothing.
type Exporter struct {
	cfg    Config
	url    string
	client *http.Client
	filled chan struct{} // holds a value after something was queued

	mu     sync.Mutex
	queue  []publisher.KafkaTransaction
	queued int // number of spans in the queue
	stats  Stats

	warned time.Time // when the log last said that the collector does not take spans
}

// Stats counts spans since the start.
type Stats struct {
	Sent    int64 // accepted by the collector
	Dropped int64 // not accepted in time, or rejected
}

const (
	maxQueued   = 8192                   // spans, of about half a kilobyte
	batchSpans  = 512                    // a request has no more, unless a single Kafka transaction does
	gather      = 500 * time.Millisecond // how long spans wait for others
	attemptTime = 10 * time.Second       // of one request
	batchTime   = time.Minute            // after which a batch is dropped
	firstPause  = time.Second
	longPause   = 15 * time.Second
	flushTime   = 2 * time.Second // for what is queued when Run ends
	warnPause   = time.Minute
	maxReply    = 64 << 10 // bytes
)

// New returns an Exporter without connecting to the collector.
func New(cfg Config) (*Exporter, error) {
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Host == "" {
		return nil, errors.New("want the URL of a collector's OTLP/HTTP receiver, such as http://HOST:4318")
	}
	if !strings.HasSuffix(endpoint.Path, "/v1/traces") {
		endpoint = endpoint.JoinPath("v1/traces")
	}
	// A redirect would take the headers, which may hold credentials, to another host.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Exporter{cfg: cfg, url: endpoint.String(), client: client, filled: make(chan struct{}, 1)}, nil
}

// Add queues the spans of a Kafka transaction. It never blocks: if the queue is full, they are dropped.
func (e *Exporter) Add(k publisher.KafkaTransaction) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Dropped += int64(spansPerStatement * k.Omitted)
	n := countSpans(k)
	if e.queued+n > maxQueued {
		e.stats.Dropped += int64(n)
		return
	}
	e.queue, e.queued = append(e.queue, k), e.queued+n
	select {
	case e.filled <- struct{}{}:
	default:
	}
}

// Stats may be called from any goroutine.
func (e *Exporter) Stats() Stats {
	if e == nil {
		return Stats{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Run sends what is queued until ctx ends, and what is left then within flushTime. It returns nil.
func (e *Exporter) Run(ctx context.Context) error {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushTime, cancel) })()
	defer e.client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			e.sendQueued(sending)
			return nil
		case <-e.filled:
		}
		_ = publisher.Pause(ctx, gather)
		e.sendQueued(sending)
	}
}

func (e *Exporter) sendQueued(ctx context.Context) {
	for {
		batch, n := e.take()
		if n == 0 {
			return
		}
		rejected, err := e.send(ctx, batch)
		if err != nil {
			rejected = n
		}
		rejected = min(rejected, n)
		e.mu.Lock()
		e.stats.Sent, e.stats.Dropped = e.stats.Sent+int64(n-rejected), e.stats.Dropped+int64(rejected)
		e.mu.Unlock()
	}
}

// take removes the head of the queue, which has n spans.
func (e *Exporter) take() (batch []publisher.KafkaTransaction, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := 0
	for ; i < len(e.queue) && (i == 0 || n+countSpans(e.queue[i]) <= batchSpans); i++ {
		n += countSpans(e.queue[i])
	}
	batch, e.queue, e.queued = e.queue[:i:i], e.queue[i:], e.queued-n
	if len(e.queue) == 0 {
		e.queue = nil
	}
	return batch, n
}

// send sends a batch, repeatedly if that can help, and returns how many of its spans the collector has rejected.
func (e *Exporter) send(ctx context.Context, batch []publisher.KafkaTransaction) (rejected int, err error) {
	body, err := proto.Marshal(e.cfg.request(batch))
	if err != nil {
		e.warn(err)
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, batchTime)
	defer cancel()
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		rejected, err = e.post(ctx, body)
		if err == nil {
			return rejected, nil
		}
		e.warn(err)
		if refused := (*refusal)(nil); errors.As(err, &refused) && !refused.temporary() || publisher.Pause(ctx, wait) != nil {
			return 0, err
		}
	}
}

// post makes one request. Its errors name no more of the URL than the host, and no header.
func (e *Exporter) post(ctx context.Context, body []byte) (rejected int, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if e.cfg.Headers != nil {
		headers, err := e.cfg.Headers()
		if err != nil {
			return 0, err
		}
		maps.Copy(request.Header, headers)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	request.Header.Set("User-Agent", "pgtee/"+e.cfg.Version)
	reply, err := e.client.Do(request)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return 0, fmt.Errorf("collector %s: %w", request.URL.Host, err)
	}
	defer reply.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
	if reply.StatusCode/100 != 2 {
		return 0, &refusal{request.URL.Host, reply.StatusCode}
	}
	if err != nil {
		return 0, fmt.Errorf("collector %s: %w", request.URL.Host, err)
	}
	var response collector.ExportTraceServiceResponse
	if proto.Unmarshal(answer, &response) != nil {
		return 0, nil // it has accepted the spans, whatever it says
	}
	partial := response.GetPartialSuccess()
	if rejected = int(partial.GetRejectedSpans()); rejected > 0 {
		e.warn(fmt.Errorf("collector %s rejects %d spans: %.200q", request.URL.Host, rejected, partial.GetErrorMessage()))
	}
	return max(0, rejected), nil
}

// refusal is a reply other than success.
type refusal struct {
	host   string
	status int
}

func (r *refusal) Error() string {
	advice := "see the log of the collector"
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		advice = "check the credentials in --otlp-headers-file or OTEL_EXPORTER_OTLP_HEADERS"
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		advice = "--otlp-endpoint needs the base URL of an OTLP/HTTP receiver, whose port is usually 4318"
	}
	if r.status/100 == 3 {
		advice = "redirects are not followed: give the final URL in --otlp-endpoint"
	}
	return fmt.Sprintf("collector %s: %d %s: %s", r.host, r.status, http.StatusText(r.status), advice)
}

// temporary reports whether OTLP wants the request to be repeated.
func (r *refusal) temporary() bool {
	switch r.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// warn logs why spans are not delivered, at most once in warnPause. Only Run's goroutine calls it.
func (e *Exporter) warn(err error) {
	if now := time.Now(); e.warned.IsZero() || now.Sub(e.warned) >= warnPause {
		e.warned = now
		e.cfg.Log.Warn("the collector does not take spans; publishing goes on, and pgtee_dropped_spans_total counts those that are lost",
			zap.String("finding", "spans-undelivered"), zap.Error(err))
	}
}
