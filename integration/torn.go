package integration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// step is one committed record of the progress topic: its Kafka transaction took the position from
// that of the step before to end.
type step struct {
	end      uint64
	producer int64
	epoch    int16
}

// marked is one Kafka transaction in one partition: what one control marker decides.
type marked struct {
	topic     string
	partition int32
	marker    int64
}

// Torn counts the source transactions that do not stand in Kafka as one with the position that covers
// them, given the records of the progress topic and of the others. The Kafka transaction that moves
// the position past the end of a source transaction has to hold all of its records, and no others.
// Since markers stand in each partition for themselves, Kafka transactions are told apart by marker
// within a partition, and by producer and position across them.
func Torn(progress []Record, topics map[string][]Record) (torn int, details []string, err error) {
	steps, err := stepsOf(progress)
	if err != nil {
		return 0, nil, err
	}
	steppedBy := map[marked]int{}          // the step of a Kafka transaction in a partition
	markerOf := map[marked]map[int]int64{} // by partition (marker 0): the marker of a step
	complain := func(r Record, format string, args ...any) {
		torn++
		if len(details) < 20 {
			details = append(details, fmt.Sprintf("torn: %s/%d offset %d, event %s: ", r.Topic, r.Partition, r.Offset, r.Headers["pgtee-event-id"])+fmt.Sprintf(format, args...))
		}
	}
	for _, records := range topics {
		for _, r := range records {
			end, err := endOf(r.Headers["pgtee-event-id"])
			if err != nil {
				return 0, nil, err
			}
			position, err := parseLSN(end)
			if err != nil {
				return 0, nil, err
			}
			at, _ := slices.BinarySearchFunc(steps, position, func(s step, p uint64) int { return cmp.Compare(s.end, p) })
			if at == len(steps) {
				complain(r, "no position covers it")
				continue
			}
			s, log := steps[at], marked{topic: r.Topic, partition: r.Partition}
			decided := marked{r.Topic, r.Partition, r.Marker}
			if markerOf[log] == nil {
				markerOf[log] = map[int]int64{}
			}
			other, known := steppedBy[decided]
			marker, stepped := markerOf[log][at]
			switch {
			case r.Producer != s.producer || r.Epoch != s.epoch:
				complain(r, "written by producer %d/%d, its position by %d/%d", r.Producer, r.Epoch, s.producer, s.epoch)
			case known && other != at:
				complain(r, "in one Kafka transaction with events of the position %X", steps[other].end)
			case stepped && marker != r.Marker:
				complain(r, "the events of its position are in two Kafka transactions, of the markers %d and %d", marker, r.Marker)
			}
			steppedBy[decided], markerOf[log][at] = at, r.Marker
		}
	}
	return torn, details, nil
}

// stepsOf reads the positions, which rise; those that do not move it (a new timeline) are no steps.
func stepsOf(progress []Record) ([]step, error) {
	var steps []step
	for _, r := range progress {
		var position struct {
			End string `json:"end_lsn"`
		}
		if err := json.Unmarshal(r.Value, &position); err != nil {
			return nil, fmt.Errorf("progress record at offset %d: %w", r.Offset, err)
		}
		end, err := parseLSN(position.End)
		if err != nil {
			return nil, fmt.Errorf("progress record at offset %d: %w", r.Offset, err)
		}
		if n := len(steps); n > 0 && end < steps[n-1].end {
			return nil, fmt.Errorf("progress record at offset %d: the position falls from %X to %X", r.Offset, steps[n-1].end, end)
		} else if n > 0 && end == steps[n-1].end {
			continue
		}
		steps = append(steps, step{end, r.Producer, r.Epoch})
	}
	return steps, nil
}

func parseLSN(text string) (uint64, error) {
	var high, low uint32
	if _, err := fmt.Sscanf(text, "%X/%X", &high, &low); err != nil {
		return 0, fmt.Errorf("position %q: %w", text, err)
	}
	return uint64(high)<<32 | uint64(low), nil
}
