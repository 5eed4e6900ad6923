package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/otlp"
)

// tracingFlags say where spans go. The variables whose names begin with OTEL_ are those of OpenTelemetry's own exporters.
type tracingFlags struct {
	OTLPEndpoint    *string `name:"otlp-endpoint" help:"Send spans to this OpenTelemetry collector (OTLP over HTTP, protobuf): one for each Kafka transaction, and two for each statement whose SQL has a sampled traceparent. Without this flag OTEL_EXPORTER_OTLP_ENDPOINT is used; empty: no spans." env:"PGTEE_OTLP_ENDPOINT" placeholder:"URL"`
	OTLPHeadersFile string  `name:"otlp-headers-file" help:"File with headers for the collector, NAME=VALUE, separated by commas or newlines, values percent-encoded; read before each request. Without this flag OTEL_EXPORTER_OTLP_HEADERS is used." type:"path" placeholder:"FILE"`
}

var errPairs = errors.New("want NAME=VALUE, separated by commas, values percent-encoded")

const headerLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

// exporter returns the Exporter of a database, without connecting to the collector; nil if there are no spans. Variables of OpenTelemetry that pgtee
// cannot use are not an error.
func (f tracingFlags) exporter(s source, log *zap.Logger) (*otlp.Exporter, error) {
	endpoint := f.endpoint()
	if endpoint == "" {
		return nil, nil
	}
	exporter, err := f.exporterTo(endpoint, s, log)
	if err != nil && f.OTLPEndpoint == nil && f.OTLPHeadersFile == "" {
		log.Warn("there are no spans", zap.String("finding", "spans-undelivered"), zap.Error(err))
		return nil, nil
	}
	return exporter, err
}

func (f tracingFlags) endpoint() string {
	if f.OTLPEndpoint != nil {
		return *f.OTLPEndpoint
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
}

func (f tracingFlags) exporterTo(endpoint string, s source, log *zap.Logger) (*otlp.Exporter, error) {
	if _, err := f.headers(); err != nil {
		return nil, err
	}
	exporter, err := otlp.New(otlp.Config{
		Endpoint: endpoint,
		Headers:  f.headers,
		Resource: resourceAttributes(),
		Version:  version(),
		Database: s.database,
		Prefix:   s.prefix,
		Log:      log.Named("tracing").With(zap.String("slot", s.slot)),
	})
	if err != nil {
		return nil, fmt.Errorf("--otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	return exporter, nil
}

// headers returns the current headers for the collector. Its errors do not quote them, because they may hold credentials.
func (f tracingFlags) headers() (http.Header, error) {
	from, list := "OTEL_EXPORTER_OTLP_HEADERS", os.Getenv("OTEL_EXPORTER_OTLP_HEADERS")
	if f.OTLPHeadersFile != "" {
		text, err := os.ReadFile(f.OTLPHeadersFile)
		if err != nil {
			return nil, fmt.Errorf("--otlp-headers-file: %w", err)
		}
		from, list = "--otlp-headers-file", string(text)
	}
	pairs, err := otelPairs(list)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	headers := http.Header{}
	for name, value := range pairs {
		if strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(headerLetters, r) }) {
			return nil, fmt.Errorf("%s: %w", from, errPairs)
		}
		headers.Set(name, value)
	}
	return headers, nil
}

// resourceAttributes describe this process, as OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say. A malformed list is ignored, as by OpenTelemetry's
// SDKs.
func resourceAttributes() map[string]string {
	attributes, err := otelPairs(os.Getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if err != nil {
		attributes = map[string]string{}
	}
	attributes["service.name"] = cmp.Or(os.Getenv("OTEL_SERVICE_NAME"), attributes["service.name"], "pgtee")
	attributes["service.version"] = cmp.Or(attributes["service.version"], version())
	return attributes
}

// otelPairs parses a list as in OpenTelemetry's environment variables: NAME=VALUE, separated by commas, values percent-encoded.
func otelPairs(list string) (map[string]string, error) {
	pairs := map[string]string{}
	for item := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, value, found := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || name == "" || err != nil {
			return nil, errPairs
		}
		pairs[name] = decoded
	}
	return pairs, nil
}
