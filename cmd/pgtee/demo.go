package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/cmd/pgtee/console"
	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/cmd/pgtee/shop"
	"github.com/pgtee/pgtee/subscriber"
)

// demoCommand runs everything in this process and in one folder; PostgreSQL is the only other process.
type demoCommand struct {
	logged
	For         time.Duration `help:"End after this time. The last line shows the result of comparing tables with topics." placeholder:"DURATION"`
	Dir         string        `help:"Keep everything in this folder and continue with it next time; by default a temporary folder, removed at the end." placeholder:"DIR"`
	Listen      string        `help:"Where clients of the proxy connect; port 0 is a free one (${default})." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	KafkaPort   int           `help:"Port of the broker on 127.0.0.1; by default a free one." default:"0" placeholder:"PORT"`
	Major       int           `help:"Version of PostgreSQL, 14 to 18; by default the newest installed; if none is installed, one is downloaded." default:"0" placeholder:"N"`
	Outbox      string        `help:"How notes are written to the WAL: ${enum}." enum:"table,message" default:"table"`
	Console     string        `help:"Where the console listens; off: nowhere (${default})." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	textFlags   `group:"Notes"`
	recordFlags `group:"Records"`

	consoleFlags `group:"Console"`
}

const (
	demoPrefix = "shop"
	demoSlot   = "pgtee"
	demoDrain  = 20 * time.Second
)

func (c *demoCommand) Run(ctx context.Context, term terminal) (err error) {
	log := c.logger(term.err)
	if c.settings.level == "info" { // the demo's output is the audit lines
		log = log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))
	}
	d := &demo{demoCommand: c, term: term, log: log}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.open(ctx); err != nil {
		return usage(err)
	}
	d.introduce()
	if err := runGroup(ctx, 2*demoDrain, d.actors()...); err != nil {
		return err
	}
	if d.altered() {
		fmt.Fprintln(term.out, "tables and topics are not compared: flags alter the records")
		return nil
	}
	fmt.Fprintln(term.out, d.result)
	if !d.result.Good() {
		return errors.New("the topics do not hold exactly what was committed: run pgtee demo --dir DIR to keep the evidence, and report it")
	}
	return nil
}

// demo is the running demo.
type demo struct {
	*demoCommand
	term terminal
	log  *zap.Logger

	password   string
	postgres   *embedded.Postgres
	broker     *embedded.Broker
	proxy      *listeningProxy
	publishers []databasePublisher
	console    *console.Console // nil: --console off
	result     shop.Result
	temporary  bool
}

// open starts everything, each part after those that it needs.
func (d *demo) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.openFolder, d.openPostgres, d.openBroker, d.openShop, d.openPublisher, d.openProxy, d.openConsole,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openFolder creates the folder, and reads or creates the only password of the demo.
func (d *demo) openFolder(context.Context) (err error) {
	if d.Dir == "" {
		d.temporary = true
		if d.Dir, err = os.MkdirTemp("", "pgtee-demo-*"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	if err := os.Chmod(d.Dir, 0o755); err != nil { // the server may run as another user
		return fmt.Errorf("--dir: %w", err)
	}
	file := filepath.Join(d.Dir, "password")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(rand.Text())
		err = os.WriteFile(file, text, 0o600)
	}
	d.password = string(text)
	return err
}

func (d *demo) openPostgres(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // PostgreSQL may have to be downloaded
	defer cancel()
	fmt.Fprintln(d.term.err, "starting PostgreSQL …")
	config := embedded.PostgresConfig{Major: d.Major, Dir: filepath.Join(d.Dir, "postgres"), Password: d.password}
	if d.postgres, err = embedded.NewPostgres(ctx, config); err != nil {
		return err
	}
	return d.postgres.Start(ctx)
}

func (d *demo) openBroker(context.Context) (err error) {
	d.broker, err = embedded.StartBroker(embedded.BrokerConfig{Dir: filepath.Join(d.Dir, "kafka"), Port: d.KafkaPort})
	if err != nil {
		return fmt.Errorf("%w: choose another --kafka-port", err)
	}
	return nil
}

// actors returns the actors. The shop and its proxy stop first, then the tables are compared with the topics, then the others stop.
func (d *demo) actors() []actor {
	working := actor{"demo", func(ctx context.Context) error {
		if err := runGroup(ctx, demoDrain, actor{"workload", d.work}, d.proxy.actor(demoDrain)); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), demoDrain)
		defer cancel()
		return d.compare(ctx)
	}}
	watching := actor{"audit stream", func(ctx context.Context) error {
		printer := subscriber.Printer{Out: d.term.out, Color: isTerminal(d.term.out), Audit: true}
		config := subscriber.Config{Brokers: d.brokers(), Prefix: demoPrefix}
		return subscriber.Follow(ctx, config, printer.Print)
	}}
	actors := append([]actor{working, watching}, publisherActors(d.publishers, databasePublisher.run)...)
	if d.console != nil {
		actors = append(actors, consoleActor(d.console.Run, d.log))
	}
	return actors
}

func (d *demo) brokers() []string { return []string{d.broker.Address()} }

func (d *demo) address() shop.Address {
	return shop.Address{HostPort: d.proxy.listeners[0].Addr().String(), Password: d.password}
}

// introduce prints how to try out the demo.
func (d *demo) introduce() {
	broker := d.broker.Address()
	page := "no console (--console off)"
	if d.console != nil {
		page = d.console.URL()
	}
	fmt.Fprintf(d.term.out, `
PostgreSQL %d at %s, broker at %s, folder %s. Try:

  %s  (in a browser)
  psql '%s'
  kcat -C -b %s -t %s.public.orders -o beginning
  pgtee subscribe --kafka %s --prefix %s --tables orders --from beginning

What is committed (rows, tables, statement), and who did it:
`, d.postgres.Major(), d.postgres.Address(), broker, d.Dir, page, d.address().URL("alice"), broker, demoPrefix, broker, demoPrefix)
}

// close stops the servers and removes the folder, unless it is one given by the user.
func (d *demo) close() error {
	var errs []error
	if d.broker != nil {
		d.broker.Close()
	}
	if d.postgres != nil {
		ctx, cancel := context.WithTimeout(context.Background(), demoDrain)
		defer cancel()
		errs = append(errs, d.postgres.Stop(ctx, embedded.Fast))
	}
	if d.temporary && d.Dir != "" {
		errs = append(errs, os.RemoveAll(d.Dir))
	}
	return errors.Join(errs...)
}
