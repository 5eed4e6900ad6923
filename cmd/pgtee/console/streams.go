package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// streamState is the state of one stream on the page of streams.
type streamState struct {
	Stream
	Now        publisher.Stats
	LagBytes   int64
	LagAge     time.Duration
	LagKnown   bool
	SlotNow    outbox.SlotStatus
	Limit      int64 // of the WAL that the slot retains; 0: no limit
	Full       float64
	Lost       time.Duration // predicted time until the slot is lost, from the growth in the last ten minutes; 0: unknown
	Proven     attribution
	SeriesURL  string
	BatchSize  float64       // events per Kafka transaction
	CopyLeft   time.Duration // predicted time until the snapshot has ended; 0: unknown
	Copied     []endedCopy   // the last snapshots, newest first
	KafkaError string
}

// endedCopy is a snapshot that has ended.
type endedCopy struct {
	snapshot.FinishedCopy
	Again     *outbox.SignalRecord // requests it once more if it was stopped; nil: see FinishedCopy.Again
	Requested bool                 // it has been requested once more
}

// Patterns returns the patterns of the tables that it was requested for.
func (e endedCopy) Patterns() []string { return e.Again.Tables }

// Empties reports whether requesting it once more empties the topics of its tables first.
func (e endedCopy) Empties() bool { return e.Again.Type == outbox.Resync }

func endedCopies(now snapshot.Stats) (list []endedCopy) {
	for _, f := range slices.Backward(now.Finished) {
		e := endedCopy{FinishedCopy: f, Again: f.Again()}
		e.Requested = e.Again != nil && (now.ID == e.Again.ID || slices.ContainsFunc(now.Finished, func(other snapshot.FinishedCopy) bool { return other.ID == e.Again.ID }))
		list = append(list, e)
	}
	return list
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

type streamsPage struct {
	States     []streamState
	MayControl bool // snapshots
}

func (streamsPage) refresh() int { return 5 }

// lately is the number of transactions from which the share of attributed rows is computed.
const lately = 500

func (c *Console) streams(r *http.Request, who person) (any, error) {
	p := streamsPage{MayControl: who.Role >= Admin}
	reading := c.topics.begin()
	for _, s := range c.cfg.Streams {
		samples := c.series[s.Prefix].all()
		state := streamState{Stream: s, Now: s.Stats(), SeriesURL: c.link("/streams/series", s.Prefix)}
		state.LagBytes, state.LagAge, state.LagKnown = s.Lag()
		state.SlotNow, state.Limit = s.Retained()
		switch {
		case state.SlotNow.Lost(), state.Limit == 0:
			state.Full = 1
		case state.Limit > 0:
			state.Full = min(1, float64(state.SlotNow.Retained)/float64(state.Limit))
			state.Lost = untilFull(samples, state.Limit)
		}
		if state.Now.Batches > 0 {
			state.BatchSize = float64(state.Now.Events) / float64(state.Now.Batches)
		}
		state.CopyLeft, state.Copied = untilCopied(samples, state.Now), endedCopies(state.Now.Snapshot)
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
	if grown <= 0 || last.retained < limit/20 { // below 5 % of the limit, WAL comes and goes with each checkpoint
		return 0
	}
	return timeFor(max(0, limit-last.retained), grown, passed)
}

// maxPrediction is what a trend of minutes can say something about.
const maxPrediction = 365 * 24 * time.Hour

// timeFor predicts how long left takes if done took this long, at least a second; 0: longer than maxPrediction.
func timeFor(left, done int64, took time.Duration) time.Duration {
	seconds := float64(left) / float64(done) * took.Seconds()
	if seconds > maxPrediction.Seconds() { // which may be more than a Duration can hold
		return 0
	}
	return max(time.Second, time.Duration(seconds*float64(time.Second)))
}

// untilCopied predicts when the running snapshot ends, from the rows that were copied in the last minute.
func untilCopied(list []sampleOf, now publisher.Stats) time.Duration {
	const trend = 12
	s := now.Snapshot
	if s.State != "copying" || len(list) < 2 {
		return 0
	}
	first, last := list[max(0, len(list)-trend)], list[len(list)-1]
	copied, left := last.copied-first.copied, s.RowsEstimated-s.RowsDone
	if copied <= 0 || left <= 0 {
		return 0
	}
	return timeFor(left, copied, last.at.Sub(first.at))
}

// retrySnapshot is what the page sends in place of the type of a signal: the request of a stopped snapshot is sent again.
const retrySnapshot = "retry"

// signalSnapshot pauses, resumes, cancels or retries a snapshot.
func (c *Console) signalSnapshot(w http.ResponseWriter, r *http.Request, who person) {
	s, err := c.stream(r)
	if err != nil {
		http.Error(w, "pgtee console: "+err.Error(), http.StatusNotFound)
		return
	}
	id := r.PostFormValue("id")
	signal := &outbox.SignalRecord{Type: r.PostFormValue("type"), Snapshot: id}
	switch signal.Type {
	case outbox.PauseSnapshot, outbox.ResumeSnapshot, outbox.StopSnapshot:
	case retrySnapshot:
		ended := endedCopies(s.Stats().Snapshot)
		i := slices.IndexFunc(ended, func(e endedCopy) bool { return e.Again != nil && !e.Requested && e.Again.ID == id })
		if i < 0 {
			http.Error(w, "pgtee console: this snapshot cannot be retried any more: go back and look again", http.StatusNotFound)
			return
		}
		signal, id = ended[i].Again, ended[i].ID
	default:
		http.Error(w, "pgtee console: a snapshot can be paused, resumed, cancelled or retried", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	if err := s.Signal(ctx, signal); err != nil {
		http.Error(w, "pgtee console: "+signal.Type+": "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	c.log.Info("console: a snapshot was controlled", zap.String("who", who.Name), zap.String("signal", signal.Type), zap.String("snapshot", id), zap.String("requested", signal.ID), zap.String("from", r.RemoteAddr))
	http.Redirect(w, r, c.link("/streams", s.Prefix), http.StatusSeeOther)
}

// proven counts the rows of the newest transactions by how well their author is known.
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
