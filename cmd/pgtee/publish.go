package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/publisher/kafka"
	"github.com/pgtee/pgtee/publisher/record"
)

// publisherFlags are the flags of the publisher alone.
type publisherFlags struct {
	recordFlags   `group:"Records"`
	eventFlags    `group:"Events of the application"`
	snapshotFlags `group:"Snapshots"`

	Partitions     uint16        `help:"Partitions of a topic that the publisher makes." default:"${partitions}"`
	Replication    uint8         `name:"replication-factor" help:"Replicas of such a topic; 0: as the broker has it by default." default:"0"`
	OnMissed       string        `name:"on-missed" help:"What to do when UPDATEs and DELETEs of a table could not be captured for some time: resync (a record of op t empties its topic, then every row comes afresh), halt, or warn." enum:"resync,halt,warn" default:"resync"`
	AuditEmpty     bool          `help:"Audit records of transactions that wrote no row, too."`
	MaxRetainedWAL retainedLimit `name:"max-retained-wal" help:"What to do when the slot holds back that much log: warn, or drop the slot (what it held is then lost to the stream). A warning comes at half of it. Needed if max_slot_wal_keep_size is -1." placeholder:"SIZE:warn|drop_slot"`
	PartBytes      int           `name:"part-bytes" help:"Memory of a transaction above which the publisher takes it in parts while it comes." default:"${part_bytes}"`
	PartAfter      time.Duration `name:"part-after" help:"How long a transaction may take to send before what is sent becomes visible as a part of it; Kafka's own limit is twice that." default:"${part_after}" placeholder:"TIME"`
	MaxRecord      int32         `name:"max-record-bytes" help:"Largest record; see --record-too-large. Topics that exist need max.message.bytes above it." default:"${max_record_bytes}"`
	Delivery       string        `help:"transactional: events and position are one Kafka transaction, each event comes once. at-least-once: events are visible at once and may come again after a failure, with the same event id." enum:"transactional,at-least-once" default:"transactional"`
	TooLarge       string        `name:"record-too-large" help:"What becomes of a row, message or event whose record is larger than that, or than its topic takes: dead-letter (PREFIX.dead-letter has it in pieces, the row's record goes without its longest values), or halt." enum:"dead-letter,halt" default:"dead-letter"`
	RequireDurable bool          `name:"require-durable-topics" help:"Halt where topics may lose what Kafka has confirmed (fewer than 2 replicas, min.insync.replicas below 2, unclean leader election); without it the log tells of them."`
	SQLTextBytes   int           `name:"sql-text-bytes" help:"Longest SQL text in the record of a row; a longer one is cut." default:"${sql_text_bytes}"`
	SourceEncoding string        `name:"source-encoding" help:"Encoding of the text in the database, if that is SQL_ASCII or not what its bytes are: UTF8, LATIN1, WIN1252, or another one of one byte per character. A byte that has no character in it is published as one of private use, U+F700 above it." placeholder:"NAME"`
	Heartbeat      time.Duration `help:"How often a record in __debezium-heartbeat.PREFIX says that the publisher is alive; 0: never." default:"0" placeholder:"TIME"`
	SkipApplied    bool          `help:"Do not publish what pgtee apply has written here, with a replication origin: for databases that apply each other's streams."`
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
	boundGarbage()
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
	cluster, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	if err := c.pingRegistry(ctx); err != nil {
		return err
	}
	c.boundMemory(len(sources))
	open, run := c.publisherFlags.open, databasePublisher.run
	if c.MaxRetainedWAL.drop { // no other process would drop the slot
		open, run = c.publisherFlags.make, func(p databasePublisher, ctx context.Context) error {
			return p.outlive(ctx, "this process stays to drop the slot, should it hold back more log than --max-retained-wal allows")
		}
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

// databasePublisher publishes one database.
type databasePublisher struct {
	source
	*publisher.Publisher
	check    func(context.Context) error // returns why it cannot start
	catalog  *debezium.Database
	retained retainedLimit
	confirms bool // for pgtee.confirmed(): there are outbox tables
	lag      *lag
	coverage *coverage
	watcher  *watcher
	log      *zap.Logger
}

// open also checks the databases, so that problems that require human action are reported immediately.
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
		catalog := debezium.NewDatabase(s.connString, f.SourceEncoding)
		o := newWatcher(s.database, s.slot)
		p, err := f.newPublisher(s, cluster, text, catalog, keys, o, log)
		if err != nil {
			return nil, usage(err)
		}
		check := func(ctx context.Context) error { return f.checkSource(ctx, s, log) }
		list = append(list, databasePublisher{s, p, check, catalog, f.MaxRetainedWAL, len(f.EventTable) > 0, &lag{},
			&coverage{Coverage: outbox.Coverage{ConnString: s.connString}, database: s.database, log: log}, o, log})
	}
	return list, nil
}

// checkTimeout bounds that check, including the wait for the slot, because the network may have lost a reply.
const checkTimeout = 30 * time.Second

// checkSource checks the database as `pgtee check` does, the slot, and the limit of its WAL.
func (f publisherFlags) checkSource(ctx context.Context, s source, log *zap.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	needsKey, err := f.needsKey(s)
	if err != nil {
		return err
	}
	report, err := outbox.Check(ctx, outbox.SetupConfig{ConnString: s.connString, Slot: s.slot, NeedsKey: needsKey})
	if err != nil {
		return err
	}
	if err := report.Err(); err != nil {
		return fmt.Errorf("database %s: %w", s.database, err)
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
	slot := outbox.StandBy{StreamConfig: outbox.StreamConfig{ConnString: s.connString, Encoding: f.SourceEncoding, Slot: s.slot, PartBytes: f.PartBytes, RowBytes: f.rowBytes(), Keys: keys, SkipApplied: f.SkipApplied}}
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

// rowBytes is how much of a row is kept in memory, which is more than a record may have.
func (f publisherFlags) rowBytes() int { return max(outbox.DefaultRowBytes, 2*int(f.MaxRecord)) }

// runID returns a random UUID, version 4, which the records of one run of the publisher share.
func runID() string {
	var id [16]byte
	rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// publisherActors returns three actors per database: the publisher, one that maintains its slot and outbox, and one that maintains its publications.
// run is what the first one does.
func publisherActors(publishers []databasePublisher, run func(databasePublisher, context.Context) error) []actor {
	var actors []actor
	for _, p := range publishers {
		publish := func(ctx context.Context) error { return run(p, ctx) }
		actors = append(actors, actor{"publisher of " + p.database, publish}, actor{"housekeeping of " + p.database, p.keepHouse},
			actor{"coverage of " + p.database, p.coverage.watch})
	}
	return actors
}

// run publishes until ctx ends. The publisher itself has retried whatever a retry can cure.
func (p databasePublisher) run(ctx context.Context) error {
	defer p.catalog.Close(context.WithoutCancel(ctx))
	return halted(p.Run(ctx))
}
