package main

import (
	"fmt"
	"time"
)

// copyOut reads a whole table with psql's COPY. Each copy is a transaction.
func (b *bench) copyOut(w way, _ cell) (s sample, err error) {
	var copies int
	var took time.Duration
	cpu, err := timed(w, func() error {
		for start := time.Now(); took < b.cell/2; took = time.Since(start) {
			if _, err := b.client(w.address, "psql", "-X", "-q", "-o", "/dev/null", "-c", "COPY pgbench_accounts TO STDOUT"); err != nil {
				return fmt.Errorf("copy: %w", err)
			}
			copies++
		}
		return nil
	})
	return sample{tps: float64(copies) / took.Seconds(), cpu: float64(cpu.Microseconds()) / float64(copies)}, err
}
