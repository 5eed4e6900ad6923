package debezium

import (
	"context"
	"fmt"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// Encoder is a record.Format. It keeps one plan per table and must be used by one goroutine at a time.
type Encoder struct {
	config  Config
	source  []byte // source block up to "ts_ms":
	topics  topics
	context []record.Header
	codecs  codecs

	truncation  *record.Schema        // schema of the flat record of a TRUNCATE
	tables      map[uint32]*table     // by OID; the plan of the latest Relation
	identified  map[uint32]identified // by OID
	collections map[string]*collection
	transaction transaction

	now            time.Time
	before, after  row
	identity       row // scratch of decide
	oldKey, newKey []byte
	oldRow, newRow []byte
	lost           lost
	messages       messageForm
	payload        []byte // scratch of frame

	block, origin, eventID, scratch []byte // buffers of the record being built
}

// topics holds the topics that do not belong to a table.
type topics struct {
	messages, transaction, heartbeat string

	standIn, truncate string // topics without records: they only name schema subjects
}

// messageForm is the form of logical messages, which is the same in every envelope.
type messageForm struct {
	binary BinaryMode
	schema *record.Schema
}

var (
	_ record.Format    = (*Encoder)(nil)
	_ record.Forgetter = (*Encoder)(nil)
)

// New returns an Encoder.
func New(config Config) *Encoder {
	if config.Now == nil {
		config.Now = time.Now
	}
	messages := messageForm{config.Binary, messageSchema(config.Binary)}
	if config.Envelope == Plain {
		config.Modes = plainModes(config.Modes)
	}
	if config.Catalog == nil {
		config.Catalog = emptyCatalog{}
	}
	if config.Shape == nil {
		config.Shape, _ = shape.New(shape.Config{Prefix: config.Prefix, Database: config.Database}) // this configuration is always valid
	}
	if config.Router == nil {
		config.Router, _ = shape.NewRouter(config.Prefix, nil) // cannot fail without topics
	}
	return &Encoder{
		config: config,
		source: sourceHead(&config),
		topics: topics{record.TopicsOf(config.Prefix).Message, record.TopicsOf(config.Prefix).Transaction, record.TopicsOf(config.Prefix).Heartbeat,
			record.TopicName(config.Prefix, "stand-in"), record.TopicName(config.Prefix, "truncate")},
		context:     contextHeaders(&config),
		codecs:      newCodecs(&config),
		truncation:  config.Flat.truncateSchema(config.Prefix),
		messages:    messages,
		tables:      map[uint32]*table{},
		identified:  map[uint32]identified{},
		collections: map[string]*collection{},
	}
}

// contextHeaders returns the headers that Debezium adds to every record of a table (extended.headers.enabled).
func contextHeaders(c *Config) []record.Header {
	if c.RunID == "" {
		return nil
	}
	return []record.Header{
		{Key: "__debezium.context.connectorLogicalName", Value: []byte(c.Prefix)},
		{Key: "__debezium.context.taskId", Value: []byte("0")},
		{Key: "__debezium.context.connectorName", Value: []byte("postgresql")},
		{Key: "__debezium.context.runId", Value: []byte(c.RunID)},
	}
}

// Append appends the records of tx.Changes[i]: two for a delete, three for a change of the key (delete, tombstone, create), otherwise one. DDL is not
// a row, so a DDL change is an error.
func (e *Encoder) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	c := &tx.Changes[i]
	e.now = e.config.Now()
	e.transaction.encode(tx, c.Ordinal)
	var err error
	switch c.Op {
	case outbox.Insert, outbox.Update, outbox.Delete, outbox.Truncate, outbox.Read:
		err = e.appendChange(ctx, b, tx, i)
	case outbox.Message:
		if e.config.Shape.IncludesMessage(c.Prefix) {
			err = e.appendMessage(ctx, b, tx, i)
		}
	default:
		err = fmt.Errorf("operation %q has no Debezium record", c.Op)
	}
	if err != nil {
		return fmt.Errorf("encode change %d of transaction %d, which commits at %s: %w", c.Ordinal, tx.XID, tx.CommitLSN, err)
	}
	return nil
}

func (e *Encoder) appendChange(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	c := &tx.Changes[i]
	t, err := e.table(ctx, c.Relation, record.PlaceOf(tx, c))
	if err != nil || t.excluded || c.Op == outbox.Truncate && e.config.Skip.has('t') && c.Mark == outbox.NoMark {
		return err
	}
	if t.insertOnly != nil && (c.Op == outbox.Update || c.Op == outbox.Delete) {
		return t.insertOnly
	}
	if err := t.read(&e.before, c.Old, true); err != nil {
		return err
	}
	if err := t.read(&e.after, c.New, false); err != nil {
		return err
	}
	e.after.fill(&e.before)
	if !hasRows(c.Op, e.before.present, e.after.present) {
		return fmt.Errorf("%s.%s: operation %q has not the rows that it needs", c.Relation.Schema, c.Relation.Name, c.Op)
	}
	op, err := e.decide(t, c.Op)
	if err != nil {
		return err
	}
	if op != 0 {
		for _, r := range []*row{&e.before, &e.after} {
			if err := t.checkText(r); err != nil {
				return err
			}
		}
	}
	w := writer{e, ctx, b, tx, i, t}
	if t.router != nil && op != 0 {
		return w.event(c.Op)
	}
	switch op {
	case outbox.Insert:
		return w.write('c', nil, &e.after, stays)
	case outbox.Read:
		return w.write('r', nil, &e.after, stays)
	case outbox.Update:
		return w.update()
	case outbox.Delete:
		return w.delete(stays)
	case outbox.Truncate:
		return w.truncate()
	}
	return nil
}

// hasRows reports whether a change has the rows that its operation needs.
func hasRows(op outbox.Op, before, after bool) bool {
	switch op {
	case outbox.Insert, outbox.Read:
		return !before && after
	case outbox.Update:
		return after
	case outbox.Delete:
		return before && !after
	}
	return !before && !after
}

// appendMessage appends a logical message of the application to <prefix>.message. A message that was not transactional has no transaction id.
func (e *Encoder) appendMessage(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	c := &tx.Changes[i]
	key := len(b.Buf)
	b.Buf = record.AppendJSONString(append(b.Buf, `{"prefix":`...), c.Prefix)
	b.Buf = append(b.Buf, '}')
	if err := e.frame(ctx, b, key, record.KeyPart, e.topics.messages, messageKeySchema); err != nil {
		return err
	}
	value := len(b.Buf)
	b.Buf = append(b.Buf, `{"op":"m","ts_ms":`...)
	b.Buf = appendInt(b.Buf, e.now.UnixMilli())
	b.Buf = append(b.Buf, `,"source":`...)
	b.Buf = e.appendSource(b.Buf, tx, i, noTable)
	b.Buf = append(b.Buf, `,"transaction":`...)
	b.Buf = e.appendBlock(b.Buf, tx, e.collection(messageCollection))
	b.Buf = append(b.Buf, `,"message":{"prefix":`...)
	b.Buf = record.AppendJSONString(b.Buf, c.Prefix)
	b.Buf = append(b.Buf, `,"content":`...)
	b.Buf = e.messages.binary.append(b.Buf, c.Content)
	b.Buf = append(b.Buf, `},"pgtee":`...)
	b.Buf = e.appendPgtee(b, tx, i, nil)
	b.Buf = append(b.Buf, '}')
	if err := e.frame(ctx, b, value, record.ValuePart, e.topics.messages, e.messages.schema); err != nil {
		return err
	}
	b.Add(e.topics.messages, key, value)
	return nil
}

// appendPgtee appends the pgtee block to the batch's buffer. The block has the field "values", with the lost values, if the record is framed or a
// value is lost.
func (e *Encoder) appendPgtee(b *record.Batch, tx *outbox.Transaction, i int, values *lost) []byte {
	dst := b.AppendPgtee(b.Buf, tx, i)
	if e.config.Framing == nil && (values == nil || len(values.json) == 0) {
		return dst
	}
	dst = append(dst[:len(dst)-1], `,"values":`...)
	return append(values.appendTo(dst), '}')
}

// frame frames the payload that reaches from start to the end of the buffer.
func (e *Encoder) frame(ctx context.Context, b *record.Batch, start int, part record.Part, topic string, schema *record.Schema) error {
	if e.config.Framing == nil {
		return nil
	}
	e.payload = append(e.payload[:0], b.Buf[start:]...)
	framed, err := e.config.Framing.Append(ctx, b.Buf[:start], part, topic, schema, e.payload)
	if err != nil {
		return err
	}
	b.Buf = framed
	return nil
}

// collection returns the event counter of a table or of the logical messages.
func (e *Encoder) collection(name string) *collection {
	c := e.collections[name]
	if c == nil {
		c = &collection{name: name}
		e.collections[name] = c
	}
	return c
}

// Forget implements record.Forgetter.
func (e *Encoder) Forget(table uint32) {
	delete(e.tables, table)
	delete(e.identified, table)
}

// identified is the identity of one version of a table.
type identified struct {
	relation *pgoutput.Relation
	identity record.Identity
}

// Identity takes the identity from the plan of the table, but makes none: it is called for all changes of a transaction before the first of them is encoded, and a plan chooses the table's key, which
// must not depend on later changes.
func (e *Encoder) Identity(ctx context.Context, relation *pgoutput.Relation, at record.Place) (record.Identity, error) {
	if t := e.tables[relation.OID]; t != nil && t.relation == relation {
		return t.identity, nil
	}
	if known := e.identified[relation.OID]; known.relation == relation {
		return known.identity, nil
	}
	identity, err := e.readIdentity(ctx, relation, at)
	if err != nil {
		return record.Identity{}, fmt.Errorf("table %s.%s: %w", relation.Schema, relation.Name, err)
	}
	e.identified[relation.OID] = identified{relation, identity}
	return identity, nil
}

func (e *Encoder) readIdentity(ctx context.Context, relation *pgoutput.Relation, at record.Place) (record.Identity, error) {
	shape, err := e.config.Shape.Table(relation)
	if err != nil || shape.Excluded {
		return record.LoggedIdentity(relation), err
	}
	known, _, err := e.config.Catalog.Table(ctx, relation.OID, at)
	return identityOf(relation, &known, shape.Key != nil), err
}

// table returns the plan of a Relation for a change at a place in the WAL. It makes a new plan if the Relation is a new pointer, which means a new
// version of the table, or if the shape or the keys have a new version, which may change its topic or its key.
func (e *Encoder) table(ctx context.Context, relation *pgoutput.Relation, at record.Place) (*table, error) {
	if t := e.tables[relation.OID]; t != nil && t.relation == relation && t.version == e.version() {
		return t, nil
	}
	t, err := e.plan(ctx, relation, at)
	if err != nil {
		return nil, fmt.Errorf("table %s.%s: %w", relation.Schema, relation.Name, err)
	}
	e.tables[relation.OID] = t
	return t, nil
}
