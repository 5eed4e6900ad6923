package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"regexp"
	"strings"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/cmd/pgtee/console"
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
)

// consoleFlags say who may see the console, and under which host names it is served.
type consoleFlags struct {
	ConsoleLogins string   `name:"console-logins" help:"File with the logins of the console, lines of NAME ROLE SECRET: the role is reader or admin; the secret may be given as sha256:HEX, or is the word certificate, see --console-client-ca. Without it everybody who reaches the console can read, so it must listen on loopback." type:"path" placeholder:"FILE"`
	ConsoleHost   []string `name:"console-host" help:"Host name by which browsers reach the console, if that is not its address; other names are refused. May be repeated." placeholder:"NAME"`
	ConsoleCert   string   `name:"console-cert" help:"Certificate of the console, PEM; without one it speaks plain HTTP: then put a proxy with TLS in front of it." type:"path" placeholder:"FILE"`
	ConsoleKey    string   `name:"console-key" help:"Private key of --console-cert, PEM." type:"path" placeholder:"FILE"`

	ConsoleClientCA string `name:"console-client-ca" help:"CA of client certificates, PEM. A certificate logs in the user with its common name, if --console-logins has a line NAME ROLE certificate. Read again when it changes." type:"path" placeholder:"FILE"`

	shown map[string]string // every flag of the command, for the configuration page
}

func (f *consoleFlags) setShown(values map[string]flagValue) {
	f.shown = map[string]string{}
	for name, value := range values {
		f.shown[name] = value.text
	}
}

// config returns the configuration that the flags describe; open is everybody's role if there are no logins.
func (f consoleFlags) config(open console.Role, log *zap.Logger) (cfg console.Config, err error) {
	cfg = console.Config{Open: open, Hosts: f.ConsoleHost, Settings: withoutSecrets(f.shown), Version: version(), Log: log.Named("console")}
	server, err := readTLS("--console", "", f.ConsoleCert, f.ConsoleKey)
	if err != nil {
		return cfg, err
	}
	if f.ConsoleCert != "" {
		current := server.logged("the new certificate of the console is invalid; the old one stays in effect", log)
		cfg.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &current().Certificates[0], nil }
	}
	clients, err := readTLS("--console-client", f.ConsoleClientCA, "", "")
	if err != nil {
		return cfg, err
	}
	if f.ConsoleClientCA != "" {
		current := clients.logged("the new CA of the console's clients is invalid; the old one stays in effect", log)
		cfg.ClientCAs = func() *x509.CertPool { return current().RootCAs }
	}
	if f.ConsoleLogins != "" {
		if cfg.Logins, err = console.ReadLogins(f.ConsoleLogins); err != nil {
			return cfg, fmt.Errorf("--console-logins: %w", err)
		}
	}
	return cfg, nil
}

var secretNames = regexp.MustCompile(`password|secret|token|salt`)

// withoutSecrets hides the values of flags that are secrets. The paths of files that contain secrets are shown.
func withoutSecrets(values map[string]string) map[string]string {
	shown := map[string]string{}
	for name, value := range values {
		if name == "help" {
			continue
		}
		if value == "[]" || value == "<nil>" || value == "map[]" {
			value = ""
		}
		if secretNames.MatchString(name) && !strings.HasSuffix(name, "-file") && value != "" {
			value = "(hidden)"
		}
		shown[name] = maskSecrets(value)
	}
	return shown
}

// addConsole adds the actor that serves --console, if it is given. proxy is nil if there is none.
func (f serviceFlags) addConsole(actors []actor, proxy *listeningProxy, publishers []databasePublisher, kafka cluster, log *zap.Logger) ([]actor, error) {
	if f.Console == "" {
		return actors, nil
	}
	cfg, err := f.consoleFlags.config(console.Reader, log)
	if err != nil {
		return nil, usage(err)
	}
	opened, err := openConsole(f.Console, cfg, proxy, publishers, kafka)
	if err != nil {
		return nil, usage(err)
	}
	log.Info("the console listens", zap.String("url", opened.URL()))
	return append(actors, consoleActor(opened.Run, log)), nil
}

// consoleActor serves the console. If that fails, the other actors go on, because clients depend on the proxy.
func consoleActor(run func(context.Context) error, log *zap.Logger) actor {
	return actor{"console", func(ctx context.Context) error {
		if err := run(ctx); err != nil {
			log.Error("the console has failed; everything else goes on without it", zap.String("finding", "console-failed"), zap.Error(err))
			<-ctx.Done()
		}
		return nil
	}}
}

func openConsole(address string, cfg console.Config, proxy *listeningProxy, publishers []databasePublisher, kafka cluster) (*console.Console, error) {
	cfg.Brokers, cfg.KafkaOptions = kafka.brokers, kafka.options
	for _, p := range publishers {
		cfg.Streams = append(cfg.Streams, p.consoleStream())
	}
	if proxy != nil {
		cfg.Sessions = proxy
	}
	return console.Open(address, cfg)
}

// consoleConnections is how many connections to PostgreSQL the pages of one publisher may use at a time.
const consoleConnections = 2

// consoleStream returns what the console shows of a publisher.
func (p databasePublisher) consoleStream() console.Stream {
	turns := make(chan struct{}, consoleConnections)
	return console.Stream{
		Prefix: p.prefix, Database: p.database, Slot: p.slot,
		Stats: func() publisher.Stats {
			stats := p.Stats()
			stats.LastError = maskSecrets(stats.LastError)
			return stats
		},
		Lag: p.behind,
		Retained: func() (outbox.SlotStatus, int64) {
			slot := p.lag.slot()
			return slot, p.retained.lossAt(slot)
		},
		Check: inTurn(turns, func(ctx context.Context) (outbox.Report, error) {
			return outbox.Check(ctx, outbox.SetupConfig{ConnString: p.connString, Slot: p.slot, Selection: p.coverage.Selection})
		}),
		Tables: inTurn(turns, func(ctx context.Context) ([]outbox.Table, error) { return outbox.Tables(ctx, p.connString) }),
		Uncaptured: inTurn(turns, func(ctx context.Context) ([]outbox.Capture, error) {
			return outbox.Uncaptured(ctx, p.connString, p.coverage.Selection)
		}),
		Signal: func(ctx context.Context, s *outbox.SignalRecord) error {
			_, err := outbox.SendSignal(ctx, p.connString, s)
			return err
		},
	}
}

// inTurn limits the concurrent calls of f, and of other functions with the same turns, to the capacity of turns.
func inTurn[T any](turns chan struct{}, f func(context.Context) (T, error)) func(context.Context) (T, error) {
	return func(ctx context.Context) (value T, err error) {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
			return f(ctx)
		case <-ctx.Done():
			return value, ctx.Err()
		}
	}
}

func (d *demo) openConsole(context.Context) error {
	if d.Console == "off" {
		return nil
	}
	cfg, err := d.consoleFlags.config(console.Admin, d.log)
	if err != nil {
		return err
	}
	d.console, err = openConsole(d.Console, cfg, d.proxy, d.publishers, cluster{brokers: d.brokers()})
	return err
}
