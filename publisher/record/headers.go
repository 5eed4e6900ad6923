package record

// Names of record headers.
const (
	// EventIDHeader names the record header that stays the same when an event is published again: system identifier, slot, timeline on which the
	// transaction committed, LSN of its commit record (which contains a slash itself), number of the change in the transaction, as in
	// "7300015402116915253/pgtee/1/0/16B3748/12". Further records of the same change end in ".1", ".2"; those of the transaction itself end in
	// "begin", "end" and "audit".
	//
	// The timeline is taken from the server's history: a standby that is promoted gives the same id to transactions that it shares with its
	// predecessor, and a different one to those that it commits at the same positions instead. If repairs have set the stream back, the timeline is
	// followed by their number ("1.1", then "1.2"), since new transactions may commit at positions that are already in Kafka.
	EventIDHeader = "pgtee-event-id"

	// PartHeader names the header of records of a transaction that became visible in parts: the number of earlier Kafka transactions that hold
	// records of it. The records of the first part do not have it.
	PartHeader = "pgtee-part"

	// IncompleteHeader names the header of a row's record that lacks values because it was too large: their number.
	IncompleteHeader = "pgtee-left-out"

	// PieceHeader names the header of a piece of a record that was too large, in <prefix>.dead-letter: its number, starting at 1, and the number of
	// pieces, as in "2/3". The concatenated values of the pieces are the value of the record.
	PieceHeader = "pgtee-piece"

	// ResyncHeader names the header of a record of op t that was produced by a resync, not by a TRUNCATE: the id of the resync.
	ResyncHeader = "pgtee-resync"

	// EventSourceHeader names the header that says who published an event: the pgtee block of data records, preceded by "user", the session_user that
	// called pgtee.publish().
	EventSourceHeader = "pgtee"
	// RefusedHeader names the header that says why an event is in <prefix>.outbox.refused; RefusedTopicHeader names the header with the topic that it
	// was meant for.
	RefusedHeader      = "pgtee-refused"
	RefusedTopicHeader = "pgtee-refused-topic"

	// TraceparentHeader names the header of a row's record with the trace context of the statement that wrote the row (W3C Trace Context, version
	// 00), which sqlcommenter puts into a comment of the SQL.
	TraceparentHeader = "traceparent"
	// TracestateHeader names the header with the corresponding tracestate.
	TracestateHeader = "tracestate"
)
