package verdict

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// witness reads topics only with Fetch requests, batch by batch. It determines from the control batches of each partition which records a
// read_committed reader sees: a transactional batch has the fate of its producer's next marker (Kafka protocol guide, "Control Batch").
type witness struct {
	first   *protocol.Conn           // to the broker given to newWitness
	brokers map[int32]*protocol.Conn // by id
	leaders map[partition]int32      // as last seen by topics
}

// The versions that kafka-go can encode and Kafka 4 still supports.
var witnessVersions = map[protocol.ApiKey]int16{protocol.Fetch: 11, protocol.Metadata: 8}

// newWitness connects to one broker of the cluster, and later to the others as needed.
func newWitness(address string) (*witness, error) {
	first, err := dialBroker(address)
	if err != nil {
		return nil, err
	}
	return &witness{first: first, brokers: map[int32]*protocol.Conn{}, leaders: map[partition]int32{}}, nil
}

func dialBroker(address string) (*protocol.Conn, error) {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	broker := protocol.NewConn(conn, "witness")
	broker.SetVersions(witnessVersions)
	return broker, nil
}

func (w *witness) close() error {
	errs := []error{w.first.Close()}
	for _, broker := range w.brokers {
		errs = append(errs, broker.Close())
	}
	return errors.Join(errs...)
}

// topics returns the partition numbers of every topic of the cluster.
func (w *witness) topics() (map[string][]int32, error) {
	answer, err := ask(w.first, &metadata.Request{})
	if err != nil {
		return nil, fmt.Errorf("witness: list topics: %w", err)
	}
	cluster := answer.(*metadata.Response)
	for _, b := range cluster.Brokers {
		if w.brokers[b.NodeID] != nil {
			continue
		}
		if w.brokers[b.NodeID], err = dialBroker(net.JoinHostPort(b.Host, fmt.Sprint(b.Port))); err != nil {
			delete(w.brokers, b.NodeID)
			return nil, err
		}
	}
	topics := map[string][]int32{}
	for _, topic := range cluster.Topics {
		for _, p := range topic.Partitions {
			topics[topic.Name] = append(topics[topic.Name], p.PartitionIndex)
			w.leaders[partition{topic.Name, p.PartitionIndex}] = p.LeaderID
		}
	}
	return topics, nil
}

// leader returns the connection to the leader of a partition.
func (w *witness) leader(topic string, number int32) *protocol.Conn {
	if broker := w.brokers[w.leaders[partition{topic, number}]]; broker != nil {
		return broker
	}
	return w.first
}

// read returns the records of a topic from its start up to the current high watermark, by partition, then by offset, whatever their fate.
func (w *witness) read(topic string, partitions []int32) ([]Record, error) {
	var records []Record
	for _, partition := range partitions {
		read, err := w.readPartition(topic, partition)
		if err != nil {
			return nil, fmt.Errorf("witness: read %s/%d: %w", topic, partition, err)
		}
		records = append(records, read...)
	}
	return records, nil
}

func (w *witness) readPartition(topic string, partition int32) ([]Record, error) {
	const patience = 10 * time.Second
	began := time.Now()
	log := partitionLog{topic: topic, partition: partition, open: map[int64][]int{}}
	end := int64(-1)
	for end < 0 || log.next < end {
		answer, err := w.fetch(topic, partition, log.next)
		if settling(err) && time.Since(began) < patience {
			if _, err := w.topics(); err != nil { // the leader may have changed
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if end < 0 {
			end = answer.HighWatermark
		}
		before := log.next
		if err := log.append(answer.RecordSet.Records); err != nil {
			return nil, err
		}
		if log.next == before && log.next < end {
			return nil, fmt.Errorf("no batch at offset %d, the high watermark is %d", log.next, end)
		}
	}
	return log.records, nil
}

func (w *witness) fetch(topic string, partition int32, offset int64) (fetch.ResponsePartition, error) {
	answer, err := ask(w.leader(topic, partition), &fetch.Request{
		ReplicaID: -1, MaxWaitTime: 100, MinBytes: 0, MaxBytes: 32 << 20, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{Topic: topic, Partitions: []fetch.RequestPartition{{
			Partition: partition, CurrentLeaderEpoch: -1, FetchOffset: offset, LogStartOffset: -1, PartitionMaxBytes: 32 << 20,
		}}}},
	})
	if err != nil {
		return fetch.ResponsePartition{}, err
	}
	topics := answer.(*fetch.Response).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 {
		return fetch.ResponsePartition{}, errors.New("the broker's answer does not have exactly one partition")
	}
	p := topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return p, fetchError(p.ErrorCode)
	}
	return p, nil
}

// fetchError is the error code of a partition (Kafka protocol guide, "Error Codes").
type fetchError int16

func (e fetchError) Error() string {
	return fmt.Sprintf("the broker answers with error code %d", int16(e))
}

// settling reports whether an error means that the topic has only just been created: unknown topic or partition, leader not available, not yet the
// leader.
func settling(err error) bool {
	var code fetchError
	return errors.As(err, &code) && (code == 3 || code == 5 || code == 6)
}

func ask(broker *protocol.Conn, request protocol.Message) (protocol.Message, error) {
	if err := broker.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	return broker.RoundTrip(request)
}

// partitionLog collects the batches of one partition.
type partitionLog struct {
	topic     string
	partition int32
	next      int64 // offset after the last record, including markers
	records   []Record
	open      map[int64][]int // indexes of the records that await a marker, by producer id
}

func (l *partitionLog) append(records protocol.RecordReader) error {
	stream, ok := records.(*protocol.RecordStream)
	if !ok {
		return nil // nothing fetched
	}
	for _, batch := range stream.Records {
		var err error
		switch b := batch.(type) {
		case *protocol.ControlBatch:
			err = l.appendMarker(b)
		case *protocol.RecordBatch:
			err = l.appendBatch(b)
		default:
			err = fmt.Errorf("a batch of an old format: %T", batch)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *partitionLog) appendMarker(b *protocol.ControlBatch) error {
	const abort, commit = 0, 1
	record, err := b.ReadControlRecord()
	if err != nil {
		return fmt.Errorf("control batch at offset %d: %w", b.BaseOffset, err)
	}
	fates := map[int16]Fate{abort: Aborted, commit: Committed}
	fate, known := fates[record.Type]
	if !known {
		return fmt.Errorf("control batch at offset %d: type %d", b.BaseOffset, record.Type)
	}
	for _, i := range l.open[b.ProducerID] {
		l.records[i].Fate, l.records[i].Marker, l.records[i].Decided = fate, record.Offset, record.Time
	}
	delete(l.open, b.ProducerID)
	l.next = record.Offset + 1
	return nil
}

func (l *partitionLog) appendBatch(b *protocol.RecordBatch) error {
	for {
		read, err := b.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("batch at offset %d: %w", b.BaseOffset, err)
		}
		r := Record{Topic: l.topic, Partition: l.partition, Offset: read.Offset, Producer: b.ProducerID, Epoch: b.ProducerEpoch, Time: read.Time}
		if err := r.fill(read); err != nil {
			return fmt.Errorf("record at offset %d: %w", read.Offset, err)
		}
		if read.Offset < l.next { // the first batch may begin before the requested offset
			continue
		}
		if b.Attributes.Transactional() {
			r.Fate = Open
			l.open[b.ProducerID] = append(l.open[b.ProducerID], len(l.records))
		}
		l.next = read.Offset + 1
		l.records = append(l.records, r)
	}
}

func (r *Record) fill(read *protocol.Record) (err error) {
	if r.Key, err = protocol.ReadAll(read.Key); err != nil {
		return err
	}
	if r.Value, err = protocol.ReadAll(read.Value); err != nil {
		return err
	}
	r.Headers = make(map[string]string, len(read.Headers))
	for _, header := range read.Headers {
		r.Headers[header.Key] = string(header.Value)
	}
	return nil
}
