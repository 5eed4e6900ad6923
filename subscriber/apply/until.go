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
	last   LSN       // commit LSN of transaction XID, once it is found
	next   LSN       // commit LSN of the transaction after it; 0: it was the last one
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
	case u.XID != 0:
		return e.commit > u.last, nil
	}
	at, _, err := cfg.commitOf(ctx, e)
	return at.After(u.Time), err
}

// find looks for transaction XID before anything is written. Afterwards would be too late to notice that there is none, or that the target already has
// later transactions: a position does not contain their ids.
func (r *runner) find(ctx context.Context) error {
	u := r.cfg.Until
	if u == nil || u.XID == 0 || u.last != 0 {
		return nil
	}
	if r.cfg.Archive != nil {
		records, err := r.cfg.Archive.Open(0)
		if err != nil {
			return err
		}
		defer records.Close()
		f := newFiles(r.cfg, records, &position{}, &Mark{})
		return u.find(ctx, r.cfg, func() (event, bool, error) {
			e, ok := f.peek()
			if ok {
				f.take()
			}
			return e, ok, f.broken()
		})
	}
	start, err := Newest(ctx, *r.cfg) // for the offsets at which the topics begin: the transaction may be there even if earlier ones are not
	if err != nil {
		return err
	}
	start.EndLSN = 0
	events, err := Read(ctx, *r.cfg, start, 0)
	if err != nil {
		return err
	}
	defer events.Close()
	return u.find(ctx, r.cfg, func() (event, bool, error) {
		_, ok, err := events.Next(ctx)
		return events.head, ok, err
	})
}

// find looks for transaction XID, and for the one after it, in the events that next returns. It is an error if there is no such transaction.
func (u *Until) find(ctx context.Context, cfg *Config, next func() (event, bool, error)) error {
	var found, read LSN
	for {
		e, ok, err := next()
		switch {
		case err != nil:
			return err
		case !ok && found == 0:
			return Halt{fmt.Sprintf("transaction %d is not in the stream that %s holds", u.XID, cfg.from()), "take its id from the audit topic (`pgtee subscribe --json`); nothing has been written"}
		case !ok:
			u.last = found
			return nil
		case e.snapshot != nil || e.commit == read:
			continue
		case found != 0:
			u.last, u.next = found, e.commit
			return nil
		}
		read = e.commit
		_, xid, err := cfg.commitOf(ctx, e)
		if err != nil {
			return err
		}
		if xid == u.XID {
			found = e.commit
		}
	}
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
	return u != nil && (u.LSN != 0 && end > u.LSN || u.Before != 0 && end > u.Before || u.next != 0 && end > u.next)
}
