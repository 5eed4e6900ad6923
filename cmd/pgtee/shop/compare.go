package shop

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

//go:embed compare.sql
var compareSQL string

// Result is what the comparison of tables and topics found.
type Result struct {
	Transactions int // committed transactions that wrote into the shop's tables
	Events       int // row events in their topics
	Lost         int // committed row changes, or transactions of the audit topic, that the topics lack
	Duplicated   int // events beyond what was committed
	Unattributed int // events that name nobody, or not the one who wrote them
}

// Good tells whether the topics hold exactly what was committed.
func (r Result) Good() bool { return r.Lost == 0 && r.Duplicated == 0 && r.Unattributed == 0 }

func (r Result) String() string {
	return fmt.Sprintf("demo transactions=%d events=%d lost=%d duplicated=%d unattributed=%d",
		r.Transactions, r.Events, r.Lost, r.Duplicated, r.Unattributed)
}

// Compare reads the topics of the shop's tables, read_committed and up to their ends, into the ledger,
// and compares both there. The publisher must have published everything. brokers and prefix say where
// the topics are; superuser is the server's own connection string.
func Compare(ctx context.Context, superuser string, brokers []string, prefix string) (Result, error) {
	conn, err := pgx.Connect(ctx, superuser)
	if err != nil {
		return Result{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "TRUNCATE ledger.events"); err != nil {
		return Result{}, err
	}
	for _, table := range Tables {
		var rows [][]any
		err := readTopic(ctx, brokers, prefix+".public."+table, func(record *kgo.Record) error {
			e, err := parseEvent(record.Value)
			if err != nil {
				return fmt.Errorf("read %s at %d/%d: %w", record.Topic, record.Partition, record.Offset, err)
			}
			rows = append(rows, e.row(table))
			return nil
		})
		if err != nil {
			return Result{}, err
		}
		columns := []string{"tab", "op", "image", "user_name", "application"}
		if _, err := conn.CopyFrom(ctx, pgx.Identifier{"ledger", "events"}, columns, pgx.CopyFromRows(rows)); err != nil {
			return Result{}, fmt.Errorf("keep the events of %s: %w", table, err)
		}
	}
	return compare(ctx, conn)
}

func compare(ctx context.Context, conn *pgx.Conn) (total Result, err error) {
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
	err = conn.QueryRow(ctx, "SELECT count(DISTINCT xid) FROM ledger.history").Scan(&total.Transactions)
	return total, err
}

// event is what the comparison needs of a Debezium-shaped record.
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

func parseEvent(value []byte) (e event, err error) {
	err = json.Unmarshal(value, &e)
	return e, err
}

// row is the event as ledger.events takes it. Of a deleted row only the id counts, as in the history.
func (e event) row(table string) []any {
	image, op := e.After, e.Op
	if op == "d" {
		var key struct {
			ID int64 `json:"id"`
		}
		_ = json.Unmarshal(e.Before, &key) // without an id it will not match any row
		image = fmt.Appendf(nil, `{"id": %d}`, key.ID)
	}
	if session := e.Pgtee.Session; session != nil && e.Pgtee.Verified {
		return []any{table, op, image, session.User, session.Application}
	}
	return []any{table, op, image, nil, nil}
}
