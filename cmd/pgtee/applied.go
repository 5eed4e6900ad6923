package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// reportProgress prints the progress of an applier, on a terminal in one line that is rewritten, otherwise in occasional log lines, and serves metrics.
// stop ends both.
func (c *applyFlags) reportProgress(ctx context.Context, config apply.Config, term terminal) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var server *http.Server
	if c.Metrics != "" {
		ready := func() (string, bool) {
			state := config.Stats.Values().State
			return state, state == "applying"
		}
		if server, err = servePage(c.Metrics, appliedMetrics(config), ready, config.Log); err != nil {
			cancel()
			return nil, err
		}
	}
	done := make(chan struct{})
	go func() { // ends with cancel; stop waits for it
		defer close(done)
		showApplied(ctx, config, term)
	}()
	return func() {
		cancel()
		<-done
		if server != nil {
			_ = server.Close()
		}
	}, nil
}

// showApplied prints the progress until ctx ends.
func showApplied(ctx context.Context, config apply.Config, term terminal) {
	terminal := isTerminal(term.err)
	var changes rate
	var last apply.Values
	var said time.Time
	tick := time.NewTicker(meterInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if terminal {
				fmt.Fprint(term.err, "\r\x1b[K")
			}
			return
		case <-tick.C:
		}
		v := config.Stats.Values()
		perSecond := changes.add(v.Changes, time.Now())
		switch {
		case terminal:
			fmt.Fprintf(term.err, "\r%s %s: %d changes, %.0f/s, %s behind\x1b[K", config.Prefix, v.State, v.Changes, perSecond, bytesOf(v.LagBytes()))
		case time.Since(said) >= meterLog && v.Changes > last.Changes:
			config.Log.Info("progress", zap.Stringer("lsn", v.Applied), zap.Int64("changes", v.Changes), zap.Float64("changes_per_second", perSecond), zap.Uint64("lag_bytes", v.LagBytes()))
			said, last = time.Now(), v
		}
	}
}

// bytesOf formats a number of bytes.
func bytesOf(n uint64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d MB", n>>20)
}

// appliedMetrics returns the metrics of an applier.
func appliedMetrics(config apply.Config) []metric {
	labels := prometheus.Labels{"prefix": config.Prefix}
	number := func(name, help string, kind prometheus.ValueType, read func(apply.Values) float64) metric {
		return metric{name, help, kind, func() float64 { return read(config.Stats.Values()) }, labels}
	}
	return []metric{
		number("pgtee_applied_lsn", "LSN before which every committed source transaction is in the target.", prometheus.GaugeValue, func(v apply.Values) float64 { return float64(v.Applied) }),
		number("pgtee_apply_lag_bytes", "WAL of the source that is in Kafka and not yet in the target, in bytes.", prometheus.GaugeValue, func(v apply.Values) float64 { return float64(v.LagBytes()) }),
		number("pgtee_apply_lag_seconds", "Seconds since the last applied transaction committed or, if that is later, since the target last had everything; 0 while it has everything.", prometheus.GaugeValue, func(v apply.Values) float64 { return v.Lag(time.Now()).Seconds() }),
		number("pgtee_applying", "1 while the applier holds the fence and writes, 0 while it cannot; NaN while it stands by.", prometheus.GaugeValue, func(v apply.Values) float64 {
			return ifKnown(boolMetric(v.State == "applying"), v.State != "standing by")
		}),
		number("pgtee_applied_transactions_total", "Source transactions applied.", prometheus.CounterValue, func(v apply.Values) float64 { return float64(v.Transactions) }),
		number("pgtee_applied_changes_total", "Changes applied.", prometheus.CounterValue, func(v apply.Values) float64 { return float64(v.Changes) }),
		number("pgtee_apply_commits_total", "Transactions committed in the target.", prometheus.CounterValue, func(v apply.Values) float64 { return float64(v.Commits) }),
		number("pgtee_apply_conflicts_total", "Changes that did not fit the target and were skipped or overwritten: see pgtee.conflicts there.", prometheus.CounterValue, func(v apply.Values) float64 { return float64(v.Conflicts) }),
	}
}

// servePage serves /metrics, /livez and /readyz; ready returns the state, and whether /readyz succeeds in it.
func servePage(address string, metrics []metric, ready func() (state string, ok bool), log *zap.Logger) (*http.Server, error) {
	registry := prometheus.NewRegistry()
	for _, m := range metrics {
		m.register(registry)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if state, ok := ready(); !ok {
			http.Error(w, state, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { // ends with Close
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the metrics server has failed", zap.String("finding", "metrics-page"), zap.Error(err))
		}
	}()
	return server, nil
}
