package record

// The headers of records.
const (
	// EventIDHeader names the record header that stays the same when an event is published again: system
	// identifier, slot, timeline on which the transaction committed, LSN of its commit record (which has a slash
	// of its own), number of the change in it, as in "7300015402116915253/pgtee/1/0/16B3748/12". Further
	// records of the same change end in ".1", ".2"; those of a transaction itself end in "begin", "end" and
	// "audit".
	//
	// The timeline is that of the server's history: a standby that takes over gives the same id to what it
	// shares with its predecessor, and another to what it committed at the same place instead. Once a repair went back on one
	// timeline ("1.1", then "1.2"), what is committed there may stand at a place that Kafka knows.
	EventIDHeader = "pgtee-event-id"

	// PartHeader names the header of records of a transaction that became visible in parts: how many Kafka
	// transactions before this one hold earlier records of it. The first part's records do not have it.
	PartHeader = "pgtee-part"

	// IncompleteHeader names the header of a row's record that lacks values because it was too large: how many.
	IncompleteHeader = "pgtee-left-out"

	// PieceHeader names the header of a piece of a record that was too large, in <prefix>.dead-letter: its number, from 1 on, and
	// how many there are, as in "2/3". The values of the pieces, one behind the other, are the value of the record.
	PieceHeader = "pgtee-piece"

	// ResyncHeader names the header of the record of op t that a resync, not a TRUNCATE, has made: the id of the resync.
	ResyncHeader = "pgtee-resync"

	// EventSourceHeader says who published an event: the pgtee block of data records, and before it
	// "user", the session_user where pgtee.publish() was called.
	EventSourceHeader = "pgtee"
	// RefusedHeader says why an event is in <prefix>.outbox.refused, RefusedTopicHeader where it was to go.
	RefusedHeader      = "pgtee-refused"
	RefusedTopicHeader = "pgtee-refused-topic"

	// TraceparentHeader names the header of a row's record that holds the trace context of the statement that wrote
	// it (W3C Trace Context, version 00), as sqlcommenter puts it into a comment of the SQL.
	TraceparentHeader = "traceparent"
	// TracestateHeader names the header of what belongs to it.
	TracestateHeader = "tracestate"
)
