package main

import (
	"fmt"
	"slices"
	"time"
)

// printWork prints medians over the rounds, and for the ratio also its range.
func printWork(l *backlog, limits, ours []effort) {
	var rate, ratio, cpu, rss, limitRate, limitCPU []float64
	for i := range ours {
		rate = append(rate, ours[i].rate(l.rows))
		ratio = append(ratio, ours[i].rate(l.rows)/limits[i].rate(l.rows))
		cpu = append(cpu, ours[i].cpuPerRow(l.rows))
		rss = append(rss, float64(ours[i].rss)/1e6)
		limitRate = append(limitRate, limits[i].rate(l.rows))
		limitCPU = append(limitCPU, limits[i].cpuPerRow(l.rows))
	}
	fmt.Printf("bench-publish work=%s rows_s=%.0f ratio=%.2f cpu_us_row=%.2f rss_mb=%.0f rows=%d rounds=%d ratio_range=%.2f..%.2f pg_recvlogical_rows_s=%.0f pg_recvlogical_cpu_us_row=%.2f\n",
		l.name, median(rate), median(ratio), median(cpu), slices.Max(rss), l.rows, len(ours), slices.Min(ratio), slices.Max(ratio), median(limitRate), median(limitCPU))
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the smallest value such that at least this share of the values is at or below it.
func quantile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
