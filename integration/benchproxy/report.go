package main

import (
	"fmt"
	"slices"
	"strings"
)

// report prints a line per variant: medians over the rounds. Ratios and the cost of a hop are computed within a round; of_off compares with the bare
// hop, and so shows the cost of notes.
func report(c cell, ways []way, samples [][]sample) {
	direct := samples[0]
	off := slices.IndexFunc(ways, func(w way) bool { return w.variant == "off" })
	for i, w := range ways {
		ratios := against(samples[i], direct, tps)
		line := fmt.Sprintf("bench-proxy work=%s mode=%s clients=%d variant=%s tps=%.4g ratio=%.2f spread=%.2f..%.2f cpu_us=%.3g",
			c.work, c.mode, c.clients, w.variant, median(values(samples[i], tps)),
			median(ratios), slices.Min(ratios), slices.Max(ratios), median(values(samples[i], cpu)))
		if off >= 0 && (strings.HasPrefix(w.variant, "message") || strings.HasPrefix(w.variant, "table")) {
			line += fmt.Sprintf(" of_off=%.2f", median(against(samples[i], samples[off], tps)))
		}
		if samples[i][0].server > 0 {
			line += fmt.Sprintf(" server_us=%.0f", median(values(samples[i], server)))
		}
		if c.work == "latency" {
			line += fmt.Sprintf(" rate=%d p50_us=%.0f p99_us=%.0f added_p50_us=%.0f added_p99_us=%.0f", rate,
				median(values(samples[i], p50)), median(values(samples[i], p99)),
				median(added(samples[i], direct, p50)), median(added(samples[i], direct, p99)))
		}
		fmt.Println(line)
	}
}

func tps(s sample) float64    { return s.tps }
func cpu(s sample) float64    { return s.cpu }
func server(s sample) float64 { return s.server }
func p50(s sample) float64    { return s.p50 }
func p99(s sample) float64    { return s.p99 }

func values(samples []sample, of func(sample) float64) (list []float64) {
	for _, s := range samples {
		list = append(list, of(s))
	}
	return list
}

// against divides by the result of another variant in the same round.
func against(samples, base []sample, of func(sample) float64) (list []float64) {
	for round := range samples {
		list = append(list, of(samples[round])/of(base[round]))
	}
	return list
}

func added(samples, base []sample, of func(sample) float64) (list []float64) {
	for round := range samples {
		list = append(list, of(samples[round])-of(base[round]))
	}
	return list
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
