package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/subscriber/postgres"
)

// Finding is one result of Check. Without a Repair there is no problem, or nothing to be done about it.
type Finding struct {
	Problem bool // apply would halt
	Text    string
	Repair  string
}

// Check inspects the stream and the target without changing anything.
func Check(ctx context.Context, cfg Config) ([]Finding, error) {
	c := checker{cfg: &cfg}
	w, first, err := cfg.watch(ctx)
	if isHalt(err) {
		return c.halted(err), nil
	}
	if err != nil {
		return nil, err
	}
	defer w.client.Close()
	c.ok("topic %s: Kafka holds database %s up to %s", w.topic(), first.Database, first.EndLSN)
	t, err := cfg.connect(ctx)
	if err == nil {
		defer t.close()
		err = t.notSource(ctx, first.Slot, first.SystemID)
	}
	if isHalt(err) {
		return c.halted(err), nil
	}
	if err != nil {
		return nil, err
	}
	fresh, err := c.fence(ctx, t)
	if err != nil {
		return nil, err
	}
	if t.replica {
		c.ok("triggers and foreign keys of the target are off while rows are applied, except triggers that are ENABLE ALWAYS or REPLICA")
	} else {
		c.warn(t.grantReplica(), "triggers of the target fire, and its foreign keys are checked")
	}
	if err := c.origin(ctx, t); err != nil {
		return nil, err
	}
	if c.sequences, err = t.sequences(ctx); err != nil {
		return nil, err
	}
	err = c.topics(ctx, t, w, fresh)
	return c.findings, err
}

type checker struct {
	cfg       *Config
	findings  []Finding
	sequences []sequence // of the target
}

func (c *checker) ok(format string, args ...any) {
	c.findings = append(c.findings, Finding{Text: fmt.Sprintf(format, args...)})
}

func (c *checker) warn(repair, format string, args ...any) {
	c.findings = append(c.findings, Finding{Text: fmt.Sprintf(format, args...), Repair: repair})
}

func (c *checker) problem(repair, format string, args ...any) {
	c.findings = append(c.findings, Finding{true, fmt.Sprintf(format, args...), repair})
}

func (c *checker) halted(err error) []Finding {
	c.problem("", "%v", err)
	return c.findings
}

// fence checks the fence row; fresh reports whether nothing has been applied yet.
func (c *checker) fence(ctx context.Context, t *target) (fresh bool, err error) {
	const privileges = `SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')::pg_catalog.text, EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'pgtee')::pg_catalog.text,
  coalesce((SELECT pg_catalog.has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace WHERE nspname = 'pgtee'), false)::pg_catalog.text,
  EXISTS (SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'pgtee' AND c.relname = 'applied')::pg_catalog.text`
	rows, err := postgres.Query(ctx, t.conn, privileges)
	if err != nil {
		return false, err
	}
	mayCreate, schema, mayUse, applied := rows[0][0] == "true", rows[0][1] == "true", rows[0][2] == "true", rows[0][3] == "true"
	user := postgres.QuoteIdentifier(t.user)
	switch {
	case applied:
	case schema && !mayUse:
		c.problem("GRANT USAGE, CREATE ON SCHEMA pgtee TO "+user, "user %s lacks the privilege to create the table pgtee.applied", t.user)
		return true, nil
	case !schema && !mayCreate:
		c.problem("CREATE SCHEMA pgtee AUTHORIZATION "+user, "user %s lacks the privilege to create schema pgtee", t.user)
		return true, nil
	default:
		c.ok("pgtee.applied will be created at the start")
		return true, nil
	}
	if rows, err = postgres.Query(ctx, t.conn, "SELECT coalesce(end_lsn::pg_catalog.text, ''), epoch::pg_catalog.text FROM pgtee.applied WHERE stream = $1", c.cfg.stream()); err != nil {
		return false, err
	}
	if len(rows) == 0 || rows[0][0] == "" {
		c.ok("stream %s: nothing is applied yet", c.cfg.stream())
		return true, nil
	}
	c.ok("stream %s: everything before %s is applied, by applier %s", c.cfg.stream(), rows[0][0], rows[0][1])
	return false, nil
}

func (c *checker) origin(ctx context.Context, t *target) error {
	const may = "SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))::pg_catalog.text FROM pg_catalog.pg_proc AS p WHERE p.proname IN ('pg_replication_origin_create', 'pg_replication_origin_session_setup', 'pg_replication_origin_oid') AND p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace"
	rows, err := postgres.Query(ctx, t.conn, may)
	if err != nil {
		return err
	}
	if rows[0][0] == "true" {
		c.ok("applied transactions carry a replication origin")
		return nil
	}
	c.warn("if databases apply each other's streams, "+t.grantOrigin(),
		"applied transactions carry no replication origin")
	return nil
}

// topics checks the topics and the tables they belong to.
func (c *checker) topics(ctx context.Context, t *target, w *watcher, fresh bool) error {
	found, _, err := w.topics(ctx)
	if err != nil {
		return err
	}
	var topics []string
	for _, t := range found {
		topics = append(topics, t.name)
	}
	slices.Sort(topics)
	starts, err := w.admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	configs, err := w.admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		configs = nil // the user may lack the privilege to describe configurations
	}
	for _, topic := range topics {
		name, ours := strings.CutPrefix(topic, topicName(c.cfg.Prefix)+".")
		schema, plain, isTable := strings.Cut(name, ".")
		if !ours || !isTable || !c.cfg.includes(name) {
			continue
		}
		c.history(topic, configs, starts, fresh)
		if err := c.table(ctx, t, name, schema, plain); err != nil {
			return err
		}
	}
	return nil
}

// history checks whether a topic still holds everything that must be applied.
func (c *checker) history(topic string, configs kadm.ResourceConfigs, starts kadm.ListedOffsets, fresh bool) {
	if config, err := configs.On(topic, nil); err == nil {
		for _, entry := range config.Configs {
			if entry.Key == "cleanup.policy" && strings.Contains(entry.MaybeValue(), "compact") {
				c.problem("run "+record.AlterTopic(c.cfg.Brokers, topic, "cleanup.policy=delete"),
					"topic %s is compacted: transactions in it are no longer whole", topic)
			}
		}
	}
	if !fresh || c.cfg.FromEnd {
		return
	}
	for _, partition := range starts[topic] {
		if partition.Offset > 0 {
			c.problem("have the publisher resync the table, and start with --from end", "topic %s, partition %d begins at offset %d: its retention has deleted what was before", topic, partition.Partition, partition.Offset)
			return
		}
	}
}

const privilegesQuery = `SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')::pg_catalog.text, pg_catalog.quote_ident(c.relnamespace::pg_catalog.regnamespace::pg_catalog.text),
  pg_catalog.has_table_privilege(c.oid, 'SELECT')::pg_catalog.text, pg_catalog.has_table_privilege(c.oid, 'INSERT')::pg_catalog.text,
  pg_catalog.has_table_privilege(c.oid, 'UPDATE')::pg_catalog.text, pg_catalog.has_table_privilege(c.oid, 'DELETE')::pg_catalog.text, pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')::pg_catalog.text
FROM pg_catalog.pg_class AS c WHERE c.oid = $1::pg_catalog.oid`

func (c *checker) table(ctx context.Context, t *target, name, schema, plain string) error {
	schema, plain = c.cfg.mapped(schema, plain)
	table, err := t.catalog.table(ctx, schema, plain)
	if isHalt(err) {
		c.halted(err)
		return nil
	}
	if err != nil {
		return err
	}
	if table == nil {
		repair := "create it as the source has it, map it with --map, or leave it out with --exclude-tables " + name
		if c.cfg.DDL == DDLApply {
			c.warn("", "the target has no table %s.%s yet", schema, plain)
		} else {
			c.problem(repair, "the target has no table %s.%s for %s of the stream", schema, plain, name)
		}
		return nil
	}
	rows, err := postgres.Query(ctx, t.conn, privilegesQuery, table.oid)
	if err != nil {
		return err
	}
	if rows[0][0] != "true" {
		c.problem(fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", rows[0][1], postgres.QuoteIdentifier(t.user)), "user %s may not use the schema of table %s", t.user, table.plain)
	}
	var missing []string
	for i, privilege := range []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"} {
		if rows[0][2+i] != "true" {
			missing = append(missing, privilege)
		}
	}
	switch {
	case len(missing) > 0:
		c.problem(fmt.Sprintf("GRANT %s ON %s TO %s", strings.Join(missing, ", "), table.name, postgres.QuoteIdentifier(t.user)), "user %s lacks privileges on table %s", t.user, table.plain)
	case len(table.unique) == 0:
		c.warn("give it the primary key of the source", "table %s has no unique index: each UPDATE and DELETE reads all of it", table.plain)
	default:
		c.ok("table %s", table.plain)
	}
	for _, u := range table.unique {
		if u.deferred && t.replica {
			c.warn("make it NOT DEFERRABLE in the target, unless transactions of the source need it", "PostgreSQL does not check constraint %s of table %s while foreign keys are off: rows with equal values are inserted", u.name, table.plain)
		}
	}
	for _, s := range c.sequences {
		if s.oid == table.oid && !s.granted {
			c.warn(fmt.Sprintf("GRANT SELECT, UPDATE ON SEQUENCE %s TO %s", s.name, postgres.QuoteIdentifier(t.user)), "user %s may not advance sequence %s past the applied rows", t.user, s.name)
		}
	}
	if err := t.checkTriggers(ctx, table); isHalt(err) {
		c.halted(err)
	} else if err != nil {
		return err
	}
	return nil
}
