package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// cell is one thing that is measured with every variant.
type cell struct {
	work    string
	mode    string
	clients int
}

// sample is one measurement.
type sample struct {
	tps      float64
	cpu      float64 // of the hop, in microseconds per transaction
	server   float64 // of PostgreSQL, in microseconds per transaction; pgbench's works only
	p50, p99 float64 // latency in microseconds, at a fixed rate only
}

// measures has the function that measures a cell, for each work.
var measures = map[string]func(*bench, way, cell) (sample, error){
	"select":   (*bench).runPgbench,
	"tpcb":     (*bench).runPgbench,
	"copy-out": (*bench).copyOut,
	"latency":  (*bench).runAtRate,
}

// measure returns the function that measures a work.
func measure(work string) func(*bench, way, cell) (sample, error) {
	if _, found := noteScripts[work]; found {
		return (*bench).runPgbench
	}
	return measures[work]
}

// measureWork measures all cells of a work, and prints the lines of each as soon as it is complete.
func (b *bench) measureWork(work string) error {
	if measure(work) == nil {
		return fmt.Errorf("there is no such work")
	}
	cells, err := b.cells(work)
	if err != nil {
		return err
	}
	for _, c := range cells {
		ways := b.ways
		if work != "tpcb" {
			ways = forReads(ways)
		}
		samples, err := b.measureCell(c, ways)
		if err != nil {
			return err
		}
		report(c, ways, samples)
	}
	return nil
}

// forReads returns the variants that differ in reads.
func forReads(ways []way) (kept []way) {
	for _, w := range ways {
		if !w.writesOnly {
			kept = append(kept, w)
		}
	}
	return kept
}

func (b *bench) cells(work string) (list []cell, err error) {
	if work == "copy-out" {
		return []cell{{work, "simple", 1}}, nil
	}
	numbers := strings.Split(b.clients, ",")
	if work == "latency" {
		numbers = []string{"1"}
	}
	for _, number := range numbers {
		clients, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("clients: %w", err)
		}
		for _, mode := range strings.Split(b.modes, ",") {
			list = append(list, cell{work, mode, clients})
		}
	}
	return list, nil
}

// measureCell returns the samples by variant and round.
func (b *bench) measureCell(c cell, ways []way) ([][]sample, error) {
	samples := make([][]sample, len(ways))
	for round := range b.rounds {
		for i := range ways {
			i := (i + round) % len(ways) // rotate, so that no variant is always first
			s, err := measure(c.work)(b, ways[i], c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", ways[i].variant, err)
			}
			samples[i] = append(samples[i], s)
		}
		if err := b.tidy(c.work); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// tidy removes what the updates of a round have left behind.
func (b *bench) tidy(work string) error {
	switch {
	case work == "tpcb":
		return b.Query(b.ctx, database, "VACUUM pgbench_branches, pgbench_tellers")
	case noteScripts[work] != "":
		return b.Query(b.ctx, database, "TRUNCATE written")
	}
	return nil
}

// timed measures the processor time of the hop while f runs.
func timed(w way, f func() error) (cpu time.Duration, err error) {
	before, err := w.cpu()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := w.cpu()
	return after - before, err
}
