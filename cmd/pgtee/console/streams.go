package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
)

// streamState is the state of one stream on the page of streams.
type streamState struct {
	Stream
	Now        publisher.Stats
	LagBytes   int64
	LagAge     time.Duration
	SlotNow    outbox.SlotStatus
	Limit      int64 // of the WAL that the slot retains; 0: no limit
	Full       float64
	Lost       time.Duration // predicted time until the slot is lost, from the growth in the last minutes; 0: not in sight
	Proven     attribution
	SeriesURL  string
	BatchSize  float64 // events per Kafka transaction
	KafkaError string
}

// attribution says for how many of the recently written rows the author is verified.
type attribution struct {
	Transactions                        int
	Verified, False, Unknown, DirectRow int // numbers of rows
	Since                               time.Time
}

// Rows returns the number of all of these rows.
func (a attribution) Rows() int { return a.Verified + a.False + a.Unknown + a.DirectRow }

// Share returns the share of verified rows.
func (a attribution) Share() float64 {
	if a.Rows() == 0 {
		return 1
	}
	return float64(a.Verified) / float64(a.Rows())
}

type streamsPage struct{ States []streamState }

func (streamsPage) refresh() int { return 5 }

// lately is the number of transactions from which the share of attributed rows is computed.
const lately = 500

func (c *Console) streams(r *http.Request, _ person) (any, error) {
	var p streamsPage
	reading := c.topics.begin()
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
		if state.Proven, err = c.proven(r.Context(), reading, &s); err != nil && !errors.Is(err, errNoTopic) {
			state.KafkaError = err.Error()
		}
		p.States = append(p.States, state)
	}
	return p, nil
}

// untilFull predicts when the slot's WAL reaches its limit, from its growth in the last ten minutes.
func untilFull(list []sampleOf, limit int64) time.Duration {
	const trend = 120
	if len(list) < 6 {
		return 0
	}
	first, last := list[max(0, len(list)-trend)], list[len(list)-1]
	grown, passed := last.retained-first.retained, last.at.Sub(first.at)
	if grown <= 0 || last.retained < limit/20 { // variation within each checkpoint cycle is not a trend
		return 0
	}
	return time.Duration(float64(limit-last.retained) / float64(grown) * float64(passed))
}

// proven counts the rows of the newest transactions.
func (c *Console) proven(ctx context.Context, from *reading, s *Stream) (a attribution, err error) {
	starts, ends, err := c.topics.bounds(ctx, c.tails[s.Prefix].topic)
	if err != nil {
		return a, err
	}
	events, _, err := c.events(ctx, from, s, starts, ends, lately, filter{})
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
