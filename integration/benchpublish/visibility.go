package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

const (
	ticksDatabase = "ticks"
	ticksPrefix   = "ticks"

	takeoverRate = 100 // in ticks per second
)

// measureVisibility measures how late a consumer sees small transactions, and for how long it sees none when the publisher is killed.
func (b *bench) measureVisibility() error {
	rates, err := b.rateList()
	if err != nil {
		return err
	}
	if err := b.createDatabase(ticksDatabase, func(database string) error { return b.Query(b.ctx, database, tickTable) }); err != nil {
		return err
	}
	p, err := b.publish(ticksDatabase, ticksPrefix)
	if err != nil {
		return err
	}
	w, err := b.watch(ticksPrefix)
	if err != nil {
		return err
	}
	if _, err := b.writeTicks(w, 200, 2000); err != nil { // creates the topics, and warms up the broker's JIT compiler for small transactions
		return fmt.Errorf("%w; the publisher's log: %s", err, p.Tail(5))
	}
	for _, rate := range rates {
		if err := b.measureLatency(p, w, rate); err != nil {
			return err
		}
	}
	if b.takeovers == 0 {
		return p.Stop(syscall.SIGTERM, 30*time.Second)
	}
	if p, err = b.measureTakeover(p, w, "restart", b.restart); err != nil {
		return err
	}
	if p, err = b.measureTakeover(p, w, "standby", b.standby); err != nil {
		return err
	}
	return p.Stop(syscall.SIGTERM, 30*time.Second)
}

func (b *bench) measureLatency(p *harness.Process, w *watcher, rate int) error {
	cpu, err := p.CPUSoFar()
	if err != nil {
		return err
	}
	begin, transactions := time.Now(), w.kafkaTransactions()
	t, err := b.writeTicks(w, rate, rate*b.seconds)
	if err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	after, err := p.CPUSoFar()
	if err != nil {
		return err
	}
	delays := t.delays(rate) // the first second warms up
	fmt.Printf("bench-publish latency rate=%d p50_ms=%.1f p99_ms=%.1f cpu=%.0f%% kafka_tx_s=%.0f max_ms=%.1f\n", rate,
		median(delays), quantile(delays, 0.99), 100*(after-cpu).Seconds()/took, float64(w.kafkaTransactions()-transactions)/took, quantile(delays, 1))
	return nil
}

// measureTakeover kills the publisher again and again under load, lets a successor take over, and returns the last one.
func (b *bench) measureTakeover(p *harness.Process, w *watcher, kind string, prepare func() (successor, error)) (*harness.Process, error) {
	var silent []float64
	for range b.takeovers {
		next, err := prepare()
		if err != nil {
			return nil, err
		}
		var started *harness.Process
		var startErr error
		done := make(chan struct{})
		time.AfterFunc(2*time.Second, func() {
			defer close(done)
			p.Kill()
			started, startErr = next()
		})
		t, err := b.writeTicks(w, takeoverRate, 5*takeoverRate)
		<-done
		if err := errors.Join(err, startErr); err != nil {
			return nil, fmt.Errorf("take-over by %s: %w", kind, err)
		}
		silent, p = append(silent, t.silence().Seconds()), started
	}
	fmt.Printf("bench-publish takeover kind=%s silent_s=%.2f max_s=%.2f times=%d\n", kind, median(silent), quantile(silent, 1), len(silent))
	return p, nil
}

// successor returns the publisher that takes over, right after the previous one was killed.
type successor func() (*harness.Process, error)

// restart acts as a supervisor that immediately starts another publisher.
func (b *bench) restart() (successor, error) {
	return func() (*harness.Process, error) { return b.publish(ticksDatabase, ticksPrefix) }, nil
}

// standby starts another publisher that is already waiting when it is needed.
func (b *bench) standby() (successor, error) {
	p, err := b.publish(ticksDatabase, ticksPrefix, "--standby")
	if err != nil {
		return nil, err
	}
	return func() (*harness.Process, error) { return p, nil }, harness.Eventually(20*time.Second, func(context.Context) error {
		if !strings.Contains(p.Log(), "standing by") {
			return fmt.Errorf("the successor does not stand by: %s", p.Tail(5))
		}
		return nil
	})
}
