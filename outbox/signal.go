package outbox

import (
	"encoding/json"
	"fmt"
)

// SignalRecord is a request to the publisher: that of pgtee.snapshot() and its siblings, of a row put into the
// view pgtee.signal, or of a record of the signal topic. Its form and its words are Debezium's:
//
//	{"id": "4f2a", "type": "execute-snapshot", "data": {"data-collections": ["public.orders"],
//	 "additional-conditions": [{"data-collection": "public.orders", "filter": "id > 5"}]}}
//	{"id": "4f2b", "type": "pause-snapshot", "data": {"id": "4f2a"}}
//
// What cannot be obeyed is for the operator to hear of, and no reason to stop: Refused says why.
type SignalRecord struct {
	ID         string // of the request, and so of the snapshot that it asks for
	Type       string // ExecuteSnapshot, PauseSnapshot, ResumeSnapshot or StopSnapshot
	Snapshot   string // the one that is to be paused, resumed or stopped; "": all
	Tables     []string
	Conditions []SignalCondition
	User       string // session_user; "" in the signal topic
	Refused    string // "": it is well-formed
}

// SignalCondition says which rows of a table are wanted, in the language of the publisher's filters. Table, as each of
// SignalRecord.Tables, is "schema.table", in which * is any run of characters.
type SignalCondition struct{ Table, Filter string }

// The types of signals. StopSnapshot may name tables: then only those are left out from there on.
const (
	ExecuteSnapshot = "execute-snapshot"
	PauseSnapshot   = "pause-snapshot"
	ResumeSnapshot  = "resume-snapshot"
	StopSnapshot    = "stop-snapshot"
)

// maxSignalBytes is above what pgtee.put_signal() takes.
const maxSignalBytes = 1 << 20

// ParseSignal reads a signal of either way. It never fails: see Refused.
func ParseSignal(text []byte, user string) SignalRecord {
	var body struct {
		ID, Type string
		Data     struct {
			ID          string
			Collections []string `json:"data-collections"`
			Conditions  []struct {
				Collection string `json:"data-collection"`
				Filter     string
			} `json:"additional-conditions"`
		}
	}
	s := SignalRecord{User: user}
	if len(text) > maxSignalBytes {
		s.Refused = fmt.Sprintf("a signal of %d bytes: %d are taken", len(text), maxSignalBytes)
		return s
	}
	if err := json.Unmarshal(text, &body); err != nil {
		s.Refused = "not the JSON of a signal: " + err.Error()
		return s
	}
	s.ID, s.Type, s.Snapshot, s.Tables = body.ID, body.Type, body.Data.ID, body.Data.Collections
	for _, c := range body.Data.Conditions {
		s.Conditions = append(s.Conditions, SignalCondition{c.Collection, c.Filter})
	}
	s.Refused = s.problem()
	return s
}

// problem says what no publisher could obey.
func (s *SignalRecord) problem() string {
	switch s.Type {
	case ExecuteSnapshot:
		if s.ID == "" {
			return "no id, by which to name the snapshot"
		}
		if len(s.Tables) == 0 {
			return "no data-collections: name the tables to copy"
		}
	case PauseSnapshot, ResumeSnapshot, StopSnapshot:
	default:
		return fmt.Sprintf("signal %.100q: want %s, %s, %s or %s", s.Type, ExecuteSnapshot, PauseSnapshot, ResumeSnapshot, StopSnapshot)
	}
	return ""
}

// signal appends the change that a row of kind s tells of.
func (a *Assembler) signal(lsn LSN, c *noteColumns) error {
	change, err := a.change(Signal, lsn, len(c.payload)+len(c.user))
	if err != nil {
		return err
	}
	record := ParseSignal(c.payload, string(c.user[:min(len(c.user), maxNameBytes)]))
	change.Signal = &record
	return nil
}
