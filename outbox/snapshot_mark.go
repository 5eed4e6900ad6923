package outbox

// SnapshotMark is the place of a row in a snapshot, as in Debezium's source.snapshot.
type SnapshotMark byte

const (
	NoMark SnapshotMark = iota // the row is not from a snapshot
	MarkTrue
	MarkFirst
	MarkFirstOfTable
	MarkLastOfTable
	MarkLast
	MarkIncremental
)

var markNames = [...]string{"false", "true", "first", "first_in_data_collection", "last_in_data_collection", "last", "incremental"}

func (m SnapshotMark) String() string { return markNames[m] }
