package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgtee/pgtee/proxy"
)

// metric is one number that is read when the metrics are requested.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	read       func() float64
	labels     prometheus.Labels
}

func (m metric) register(registry *prometheus.Registry) {
	if m.kind == prometheus.CounterValue {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.name, Help: m.help, ConstLabels: m.labels}, m.read))
		return
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help, ConstLabels: m.labels}, m.read))
}

// buildInfo is always 1; its labels identify the program.
func buildInfo() metric {
	labels := prometheus.Labels{"version": version(), "goversion": runtime.Version()}
	return metric{"pgtee_build_info", "Always 1; the labels are the version, with its commit, and the version of Go.", prometheus.GaugeValue, func() float64 { return 1 }, labels}
}

// labels are those of a publisher's metrics: together they tell it from any other one of the same Kafka cluster, while a standby has the same.
func (s source) labels() prometheus.Labels {
	return prometheus.Labels{"prefix": s.prefix, "database": s.database, "slot": s.slot}
}

// publisherMetrics returns the metrics of one database.
func publisherMetrics(p databasePublisher) []metric {
	labels := p.source.labels()
	gauge := func(name, help string, read func() float64) metric {
		return metric{name, help, prometheus.GaugeValue, read, labels}
	}
	counter := func(name, help string, read func() int64) metric {
		return metric{name, help, prometheus.CounterValue, func() float64 { return float64(read()) }, labels}
	}
	return append(snapshotMetrics(p, labels), []metric{
		gauge("pgtee_acked_lsn", "LSN up to which PostgreSQL may discard the WAL; acked <= published <= received.", func() float64 { return float64(p.Stats().Acked) }),
		gauge("pgtee_published_lsn", "LSN up to which Kafka has all transactions, as recorded in the progress topic.", func() float64 { return float64(p.Stats().Published) }),
		gauge("pgtee_received_lsn", "LSN up to which the stream of the slot was received and decoded.", func() float64 { return float64(p.Stats().Received) }),
		gauge("pgtee_lag_bytes", "WAL that the server has written and that is not published yet, in bytes. NaN unless this process holds the slot.", func() float64 {
			bytes, _, holds := p.behind()
			return ifKnown(float64(bytes), holds)
		}),
		gauge("pgtee_lag_seconds", "Seconds since the server wrote the oldest WAL that is not published yet; measured every ten seconds. NaN unless this process holds the slot.", func() float64 {
			_, age, holds := p.behind()
			return ifKnown(age.Seconds(), holds)
		}),
		gauge("pgtee_retained_wal_bytes", "WAL that the slot retains, in bytes.", func() float64 { return float64(p.lag.slot().Retained) }),
		gauge("pgtee_retained_wal_warn_bytes", "Retained WAL, in bytes, at which the log begins to warn: half of that at which the slot is lost, or --max-retained-wal SIZE:warn if that is less. NaN without a limit.", func() float64 {
			warn := p.retained.warnAt(p.lag.slot())
			return ifKnown(float64(warn), warn >= 0)
		}),
		gauge("pgtee_slot_safe_wal_ratio", "Remaining share of the WAL that the slot may retain (the smaller of max_slot_wal_keep_size and --max-retained-wal SIZE:drop_slot): at 0 the slot is lost. NaN without a limit, unless the slot is lost.", func() float64 {
			ratio, _ := p.lag.safe(p.retained)
			return ratio
		}),
		gauge("pgtee_slot_loss_seconds", "Seconds until the slot is lost, if the retained WAL grows as it did in the last ten minutes; 0 if it is lost, infinite if the WAL does not grow, NaN without a limit.", func() float64 {
			_, seconds := p.lag.safe(p.retained)
			return seconds
		}),
		gauge("pgtee_attribution_ratio", "Share of the rows published since the start that have a verified note; 1 before the first row.", p.watcher.attribution),
		gauge("pgtee_slot_at_risk", "1 if the server has removed WAL that the slot needs (wal_status lost), or may do so at any time (unreserved).", func() float64 {
			slot := p.lag.slot()
			return boolMetric(slot.Lost() || slot.WAL == "unreserved")
		}),
		gauge("pgtee_uncaptured_tables", "Published tables whose UPDATE and DELETE are not published: pgtee check says why. Tables that the flags exclude do not count.", func() float64 { return float64(p.coverage.tables.Load()) }),
		gauge("pgtee_own_topic_tables", "Tables whose topic does not have the name that the template gives, because that name was not available: the log says why.", func() float64 { return float64(p.Stats().OwnTopics) }),
		gauge("pgtee_publisher_halted", "1 while the publisher has halted and needs an operator: the log and /readyz say why.", func() float64 { return boolMetric(p.Stats().State == "halted") }),
		gauge("pgtee_publishing", "1 while this process holds the slot and Kafka accepts records.", func() float64 { return boolMetric(p.publishing()) }),
		counter("pgtee_published_transactions_total", "Source transactions published.", func() int64 { return p.Stats().Transactions }),
		counter("pgtee_published_events_total", "Records published, without progress records.", func() int64 { return p.Stats().Events }),
		counter("pgtee_filtered_changes_total", "Changes that produced no record: excluded tables, filtered rows and messages.", func() int64 { return p.Stats().Filtered }),
		counter("pgtee_dead_letters_total", "Changes that are too large for a record or its topic: PREFIX.dead-letter has them.", func() int64 { return p.Stats().DeadLetters }),
		counter("pgtee_missed_tables_total", "Number of times that UPDATEs and DELETEs of a table were found to be missing from the stream: --on-missed determines what follows.", func() int64 { return p.Stats().Missed }),
		counter("pgtee_refused_events_total", "Events of the application in PREFIX.outbox.refused: their topic is not allowed, or Kafka does not accept them there.", func() int64 { return p.Stats().Refused }),
		counter("pgtee_kafka_transactions_total", "Kafka transactions committed.", func() int64 { return p.Stats().Batches }),
		counter("pgtee_publish_retries_total", "Failures that were retried.", func() int64 { return p.Stats().Retries }),
		counter("pgtee_sent_spans_total", "Spans that the collector of --otlp-endpoint has accepted.", func() int64 { return p.watcher.spans.Stats().Sent }),
		counter("pgtee_dropped_spans_total", "Spans that the collector of --otlp-endpoint did not take in time, or rejected: the log says why.", func() int64 { return p.watcher.spans.Stats().Dropped }),
	}...)
}

// snapshotMetrics returns the metrics of copies of tables.
func snapshotMetrics(p databasePublisher, labels prometheus.Labels) []metric {
	metrics := []metric{
		{"pgtee_snapshot_rows_total", "Rows in the published chunks of snapshots, including those left out because the stream had changed them.", prometheus.CounterValue,
			func() float64 { return float64(p.Stats().Snapshot.TotalRows) }, labels},
		{"pgtee_snapshot_tables_total", "Tables that snapshots have completed.", prometheus.CounterValue,
			func() float64 { return float64(p.Stats().Snapshot.TotalTables) }, labels},
	}
	for _, state := range []string{"copying", "waiting", "paused"} {
		labels := maps.Clone(labels)
		labels["state"] = state
		metrics = append(metrics, metric{"pgtee_snapshot_state", "1 for the current state of the unfinished snapshot; 0 for every state if there is none.", prometheus.GaugeValue,
			func() float64 { return boolMetric(p.Stats().Snapshot.State == state) }, labels})
	}
	return metrics
}

func boolMetric(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func ifKnown(value float64, known bool) float64 {
	if !known {
		return math.NaN()
	}
	return value
}

// behind returns how far the publisher is behind the server. A standby, which does not hold the slot, does not know what is published.
func (p databasePublisher) behind() (bytes int64, age time.Duration, holds bool) {
	s := p.Stats()
	if !s.Holding {
		return 0, 0, false
	}
	bytes, age = p.lag.behind(s.Published, time.Now())
	return bytes, age, true
}

// publishing reports whether the publisher is publishing; a publisher that stands by is not.
func (p databasePublisher) publishing() bool { return p.Stats().State == "publishing" }

// addMetrics adds the actor that serves --metrics, if it is given. proxy is nil if there is none.
func (f serviceFlags) addMetrics(actors []actor, proxy *listeningProxy, publishers []databasePublisher) ([]actor, error) {
	if f.Metrics == "" {
		return actors, nil
	}
	listener, err := net.Listen("tcp", f.Metrics)
	if err != nil {
		return nil, usage(fmt.Errorf("--metrics %s: %w: choose a free HOST:PORT", f.Metrics, err))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	buildInfo().register(registry)
	for _, p := range publishers {
		for _, m := range publisherMetrics(p) {
			m.register(registry)
		}
		registry.MustRegister(p.watcher.collectors()...)
	}
	if proxy != nil {
		for _, m := range proxyMetrics(proxy) {
			m.register(registry)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/startupz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, proxy, publishers) })
	return append(actors, metricsActor(listener, mux)), nil
}

// ready responds with 503 and the reason while a proxy drains or, if there is no proxy, while a publisher does not publish. A proxy stays ready while
// Kafka is unavailable, so that clients keep their database.
func ready(w http.ResponseWriter, proxy *listeningProxy, publishers []databasePublisher) {
	draining := proxy != nil && proxy.draining.Load()
	stopped := slices.ContainsFunc(publishers, func(p databasePublisher) bool { return !p.publishing() })
	if draining || proxy == nil && stopped {
		w.WriteHeader(http.StatusServiceUnavailable)
	} else {
		fmt.Fprintln(w, "ok")
	}
	if draining {
		fmt.Fprintln(w, "proxy: draining")
	}
	for _, p := range publishers {
		s := p.Stats()
		fmt.Fprintf(w, "publisher of %s: %s\n", p.database, s.State)
		if s.LastError != "" {
			fmt.Fprintf(w, "  %s\n", maskSecrets(strings.Join(strings.Fields(s.LastError), " ")))
		}
	}
}

func metricsActor(listener net.Listener, handler http.Handler) actor {
	return actor{"metrics", func(ctx context.Context) error {
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}}
}

func proxyMetrics(p *listeningProxy) []metric {
	type value = func(proxy.Stats) int64
	counter := func(name, help string, read value) metric {
		return metric{name, help, prometheus.CounterValue, func() float64 { return float64(read(p.Stats())) }, nil}
	}
	return []metric{
		{"pgtee_sessions_open", "Client sessions now.", prometheus.GaugeValue, func() float64 { return float64(p.Stats().SessionsOpen) }, nil},
		counter("pgtee_sessions_total", "Connections accepted, including those of cancel requests.", func(s proxy.Stats) int64 { return s.SessionsTotal }),
		counter("pgtee_sessions_unattributed_total", "Sessions whose writes get no notes: no outbox, or notes impossible.", func(s proxy.Stats) int64 { return s.SessionsUnattributed }),
		counter("pgtee_sessions_refused_total", "Sessions refused because the database has no usable outbox (--require-outbox).", func(s proxy.Stats) int64 { return s.SessionsRefused }),
		counter("pgtee_queries_total", "Query messages, and portals whose execution began.", func(s proxy.Stats) int64 { return s.Queries }),
		counter("pgtee_notes_total", "Notes sent.", func(s proxy.Stats) int64 { return s.Notes }),
		counter("pgtee_injected_bytes_total", "Bytes sent for notes.", func(s proxy.Stats) int64 { return s.InjectedBytes }),
		counter("pgtee_note_errors_total", "Notes to which the server replied with an error.", func(s proxy.Stats) int64 { return s.NoteErrors }),
		counter("pgtee_lost_replies_total", "Sessions in which a reply matched no request; they get no notes from then on.", func(s proxy.Stats) int64 { return s.LostReplies }),
		counter("pgtee_oversize_texts_total", "SQL texts longer than the buffer, of which only the beginning is parsed.", func(s proxy.Stats) int64 { return s.OversizeTexts }),
		counter("pgtee_unreadable_texts_total", "SQL texts that the lexer cannot read.", func(s proxy.Stats) int64 { return s.UnreadableTexts }),
		counter("pgtee_cancels_total", "Cancel requests forwarded.", func(s proxy.Stats) int64 { return s.Cancels }),
	}
}
