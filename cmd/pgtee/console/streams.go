package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
)

// streamState is one stream on the page of streams.
type streamState struct {
	Stream
	Now        publisher.Stats
	LagBytes   int64
	LagAge     time.Duration
	SlotNow    outbox.SlotStatus
	Limit      int64 // of the log that the slot keeps; 0: none
	Full       float64
	Lost       time.Duration // until the slot is lost, as it grew in the last minutes; 0: not in sight
	Proven     attribution
	SeriesURL  string
	BatchSize  float64 // events of one Kafka transaction
	KafkaError string
}

// attribution is how much of what was written lately is proven to be somebody's.
type attribution struct {
	Transactions                        int
	Verified, False, Unknown, DirectRow int // rows
	Since                               time.Time
}

// Rows are all of them.
func (a attribution) Rows() int { return a.Verified + a.False + a.Unknown + a.DirectRow }

// Share is that of the verified ones.
func (a attribution) Share() float64 {
	if a.Rows() == 0 {
		return 1
	}
	return float64(a.Verified) / float64(a.Rows())
}

type streamsPage struct{ States []streamState }

func (streamsPage) refresh() int { return 5 }

// lately is how many transactions the share of attributed rows is of.
const lately = 500

func (c *Console) streams(r *http.Request, _ person) (any, error) {
	var p streamsPage
	for _, s := range c.cfg.Streams {
		state := streamState{Stream: s, Now: s.Stats(), SeriesURL: c.link("/streams/series", s.Prefix)}
		state.LagBytes, state.LagAge = s.Lag()
		state.SlotNow, state.Limit = s.Retained()
		if state.Limit > 0 {
			state.Full = min(1, float64(state.SlotNow.Retained)/float64(state.Limit))
			state.Lost = untilFull(c.series[s.Prefix].all(), state.Limit)
		}
		if state.Now.Batches > 0 {
			state.BatchSize = float64(state.Now.Events) / float64(state.Now.Batches)
		}
		var err error
		if state.Proven, err = c.proven(r.Context(), &s); err != nil && !errors.Is(err, errNoTopic) {
			state.KafkaError = err.Error()
		}
		p.States = append(p.States, state)
	}
	return p, nil
}

// untilFull predicts when the slot's log reaches its limit, from how it grew in the last ten minutes.
func untilFull(list []sampleOf, limit int64) time.Duration {
	const trend = 120
	if len(list) < 6 {
		return 0
	}
	first, last := list[max(0, len(list)-trend)], list[len(list)-1]
	grown, passed := last.retained-first.retained, last.at.Sub(first.at)
	if grown <= 0 || last.retained < limit/20 { // what comes and goes with each checkpoint is no trend
		return 0
	}
	return time.Duration(float64(limit-last.retained) / float64(grown) * float64(passed))
}

// proven counts the rows of the newest transactions.
func (c *Console) proven(ctx context.Context, s *Stream) (a attribution, err error) {
	starts, ends, err := c.topics.bounds(ctx, c.tails[s.Prefix].topic)
	if err != nil {
		return a, err
	}
	events, _, err := c.events(ctx, s, starts, ends, lately, filter{})
	for _, e := range events {
		a.Transactions++
		a.Since = e.CommitTime
		rows := e.Rows() - e.DirectRows
		a.DirectRow += e.DirectRows
		switch e.Trust() {
		case "verified":
			a.Verified += rows
		case "false":
			a.False += rows
		case "unknown":
			a.Unknown += rows
		default:
			a.DirectRow += rows
		}
	}
	return a, err
}
