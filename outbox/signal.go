package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// SignalRecord is a request to the publisher: from pgtee.snapshot() and related functions, from a row inserted into the view pgtee.signal, or from a
// record of the signal topic. It has Debezium's form:
//
//	{"id": "4f2a", "type": "execute-snapshot", "data": {"data-collections": ["public.orders"],
//	 "additional-conditions": [{"data-collection": "public.orders", "filter": "id > 5"}]}}
//	{"id": "4f2b", "type": "pause-snapshot", "data": {"id": "4f2a"}}
//
// A signal that cannot be executed is reported to the operator and does not stop the publisher: Refused says why.
type SignalRecord struct {
	ID         string // of the request, and of the snapshot that it requests
	Type       string // ExecuteSnapshot, Resync, PauseSnapshot, ResumeSnapshot or StopSnapshot
	Snapshot   string // the snapshot to pause, resume or stop; "": all snapshots
	Tables     []string
	Roots      map[string]uint32 // OIDs of some of these tables, of partitioned ones the root: the tables may have other names now
	Conditions []SignalCondition
	User       string // session_user; "" in the signal topic
	Refused    string // why the signal is malformed; "": it is well-formed
}

// SignalCondition says which rows of a table are requested, in the publisher's filter language. Table, like each of SignalRecord.Tables, is
// "schema.table", where * matches any sequence of characters.
type SignalCondition struct {
	Table  string `json:"table"`
	Filter string `json:"filter"`
}

// Types of signals. StopSnapshot may name tables: then only these are excluded from the rest of the snapshot.
const (
	ExecuteSnapshot = "execute-snapshot"
	PauseSnapshot   = "pause-snapshot"
	ResumeSnapshot  = "resume-snapshot"
	StopSnapshot    = "stop-snapshot"

	// Resync requests the tables again: a record that empties each topic, then every row. pgtee.tell_missed() sends it for tables some of whose
	// changes are missing from the stream; the id then begins with MissedPrefix.
	Resync       = "resync"
	MissedPrefix = "missed-"
)

// Missed reports whether pgtee itself sent the request because changes are missing from the stream.
func (s *SignalRecord) Missed() bool {
	return s.Type == Resync && strings.HasPrefix(s.ID, MissedPrefix) && s.User != "" // signals of the signal topic have no user
}

// signalBody is a signal in Debezium's form.
type signalBody struct {
	ID   string     `json:"id"`
	Type string     `json:"type"`
	Data signalData `json:"data"`
}

type signalData struct {
	ID          string            `json:"id,omitempty"`
	Collections []string          `json:"data-collections,omitempty"`
	Roots       map[string]uint32 `json:"roots,omitempty"`
	Conditions  []signalCondition `json:"additional-conditions,omitempty"`
}

type signalCondition struct {
	Collection string `json:"data-collection"`
	Filter     string `json:"filter"`
}

// signalID restricts the name of a snapshot, which is part of the headers of its records.
var signalID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,100}$`)

// maxSignalBytes exceeds what pgtee.put_signal() accepts.
const maxSignalBytes = 1 << 20

// ParseSignal reads a signal of the database or of the signal topic; id is used if the signal has none. It never fails: see Refused.
func ParseSignal(text []byte, user, id string) SignalRecord {
	body := signalBody{}
	s := SignalRecord{ID: id, User: user}
	if len(text) > maxSignalBytes {
		s.Refused = fmt.Sprintf("a signal of %d bytes: the maximum is %d", len(text), maxSignalBytes)
		return s
	}
	if err := json.Unmarshal(text, &body); err != nil {
		s.Refused = "not the JSON of a signal: " + err.Error()
		return s
	}
	s.ID, s.Type, s.Snapshot = cmp.Or(body.ID, id), body.Type, body.Data.ID
	if len(body.Data.Roots) > 0 {
		s.Roots = body.Data.Roots
	}
	s.Tables = append(s.Tables, body.Data.Collections...)
	for _, c := range body.Data.Conditions {
		s.Conditions = append(s.Conditions, SignalCondition{c.Collection, c.Filter})
	}
	s.Refused = s.problem()
	return s
}

// Marshal returns the JSON that ParseSignal reads.
func (s *SignalRecord) Marshal() ([]byte, error) { return json.Marshal(s.body()) }

func (s *SignalRecord) body() signalBody {
	body := signalBody{s.ID, s.Type, signalData{ID: s.Snapshot, Collections: s.Tables, Roots: s.Roots}}
	for _, c := range s.Conditions {
		body.Data.Conditions = append(body.Data.Conditions, signalCondition{c.Table, c.Filter})
	}
	return body
}

// SendSignal writes a signal to the database's WAL and returns its id, which is generated if the signal has none.
func SendSignal(ctx context.Context, connString string, s *SignalRecord) (id string, err error) {
	body := s.body()
	data, err := json.Marshal(body.Data)
	if err != nil {
		return "", err
	}
	conn, err := connectTrusted(ctx, connString)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	got, err := rows(ctx, conn, "INSERT INTO pgtee.signal (id, type, data) VALUES (NULLIF($1, ''), $2, $3) RETURNING id", body.ID, body.Type, string(data))
	switch sqlState(err) {
	case "42P01", "3F000": // undefined_table, invalid_schema_name
		return "", fmt.Errorf("view pgtee.signal does not exist: run pgtee setup of this version (%w)", err)
	case "42501": // insufficient_privilege
		return "", fmt.Errorf("the role of --postgres lacks the privilege to request snapshots: run pgtee setup --grant-snapshot ROLE (%w)", err)
	}
	if err != nil {
		return "", err
	}
	return got[0][0], nil
}

// problem says why no publisher could execute the signal.
func (s *SignalRecord) problem() string {
	switch s.Type {
	case ExecuteSnapshot, Resync:
		if s.ID == "" {
			return "no id: it names the snapshot"
		}
		if !signalID.MatchString(s.ID) {
			s.ID = ""
			return "its id: use 1 to 100 letters, digits, dots, colons, dashes and underscores"
		}
		if len(s.Tables) == 0 {
			return "no data-collections: name the tables to copy"
		}
	case PauseSnapshot, ResumeSnapshot, StopSnapshot:
	default:
		return fmt.Sprintf("signal %.100q: want %s, %s, %s, %s or %s", s.Type, ExecuteSnapshot, Resync, PauseSnapshot, ResumeSnapshot, StopSnapshot)
	}
	return ""
}

// signal appends the change for a signal (kind s).
func (a *Assembler) signal(lsn LSN, c *noteColumns) {
	user := a.encoding.readable(c.user[:min(len(c.user), maxNameBytes)])
	record := ParseSignal(a.encoding.readable(c.payload), string(user), "")
	a.change(Signal, lsn, len(c.payload)+len(c.user)).Signal = &record
}
