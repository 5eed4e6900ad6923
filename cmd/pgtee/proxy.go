package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/proxy"
)

// outboxFlags choose how notes travel.
type outboxFlags struct {
	Outbox string `help:"Where notes travel to the log: ${enum}; off only forwards." enum:"table,message,off" default:"table"`
}

// textFlags choose how much SQL is published.
type textFlags struct {
	SQLText string `name:"sql-text" help:"SQL text in the events: ${enum} (normalised: without literals)." enum:"normalised,full,off" default:"normalised"`
}

// proxyFlags are those of the proxy alone.
type proxyFlags struct {
	Listen        string `help:"Where clients connect (${default})." default:"127.0.0.1:6432" placeholder:"HOST:PORT"`
	Attribution   string `help:"A note per ${enum}: transaction is cheaper, its rows name the session only." enum:"statement,transaction" default:"statement"`
	RequireOutbox bool   `help:"Refuse sessions to databases without an outbox; otherwise they run unattributed."`

	TLSCert     string `name:"tls-cert" help:"Certificate, PEM, that clients are shown; without one they are not offered TLS. Read again when it changes." type:"path" placeholder:"FILE"`
	TLSKey      string `name:"tls-key" help:"Its private key, PEM." type:"path" placeholder:"FILE"`
	TLSClientCA string `name:"tls-client-ca" help:"CA, PEM, of client certificates." type:"path" placeholder:"FILE"`
	TLSMode     string `name:"tls-mode" help:"What is asked of clients: ${enum}." enum:"prefer,require,verify-ca,verify-full" default:"prefer"`
}

// serviceFlags are shared by the commands that run until they are stopped.
type serviceFlags struct {
	Metrics string        `help:"Serve /metrics, /livez and /readyz there." placeholder:"HOST:PORT"`
	Drain   time.Duration `help:"Longest time that stopping takes." default:"30s"`
}

type proxyCommand struct {
	logged
	postgresFlags
	keyFlags
	outboxFlags
	textFlags
	proxyFlags
	serviceFlags
}

func (c *proxyCommand) Run(ctx context.Context, term terminal) error {
	log := c.logger(term.err)
	var key []byte
	if c.Outbox != "off" {
		var err error
		if key, err = c.keyFlags.read(log); err != nil {
			return err
		}
	}
	p, err := c.proxyFlags.open(ctx, c.postgresFlags, c.outboxFlags, c.textFlags, key, log)
	if err != nil {
		return err
	}
	actors := []actor{p.actor(c.Drain)}
	actors, err = c.serviceFlags.addMetrics(actors, p, nil)
	if err != nil {
		return err
	}
	return runGroup(ctx, c.Drain, actors...)
}

// listeningProxy is a proxy with its socket.
type listeningProxy struct {
	*proxy.Proxy
	listener net.Listener
	log      *zap.Logger
}

// open checks that a server answers, and takes the socket.
func (f proxyFlags) open(ctx context.Context, postgres postgresFlags, outbox outboxFlags, text textFlags, key []byte, log *zap.Logger) (*listeningProxy, error) {
	servers, err := postgres.servers()
	if err != nil {
		return nil, err
	}
	if err := dialAny(ctx, servers); err != nil {
		return nil, usage(err)
	}
	clientTLS, err := f.clientTLS()
	if err != nil {
		return nil, usage(err)
	}
	config := proxy.Config{
		TLS:           clientTLS,
		Servers:       servers,
		Key:           key,
		KeyID:         noteKeyID,
		SQLText:       text.SQLText != "off",
		RequireOutbox: f.RequireOutbox,
		Log:           log.Named("proxy"),
	}
	if err := errors.Join(config.Outbox.UnmarshalText([]byte(outbox.Outbox)), config.Attribution.UnmarshalText([]byte(f.Attribution))); err != nil {
		return nil, usage(err)
	}
	p, err := proxy.New(config)
	if err != nil {
		return nil, usage(err)
	}
	listener, err := net.Listen("tcp", f.Listen)
	if err != nil {
		return nil, usage(fmt.Errorf("--listen %s: %w: choose a free HOST:PORT", f.Listen, err))
	}
	return &listeningProxy{p, listener, log}, nil
}

// clientTLS is nil if clients are not offered TLS.
func (f proxyFlags) clientTLS() (*proxy.ClientTLS, error) {
	switch {
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return nil, errors.New("--tls-cert and --tls-key belong together")
	case f.TLSCert == "" && (f.TLSMode != string(proxy.TLSPrefer) || f.TLSClientCA != ""):
		return nil, errors.New("--tls-mode and --tls-client-ca need a certificate: add --tls-cert and --tls-key")
	case f.TLSCert == "":
		return nil, nil
	}
	return &proxy.ClientTLS{CertFile: f.TLSCert, KeyFile: f.TLSKey, CAFile: f.TLSClientCA, Mode: proxy.TLSMode(f.TLSMode)}, nil
}

// dialAny succeeds as soon as one server takes a connection.
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

// actor serves until its context ends, then lets the sessions end at their next idle point for most of
// the drain time.
func (p *listeningProxy) actor(drain time.Duration) actor {
	return actor{"proxy", func(ctx context.Context) error {
		p.log.Info("the proxy listens", zap.Stringer("address", p.listener.Addr()))
		serving := make(chan error, 1)
		go func() { serving <- p.Serve(context.WithoutCancel(ctx), p.listener) }()
		select {
		case err := <-serving:
			return err
		case <-ctx.Done():
		}
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain*3/4)
		defer cancel()
		if err := p.Shutdown(limit); err != nil {
			p.log.Warn("sessions were cut off in the middle of their work", zap.Error(err))
		}
		<-serving
		return nil
	}}
}
