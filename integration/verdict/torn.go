package verdict

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// step is one committed record of the progress topic. Its Kafka transaction moved the position from that of the previous step to end and, of the
// transaction whose commit record begins at end, past the changes up to ordinal.
type step struct {
	end      uint64
	ordinal  int
	producer int64
	epoch    int16
	written  time.Time // time of the record, from the producer
	decided  time.Time // time of the marker, from the broker
}

// tears records which Kafka transactions were seen where. Since each partition has its own markers, Kafka transactions are distinguished by marker
// within a partition, and across partitions by producer and time: all records of a transaction were written before any of its markers. All times come
// from this machine's clock.
type tears struct {
	steps    []step
	stepOf   map[decision]int  // the step whose events a marker decided
	markerOf map[section]int64 // the marker that decided the events of a step
}

// decision is one control marker.
type decision struct {
	partition
	marker int64
}

// section identifies the events of one step in one partition.
type section struct {
	partition
	step int
}

// compare orders positions.
func (s step) compare(end uint64, ordinal int) int {
	return cmp.Or(cmp.Compare(s.end, end), cmp.Compare(s.ordinal, ordinal))
}

// Torn counts the events that are not in the same Kafka transaction as the position that covers them, given the records of the progress topic and of
// the other topics: the Kafka transaction that moves the position past a change of a source transaction must contain all of its events up to there.
func Torn(progress []Record, topics map[string][]Record) (torn int, details []string, err error) {
	t := tears{stepOf: map[decision]int{}, markerOf: map[section]int64{}}
	if t.steps, err = stepsOf(progress); err != nil {
		return 0, nil, err
	}
	for _, records := range topics {
		for _, r := range records {
			complaint, err := t.complaint(r)
			if err != nil {
				return 0, nil, err
			}
			if complaint == "" {
				continue
			}
			torn++
			if len(details) < 20 {
				details = append(details, fmt.Sprintf("torn: %s/%d offset %d, event %s: %s", r.Topic, r.Partition, r.Offset, r.EventID(), complaint))
			}
		}
	}
	return torn, details, nil
}

// complaint says what is wrong with the place of an event; "" if it is correct.
func (t *tears) complaint(r Record) (string, error) {
	commit, ordinal, err := parseID(r.EventID())
	if err != nil {
		return "", err
	}
	position, err := parseLSN(commit)
	if err != nil {
		return "", err
	}
	at, there := slices.BinarySearchFunc(t.steps, position, func(s step, p uint64) int { return s.compare(p, ordinal) })
	if there {
		at++ // a position begins after the changes that it covers
	}
	if at == len(t.steps) {
		return "no position covers it", nil
	}
	p := partition{r.Topic, r.Partition}
	other, decided := t.stepOf[decision{p, r.Marker}]
	marker, seen := t.markerOf[section{p, at}]
	t.stepOf[decision{p, r.Marker}], t.markerOf[section{p, at}] = at, r.Marker
	switch s := t.steps[at]; {
	case r.Producer != s.producer || r.Epoch != s.epoch:
		return fmt.Sprintf("written by producer %d/%d, its position by %d/%d", r.Producer, r.Epoch, s.producer, s.epoch), nil
	case r.Decided.Before(s.written):
		return fmt.Sprintf("decided at %v, its position was written at %v", r.Decided, s.written), nil
	case s.decided.Before(r.Time):
		return fmt.Sprintf("written at %v, its position was decided at %v", r.Time, s.decided), nil
	case decided && other != at:
		return fmt.Sprintf("in one Kafka transaction with events of the position %X", t.steps[other].end), nil
	case seen && marker != r.Marker:
		return fmt.Sprintf("the events of its position are in two Kafka transactions, of the markers %d and %d", marker, r.Marker), nil
	}
	return "", nil
}

// stepsOf returns the positions, which increase; records that do not move the position (a new timeline) are not steps.
func stepsOf(progress []Record) ([]step, error) {
	var steps []step
	for _, r := range progress {
		var position struct {
			End     string `json:"end_lsn"`
			Ordinal int    `json:"ordinal"`
		}
		if err := json.Unmarshal(r.Value, &position); err != nil {
			return nil, fmt.Errorf("progress record at offset %d: %w", r.Offset, err)
		}
		end, err := parseLSN(position.End)
		if err != nil {
			return nil, fmt.Errorf("progress record at offset %d: %w", r.Offset, err)
		}
		if n := len(steps); n > 0 && steps[n-1].compare(end, position.Ordinal) > 0 {
			return nil, fmt.Errorf("progress record at offset %d: the position falls from %X and %d changes to %X and %d", r.Offset, steps[n-1].end, steps[n-1].ordinal, end, position.Ordinal)
		} else if n > 0 && steps[n-1].compare(end, position.Ordinal) == 0 {
			continue
		}
		steps = append(steps, step{end, position.Ordinal, r.Producer, r.Epoch, r.Time, r.Decided})
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
