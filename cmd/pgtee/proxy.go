package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/proxy"
)

// outboxFlags choose the form of notes.
type outboxFlags struct {
	Outbox string `help:"How notes are written to the WAL: ${enum}; off only forwards." enum:"table,message,off" default:"table"`
}

// textFlags choose how much SQL is published.
type textFlags struct {
	SQLText string `name:"sql-text" help:"SQL text in the events and in the console: ${enum} (normalised: without literals)." enum:"normalised,full,off" default:"normalised" reload:""`
}

// serviceFlags are shared by the commands that run until they are stopped.
type serviceFlags struct {
	Metrics      string        `help:"Serve /metrics, /livez, /readyz and /startupz at this address." placeholder:"HOST:PORT"`
	Drain        time.Duration `help:"Maximum time that stopping may take." default:"30s"`
	Console      string        `help:"Serve the console, a web page that shows who writes what, at this address." placeholder:"HOST:PORT" group:"Console"`
	consoleFlags `group:"Console"`
}

type proxyCommand struct {
	logged
	reloadable
	postgresFlags `group:"Connection"`
	keyFlags      `group:"Notes"`
	outboxFlags   `group:"Notes"`
	textFlags     `group:"Notes"`
	proxyFlags    `group:"Clients"`
	serviceFlags  `group:"Service"`
}

func (c *proxyCommand) Run(ctx context.Context, term terminal) error {
	log := c.logger(term.err)
	keys, err := c.outboxFlags.keys(c.keyFlags, log)
	if err != nil {
		return err
	}
	p, err := c.proxyFlags.open(ctx, c.postgresFlags, c.outboxFlags, c.textFlags, keys, log)
	if err != nil {
		return err
	}
	actors := []actor{p.actor(c.Drain), c.reloading(p, nil, c.level, log)}
	if actors, err = c.serviceFlags.addMetrics(actors, p, nil); err != nil {
		return err
	}
	if actors, err = c.serviceFlags.addConsole(actors, p, nil, cluster{}, log); err != nil {
		return err
	}
	return runGroup(ctx, c.Drain, actors...)
}

// Validate is called by kong.
func (c *proxyCommand) Validate() error { return c.proxyFlags.checkDrainDelay(c.Drain) }

func (c *proxyCommand) parts() proxyParts {
	return proxyParts{c.proxyFlags, c.postgresFlags, c.outboxFlags, c.textFlags, c.keyFlags, c.settings}
}

// keys returns the keys, which are needed only if there are notes.
func (f outboxFlags) keys(key keyFlags, log *zap.Logger) ([]note.MasterKey, error) {
	if f.Outbox == "off" {
		return nil, nil
	}
	return key.read(log)
}

// listeningProxy is a proxy with its sockets.
type listeningProxy struct {
	*proxy.Proxy
	listeners []net.Listener
	delay     time.Duration // between SIGTERM and the moment when no more clients are accepted
	draining  atomic.Bool
	log       *zap.Logger
}

// open checks that a server responds, and opens the sockets.
func (f proxyFlags) open(ctx context.Context, postgres postgresFlags, noteForm outboxFlags, text textFlags, keys []note.MasterKey, log *zap.Logger) (*listeningProxy, error) {
	config, err := f.config(postgres, noteForm, text, keys, log)
	if err != nil {
		return nil, err
	}
	if err := dialAny(ctx, config.Servers); err != nil {
		return nil, usage(err)
	}
	p, err := proxy.New(config)
	if err != nil {
		return nil, usage(err)
	}
	listeners, err := f.listen()
	if err != nil {
		return nil, usage(err)
	}
	return &listeningProxy{Proxy: p, listeners: listeners, delay: f.DrainDelay, log: log}, nil
}

// config returns the proxy's configuration that the flags describe.
func (f proxyFlags) config(postgres postgresFlags, noteForm outboxFlags, text textFlags, keys []note.MasterKey, log *zap.Logger) (proxy.Config, error) {
	servers, err := postgres.servers()
	if err != nil {
		return proxy.Config{}, err
	}
	clientTLS, err := f.tlsFlags.config()
	if err != nil {
		return proxy.Config{}, usage(err)
	}
	config := proxy.Config{
		TLS:           clientTLS,
		Servers:       servers,
		Target:        postgres.target(),
		KeepAlive:     f.keepAliveFlags.config(),
		SQLText:       text.SQLText != "off",
		Literals:      text.SQLText == "full",
		RequireOutbox: f.RequireOutbox,
		TrustedOwners: f.TrustOwner,
		ProxyHeader:   f.ProxyProtocol,
		Limits:        f.limitFlags.config(),
		Log:           log.Named("proxy"),
	}
	if len(keys) > 0 {
		config.Key = keys[0]
	}
	if err := errors.Join(config.Outbox.UnmarshalText([]byte(noteForm.Outbox)), config.Attribution.UnmarshalText([]byte(f.Attribution))); err != nil {
		return proxy.Config{}, usage(err)
	}
	return config, nil
}

// dialAny succeeds as soon as one server accepts a connection.
func dialAny(ctx context.Context, servers []proxy.Server) error {
	var last error
	for _, server := range servers {
		address := server.Address
		dialer := net.Dialer{Timeout: 5 * time.Second}
		network := "tcp"
		if strings.HasPrefix(address, "/") {
			network = "unix"
		}
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return conn.Close()
		}
		last = fmt.Errorf("cannot reach PostgreSQL at %s: is it running, and are host and port of --postgres right? (%w)", address, err)
	}
	return last
}

// actor serves until its context ends, then continues to accept clients for the delay, and lets the sessions end at their next idle point for most of
// the remaining drain time.
func (p *listeningProxy) actor(drain time.Duration) actor {
	return actor{"proxy", func(ctx context.Context) error {
		serving := make(chan error, len(p.listeners))
		for _, listener := range p.listeners {
			p.log.Info("the proxy listens", zap.Stringer("address", listener.Addr()))
			go func() { serving <- p.Serve(context.WithoutCancel(ctx), listener) }()
		}
		var failed error
		left := len(p.listeners)
		select {
		case failed = <-serving:
			left--
		case <-ctx.Done():
			p.draining.Store(true)
			time.Sleep(p.delay)
		}
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain*3/4-p.delay)
		defer cancel()
		if err := p.Shutdown(limit); err != nil {
			p.log.Warn("sessions were terminated while they were busy", zap.String("finding", "sessions-cut"), zap.Error(err))
		}
		for range left {
			<-serving
		}
		return failed
	}}
}
