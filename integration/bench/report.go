package main

import (
	"fmt"
	"slices"
)

// printHops prints a line per way: medians, the spread, and the ratio to direct within the same round.
func (b *bench) printHops(protocol string, samples [][]sample) {
	fmt.Printf("\npgbench, tpcb-like, -M %s, %d clients, %d rounds of %d s\n%-24s %16s %22s %12s\n",
		protocol, b.clients, b.rounds, b.seconds, "", "tps [min..max]", "of direct [min..max]", "CPU us/tx")
	for i, w := range b.ways {
		var tps, ratio, cpu []float64
		for round, s := range samples[i] {
			tps = append(tps, s.tps)
			ratio = append(ratio, s.tps/samples[0][round].tps)
			cpu = append(cpu, s.cpu)
		}
		fmt.Printf("%-24s %5.0f [%4.0f..%4.0f] %9.2f [%.2f..%.2f] %12.0f\n", w.name,
			median(tps), slices.Min(tps), slices.Max(tps), median(ratio), slices.Min(ratio), slices.Max(ratio), median(cpu))
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
