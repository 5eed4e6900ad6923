package main

import (
	"context"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/pgtee/pgtee/integration/harness"
)

// consumers is a run in which topics of other producers, with good records and poison, are written into tables.
type consumers struct {
	*chaos
	binary   string
	registry *harness.Registry
	schemaID int
	services []*service
}

// feed is a topic and the table into which it is written.
type feed struct {
	name       string // of topic and table
	partitions int32
	members    int // number of consumers in its group
	flags      []string
	keyed      bool // the table has the last record of each key; otherwise every record
}

var feeds = []feed{
	{"plain", 3, 2, []string{"--offset", "o", "--partition", "p"}, false},
	{"avro", 2, 2, []string{"--format", "avro", "--offset", "o", "--partition", "p"}, false},
	{"keyed", 2, 1, []string{"--key", "id", "--offset", "o", "--partition", "p"}, true},
}

// A record's origin (p, o) is not a unique key, so that a record that is written twice is detected.
const consumeSchema = `
CREATE TABLE plain (p int, o bigint, id bigint NOT NULL, v varchar(20), n int CHECK (n >= 0));
CREATE TABLE avro (p int, o bigint, id bigint NOT NULL, v varchar(20), n int CHECK (n >= 0));
CREATE TABLE keyed (id bigint PRIMARY KEY, p int, o bigint, v varchar(20), n int CHECK (n >= 0));`

// avroSchema is the schema of the records of the topic avro.
const avroSchema = `{"type":"record","name":"row","fields":[{"name":"id","type":"long"},{"name":"v","type":"string"},{"name":"n","type":"int"}]}`

func runConsumers(ctx context.Context, c *chaos) error {
	r := &consumers{chaos: c}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.runStorm(ctx, r.services, r.actors(), r.lanes()); err != nil {
		return err
	}
	return r.judge(ctx)
}

func (r *consumers) prepare(ctx context.Context) (err error) {
	if r.binary, err = r.begin(); err != nil {
		return err
	}
	if r.registry, err = r.world.StartRegistry(); err != nil {
		return err
	}
	if err := r.registerSchema(ctx); err != nil {
		return err
	}
	if err := r.makeDatabase(ctx, consumeSchema); err != nil {
		return err
	}
	if r.start, err = r.logPosition(ctx); err != nil {
		return err
	}
	for _, f := range feeds {
		err := r.askCluster(func(admin *kadm.Client) error {
			_, err := admin.CreateTopic(ctx, f.partitions, -1, nil, f.name)
			return err
		})
		if err != nil {
			return err
		}
		for i := range f.members {
			args := append([]string{r.binary, "consume", "--kafka", r.producers[i].Address, "--postgres", r.postgresAt(r.decoders[i].Address, "postgres", ""), "--topic", f.name, "--into", "public." + f.name,
				"--schema-registry", r.registry.URL()}, f.flags...)
			r.services = append(r.services, r.newService(fmt.Sprintf("consumer-%s-%d", f.name, i+1), args...))
		}
	}
	return nil
}

// logPosition returns the server's current WAL position.
func (r *chaos) logPosition(ctx context.Context) (lsn string, err error) {
	conn, err := pgx.Connect(ctx, r.server.URL(database))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn()::text").Scan(&lsn)
	return lsn, err
}

func (r *consumers) registerSchema(ctx context.Context) error {
	body := fmt.Sprintf(`{"schema":%q}`, avroSchema)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.registry.URL()+"/subjects/avro-value/versions", strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/vnd.schemaregistry.v1+json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if _, err := fmt.Sscanf(string(text), `{"id":%d`, &r.schemaID); err != nil {
		return fmt.Errorf("register a schema: %s: %s", answer.Status, text)
	}
	return nil
}

func (r *consumers) lanes() []lane {
	lanes := []lane{
		{"postgres", 12 * time.Second, r.serverFaults()},
		{"kafka", 15 * time.Second, r.brokerFaults()},
		{"transactions", 3 * time.Second, []fault{{"fail", 3, r.failTransaction}, {"lock", 1, r.lockTable}}},
	}
	for _, s := range r.services {
		lanes = append(lanes, lane{s.command.Name, 4 * time.Second, serviceFaults(s)})
	}
	for i := range r.decoders {
		lanes = append(lanes, lane{fmt.Sprintf("network-postgres-%d", i+1), 10 * time.Second, networkFaults(r.decoders[i])},
			lane{fmt.Sprintf("network-kafka-%d", i+1), 10 * time.Second, networkFaults(r.producers[i])})
	}
	return r.chosen(lanes)
}

// failTransaction ends a consumer's connection on the server's side, preferably in the middle of a transaction.
func (r *consumers) failTransaction(random *rand.Rand, _ between) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = r.exec(ctx, database, fmt.Sprintf(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgtee consume %%' AND datname = current_database()
ORDER BY xact_start IS NULL, hashint4(pid + %d) LIMIT 1`, random.Intn(1000))) // the server may be down
}

// lockTable makes consumers wait; if that lasts long, lock_timeout fails their transactions.
func (r *consumers) lockTable(random *rand.Rand, draw between) {
	held := draw(100*time.Millisecond, 8*time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, r.server.URL(database))
	if err != nil {
		return
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "BEGIN"); err == nil {
		if _, err = conn.Exec(ctx, "LOCK TABLE public."+feeds[random.Intn(len(feeds))].name+" IN SHARE MODE"); err == nil {
			held()
		}
	}
}
