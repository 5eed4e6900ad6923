package otlp

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	spans "go.opentelemetry.io/proto/slim/otlp/trace/v1"

	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/record"
)

// A Kafka transaction is a trace of its own with one span, "publish", which links to the spans of the applications whose statements it carries. Each
// of these statements adds two spans to the trace of its application:
//
//	the application's own span
//	  INSERT public.orders   from the proxy's note until PostgreSQL has committed
//	    publish              until Kafka has committed; links to the span of the Kafka transaction
//
// Names and attributes are those of the OpenTelemetry semantic conventions for databases and messaging; what these do not have begins with "pgtee.".
// No span contains SQL, values or names of users.

const (
	spansPerStatement = 2
	maxLinks          = 128 // of a span: the default limit of OpenTelemetry's SDKs
	maxErrorBytes     = 1 << 10

	sampled       = 1               // the flag of a trace context
	sampledRemote = 0x300 | sampled // whether the context is remote is known, and it is: see SpanFlags of OTLP
)

// countSpans returns the number of spans of a Kafka transaction.
func countSpans(k publisher.KafkaTransaction) int { return 1 + spansPerStatement*len(k.Statements) }

// request returns the spans of Kafka transactions.
func (c *Config) request(batch []publisher.KafkaTransaction) *collector.ExportTraceServiceRequest {
	var list []*spans.Span
	for i := range batch {
		list = c.appendSpans(list, &batch[i])
	}
	var about []*common.KeyValue
	for _, key := range slices.Sorted(maps.Keys(c.Resource)) {
		about = append(about, text(key, c.Resource[key]))
	}
	scope := &common.InstrumentationScope{Name: "github.com/pgtee/pgtee", Version: c.Version}
	return &collector.ExportTraceServiceRequest{ResourceSpans: []*spans.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: about},
		ScopeSpans: []*spans.ScopeSpans{{Scope: scope, Spans: list}},
	}}}
}

func (c *Config) appendSpans(dst []*spans.Span, k *publisher.KafkaTransaction) []*spans.Span {
	publish := c.publishSpan(k)
	dst = append(dst, publish)
	link := &spans.Span_Link{TraceId: publish.TraceId, SpanId: publish.SpanId, Flags: sampled}
	for _, s := range k.Statements {
		statement := c.statementSpan(s)
		dst = append(dst, statement, c.deliverySpan(s, statement, link, k.Ended))
	}
	return dst
}

// publishSpan returns the span of a Kafka transaction.
func (c *Config) publishSpan(k *publisher.KafkaTransaction) *spans.Span {
	span := &spans.Span{
		TraceId: randomID(16), SpanId: randomID(8), Flags: sampled, Name: "publish", Kind: spans.Span_SPAN_KIND_PRODUCER,
		Attributes: append(c.messaging(),
			number("messaging.batch.message_count", int64(k.Records)),
			text("db.system.name", "postgresql"), text("db.namespace", c.Database),
			number("pgtee.transactions", int64(k.Transactions)), number("pgtee.bytes", int64(k.Bytes))),
	}
	setTimes(span, k.Began, k.Ended)
	if k.First > 0 {
		span.Attributes = append(span.Attributes, text("pgtee.first_lsn", k.First.String()), text("pgtee.last_lsn", k.Last.String()))
	}
	if k.Omitted > 0 {
		span.Attributes = append(span.Attributes, number("pgtee.omitted_statements", int64(k.Omitted)))
	}
	if k.Err != nil {
		span.Attributes = append(span.Attributes, text("error.type", "aborted"))
		span.Status = &spans.Status{Code: spans.Status_STATUS_CODE_ERROR, Message: valid(string(record.Cut([]byte(k.Err.Error()), maxErrorBytes)))}
	}
	for i, s := range k.Statements {
		if i > 0 && s.Traceparent == k.Statements[i-1].Traceparent {
			continue
		}
		if len(span.Links) == maxLinks {
			span.DroppedLinksCount++
			continue
		}
		trace, parent := contextOf(s)
		span.Links = append(span.Links, &spans.Span_Link{TraceId: trace, SpanId: parent, TraceState: s.Tracestate, Flags: sampledRemote})
	}
	return span
}

// statementSpan returns the span of a statement up to its commit.
func (c *Config) statementSpan(s *publisher.TracedStatement) *spans.Span {
	trace, parent := contextOf(s)
	span := &spans.Span{
		TraceId: trace, SpanId: randomID(8), ParentSpanId: parent, TraceState: s.Tracestate, Flags: sampledRemote, Kind: spans.Span_SPAN_KIND_CLIENT,
		Attributes: []*common.KeyValue{
			text("db.system.name", "postgresql"), text("db.namespace", c.Database),
			number("pgtee.rows", int64(s.Rows)), number("pgtee.xid", int64(s.XID)),
			text("pgtee.session_id", s.Session.String()), number("pgtee.statement_number", int64(s.Number)),
			text("pgtee.fingerprint", hex.EncodeToString(binary.BigEndian.AppendUint64(nil, s.Fingerprint))),
		},
	}
	setTimes(span, s.Began, s.Committed)
	summary := s.Command
	if s.Command != "" {
		span.Attributes = append(span.Attributes, text("db.operation.name", s.Command))
	}
	if s.Table != "" {
		table := s.Schema + "." + s.Table
		span.Attributes = append(span.Attributes, text("db.collection.name", table))
		summary = strings.TrimLeft(summary+" "+table, " ")
	}
	if summary != "" {
		span.Attributes = append(span.Attributes, text("db.query.summary", summary))
	} else {
		summary = "postgresql" // as the conventions want it if nothing better is known
	}
	span.Name = valid(summary)
	return span
}

// deliverySpan returns the span of a statement from its commit until its records were visible in Kafka.
func (c *Config) deliverySpan(s *publisher.TracedStatement, parent *spans.Span, link *spans.Span_Link, visible time.Time) *spans.Span {
	span := &spans.Span{
		TraceId: parent.TraceId, SpanId: randomID(8), ParentSpanId: parent.SpanId, TraceState: parent.TraceState, Flags: sampled,
		Name: "publish", Kind: spans.Span_SPAN_KIND_PRODUCER, Attributes: c.messaging(), Links: []*spans.Span_Link{link},
	}
	if s.EventID != "" {
		span.Attributes = append(span.Attributes, text("pgtee.event_id", s.EventID))
	}
	setTimes(span, s.Committed, visible)
	return span
}

// messaging returns the attributes of every span "publish".
func (c *Config) messaging() []*common.KeyValue {
	return []*common.KeyValue{
		text("messaging.system", "kafka"), text("messaging.operation.name", "publish"), text("messaging.operation.type", "send"),
		text("pgtee.topic_prefix", c.Prefix),
	}
}

// setTimes sets the times of a span. They come from the clocks of proxy, server and publisher, but no span ends before it begins.
func setTimes(span *spans.Span, began, ended time.Time) {
	if ended.Before(began) || began.Unix() <= 0 {
		began = ended
	}
	span.StartTimeUnixNano, span.EndTimeUnixNano = uint64(began.UnixNano()), uint64(ended.UnixNano())
}

// contextOf returns the ids in a traceparent, which the publisher has checked.
func contextOf(s *publisher.TracedStatement) (trace, span []byte) {
	trace, _ = hex.DecodeString(s.Traceparent[3:35])
	span, _ = hex.DecodeString(s.Traceparent[36:52])
	return trace, span
}

// randomID returns n random bytes, n a multiple of 8. Eight zero bytes would be invalid, but do not happen.
func randomID(n int) []byte {
	id := make([]byte, 0, n)
	for len(id) < n {
		id = binary.BigEndian.AppendUint64(id, rand.Uint64())
	}
	return id
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: valid(value)}}}
}

func number(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}

// valid returns a text that protobuf accepts: a single invalid byte would cost the whole request.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
