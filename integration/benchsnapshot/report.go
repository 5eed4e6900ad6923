package main

import (
	"fmt"
	"slices"
	"time"
)

// servers returns the processor time used by the server, including ended backends, and by the broker.
func (b *bench) servers() (postgres, kafka time.Duration, err error) {
	if postgres, err = b.ServerCPU(); err != nil {
		return 0, 0, err
	}
	kafka, err = b.broker.CPUSoFar()
	return postgres, kafka, err
}

// printWork prints medians over the rounds, and for the ratio also its range.
func printWork(name string, rows int, limits, ours []effort) {
	var rate, ratio, cpu, rss, postgres, kafka, limitRate, limitCPU []float64
	perRow := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(rows) }
	perSecond := func(e effort) float64 { return float64(rows) / e.took.Seconds() }
	for i, e := range ours {
		rate, ratio = append(rate, perSecond(e)), append(ratio, perSecond(e)/perSecond(limits[i]))
		cpu, postgres, kafka = append(cpu, perRow(e.cpu)), append(postgres, perRow(e.postgres)), append(kafka, perRow(e.kafka))
		rss = append(rss, float64(e.rss)/1e6)
		limitRate, limitCPU = append(limitRate, perSecond(limits[i])), append(limitCPU, perRow(limits[i].cpu+limits[i].postgres))
	}
	fmt.Printf("bench-snapshot work=%s rows_s=%.0f ratio=%.2f cpu_us_row=%.2f rss_mb=%.0f rows=%d rounds=%d rows_s_range=%.0f..%.0f ratio_range=%.2f..%.2f postgres_us_row=%.2f kafka_us_row=%.2f copy_rows_s=%.0f copy_us_row=%.2f\n",
		name, median(rate), median(ratio), median(cpu), slices.Max(rss), rows, len(ours), slices.Min(rate), slices.Max(rate), slices.Min(ratio), slices.Max(ratio),
		median(postgres), median(kafka), median(limitRate), median(limitCPU))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
