package shop

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

//go:embed compare.sql
var compareSQL string

// Result is the outcome of comparing tables and topics.
type Result struct {
	Transactions int // committed transactions that wrote into the shop's tables
	Events       int // row events in their topics
	Lost         int // committed row changes, or transactions in the audit topic, that are missing from the topics
	Duplicated   int // events beyond what was committed
	Unattributed int // events that name no author, or a wrong one
}

// Good reports whether the topics contain exactly what was committed.
func (r Result) Good() bool { return r.Lost == 0 && r.Duplicated == 0 && r.Unattributed == 0 }

func (r Result) String() string {
	return fmt.Sprintf("demo transactions=%d events=%d lost=%d duplicated=%d unattributed=%d",
		r.Transactions, r.Events, r.Lost, r.Duplicated, r.Unattributed)
}

// Compare reads the topics of the shop's tables, read_committed and up to their ends, into the ledger, and compares both there. The publisher must
// have published everything. brokers and prefix identify the topics; superuser is the connection string of the server itself.
func Compare(ctx context.Context, superuser string, brokers []string, prefix string) (Result, error) {
	conn, err := pgx.Connect(ctx, superuser)
	if err != nil {
		return Result{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "TRUNCATE ledger.events, ledger.audit"); err != nil {
		return Result{}, err
	}
	for _, table := range Tables {
		columns := []string{"tab", "op", "image", "user_name", "application"}
		err := load(ctx, conn, brokers, prefix+".public."+table, "events", columns, func(value []byte) ([]any, error) { return eventRow(table, value) })
		if err != nil {
			return Result{}, err
		}
	}
	if err := load(ctx, conn, brokers, prefix+".audit", "audit", []string{"xid", "verified"}, auditRow); err != nil {
		return Result{}, err
	}
	return compare(ctx, conn)
}

// load copies a topic into a table of the ledger, one row per record.
func load(ctx context.Context, conn *pgx.Conn, brokers []string, topic, table string, columns []string, parse func(value []byte) ([]any, error)) error {
	var rows [][]any
	err := readTopic(ctx, brokers, topic, func(record *kgo.Record) error {
		row, err := parse(record.Value)
		if err != nil {
			return fmt.Errorf("read %s at %d/%d: %w", record.Topic, record.Partition, record.Offset, err)
		}
		rows = append(rows, row)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"ledger", table}, columns, pgx.CopyFromRows(rows)); err != nil {
		return fmt.Errorf("keep the records of %s: %w", topic, err)
	}
	return nil
}

// compareAudit compares the committed transactions in the ledger with the audit topic, which also has those of DDL.
const compareAudit = `
	SELECT (SELECT count(DISTINCT xid) FROM ledger.history),
	       (SELECT count(*) FROM (SELECT xid::text FROM ledger.history EXCEPT SELECT xid FROM ledger.audit) AS lost),
	       (SELECT count(*) - count(DISTINCT xid) FROM ledger.audit),
	       (SELECT count(*) FROM ledger.audit WHERE NOT verified)`

func compare(ctx context.Context, conn *pgx.Conn) (total Result, err error) {
	err = conn.QueryRow(ctx, compareAudit).Scan(&total.Transactions, &total.Lost, &total.Duplicated, &total.Unattributed)
	if err != nil {
		return Result{}, fmt.Errorf("compare the audit topic: %w", err)
	}
	for _, table := range Tables {
		var r Result
		err := conn.QueryRow(ctx, fmt.Sprintf(compareSQL, table)).Scan(&r.Events, &r.Lost, &r.Duplicated, &r.Unattributed)
		if err != nil {
			return Result{}, fmt.Errorf("compare %s: %w", table, err)
		}
		total.Events += r.Events
		total.Lost += r.Lost
		total.Duplicated += r.Duplicated
		total.Unattributed += r.Unattributed
	}
	if total.Transactions == 0 && total.Events > 0 {
		return Result{}, errors.New("the ledger is empty: its tables are unlogged and did not survive a crash; start over in another folder")
	}
	return total, nil
}

// event has the fields of a Debezium record that the comparison needs.
type event struct {
	Op     string          `json:"op"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
	Pgtee  struct {
		Session *struct {
			User        string `json:"user"`
			Application string `json:"application"`
		} `json:"session"`
		Verified bool `json:"verified"`
	} `json:"pgtee"`
}

// eventRow returns an event as a row of ledger.events. For a deleted row only the id counts, as in the history.
func eventRow(table string, value []byte) ([]any, error) {
	var e event
	if err := json.Unmarshal(value, &e); err != nil {
		return nil, err
	}
	image := e.After
	if e.Op == "d" {
		var key struct {
			ID int64 `json:"id"`
		}
		if err := json.Unmarshal(e.Before, &key); err != nil {
			return nil, err
		}
		image = fmt.Appendf(nil, `{"id": %d}`, key.ID)
	}
	if session := e.Pgtee.Session; session != nil && e.Pgtee.Verified {
		return []any{table, e.Op, image, session.User, session.Application}, nil
	}
	return []any{table, e.Op, image, nil, nil}, nil
}

// auditRow returns an audit record as a row of ledger.audit.
func auditRow(value []byte) ([]any, error) {
	var a struct {
		XID      json.Number `json:"xid"`
		Verified bool        `json:"verified"`
	}
	err := json.Unmarshal(value, &a)
	return []any{a.XID.String(), a.Verified}, err
}
