package verdict

import (
	"slices"
	"time"
)

// Record is one record in a partition.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Producer  int64 // id
	Epoch     int16
	Time      time.Time // set by its producer
	Fate      Fate
	Marker    int64     // offset of the control record that decided it; 0 if there is none
	Decided   time.Time // when the broker wrote the control record
	Key       []byte    // nil: no key
	Value     []byte    // nil: a tombstone
	Headers   map[string]string
}

// Fate is the outcome of the Kafka transaction of a record.
type Fate byte

const (
	Committed Fate = iota // or written outside of a transaction
	Aborted
	Open // no marker follows: it is not decided yet
)

// EventID returns the id of the event that the record describes.
func (r *Record) EventID() string { return r.Headers["pgtee-event-id"] }

// partition names a partition of a topic.
type partition struct {
	topic  string
	number int32
}

// Visible returns the committed records.
func Visible(records []Record) []Record {
	return slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return r.Fate != Committed })
}
