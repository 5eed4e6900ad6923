package console

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Samples are kept in memory for an hour.
const (
	sampleEvery = 5 * time.Second
	keptSamples = 720
)

// sampleOf is the state of a stream at one time.
type sampleOf struct {
	at           time.Time
	lag          *lagOf // nil: not known
	retained     int64
	events       int64 // since the start of the process
	transactions int64
	batches      int64
	copied       int64 // rows of snapshots, since the start of the process
}

// lagOf is how far a stream is behind the server.
type lagOf struct {
	bytes int64
	age   time.Duration
}

// series is the last hour of a stream.
type series struct {
	mu   sync.Mutex
	list []sampleOf
}

func (s *series) add(one sampleOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == keptSamples {
		s.list = append(s.list[:0], s.list[1:]...)
	}
	s.list = append(s.list, one)
}

func (s *series) all() []sampleOf {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sampleOf(nil), s.list...)
}

// sample samples every stream until ctx ends.
func (c *Console) sample(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		for _, s := range c.cfg.Streams {
			c.series[s.Prefix].add(sampleNow(s, time.Now()))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func sampleNow(s Stream, now time.Time) sampleOf {
	stats := s.Stats()
	var lag *lagOf
	if bytes, age, known := s.Lag(); known {
		lag = &lagOf{bytes, age}
	}
	slot, _ := s.Retained()
	return sampleOf{now, lag, slot.Retained, stats.Events, stats.Transactions, stats.Batches, stats.Snapshot.TotalRows}
}

// seriesJSON returns the data for charts: columns of numbers, with times in seconds since 1970.
func (c *Console) seriesJSON(w http.ResponseWriter, r *http.Request, _ person) {
	s, err := c.stream(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	list := c.series[s.Prefix].all()
	columns := struct {
		Time       []int64    `json:"time"`
		LagBytes   []*int64   `json:"lag_bytes"` // null: not known
		LagSeconds []*float64 `json:"lag_seconds"`
		Retained   []int64    `json:"retained_bytes"`
		Events     []float64  `json:"events_per_second"`
		Commits    []float64  `json:"transactions_per_second"`
	}{[]int64{}, []*int64{}, []*float64{}, []int64{}, []float64{}, []float64{}}
	for i, one := range list {
		columns.Time = append(columns.Time, one.at.Unix())
		var bytes *int64
		var seconds *float64
		if one.lag != nil {
			age := one.lag.age.Seconds()
			bytes, seconds = &one.lag.bytes, &age
		}
		columns.LagBytes = append(columns.LagBytes, bytes)
		columns.LagSeconds = append(columns.LagSeconds, seconds)
		columns.Retained = append(columns.Retained, one.retained)
		events, commits := 0.0, 0.0
		if i > 0 {
			passed := one.at.Sub(list[i-1].at).Seconds()
			events = max(0, float64(one.events-list[i-1].events)/passed)
			commits = max(0, float64(one.transactions-list[i-1].transactions)/passed)
		}
		columns.Events = append(columns.Events, events)
		columns.Commits = append(columns.Commits, commits)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(columns)
}
