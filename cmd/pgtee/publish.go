package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/publisher/kafka"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// publisherFlags are the flags of the publisher alone.
type publisherFlags struct {
	recordFlags   `group:"Records"`
	eventFlags    `group:"Events of the application"`
	snapshotFlags `group:"Snapshots"`
	tracingFlags  `group:"Tracing"`

	Partitions     uint16        `help:"Partitions of topics that the publisher creates." default:"${partitions}"`
	Replication    uint8         `name:"replication-factor" help:"Replication factor of topics that the publisher creates; 0: the broker's default." default:"0"`
	OnMissed       string        `name:"on-missed" help:"What to do when UPDATEs and DELETEs of a table could not be captured for some time: resync (writes a record of op t, which tells consumers to discard every row of the table, then publishes every row again), halt, or warn." enum:"resync,halt,warn" default:"resync"`
	AuditEmpty     bool          `help:"Also write audit records for transactions that changed no row."`
	MaxRetainedWAL retainedLimit `name:"max-retained-wal" help:"What to do when the slot retains this much WAL: warn, or drop the slot (changes that are not yet published are then missing from the stream). A warning is logged at half of the limit beyond which the slot is lost: SIZE:drop_slot or max_slot_wal_keep_size. Required if max_slot_wal_keep_size is -1." placeholder:"SIZE:warn|drop_slot"`
	PartBytes      int           `name:"part-bytes" help:"Size in memory above which a transaction is processed in parts, as it arrives." default:"${part_bytes}"`
	PartAfter      time.Duration `name:"part-after" help:"How long sending one transaction may take before the part sent so far becomes visible; Kafka's transaction timeout is set to twice this time." default:"${part_after}" placeholder:"TIME"`
	MaxRecord      int32         `name:"max-record-bytes" help:"Maximum record size; see --record-too-large. Existing topics need a larger max.message.bytes." default:"${max_record_bytes}"`
	Delivery       string        `help:"transactional: events and position are written in one Kafka transaction, and each event is published exactly once. at-least-once: events are visible immediately, and some may be published again after a failure, with the same event id." enum:"transactional,at-least-once" default:"transactional"`
	TooLarge       string        `name:"record-too-large" help:"What to do with a row, message or event whose record is larger than --max-record-bytes or the topic's limit: dead-letter (PREFIX.dead-letter gets the whole record in pieces, and the row's record in its own topic lacks its longest values), or halt." enum:"dead-letter,halt" default:"dead-letter"`
	RequireDurable bool          `name:"require-durable-topics" help:"Halt if a topic may lose records that Kafka has acknowledged (fewer than 2 replicas, min.insync.replicas below 2, unclean leader election); otherwise a warning is logged."`
	SQLTextBytes   int           `name:"sql-text-bytes" help:"Maximum length of the SQL text in the record of a row; longer text is truncated." default:"${sql_text_bytes}"`
	SourceEncoding string        `name:"source-encoding" help:"Actual encoding of the text in the database, if the database is SQL_ASCII or declares another encoding: UTF8, LATIN1, WIN1252, or another single-byte encoding. Bytes that are invalid in this encoding are published as private-use code points (U+F700 + byte)." placeholder:"NAME"`
	Heartbeat      time.Duration `help:"How often to write a heartbeat record to __debezium-heartbeat.PREFIX; 0: never." default:"0" placeholder:"TIME"`
	SkipApplied    bool          `help:"Do not publish changes that pgtee apply has written to this database (with a replication origin): for databases that apply each other's streams."`
	Standby        bool          `help:"If another publisher holds the slot, wait to take over from it."`

	idleProgress time.Duration // 0: the publisher's default
}

type publishCommand struct {
	logged
	postgresFlags  `group:"Connection"`
	databaseFlags  `group:"Connection"`
	slotFlags      `group:"Connection"`
	keyFlags       `group:"Notes"`
	textFlags      `group:"Notes"`
	kafkaFlags     `group:"Kafka"`
	publisherFlags `group:"Publishing"`
	serviceFlags   `group:"Service"`
}

func (c *publishCommand) Run(ctx context.Context, term terminal) error {
	limitGarbage()
	log := c.logger(term.err)
	keys, err := c.keyFlags.read(log)
	if err != nil {
		return err
	}
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	if err := c.validate(sources, c.textFlags); err != nil {
		return usage(err)
	}
	cluster, err := c.kafkaFlags.open()
	if err != nil {
		return usage(err)
	}
	c.limitMemory(len(sources))
	open, run := c.publisherFlags.open, databasePublisher.run
	reason := c.staysFor(len(sources))
	if reason == "" {
		if _, err := c.openAndPing(ctx); err != nil {
			return err
		}
		if err := c.pingRegistry(ctx); err != nil {
			return err
		}
	} else {
		go cluster.warnUnlessReady(ctx, c.pingRegistry, c.withoutKafka(), log) // ends with ctx, or after some seconds
		open, run = c.publisherFlags.make, func(p databasePublisher, ctx context.Context) error { return p.keepPublishing(ctx, reason) }
	}
	publishers, err := open(ctx, sources, cluster, c.textFlags, keys, log)
	if err != nil {
		return err
	}
	actors, err := c.serviceFlags.addMetrics(publisherActors(publishers, run), nil, publishers)
	if err != nil {
		return err
	}
	if actors, err = c.serviceFlags.addConsole(actors, nil, publishers, cluster, log); err != nil {
		return err
	}
	return runGroup(ctx, c.Drain, actors...)
}

const staysToDrop = "this process keeps running so that it can drop the slot if the slot retains more WAL than --max-retained-wal"

// withoutKafka returns what the process does while Kafka or the registry does not answer; "": nothing.
func (c *publishCommand) withoutKafka() string {
	if c.MaxRetainedWAL.drop > 0 {
		return staysToDrop
	}
	return ""
}

// staysFor returns why the process keeps running after one of its publishers has halted; "": it ends.
func (c *publishCommand) staysFor(sources int) string {
	switch {
	case c.MaxRetainedWAL.drop > 0: // no other process would drop the slot
		return staysToDrop
	case sources > 1 && c.Snapshot != string(snapshot.Only):
		return "the other databases are published meanwhile"
	}
	return ""
}

// databasePublisher publishes one database.
type databasePublisher struct {
	source
	*publisher.Publisher
	check    func(context.Context) error // why the publisher cannot start; nil: it can
	catalog  *debezium.Database
	retained retainedLimit
	confirms bool // there are outbox tables, for which pgtee.confirmed() must be kept up to date
	lag      *lag
	coverage *coverage
	watcher  *watcher
	log      *zap.Logger
}

// open is like make, but checks the databases first, so that problems that require human action are reported immediately.
func (f publisherFlags) open(ctx context.Context, sources []source, cluster cluster, text textFlags, keys []note.MasterKey, log *zap.Logger) ([]databasePublisher, error) {
	for _, s := range sources {
		if err := f.checkSource(ctx, s, log); err != nil {
			return nil, usage(err)
		}
	}
	return f.make(ctx, sources, cluster, text, keys, log)
}

// make creates the publishers without connecting to anything.
func (f publisherFlags) make(_ context.Context, sources []source, cluster cluster, text textFlags, keys []note.MasterKey, log *zap.Logger) ([]databasePublisher, error) {
	var list []databasePublisher
	for _, s := range sources {
		selection, err := f.selection(s)
		if err != nil {
			return nil, usage(err)
		}
		catalog := debezium.NewDatabase(s.connString, f.SourceEncoding)
		spans, err := f.exporter(s, log)
		if err != nil {
			return nil, usage(err)
		}
		o := newWatcher(s.labels())
		o.spans = spans
		p, err := f.newPublisher(s, cluster, text, catalog, keys, o, log)
		if err != nil {
			return nil, usage(err)
		}
		check := func(ctx context.Context) error { return f.checkSource(ctx, s, log) }
		list = append(list, databasePublisher{s, p, check, catalog, f.MaxRetainedWAL, len(f.EventTable) > 0, newLag(),
			&coverage{Coverage: outbox.Coverage{ConnString: s.connString, Selection: selection}, database: s.database, log: log}, o, log})
	}
	return list, nil
}

// checkTimeout is the time limit of checkSource, including the wait for the slot, because the network may have lost a reply.
const checkTimeout = 30 * time.Second

// checkSource checks the database as `pgtee check` does, the slot, and the limit of its WAL.
func (f publisherFlags) checkSource(ctx context.Context, s source, log *zap.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	selection, err := f.selection(s)
	if err != nil {
		return err
	}
	report, err := outbox.Check(ctx, outbox.SetupConfig{ConnString: s.connString, Slot: s.slot, Selection: selection})
	if err != nil {
		return err
	}
	if err := report.Err(); err != nil {
		return fmt.Errorf("database %s: %w", s.database, err)
	}
	for _, found := range report.Findings {
		if found.Disturbs {
			log.Warn(found.Text+": "+found.Repair, zap.String("finding", found.ID), zap.String("database", s.database))
		}
	}
	if err := f.MaxRetainedWAL.check(ctx, s, log); err != nil {
		return err
	}
	if err := f.warnUnmatched(ctx, s, log); err != nil {
		return err
	}
	return awaitSlot(ctx, s, f.Standby, log)
}

func (f publisherFlags) newPublisher(s source, cluster cluster, text textFlags, catalog debezium.Catalog, keys []note.MasterKey, o *watcher, log *zap.Logger) (*publisher.Publisher, error) {
	sqlText, err := publisher.ParseSQLText(text.SQLText)
	if err != nil {
		return nil, err
	}
	delivery, err := kafka.ParseDelivery(f.Delivery)
	if err != nil {
		return nil, err
	}
	tooLarge, err := publisher.ParseTooLargePolicy(f.TooLarge)
	if err != nil {
		return nil, err
	}
	shape, err := f.shape(s)
	if err != nil {
		return nil, err
	}
	records := debezium.Config{Prefix: s.prefix, Database: s.database, Version: version(), RunID: runID(), Catalog: catalog, Keys: &record.Keys{}, Shape: shape}
	if err := f.routeEvents(s, &records, log); err != nil {
		return nil, err
	}
	slot := outbox.StandBy{StreamConfig: outbox.StreamConfig{ConnString: s.connString, Encoding: f.SourceEncoding, Slot: s.slot, PartBytes: f.PartBytes, RowBytes: f.rowBytes(), Keys: keys, SkipApplied: f.SkipApplied, Warn: records.Warn}}
	open := func(ctx context.Context) (publisher.Source, error) {
		stream, err := slot.Open(ctx)
		if err != nil {
			return nil, err
		}
		return o.watch(stream), nil
	}
	config := publisher.Config{
		Prefix:         s.prefix,
		Slot:           s.slot,
		Database:       s.database,
		OnMissed:       publisher.MissedPolicy(f.OnMissed),
		EventTables:    f.EventTable,
		AuditEmpty:     f.AuditEmpty,
		IdleProgress:   f.idleProgress,
		Heartbeat:      f.Heartbeat,
		PartAfter:      f.PartAfter,
		MaxRecordBytes: f.MaxRecord,
		TooLarge:       tooLarge,
		Tables:         func(ctx context.Context) ([]outbox.Table, error) { return outbox.Tables(ctx, s.connString) },
		Snapshot:       f.snapshot(s, f.SourceEncoding, f.rowBytes()),
		SignalTopic:    f.SignalTopic,
		Shape:          shape,
		Keys:           records.Keys,
		Router:         records.Router,
		SQLText:        sqlText,
		SQLTextBytes:   f.SQLTextBytes,
		Log:            log.Named("publisher").With(zap.String("slot", s.slot)),
	}
	if o.spans != nil {
		config.Trace = o.spans.Add
	}
	format, err := f.format(records, config.Log)
	if err != nil {
		return nil, err
	}
	return kafka.New(kafka.Config{
		Config:            config,
		Brokers:           cluster.brokers,
		KafkaOptions:      append(slices.Clone(cluster.options), kgo.WithHooks(o)),
		Partitions:        int32(f.Partitions),
		ReplicationFactor: int16(f.Replication),
		Delivery:          delivery,
		RequireDurable:    f.RequireDurable,
	}, open, format)
}

// rowBytes is the maximum number of bytes of a row that are kept in memory: more than a record may have.
func (f publisherFlags) rowBytes() int { return max(outbox.DefaultRowBytes, 2*int(f.MaxRecord)) }

// runID returns a random UUID, version 4, which the records of one run of the publisher share.
func runID() string {
	var id [16]byte
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// publisherActors returns the actors of each database: the publisher, one that maintains its slot and outbox, one that maintains its publications, and
// one that sends its spans, if there are any. run is what the first one does. One that has ended waits for those of the other databases: the first actor
// to return ends the process.
func publisherActors(publishers []databasePublisher, run func(databasePublisher, context.Context) error) []actor {
	var actors []actor
	var working atomic.Int64
	working.Store(int64(len(publishers)))
	for _, p := range publishers {
		publish := func(ctx context.Context) error {
			err := run(p, ctx)
			if working.Add(-1) > 0 {
				if err != nil {
					p.log.Error("this database is no longer published; the others are", zap.String("finding", findingOf(err, "publishing-stopped")), zap.String("database", p.database), zap.Error(err))
				}
				<-ctx.Done()
			}
			return err
		}
		actors = append(actors, actor{"publisher of " + p.database, publish}, actor{"housekeeping of " + p.database, p.keepHouse},
			actor{"coverage of " + p.database, p.coverage.watch})
		if p.watcher.spans != nil { // it ends after the publisher, with the last Kafka transaction
			actors = append(actors, actor{"tracing of " + p.database, p.watcher.spans.Run})
		}
	}
	return actors
}

// run publishes until ctx ends. Run itself retries whatever a retry can repair.
func (p databasePublisher) run(ctx context.Context) error {
	defer p.catalog.Close(context.WithoutCancel(ctx))
	return halted(p.Run(ctx))
}
