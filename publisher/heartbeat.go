package publisher

import (
	"context"
	"time"

	"github.com/pgtee/pgtee/publisher/record"
)

// heartbeat appends a heartbeat record when one is due. The record is sent in the Kafka transaction of the next batch, or in one that only records
// the position.
func (p *Publisher) heartbeat(ctx context.Context) error {
	if p.cfg.Heartbeat == 0 || p.untilHeartbeat() > 0 {
		return nil
	}
	p.lastHeartbeat = p.now()
	if format, ok := p.format.(record.Heartbeats); ok {
		if err := format.AppendHeartbeat(ctx, p.batch); err != nil {
			return record.Unencoded("heartbeat", err)
		}
	}
	return nil
}

func (p *Publisher) untilHeartbeat() time.Duration {
	return p.lastHeartbeat.Add(p.cfg.Heartbeat).Sub(p.now())
}
