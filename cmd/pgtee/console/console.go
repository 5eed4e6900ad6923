// Package console is the web page of pgtee: who changed this row, is the stream alive, why is the disk filling. Its pages are
// rendered on the server and work without JavaScript; small modules add what moves. It only reads what everybody with access to
// the topics can read, always in bounds, and what it shows of a row is what was published of it: masked stays masked.
package console

import (
	"context"
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

// Config says what there is to see, and who may see it.
type Config struct {
	Logins   []Login  // who may log in; none: whoever reaches the page has the role Open
	Open     Role     // of everybody, where nobody logs in; only on loopback
	Hosts    []string // names by which browsers may call it, beside those of loopback and the address that it listens on
	CertFile string   // with KeyFile: it speaks TLS
	KeyFile  string

	Brokers      []string // none: a proxy alone, of which there are sessions and settings to see
	KafkaOptions []kgo.Opt
	Streams      []Stream
	Sessions     Sessions          // nil: there is no proxy in this process
	Settings     map[string]string // flags by name, without secrets
	Version      string
	Log          *zap.Logger
}

// Stream is one database and what the publisher of this process tells of it.
type Stream struct {
	Prefix, Database, Slot string

	Stats      func() publisher.Stats
	Lag        func() (bytes int64, age time.Duration)
	Retained   func() (slot outbox.SlotStatus, limit int64) // as of some seconds ago; limit is in bytes, 0: none
	Check      func(context.Context) (outbox.Report, error)
	Tables     func(context.Context) ([]outbox.Table, error)
	Uncaptured func(context.Context) ([]outbox.Capture, error)
}

// Sessions are those of a proxy.
type Sessions interface {
	Sessions() []proxy.SessionInfo
	Terminate(id string) bool // reports whether there was such a session
}

// Console serves the pages.
type Console struct {
	cfg      Config
	log      *zap.Logger
	listener net.Listener
	guard    *guard
	topics   *topics // nil: without Kafka
	tails    map[string]*tail
	series   map[string]*series
	viewers  chan struct{} // of live streams
}

// maxViewers bounds the open live streams.
const maxViewers = 50

// Open takes the address. Run serves it.
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

// URL is where a browser on this machine finds it.
func (c *Console) URL() string {
	scheme := "http"
	if c.cfg.CertFile != "" {
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
	if c.cfg.CertFile != "" {
		serve = func() error { return server.ServeTLS(c.listener, c.cfg.CertFile, c.cfg.KeyFile) }
	}
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (c *Console) close() {
	for _, t := range c.tails {
		t.close()
	}
	if c.topics != nil {
		c.topics.close()
	}
}

// handler is every page behind the guard.
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
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, c.pages()[0].Path, http.StatusSeeOther)
	})
	return c.guard.around(mux)
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
