package apply

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgtee/pgtee/subscriber/decode"
)

// Until is a point in the history of the source: a cut between two commits.
type Until struct {
	LSN    LSN       // the last transaction has a commit record that starts before it
	Time   time.Time // the last transaction committed at or before it
	XID    uint32    // id of the last transaction
	Before LSN       // commit LSN of the first transaction that is not applied
	last   LSN       // commit LSN of transaction XID; 0: it was not read yet
}

// ParseUntil reads a time (RFC 3339), an LSN, a transaction id, or before:EVENT-ID.
func ParseUntil(text string) (*Until, error) {
	if id, ok := strings.CutPrefix(text, "before:"); ok {
		parsed, err := parseEventID([]byte(id))
		if err != nil {
			return nil, err
		}
		return &Until{Before: parsed.commit}, nil
	}
	var u Until
	if strings.Contains(text, "/") && u.LSN.UnmarshalText([]byte(text)) == nil {
		return &u, nil
	}
	if xid, err := strconv.ParseUint(text, 10, 32); err == nil {
		return &Until{XID: uint32(xid)}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999Z07:00", "2006-01-02 15:04:05.999999Z07"} {
		if at, err := time.Parse(layout, text); err == nil {
			return &Until{Time: at}, nil
		}
	}
	return nil, fmt.Errorf("%q: want a time such as 2025-01-31T12:00:00Z, an LSN such as 0/16B3748, a transaction id, or before:EVENT-ID", text)
}

// reached reports whether the transaction of an event, its first one, is after the cut.
func (u *Until) reached(ctx context.Context, cfg *Config, e event) (bool, error) {
	switch {
	case u.Before != 0:
		return e.commit >= u.Before, nil
	case u.LSN != 0:
		return e.isFrom(u.LSN), nil
	case u.last != 0: // a later session reads transactions before it again, or only those after it
		return e.commit > u.last, nil
	}
	at, xid, err := cfg.commitOf(ctx, e)
	if err != nil {
		return false, err
	}
	switch {
	case u.XID == 0:
		return at.After(u.Time), nil
	case xid == u.XID:
		u.last = e.commit
	}
	return false, nil
}

// commitOf returns the commit time and transaction id in a record.
func (c *Config) commitOf(ctx context.Context, e event) (at time.Time, xid uint32, err error) {
	value, err := c.payloadOf(ctx, e.record.Value)
	if err != nil {
		return at, 0, err
	}
	id := decode.Field(value, "xid")
	if e.from.ddl {
		at, err = time.Parse(time.RFC3339Nano, decode.Unquoted(decode.Field(value, "commit_time")))
	} else {
		source := decode.Field(value, "source")
		id = decode.Field(source, "txId")
		var micros int64
		micros, err = strconv.ParseInt(string(decode.Field(source, "ts_us")), 10, 64)
		at = time.UnixMicro(micros)
	}
	if err != nil {
		return at, 0, Halt{fmt.Sprintf("%s has no commit time: %v", placeOf(e.record), err), "find out what wrote that record; the publisher must write Debezium's envelope (its default)"}
	}
	n, _ := strconv.ParseUint(string(id), 10, 32) // null for a row of a snapshot
	return at, uint32(n), nil
}

// before reports whether a position is after the cut, as far as that is known without records.
func (u *Until) before(end LSN) bool {
	return u != nil && (u.LSN != 0 && end > u.LSN || u.Before != 0 && end > u.Before)
}
