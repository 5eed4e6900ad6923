package avro

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"go.uber.org/zap"
)

// RegistryConfig says how to reach the schema registry.
type RegistryConfig struct {
	URLs      []string                  // tried in order until one works
	TLS       *tls.Config               // nil: the system's certificate authorities
	DialTLS   DialFunc                  // opens encrypted connections, except through an HTTP proxy; nil: with TLS
	Authorize func(*http.Request) error // adds credentials to each request; nil: no credentials
	LookUp    bool                      // never register a schema: it must exist already
	Log       *zap.Logger               // nil: no logging
}

// DialFunc opens a connection.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// requestTimeout bounds how long one URL may take to respond.
const requestTimeout = 5 * time.Second

// Registry looks up and registers schemas in a schema registry with Confluent's REST API
// (https://docs.confluent.io/platform/current/schema-registry/develop/api.html).
type Registry struct {
	client *sr.Client
	lookUp bool
	log    *zap.Logger
}

// NewRegistry checks the configuration. It does not connect yet.
func NewRegistry(cfg RegistryConfig) (*Registry, error) {
	if len(cfg.URLs) == 0 {
		return nil, errors.New("no schema registry given: want at least one URL")
	}
	for i, text := range cfg.URLs {
		if err := checkURL(text); err != nil {
			return nil, fmt.Errorf("URL %d of the schema registry: %w", i+1, err)
		}
	}
	options := []sr.ClientOpt{
		sr.URLs(cfg.URLs...),
		sr.UserAgent("pgtee"),
		sr.HTTPClient(&http.Client{Transport: newTransport(cfg.TLS, cfg.DialTLS), Timeout: requestTimeout}),
	}
	if cfg.Authorize != nil {
		options = append(options, sr.PreReq(cfg.Authorize))
	}
	client, err := sr.NewClient(options...)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Registry{client, cfg.LookUp, cfg.Log}, nil
}

// checkURL refuses an invalid URL, and a URL with a password, which every error would show. It therefore does not quote the URL.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("want http://HOST:PORT or https://HOST:PORT")
	}
	if u.User != nil {
		return errors.New("user and password do not belong in the URL: put them in the auth file")
	}
	return nil
}

// Ping checks that the registry responds.
func (r *Registry) Ping(ctx context.Context) error {
	if _, err := r.client.SupportedTypes(ctx); err != nil {
		return classify(err, request{})
	}
	return nil
}

// id returns the id of a version, and registers the version if necessary. The topic is for error messages.
func (r *Registry) id(ctx context.Context, v version, topic string) (uint32, error) {
	id, err := r.ask(ctx, v)
	if err != nil {
		return 0, classify(err, request{v.subject, topic, r.lookUp})
	}
	if id <= 0 || id > math.MaxInt32 {
		return 0, fmt.Errorf("the schema registry returned the id %d, but ids in Confluent's wire format are positive and have 32 bits", id)
	}
	r.log.Debug("schema is in the registry", zap.String("subject", v.subject), zap.String("topic", topic), zap.Int("id", id))
	return uint32(id), nil
}

func (r *Registry) ask(ctx context.Context, v version) (int, error) {
	schema := sr.Schema{Schema: v.text, Type: sr.TypeAvro}
	if r.lookUp {
		found, err := r.client.LookupSchema(ctx, v.subject, schema)
		return found.ID, err
	}
	return r.client.RegisterSchema(ctx, v.subject, schema, -1, -1)
}
