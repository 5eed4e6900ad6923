package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

// settings retain the whole WAL of a run, to compare Kafka with it. They also ensure that sessions whose network connection was lost do not hold their
// locks for long, nor occupy the last connection slot.
var settings = map[string]string{
	"wal_keep_size":                       "12GB",
	"max_slot_wal_keep_size":              "16GB",
	"max_wal_size":                        "1GB",
	"checkpoint_timeout":                  "30s",
	"max_connections":                     "400",
	"max_prepared_transactions":           "40",
	"lock_timeout":                        "5s",
	"idle_in_transaction_session_timeout": "15s",
}

// prepare starts everything, with the faulty network in between.
func (c *chaos) prepare(ctx context.Context) error {
	binary, err := c.begin()
	if err != nil {
		return err
	}
	if err := c.makeDatabase(ctx, schema); err != nil {
		return err
	}
	if err := c.watch(ctx); err != nil {
		return err
	}
	if err := c.makeProgressTopic(ctx); err != nil {
		return err
	}
	if err := c.setup(ctx, binary); err != nil {
		return err
	}
	c.startServices(binary)
	return nil
}

// begin builds the program, and starts the server and the faulty network in front of it and of Kafka.
func (c *chaos) begin() (binary string, err error) {
	if binary, err = c.build(); err != nil {
		return "", err
	}
	if c.server, err = c.world.StartPostgres(c.major, settings); err != nil {
		return "", err
	}
	return binary, c.startNetwork()
}

// build creates the folder and the log, and builds the program; with -planted, with a bug that the run must find.
func (c *chaos) build() (binary string, err error) {
	c.faults, c.giveUp, c.giant = map[string]int{}, func() {}, make(chan struct{})
	if c.dir, err = c.world.Sub("chaos"); err != nil {
		return "", err
	}
	if c.log, err = os.Create(filepath.Join(c.dir, "faults.log")); err != nil {
		return "", err
	}
	c.world.OnClose(c.log.Close)
	if err := os.WriteFile(c.keyFile(), []byte(strings.Repeat("c4", 32)+"\n"), 0o600); err != nil {
		return "", err
	}
	bugs, err := c.bugs()
	if err != nil {
		return "", err
	}
	return c.world.Build(bugs...)
}

func (c *chaos) keyFile() string { return filepath.Join(c.dir, "key") }

// startNetwork creates a relay for each pair of peers, and starts the broker or the cluster. There are no relays in front of a cluster.
func (c *chaos) startNetwork() (err error) {
	relay := func(target string) *harness.Relay {
		r, problem := harness.NewRelay()
		if problem != nil {
			err = errors.Join(err, problem)
			return nil
		}
		c.world.OnClose(r.Close)
		if target != "" {
			r.Serve(target)
		}
		return r
	}
	if c.proxyAddress, err = harness.FreeAddress(); err != nil {
		return err
	}
	c.clients = relay(c.proxyAddress)
	c.backends = relay(c.server.Address())
	for range 2 {
		c.decoders = append(c.decoders, relay(c.server.Address()))
		if c.cluster == 1 {
			c.producers = append(c.producers, relay("")) // the broker sets its target
		}
	}
	if err != nil {
		return err
	}
	if c.cluster > 1 {
		c.brokers, err = c.world.StartCluster(c.cluster)
		return err
	}
	broker, err := c.world.StartKafka(c.producers...)
	c.brokers = []*harness.Kafka{broker}
	return err
}

func (c *chaos) makeDatabase(ctx context.Context, schema string) error {
	if err := c.exec(ctx, "postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	return c.exec(ctx, database, schema)
}

// watch creates the history of the tables, which must survive a crash of the server.
func (c *chaos) watch(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := verdict.Watch(ctx, conn, watched...); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ALTER TABLE truth.history SET LOGGED")
	return err
}

// makeProgressTopic creates the topic before the publisher does, so that nothing is compacted before the witness has read it.
func (c *chaos) makeProgressTopic(ctx context.Context) error {
	configs := map[string]*string{"cleanup.policy": kadm.StringPtr("compact"), "min.compaction.lag.ms": kadm.StringPtr("86400000")}
	return c.askCluster(func(admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, 1, -1, configs, prefix+".progress")
		return err
	})
}

// setup runs pgtee setup. From then on committed rows must appear in Kafka.
func (c *chaos) setup(ctx context.Context, binary string) error {
	conn, err := pgx.Connect(ctx, c.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&c.start); err != nil {
		return err
	}
	p, err := harness.Start(c.dir, harness.Command{Name: "setup", Args: []string{binary, "setup", "--postgres", c.server.URL(database), "--slot", slot}})
	if err != nil {
		return err
	}
	if code, err := p.Wait(time.Minute); err != nil || code != 0 {
		return fmt.Errorf("setup exits with %d (%v): %s", code, err, p.Log())
	}
	return nil
}

func (c *chaos) startServices(binary string) {
	c.proxy = c.newService("proxy", binary, "proxy", "--listen", c.proxyAddress, "--postgres", c.postgresAt(c.backends.Address, "postgres", ""),
		"--key", c.keyFile(), "--outbox", c.outbox)
	for i, name := range []string{"publisher-a", "publisher-b"} {
		kafka := strings.Join(c.brokerAddresses(), ",")
		if c.producers != nil {
			kafka = c.producers[i].Address
		}
		c.publishers = append(c.publishers, c.newService(name, binary, "publish", "--postgres", c.postgresAt(c.decoders[i].Address, "postgres", ""),
			"--kafka", kafka, "--prefix", prefix, "--slot", slot, "--key", c.keyFile(), "--standby",
			"--partitions", strconv.Itoa(c.partitions), "--sql-text", "full", "--part-bytes", "200000", "--part-after", []string{"5m", "300ms"}[i]))
	}
}

// postgresAt returns the connection string of a database user for an address.
func (c *chaos) postgresAt(address, user, application string) string {
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: address, Path: "/" + database}
	query := url.Values{"sslmode": {"disable"}}
	if application != "" {
		query.Set("application_name", application)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// exec runs SQL directly on the server.
func (c *chaos) exec(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, c.server.URL(database)+"&application_name="+verdict.Direct)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}
