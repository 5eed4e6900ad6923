package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration"
	"github.com/pgtee/pgtee/integration/harness"
)

const (
	database = "chaos"
	slot     = "chaos"
	prefix   = "chaos"

	transactionalID = "pgtee-" + prefix + "-" + database + "-" + slot

	maxLogBytes = 8 << 30 // of WAL; then the storm ends early
)

// settings keep the whole log of a run, which is the truth, and let no session that the network has
// forgotten hold its locks for long, nor the last place.
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

// chaos is one run.
type chaos struct {
	options
	world *harness.World
	began time.Time
	dir   string // of logs and key
	start string // log position from which on the truth is compared

	server     *embedded.Postgres
	brokers    []*harness.Kafka
	proxy      *service
	publishers []*service

	clients      *harness.Relay   // clients and proxy
	backends     *harness.Relay   // proxy and Postgres
	decoders     []*harness.Relay // each publisher and Postgres
	producers    []*harness.Relay // each publisher and Kafka
	proxyAddress string

	aborted int // records of aborted Kafka transactions, as the last look at the topics saw

	mu     sync.Mutex
	faults map[string]int // made, by name
	log    *os.File       // of the faults
	wrong  []string       // what must not happen whatever is killed
	giveUp func()         // ends the storm
}

// prepare starts everything, with the faulty network between it.
func (c *chaos) prepare(ctx context.Context) (err error) {
	c.faults, c.giveUp = map[string]int{}, func() {}
	if c.dir, err = c.world.Sub("chaos"); err != nil {
		return err
	}
	if c.log, err = os.Create(filepath.Join(c.dir, "faults.log")); err != nil {
		return err
	}
	c.world.OnClose(c.log.Close)
	if err := os.WriteFile(c.keyFile(), []byte(strings.Repeat("c4", 32)+"\n"), 0o600); err != nil {
		return err
	}
	var bugs []harness.Bug
	if c.planted {
		bugs = append(bugs, ackBeforeCommit)
	}
	binary, err := c.world.Build(bugs...)
	if err != nil {
		return err
	}
	if c.server, err = c.world.StartPostgres(c.major, settings); err != nil {
		return err
	}
	if err := c.startNetwork(); err != nil {
		return err
	}
	if err := c.makeDatabase(ctx); err != nil {
		return err
	}
	if err := c.makeProgressTopic(ctx); err != nil {
		return err
	}
	if err := c.setup(binary); err != nil {
		return err
	}
	c.startServices(binary)
	return nil
}

func (c *chaos) keyFile() string { return filepath.Join(c.dir, "key") }

// startNetwork makes a relay for each pair that speaks, and the broker behind those of the publishers.
// Brokers of a cluster are not cut off.
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
			c.producers = append(c.producers, relay("")) // the broker serves it
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

// makeDatabase makes the tables and their history, which has to outlive a crash of the server.
func (c *chaos) makeDatabase(ctx context.Context) error {
	if err := c.exec(ctx, "postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	if err := c.exec(ctx, database, schema); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, c.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := integration.Watch(ctx, conn, watched...); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ALTER TABLE truth.history SET LOGGED")
	return err
}

// makeProgressTopic makes the topic before the publisher does, so that nothing is compacted before
// the witness has read it.
func (c *chaos) makeProgressTopic(ctx context.Context) error {
	configs := map[string]*string{"cleanup.policy": kadm.StringPtr("compact"), "min.compaction.lag.ms": kadm.StringPtr("86400000")}
	return c.askCluster(func(admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, 1, -1, configs, prefix+".progress")
		return err
	})
}

// setup runs pgtee setup. From here on committed rows have to appear in Kafka.
func (c *chaos) setup(binary string) error {
	conn, err := pgx.Connect(context.Background(), c.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), "SELECT pg_current_wal_insert_lsn()::text").Scan(&c.start); err != nil {
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
			"--partitions", strconv.Itoa(c.partitions), "--sql-text", "full"))
	}
}

// postgresAt is the connection string of a user of the database by way of an address.
func (c *chaos) postgresAt(address, user, application string) string {
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: address, Path: "/" + database}
	query := url.Values{"sslmode": {"disable"}}
	if application != "" {
		query.Set("application_name", application)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// exec runs SQL straight on the server.
func (c *chaos) exec(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, c.server.URL(database)+"&application_name="+integration.Direct)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// storm lets load and faults meet, and waits for the end of both. It fails with what no fault excuses.
func (c *chaos) storm(ctx context.Context) error {
	storm, cancel := context.WithTimeout(ctx, c.length)
	defer cancel()
	c.giveUp = cancel
	for _, s := range append([]*service{c.proxy}, c.publishers...) {
		s.keep()
	}
	var running sync.WaitGroup
	for i, actor := range c.actors() {
		running.Go(func() { actor(storm, rand.New(rand.NewSource(c.seed+int64(i)))) })
	}
	for i, lane := range c.lanes() {
		running.Go(func() { c.drive(storm, lane, rand.New(rand.NewSource(c.seed+1000+int64(i)))) })
	}
	running.Go(func() { c.boundLog(storm, cancel) })
	running.Wait()
	return errors.Join(ctx.Err(), c.failure())
}

// boundLog ends the storm before the log of the server fills the disk.
func (c *chaos) boundLog(ctx context.Context, end func()) {
	for ctx.Err() == nil {
		sleep(ctx, 5*time.Second)
		conn, err := pgx.Connect(ctx, c.server.URL(database)) // it may be down
		if err != nil {
			continue
		}
		var bytes int64
		if err := conn.QueryRow(ctx, "SELECT (pg_current_wal_lsn() - $1::text::pg_lsn)::bigint", c.start).Scan(&bytes); err == nil && bytes > maxLogBytes {
			c.note("the log has %d bytes", bytes)
			end()
		}
		conn.Close(ctx)
	}
}

// note writes a line into the log of the faults.
func (c *chaos) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.log, "%s %8.3f %s\n", time.Now().Format(time.RFC3339Nano), time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// complain remembers what no fault excuses, and ends the storm.
func (c *chaos) complain(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.note("WRONG %s", text)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, text)
	c.giveUp()
}

// failure is the first complaint.
func (c *chaos) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) == 0 {
		return nil
	}
	return errors.New(c.wrong[0])
}

func (c *chaos) count(fault string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[fault]++
}

// keepArtefacts copies the logs out of the folder that is about to be removed.
func (c *chaos) keepArtefacts() error {
	kept, err := os.MkdirTemp("", "pgtee-chaos-failed-")
	if err != nil {
		return err
	}
	fmt.Printf("chaos logs=%s\n", kept)
	return filepath.WalkDir(c.world.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".log") || strings.Contains(path, "/data/") {
			return nil // what has gone meanwhile, and what is no log
		}
		return copyFile(filepath.Join(kept, filepath.Base(path)), path)
	})
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
