// Package console is pgtee's web page. It answers: who changed this row, is the stream alive, why is the disk filling up? Its pages are rendered on
// the server and work without JavaScript; small modules add dynamic parts. Every read of Kafka is limited. Rows are shown as they were
// published: masked values stay masked. Sessions, settings and checks come from this process and the database.
package console

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/proxy"
	"github.com/pgtee/pgtee/publisher"
	published "github.com/pgtee/pgtee/publisher/record"
)

// Config says what the console shows, and to whom.
type Config struct {
	Logins []Login  // users who may log in; none: everybody who reaches the page has the role Open
	Open   Role     // role of everybody if there are no logins; only on loopback
	Hosts  []string // host names that browsers may use, in addition to those of loopback and the listening address

	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error) // of the server; nil: plain HTTP
	ClientCAs   func() *x509.CertPool                                // of the certificates with which users may log in, never nil; nil: there are none

	Brokers      []string // none: a proxy alone, with only sessions and settings to show
	KafkaOptions []kgo.Opt
	Streams      []Stream
	Sessions     Sessions          // nil: there is no proxy in this process
	Settings     map[string]string // flags by name, without secrets
	Version      string
	Log          *zap.Logger
}

// Stream is one database and the state of its publisher in this process.
type Stream struct {
	Prefix, Database, Slot string

	Stats      func() publisher.Stats
	Lag        func() (bytes int64, age time.Duration, known bool) // known is false unless this process holds the slot
	Retained   func() (slot outbox.SlotStatus, limit int64)        // as of a few seconds ago; limit is in bytes, negative: no limit
	Check      func(context.Context) (outbox.Report, error)
	Tables     func(context.Context) ([]outbox.Table, error)
	Uncaptured func(context.Context) ([]outbox.Capture, error)
	Signal     func(context.Context, *outbox.SignalRecord) error // asks the publisher to take, pause, resume or cancel a snapshot
}

// Sessions gives access to the sessions of a proxy.
type Sessions interface {
	Sessions() []proxy.SessionInfo
	Terminate(id string) bool // reports whether the session existed
}

// Console serves the pages.
type Console struct {
	cfg      Config
	log      *zap.Logger
	listener net.Listener
	guard    *guard
	topics   *topics // nil: no Kafka
	tails    map[string]*tail
	series   map[string]*series
	viewers  chan struct{} // limits the live streams
}

// maxViewers is the maximum number of open live streams.
const maxViewers = 50

// Open starts to listen on the address. Run serves it.
func Open(address string, cfg Config) (*Console, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--console %s: %w: choose a free HOST:PORT", address, err)
	}
	c, err := newConsole(listener, cfg)
	if err != nil {
		listener.Close()
		return nil, err
	}
	return c, nil
}

func newConsole(listener net.Listener, cfg Config) (*Console, error) {
	g, err := newGuard(listener.Addr(), cfg)
	if err != nil {
		return nil, err
	}
	c := &Console{cfg: cfg, log: cfg.Log, listener: listener, guard: g, tails: map[string]*tail{}, series: map[string]*series{}, viewers: make(chan struct{}, maxViewers)}
	if len(cfg.Brokers) > 0 {
		if c.topics, err = openTopics(cfg.Brokers, cfg.KafkaOptions); err != nil {
			return nil, err
		}
	}
	for _, s := range cfg.Streams {
		c.tails[s.Prefix] = newTail(c.topics, s.Prefix, published.TopicName(s.Prefix, "audit"))
		c.series[s.Prefix] = &series{}
	}
	return c, nil
}

// URL returns the URL for a browser on this machine.
func (c *Console) URL() string {
	scheme := "http"
	if c.cfg.Certificate != nil {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(c.listener.Addr().String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/"
}

// Run serves until ctx ends.
func (c *Console) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: c.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: zap.NewStdLog(c.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		c.sample(ctx)
	}()
	defer func() {
		cancel()
		<-sampled
		c.close()
	}()
	serve := func() error { return server.Serve(c.listener) }
	if c.cfg.Certificate != nil {
		server.TLSConfig = c.tls()
		serve = func() error { return server.ServeTLS(c.listener, "", "") }
	}
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// tls returns the configuration of the handshakes. Browsers are told the CAs, so that they offer only certificates that will do; the guard verifies them.
func (c *Console) tls() *tls.Config {
	config := &tls.Config{GetCertificate: c.cfg.Certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if c.cfg.ClientCAs == nil {
		return config
	}
	asking := config.Clone()
	asking.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		each := config.Clone()
		each.ClientAuth, each.ClientCAs = tls.RequestClientCert, c.cfg.ClientCAs()
		return each, nil
	}
	return asking
}

func (c *Console) close() {
	for _, t := range c.tails {
		t.close()
	}
	if c.topics != nil {
		c.topics.close()
	}
}

// handler returns the handler for all pages, behind the guard.
func (c *Console) handler() http.Handler {
	mux := http.NewServeMux()
	c.guard.routes(mux)
	mux.Handle("GET /assets/{name}", assets())
	for _, p := range c.pages() {
		mux.HandleFunc("GET "+p.Path, c.guard.allow(reader, c.showing(p)))
	}
	mux.HandleFunc("GET /live/events", c.guard.allow(reader, c.liveEvents))
	mux.HandleFunc("GET /streams/series", c.guard.allow(reader, c.seriesJSON))
	mux.HandleFunc("POST /sessions/terminate", c.guard.allow(Admin, c.terminate))
	mux.HandleFunc("POST /streams/snapshot", c.guard.allow(Admin, c.signalSnapshot))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, c.pages()[0].Path, http.StatusSeeOther)
	})
	return c.guard.protect(mux)
}

// stream returns the stream that a request names, the first one if it names none.
func (c *Console) stream(r *http.Request) (*Stream, error) {
	name := r.FormValue("stream")
	i := slices.IndexFunc(c.cfg.Streams, func(s Stream) bool { return name == "" || s.Prefix == name })
	if i < 0 {
		return nil, notFound("this process has no stream %q: choose one above", name)
	}
	return &c.cfg.Streams[i], nil
}
