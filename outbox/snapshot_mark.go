package outbox

// SnapshotMark is the place of a row in a snapshot, as Debezium's source.snapshot tells it.
type SnapshotMark byte

const (
	NoMark SnapshotMark = iota // not of a snapshot
	MarkTrue
	MarkFirst
	MarkFirstOfTable
	MarkLastOfTable
	MarkLast
	MarkIncremental
)

var markNames = [...]string{"false", "true", "first", "first_in_data_collection", "last_in_data_collection", "last", "incremental"}

func (m SnapshotMark) String() string { return markNames[m] }
