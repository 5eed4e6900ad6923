package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/record"
)

// Record headers, as written by the publisher.
const (
	headerEventID = "pgtee-event-id"
	headerResync  = "pgtee-resync"
	headerOldKey  = "__debezium.oldkey"
	headerNewKey  = "__debezium.newkey"
	headerLeftOut = "pgtee-left-out" // number of values left out because they were too large
)

// standInKey is the field of the key that the publisher gives to records without a key in a compacted topic.
const standInKey = "pgtee_event_id"

// event is a record with its place.
type event struct {
	place
	snapshot []byte // id of the copy that has read the row; nil: the record is a change from the WAL
	record   *kgo.Record
	from     *partition
}

// isFrom reports whether an event belongs after a position. A row that was read at the position shows what committed before it.
func (e *event) isFrom(at LSN) bool { return e.commit > at || e.commit == at && e.snapshot == nil }

// partition is read in order. Records that were read but not taken yet wait in its queue.
type partition struct {
	topic    string
	number   int32
	ddl      bool
	queue    []event
	head     int
	bytes    int
	position int64 // offset of the next record to be read
	taken    int64 // offset of the next record to be taken
	target   int64 // must be read up to this offset before a later record may be taken
	last     place // last change from the WAL that was read
	seen     bool  // last is set
	resumed  bool  // an earlier run has taken everything before its position
	paused   bool
	lacking  bool // its queue is empty, and records before target have not been read
	index    int  // in the heap; -1: its queue is empty

	table hint // from its last record
}

// source reads the topics and returns their records in the order of the source's commits, up to a watermark. It must be used by one goroutine at a
// time.
type source struct {
	cfg        *Config
	client     *kgo.Client
	known      progress // newest position of the publisher
	floor      LSN      // transactions that committed before it were applied by an earlier run
	begins     LSN      // what committed before it is left out, and so are rows that a snapshot read before it
	offsets    map[string][]int64
	ids        map[string]string // ids of the topics that the offsets belong to
	partitions map[string]map[int32]*partition
	heap       []*partition
	lacking    int // number of partitions that must be read further before any record may be taken
	bytes      int
	mark       LSN
	foreign    map[string]bool // system/slot of neighbours
	warned     map[string]bool // topics whose records of other publishers have been logged
}

const (
	maxQueuedBytes = 24 << 20 // of records that were read but not taken, over all partitions
	minQueuedBytes = 512 << 10
	fetchBytes     = 2 << 20                // compressed
	fetchWait      = 100 * time.Millisecond // a resumed partition waits for the running fetch that does not include it
)

// open returns a source that continues at the offsets in the target. first is the position of the publisher.
func (c *Config) open(first *progress, p *position) (*source, error) {
	client, err := c.newClient(kgo.KeepControlRecords(), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes/4), kgo.FetchMaxWait(fetchWait))
	if err != nil {
		return nil, err
	}
	offsets, ids := p.offsets, p.topics
	if offsets == nil {
		offsets = map[string][]int64{}
	}
	if ids == nil {
		ids = map[string]string{}
	}
	return &source{cfg: c, client: client, known: *first, floor: p.end, offsets: offsets, ids: ids, partitions: map[string]map[int32]*partition{}, foreign: map[string]bool{}, warned: map[string]bool{}}, nil
}

// poll sends fetches to out until ctx ends.
func (s *source) poll(ctx context.Context, out chan<- kgo.Fetches) error {
	for {
		fetches := s.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case out <- fetches:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// advance sets the watermark up to which records may be taken once they are read. A position of another history ends the session: the next one
// compares it with the target.
func (s *source) advance(mark *watermark) error {
	if !mark.follows(&s.known) {
		return doubted{Halt{fmt.Sprintf("the publisher's position %s does not follow %s", mark.where(), s.known.where()), "check whether several publishers use this prefix"}}
	}
	s.known = mark.progress
	if err := s.compareTopics(mark); err != nil {
		return err
	}
	for _, n := range mark.neighbours {
		for _, source := range n.sources {
			s.foreign[source] = true
		}
	}
	added := map[string]map[int32]kgo.Offset{}
	for topic, ends := range mark.targets {
		if s.partitions[topic] == nil {
			s.partitions[topic] = map[int32]*partition{}
		}
		for number, end := range ends {
			p := s.partitions[topic][number]
			if p == nil {
				p = s.begin(topic, number)
				if added[topic] == nil {
					added[topic] = map[int32]kgo.Offset{}
				}
				added[topic][number] = kgo.NewOffset().At(p.position)
			}
			if end < p.taken {
				return doubted{Halt{fmt.Sprintf("topic %s, partition %d ends at offset %d, %s holds it up to %d", topic, number, end, s.cfg.into(), p.taken),
					"Kafka has lost records: restore it, or " + s.cfg.afresh()}}
			}
			p.target = max(p.target, end)
			s.updateLacking(p)
		}
	}
	s.mark = mark.EndLSN
	if len(added) > 0 {
		s.client.AddConsumePartitions(added)
	}
	return nil
}

// compareTopics returns an error if a topic that was read before was deleted since: it may have held records that were not read. It forgets the topics of
// Config.DeletedTopics, and those that turn out to be a neighbour's.
func (s *source) compareTopics(mark *watermark) error {
	var deleted, recreated []string
	for _, topic := range slices.Sorted(maps.Keys(s.ids)) {
		switch id := mark.ids[topic]; {
		case id == s.ids[topic] || !s.cfg.reads(topic):
		case s.partitions[topic] == nil && slices.Contains(s.cfg.DeletedTopics, topic), id == "" && isForeign(mark.neighbours, topic):
			delete(s.ids, topic)
			delete(s.offsets, topic)
		case id == "":
			deleted = append(deleted, topic)
		default:
			recreated = append(recreated, topic)
		}
	}
	repair := fmt.Sprintf("if all their records were %s, start with --deleted-topics %s; else %s", s.cfg.done(), strings.Join(slices.Concat(deleted, recreated), ","), s.cfg.afresh())
	switch {
	case recreated != nil:
		return Halt{fmt.Sprintf("topics were re-created: %s. They are not those that were read before", strings.Join(recreated, ", ")), repair}
	case deleted != nil:
		return doubted{Halt{fmt.Sprintf("topics no longer exist: %s. They may have held records that were not %s", strings.Join(deleted, ", "), s.cfg.done()), repair}}
	}
	maps.Copy(s.ids, mark.ids)
	return nil
}

func (s *source) begin(topic string, number int32) *partition {
	p := &partition{topic: topic, number: number, ddl: topic == topicName(s.cfg.Prefix, "ddl"), index: -1}
	if offsets := s.offsets[topic]; int(number) < len(offsets) {
		p.position, p.resumed = offsets[number], true
	}
	p.taken = p.position
	p.last.commit = s.floor
	s.partitions[topic][number] = p
	return p
}

// updateLacking updates whether a partition makes the others wait.
func (s *source) updateLacking(p *partition) {
	lacking := p.head == len(p.queue) && p.position < p.target
	if lacking == p.lacking {
		return
	}
	p.lacking = lacking
	if lacking {
		s.lacking++
	} else {
		s.lacking--
	}
}

// add queues the records of a fetch.
func (s *source) add(fetches kgo.Fetches) (err error) {
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if err != nil {
			return
		}
		if f.Err != nil {
			err = s.failed(f.Topic, f.Partition, f.Err)
			return
		}
		p := s.partitions[f.Topic][f.Partition]
		if p == nil {
			return
		}
		for _, record := range f.Records {
			if err = s.put(p, record); err != nil {
				return
			}
		}
		s.updateLacking(p)
		s.fixHeap(p)
	})
	s.throttle()
	return err
}

// failed interprets an error of a partition.
func (s *source) failed(topic string, number int32, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	err = fmt.Errorf("read %s, partition %d: %w", topic, number, err)
	if !errors.Is(err, kerr.OffsetOutOfRange) {
		return err
	}
	at := s.partitions[topic][number].position
	if at == 0 {
		return Halt{fmt.Sprintf("the beginning of topic %s was deleted by its retention", topic),
			"request all rows from the publisher again (`INSERT INTO pgtee.signal VALUES ('mine', 'resync', '{\"data-collections\": [\"SCHEMA.TABLE\"]}')`) and start with --from end before that, into an empty " + s.cfg.kind()}
	}
	return Halt{fmt.Sprintf("topic %s no longer holds offset %d of partition %d: records were deleted before they were %s", topic, at, number, s.cfg.done()),
		"raise the retention of the topic; " + s.cfg.afresh()}
}

func (s *source) put(p *partition, record *kgo.Record) error {
	if record.Offset < p.position {
		return nil // from a fetch that started before the partition was paused
	}
	p.position = record.Offset + 1
	if record.Attrs.IsControl() {
		return nil
	}
	id, found, err := idOf(record)
	if err != nil {
		return Halt{fmt.Sprintf("topic %s, partition %d, offset %d: %v", p.topic, p.number, record.Offset, err), "find out what wrote that record"}
	}
	if !found && record.Value == nil {
		return nil
	}
	if !found || string(id.slot) != s.known.Slot || s.foreign[string(id.source)] {
		s.warnForeign(p.topic)
		return nil
	}
	if id.commit < s.begins {
		return nil
	}
	if id.cuts > len(s.known.Cuts) {
		return doubted{Halt{fmt.Sprintf("%s was written after the stream had been set back %d times, and the publisher's position says %d", placeOf(record), id.cuts, len(s.known.Cuts)),
			"check whether somebody else has written to " + topicName(s.cfg.Prefix, "progress") + "; else " + s.cfg.afresh()}}
	}
	kept := s.known.kept(id.cuts)
	if record.Value == nil {
		return s.checkTombstone(p, record, &id, kept)
	}
	e := event{place: id.place, snapshot: id.snapshot, record: record, from: p}
	if e.snapshot != nil {
		e.commit = max(min(e.commit, kept), p.last.commit) // the row may be unchanged since; if it is not, a resync follows
	} else {
		if e.commit >= kept {
			return nil
		}
		if p.resumed && e.commit < s.floor || p.seen && !p.last.less(e.place) {
			return nil // a duplicate from a publisher with --delivery at-least-once
		}
		p.last, p.seen = e.place, true
		if p.ddl && fillsTable(record.Value) { // its rows were written before the record
			e.ordinal, e.repeat = 0, 0
		}
	}
	if p.head > 64 && p.head*2 > len(p.queue) {
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	p.queue = append(p.queue, e)
	n := sizeOf(record)
	p.bytes += n
	s.bytes += n
	return nil
}

// checkTombstone returns an error if the delete that a tombstone belongs to is not in the topic. The tombstone says nothing new otherwise. kept is
// where its history ends.
func (s *source) checkTombstone(p *partition, r *kgo.Record, id *eventID, kept LSN) error {
	unread := p.last.commit < id.commit || p.last.commit == id.commit && p.last.ordinal < id.ordinal
	done := id.commit < s.floor || p.resumed && id.commit == s.floor // an archive may end behind a delete and in front of its tombstone
	if !unread || done || s.cfg.leavesOut(p.topic) || id.snapshot != nil || id.commit >= kept || headerOf(r, record.EventSourceHeader) != nil {
		return nil
	}
	return Halt{fmt.Sprintf("%s is a tombstone whose delete is not in the topic: compaction has removed records before they were %s, or the publisher writes deletes of flat records as tombstones only", placeOf(r), s.cfg.done()),
		"set cleanup.policy=delete for the topic (topic-config of the publisher, too), or --flat-deletes rewrite-with-tombstone; " + s.cfg.afresh()}
}

// warnForeign logs once per topic that it has records of another publisher.
func (s *source) warnForeign(topic string) {
	if !s.warned[topic] {
		s.warned[topic] = true
		s.cfg.Log.Warn("records of another slot or publisher are ignored", zap.String("topic", topic), zap.String("slot", s.known.Slot))
	}
}

func sizeOf(record *kgo.Record) int { return len(record.Key) + len(record.Value) + 160 }

// idOf reads the event id of a record.
func idOf(record *kgo.Record) (id eventID, found bool, err error) {
	for i := range record.Headers {
		if record.Headers[i].Key == headerEventID {
			id, err = parseEventID(record.Headers[i].Value)
			return id, true, err
		}
	}
	return id, false, nil
}

func headerOf(record *kgo.Record, name string) []byte {
	for i := range record.Headers {
		if record.Headers[i].Key == name {
			return record.Headers[i].Value
		}
	}
	return nil
}

// throttle bounds the queues: a partition that exceeds its share is not read further until less than half of its share is queued.
func (s *source) throttle() {
	share := max(maxQueuedBytes/max(1, len(s.heap)+s.lacking), minQueuedBytes)
	var full, short map[string][]int32
	note := func(some *map[string][]int32, p *partition) {
		if *some == nil {
			*some = map[string][]int32{}
		}
		(*some)[p.topic] = append((*some)[p.topic], p.number)
	}
	s.each(func(p *partition) {
		switch {
		case !p.paused && p.bytes > share:
			p.paused = true
			note(&full, p)
		case p.paused && p.bytes < share/2:
			p.paused = false
			note(&short, p)
		}
	})
	if full != nil {
		s.client.PauseFetchPartitions(full)
	}
	if short != nil {
		s.client.ResumeFetchPartitions(short)
	}
}

// each calls f for every partition.
func (s *source) each(f func(*partition)) {
	for _, partitions := range s.partitions {
		for _, p := range partitions {
			f(p)
		}
	}
}

// peek returns the next record in order. It returns false if there is none before the watermark, or if an earlier record may still be unread.
func (s *source) peek() (event, bool) {
	if s.lacking > 0 || len(s.heap) == 0 {
		return event{}, false
	}
	p := s.heap[0]
	e := p.queue[p.head]
	if e.isFrom(s.mark) {
		return event{}, false
	}
	return e, true
}

// take removes the record that peek has returned.
func (s *source) take() {
	p := s.heap[0]
	e := &p.queue[p.head]
	n := sizeOf(e.record)
	p.bytes -= n
	s.bytes -= n
	p.taken = e.record.Offset + 1
	*e = event{}
	p.head++
	if p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
		if p.paused { // it may be the one that the others wait for
			p.paused = false
			s.client.ResumeFetchPartitions(map[string][]int32{p.topic: {p.number}})
		}
	}
	s.updateLacking(p)
	s.fixHeap(p)
}

// broken returns nil: errors of fetches end the session.
func (s *source) broken() error { return nil }

func (s *source) topics() map[string]string { return s.ids }

// drained reports whether everything before the watermark was taken.
func (s *source) drained() bool {
	_, more := s.peek()
	return !more && s.lacking == 0
}

// next returns the offset from which the partition has to be read again.
func (p *partition) next() int64 {
	if p.head == len(p.queue) { // no record after the last one taken has to be read again, and retention may delete them
		return p.position
	}
	return p.taken
}

// taken returns, by topic, the offset of the next record to be taken from each partition.
func (s *source) taken() map[string][]int64 {
	offsets := map[string][]int64{}
	for topic, list := range s.offsets { // includes topics that no longer exist
		offsets[topic] = slices.Clone(list)
	}
	s.each(func(p *partition) {
		for len(offsets[p.topic]) <= int(p.number) {
			offsets[p.topic] = append(offsets[p.topic], 0)
		}
		offsets[p.topic][p.number] = p.next()
	})
	return offsets
}

// fixHeap moves a partition to its place in the heap.
func (s *source) fixHeap(p *partition) {
	has := p.head < len(p.queue)
	switch {
	case has && p.index < 0:
		p.index = len(s.heap)
		s.heap = append(s.heap, p)
		s.up(p.index)
	case has:
		s.down(p.index)
	case p.index >= 0:
		last := len(s.heap) - 1
		at := p.index
		s.swap(at, last)
		s.heap = s.heap[:last]
		p.index = -1
		if at < last {
			s.down(at)
			s.up(at)
		}
	}
}

func (s *source) before(i, j int) bool {
	a, b := s.heap[i], s.heap[j]
	return a.queue[a.head].less(b.queue[b.head].place)
}

func (s *source) swap(i, j int) {
	s.heap[i], s.heap[j] = s.heap[j], s.heap[i]
	s.heap[i].index, s.heap[j].index = i, j
}

func (s *source) up(i int) {
	for i > 0 && s.before(i, (i-1)/2) {
		s.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (s *source) down(i int) {
	for {
		child := 2*i + 1
		if child+1 < len(s.heap) && s.before(child+1, child) {
			child++
		}
		if child >= len(s.heap) || !s.before(child, i) {
			return
		}
		s.swap(i, child)
		i = child
	}
}
