package subscriber

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Audit is a record of <prefix>.audit: one committed transaction that wrote.
type Audit struct {
	Version    int         `json:"v"`
	Database   string      `json:"database"`
	Timeline   int         `json:"timeline"`
	XID        uint32      `json:"xid"`
	CommitLSN  string      `json:"commit_lsn"`
	EndLSN     string      `json:"end_lsn"`
	CommitTime time.Time   `json:"commit_time"`
	Parts      int         `json:"parts"`    // number of Kafka transactions in which it became visible; 0: one
	Via        string      `json:"via"`      // "proxy", or "direct" for a write that bypassed it
	Verified   *bool       `json:"verified"` // null: unknown, for the given reason
	Reason     string      `json:"reason"`
	Session    *Session    `json:"session"` // nil: direct
	Statements []Statement `json:"statements"`
	Omitted    int         `json:"statements_omitted"`
	Tables     []struct {
		Table     string `json:"table"`
		Inserted  int    `json:"inserted"`
		Updated   int    `json:"updated"`
		Deleted   int    `json:"deleted"`
		Truncated int    `json:"truncated"`
	} `json:"tables"`
	TablesOmitted int `json:"tables_omitted"`
	DirectRows    int `json:"direct_rows"` // rows written by no statement that the proxy saw
	DDL           int `json:"ddl"`         // number of records in <prefix>.ddl
}

// Session identifies the author. Application and actor are the client's own claims; the proxy observed the rest.
type Session struct {
	ID          string    `json:"id"`
	User        string    `json:"user"`
	Role        string    `json:"role"`
	Application string    `json:"application"`
	Client      string    `json:"client"` // address:port; "" for a Unix socket
	PID         int       `json:"pid"`    // of the server process
	Start       time.Time `json:"start"`
	Actor       string    `json:"actor"` // the person using a shared login
}

// Statement is one statement of a transaction and what it wrote.
type Statement struct {
	Number      uint32   `json:"number"`
	Command     string   `json:"command"`
	Fingerprint string   `json:"fingerprint"`
	Text        string   `json:"text"`
	TextCut     bool     `json:"text_cut"` // Text is only the beginning of the statement
	Rows        int      `json:"rows"`
	Tables      []string `json:"tables"`
}

// Row is a record of a table's topic, in Debezium's format.
type Row struct {
	Op     string          `json:"op"` // c, u, d, r, t
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
	Source struct {
		Schema string `json:"schema"`
		Table  string `json:"table"`
		XID    uint32 `json:"txId"`

		CommitMillis int64 `json:"ts_ms"` // time of the commit, in milliseconds since 1970
	} `json:"source"`
	Pgtee struct {
		Session   *Session  `json:"session"`
		Statement Statement `json:"statement"`
		Via       string    `json:"via"`
		Verified  *bool     `json:"verified"`
	} `json:"pgtee"`
}

// newestAudit is the newest version of audit records that this program can read; it refuses newer ones.
const newestAudit = 1

// ErrUnreadable means that a record cannot be parsed: others behind it can.
var ErrUnreadable = errors.New("the record cannot be read")

// ParseAudit parses the value of an audit record. Its errors are ErrUnreadable.
func ParseAudit(e Event) (a Audit, err error) {
	if err := json.Unmarshal(e.Value, &a); err != nil {
		return a, fmt.Errorf("audit record %s, partition %d, offset %d: %w: %w", e.Topic, e.Partition, e.Offset, ErrUnreadable, err)
	}
	if a.Version > newestAudit {
		return a, fmt.Errorf("audit record %s, partition %d, offset %d: %w: it has version %d, this program reads up to %d: upgrade it",
			e.Topic, e.Partition, e.Offset, ErrUnreadable, a.Version, newestAudit)
	}
	return a, nil
}

// ParseRow parses the value of a row event. Its errors are ErrUnreadable.
func ParseRow(e Event) (r Row, err error) {
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return r, fmt.Errorf("event %s, partition %d, offset %d: %w: %w", e.Topic, e.Partition, e.Offset, ErrUnreadable, err)
	}
	return r, nil
}
