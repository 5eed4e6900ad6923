package console

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	published "github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/subscriber"
)

// event is an audit record as shown on the pages: one committed transaction.
type event struct {
	subscriber.Audit
	Stream    string // prefix of its topics
	Topic     string
	Partition int32
	Offset    int64
	At        time.Time // when it was published
	ID        string
	Broken    string // why the record cannot be read; then nothing else about it is known
	bytes     int
}

// Limits of an audit record, which the publisher keeps below a megabyte. In memory, it is about twice as large; a list of empty objects is not.
const (
	maxAuditBytes = 2 << 20
	maxExpansion  = 4       // as a multiple of the record
	smallAudit    = 4 << 10 // in memory; any record may take this
)

// tooLarge says why a record is too large to be kept in memory, or returns "".
func tooLarge(audit *subscriber.Audit, size int) string {
	most := max(smallAudit, maxExpansion*size)
	used := size + len(audit.Statements)*int(reflect.TypeFor[subscriber.Statement]().Size()) + len(audit.Tables)*int(reflect.TypeOf(audit.Tables).Elem().Size())
	for _, s := range audit.Statements {
		used += len(s.Tables) * int(reflect.TypeFor[string]().Size())
	}
	if used > most {
		return fmt.Sprintf("it has %d bytes, and %d in memory, more than an audit record of the publisher", size, used)
	}
	return ""
}

// eventOf parses a record. A record that cannot be read is shown as such: a page that stopped there would hide the following ones.
func eventOf(stream string, r *kgo.Record) *event {
	e := &event{Stream: stream, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, At: r.Timestamp,
		ID: header(r, published.EventIDHeader), bytes: len(r.Key) + len(r.Value)}
	e.CommitTime = r.Timestamp
	if len(r.Value) > maxAuditBytes {
		e.Broken = fmt.Sprintf("it has %d bytes, more than an audit record of the publisher", len(r.Value))
		return e
	}
	audit, err := subscriber.ParseAudit(subscriber.Event{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Value: r.Value})
	if err != nil {
		e.Broken = err.Error()
		return e
	}
	if e.Broken = tooLarge(&audit, len(r.Value)); e.Broken != "" {
		return e
	}
	e.Audit = audit
	e.Statements = slices.DeleteFunc(e.Statements, func(s subscriber.Statement) bool { return s.Command == "" && s.Rows == 0 }) // a statement without rows and command has nothing to show
	return e
}

// Place identifies the record in a URL: "0.124".
func (e *event) Place() string { return fmt.Sprintf("%d.%d", e.Partition, e.Offset) }

// transactionID returns the event id without the part after the commit's LSN: all records of a transaction share it.
func transactionID(eventID string) string {
	if i := strings.LastIndexByte(eventID, '/'); i >= 0 {
		return eventID[:i]
	}
	return ""
}

// ofSnapshot reports whether an event id is that of a row read by a snapshot. Such a row is published some time after the transactions that precede its
// LSN.
func ofSnapshot(eventID string) bool {
	_, ordinal, _ := cutLast(eventID, "/")
	return strings.HasPrefix(ordinal, "snapshot.")
}

// Direct reports whether a part of the transaction was written without the proxy.
func (e *event) Direct() bool { return e.Session == nil || e.DirectRows > 0 }

// Trust says how well the author is known.
func (e *event) Trust() string { return trust(e.Session, e.Verified) }

// trust says how well the author of a write is known: "verified", "false" for an alarm, "direct", or "unknown".
func trust(session *subscriber.Session, verified *bool) string {
	switch {
	case session == nil:
		return "direct"
	case verified == nil:
		return "unknown"
	case !*verified:
		return "false"
	}
	return "verified"
}

// Rows returns the number of rows in all tables.
func (e *event) Rows() (rows int) {
	for _, t := range e.Tables {
		rows += t.Inserted + t.Updated + t.Deleted
	}
	return rows
}

const shownStatements = 3

// Shown returns the statements that are shown in a line of a list.
func (e *event) Shown() []subscriber.Statement {
	return e.Statements[:min(len(e.Statements), shownStatements)]
}

// Hidden returns the number of the other statements.
func (e *event) Hidden() int { return len(e.Statements) - len(e.Shown()) + e.Omitted }
