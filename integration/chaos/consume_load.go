package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// poison is the header of a record that cannot become a row.
const poison = "poison"

const (
	poisonShare = 40 // one record of this many
	abortShare  = 5  // one transaction of this many
	keySpace    = 300
)

// actors are two producers for each feed: one with transactions, some of which are aborted, and one without.
func (r *consumers) actors() []actor {
	var actors []actor
	var ids atomic.Int64
	for i, f := range feeds {
		for j, transactional := range []bool{true, false} {
			actors = append(actors, func(ctx context.Context, random *rand.Rand) {
				p := &producer{consumers: r, feed: f, random: random, ids: &ids, id: fmt.Sprintf("producer-%d-%d", i, j), transactional: transactional}
				for ctx.Err() == nil {
					if err := p.run(ctx); err != nil && ctx.Err() == nil {
						r.note("%s: %v", p.id, err)
						sleep(ctx, 500*time.Millisecond)
					}
				}
			})
		}
	}
	return actors
}

type producer struct {
	*consumers
	feed          feed
	random        *rand.Rand
	ids           *atomic.Int64
	id            string
	transactional bool
}

// run produces records until something fails. Only Kafka knows the outcome of the last records then.
func (p *producer) run(ctx context.Context) error {
	options := []kgo.Opt{kgo.SeedBrokers(p.brokers[0].Address), kgo.RecordDeliveryTimeout(20 * time.Second)}
	if p.transactional {
		options = append(options, kgo.TransactionalID(p.id), kgo.TransactionTimeout(10*time.Second))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		if p.transactional {
			if err := client.BeginTransaction(); err != nil {
				return err
			}
		}
		records := make([]*kgo.Record, 1+p.random.Intn(200))
		for i := range records {
			records[i] = p.record()
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		if p.transactional {
			sleep(ctx, time.Duration(p.random.Intn(100))*time.Millisecond)
			how := kgo.TransactionEndTry(p.random.Intn(abortShare) > 0)
			if err := client.EndTransaction(ctx, how); err != nil {
				return err
			}
		}
		sleep(ctx, time.Duration(p.random.Intn(60))*time.Millisecond)
	}
	return nil
}

// record returns a good record or poison.
func (p *producer) record() *kgo.Record {
	id := p.ids.Add(1)
	record := &kgo.Record{Topic: p.feed.name}
	if p.feed.keyed {
		id = int64(p.random.Intn(keySpace))
		record.Key = fmt.Appendf(nil, `{"id":%d}`, id)
	}
	good := p.feed.encode(p.schemaID, id, "row", int64(p.random.Intn(1000)))
	if p.random.Intn(poisonShare) > 0 {
		record.Value = good
		if p.feed.keyed && p.random.Intn(4) == 0 {
			record.Value = nil
		}
		return record
	}
	kinds := [][]byte{
		good[:len(good)-1],
		p.feed.encode(p.schemaID, id, "row", -1), // violates a constraint
		p.feed.encode(p.schemaID, id, "a value that does not fit into its column", 1),
		p.feed.encode(p.schemaID, id, "nul\x00byte", 1),
		[]byte("neither"), {},
	}
	if p.feed.name == "avro" {
		kinds = append(kinds, p.feed.encode(987654, id, "of no schema", 1))
	} else {
		kinds = append(kinds, fmt.Appendf(nil, `{"id":%d,"v":"row","n":"many"}`, id), fmt.Appendf(nil, `{"id":%d,"v":"row","n":99999999999}`, id))
	}
	record.Value = kinds[p.random.Intn(len(kinds))]
	record.Headers = []kgo.RecordHeader{{Key: poison, Value: []byte("yes")}}
	return record
}

// encode encodes a record as JSON, or as Avro in Confluent's wire format.
func (f feed) encode(schemaID int, id int64, v string, n int64) []byte {
	if f.name != "avro" {
		return fmt.Appendf(nil, `{"id":%d,"n":%d,"v":%s}`, id, n, jsonText(v))
	}
	value := binary.BigEndian.AppendUint32([]byte{0}, uint32(schemaID))
	value = binary.AppendVarint(value, id)
	value = append(binary.AppendVarint(value, int64(len(v))), v...)
	return binary.AppendVarint(value, n)
}
