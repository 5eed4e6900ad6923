package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// retryRecords is the number of records retried in one transaction.
const retryRecords = 50 // a record may be as large as Kafka accepts

// RetryDead retries the dead letters of the group, in offset order, each once. Those that the table accepts now are removed from the dead letters in
// the same transaction; the others get the new reason. It returns the number of each.
func RetryDead(ctx context.Context, cfg Config) (alive, dead int, err error) {
	t, err := cfg.connect(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer t.close()
	if t.table, err = cfg.lookUp(ctx, t.conn); err != nil {
		return 0, 0, err
	}
	if t.table == nil {
		return 0, 0, Halt{fmt.Sprintf("table %s.%s does not exist", cfg.Schema, cfg.Table), "create it"}
	}
	if t.table.keys > 0 {
		if err := t.exec(ctx, t.table.stageSQL()); err != nil {
			return 0, 0, err
		}
	}
	decoder := cfg.newDecoder(t.table)
	for last := (place{}); ; {
		n, accepted, err := t.retry(ctx, decoder, &last)
		if err != nil {
			if !t.conn.IsClosed() && t.conn.TxStatus() != 'I' {
				err = errors.Join(err, t.exec(ctx, "ROLLBACK"))
			}
			return alive, dead, explain(err)
		}
		alive, dead = alive+accepted, dead+n-accepted
		if n == 0 {
			return alive, dead, nil
		}
	}
}

// place identifies the dead letter that was retried last.
type place struct{ topicID, partition, offset string }

// someDead skips dead letters that a concurrent retry has locked.
const someDead = `SELECT topic_id, partition::text, "offset"::text, "timestamp"::text, key, value, headers::text
FROM pgtee.dead_letters WHERE "group" = $1 AND topic = $2 AND (topic_id, partition, "offset") > ($3, $4::int4, $5::int8)
ORDER BY topic_id, partition, "offset" LIMIT $6::int8 FOR UPDATE SKIP LOCKED`

// retry retries the next dead letters. It returns their number, and how many of them were accepted.
func (t *target) retry(ctx context.Context, decoder *decoder, last *place) (n, accepted int, err error) {
	if err := t.exec(ctx, begin); err != nil {
		return 0, 0, err
	}
	b, places, err := t.lockDead(ctx, decoder, last)
	if err != nil {
		return 0, 0, err
	}
	if len(places) == 0 {
		return 0, 0, t.exec(ctx, "ROLLBACK")
	}
	if err := t.exec(ctx, theirPath+"; "+savepoint); err != nil {
		return 0, 0, err
	}
	if err := t.settle(ctx, b, true); err != nil {
		return 0, 0, err
	}
	if err := t.exec(ctx, ownPath); err != nil {
		return 0, 0, err
	}
	pipeline := t.conn.StartPipeline(ctx)
	for i := range b.rows {
		if b.rows[i].dead == "" {
			accepted++
		}
		t.sendOutcome(pipeline, places[i], &b.rows[i])
	}
	counts, err := postgres.Results(t.conn, pipeline)
	if err == nil && slices.ContainsFunc(counts, func(n int64) bool { return n != 1 }) {
		err = errors.New("a dead letter was removed while it was retried, and nothing of this batch was written: run --retry-dead again")
	}
	if err != nil {
		return 0, 0, err
	}
	return len(places), accepted, t.exec(ctx, "COMMIT")
}

// lockDead reads and locks the next dead letters, and advances last.
func (t *target) lockDead(ctx context.Context, decoder *decoder, last *place) (b *batch, places []place, err error) {
	if last.partition == "" {
		*last = place{"", "-1", "-1"}
	}
	result := t.conn.ExecParams(ctx, someDead, [][]byte{[]byte(t.cfg.group()), []byte(t.cfg.Topic), []byte(last.topicID), []byte(last.partition), []byte(last.offset), fmt.Append(nil, retryRecords)},
		nil, nil, []int16{0, 0, 0, 0, 1, 1, 0}).Read()
	if result.Err != nil {
		return nil, nil, result.Err
	}
	b = newBatch()
	for _, fields := range result.Rows {
		record, err := recordOf(t.cfg.Topic, fields)
		if err != nil {
			return nil, nil, err
		}
		*last = place{string(fields[0]), string(fields[1]), string(fields[2])}
		places = append(places, *last)
		if err := decoder.add(ctx, b, record); err != nil {
			return nil, nil, err
		}
	}
	return b, places, nil
}

const (
	atPlace = ` WHERE "group" = $1 AND topic = $2 AND topic_id = $3 AND partition = $4::int4 AND "offset" = $5::int8`
	remove  = `DELETE FROM pgtee.dead_letters` + atPlace
	renew   = `UPDATE pgtee.dead_letters SET tries = tries + 1, reason = $6, sqlstate = nullif($7, '')` + atPlace
)

// sendOutcome sends the result of a retry.
func (t *target) sendOutcome(pipeline *pgconn.Pipeline, at place, r *row) {
	params := [][]byte{[]byte(t.cfg.group()), []byte(t.cfg.Topic), []byte(at.topicID), []byte(at.partition), []byte(at.offset)}
	if r.dead == "" {
		pipeline.SendQueryParams(remove, params, nil, nil, nil)
		return
	}
	pipeline.SendQueryParams(renew, append(params, []byte(r.dead), []byte(r.state)), nil, nil, nil)
}

// recordOf returns the record of a row in pgtee.dead_letters.
func recordOf(topic string, fields [][]byte) (*kgo.Record, error) {
	record := &kgo.Record{Topic: topic, Key: fields[4], Value: fields[5]}
	var partition int32
	if _, err := fmt.Sscan(string(fields[1])+" "+string(fields[2]), &partition, &record.Offset); err != nil {
		return nil, err
	}
	record.Partition = partition
	if fields[3] != nil {
		at, err := time.Parse("2006-01-02 15:04:05.999999-07", string(fields[3]))
		if err != nil {
			return nil, err
		}
		record.Timestamp = at
	}
	if fields[6] == nil {
		return record, nil
	}
	var headers []header
	if err := json.Unmarshal(fields[6], &headers); err != nil {
		return nil, err
	}
	for _, h := range headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return record, nil
}
