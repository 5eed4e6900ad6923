package verdict

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed truth.sql
var truthSQL string

// Truth is PostgreSQL's own record of the committed transactions that changed watched tables.
type Truth struct {
	Commits []Commit            // in the order of the WAL
	Keys    map[string][]string // primary key columns, by table; a table without a key is missing
}

// Commit is one committed transaction.
type Commit struct {
	XID     uint32
	LSN     string // of its commit record, as PostgreSQL prints it
	Changes []RowChange
}

// RowChange is one changed row, in the order in which the triggers fired.
type RowChange struct {
	Table       string // schema.table
	Op          byte   // 'I', 'U', 'D'; 'T' for a truncated table
	Old, New    Row    // nil if there is none
	PID         int32  // the backend
	User        string
	Application string
	Query       string // current_query() of the backend
}

// order returns the place of each transaction in commit order, by the LSN of its commit record.
func (t *Truth) order() map[string]int {
	order := map[string]int{}
	for i, commit := range t.Commits {
		order[commit.LSN] = i
	}
	return order
}

// key returns the key of a row of a table; "" if the table has none.
func (t *Truth) key(table string, row Row) string {
	if columns := t.Keys[table]; columns != nil {
		return row.Key(columns)
	}
	return ""
}

// Watch creates the triggers on tables; changes of the tables from then on are part of the truth.
func Watch(ctx context.Context, conn *pgx.Conn, tables ...string) error {
	if _, err := conn.Exec(ctx, truthSQL); err != nil {
		return fmt.Errorf("watch tables: %w", err)
	}
	for _, table := range tables {
		if _, err := conn.Exec(ctx, "CALL truth.watch($1::text::regclass)", table); err != nil {
			return fmt.Errorf("watch %s: %w", table, err)
		}
	}
	return nil
}

// LoadTruth reads the history, and the commit records starting at the WAL position from. It fails if a transaction of the history has no commit
// record or several, since the truth is then unreliable.
func LoadTruth(ctx context.Context, conn *pgx.Conn, from string) (*Truth, error) {
	truth := &Truth{Keys: map[string][]string{}}
	if err := truth.loadKeys(ctx, conn); err != nil {
		return nil, fmt.Errorf("load the keys: %w", err)
	}
	changes, err := loadHistory(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("load the history: %w", err)
	}
	err = loadCommits(ctx, conn, from, func(xid uint32, lsn string) {
		if made := changes[xid]; made != nil {
			truth.Commits = append(truth.Commits, Commit{xid, lsn, made})
			delete(changes, xid)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("load the commit records: %w", err)
	}
	for xid := range changes {
		return nil, fmt.Errorf("transaction %d is in the history, its commit is not in the log after %s", xid, from)
	}
	return truth, nil
}

// loadCommits calls each for every commit record of the WAL since a position, piece by piece, because the server keeps all records of a piece in
// memory, with their descriptions.
func loadCommits(ctx context.Context, conn *pgx.Conn, from string, each func(xid uint32, lsn string)) error {
	const piece = 64 << 20
	var flushed string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&flushed); err != nil {
		return err
	}
	for {
		var last *string
		var xids []int64
		var starts []string
		var done bool
		const commits = `SELECT last::text, xids, starts::text[], $2::text::pg_lsn - $1::text::pg_lsn <= $3 FROM truth.commits($1::text::pg_lsn, least($2::text::pg_lsn, $1::text::pg_lsn + $3))`
		if err := conn.QueryRow(ctx, commits, from, flushed, piece).Scan(&last, &xids, &starts, &done); err != nil {
			return fmt.Errorf("from %s: %w", from, err)
		}
		for i := range xids {
			each(uint32(xids[i]), starts[i])
		}
		switch {
		case done:
			return nil
		case last == nil:
			return fmt.Errorf("no record within %d bytes of %s", piece, from)
		}
		from = *last
	}
}

func (t *Truth) loadKeys(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `
		SELECT n.nspname || '.' || c.relname, array_agg(a.attname::text ORDER BY a.attnum)
		FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
		WHERE i.indisprimary AND n.nspname NOT LIKE 'pg\_%' GROUP BY 1`)
	if err != nil {
		return err
	}
	var table string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&table, &columns}, func() error {
		t.Keys[table] = columns
		columns = nil
		return nil
	})
	return err
}

func loadHistory(ctx context.Context, conn *pgx.Conn) (map[uint32][]RowChange, error) {
	rows, err := conn.Query(ctx, `SELECT xid, tbl, op::text, old, new, pid, user_name::text, application, query FROM truth.history ORDER BY seq`)
	if err != nil {
		return nil, err
	}
	changes := map[uint32][]RowChange{}
	var xid int64
	var op string
	var c RowChange
	var before, after []byte
	_, err = pgx.ForEachRow(rows, []any{&xid, &c.Table, &op, &before, &after, &c.PID, &c.User, &c.Application, &c.Query}, func() (err error) {
		c.Op = op[0]
		if c.Old, err = historyRow(before); err != nil {
			return err
		}
		if c.New, err = historyRow(after); err != nil {
			return err
		}
		changes[uint32(xid)] = append(changes[uint32(xid)], c)
		before, after = nil, nil
		return nil
	})
	return changes, err
}

// historyRow converts the timestamps of to_jsonb() to the form of the topics.
func historyRow(text []byte) (Row, error) {
	row, err := parseRow(text)
	for column, value := range row {
		text, ok := value.(string)
		if !ok || !strings.Contains(text, "T") {
			continue
		}
		if at, err := time.Parse("2006-01-02T15:04:05.999999", text); err == nil {
			row[column] = json.Number(fmt.Sprint(at.UnixMicro()))
		}
	}
	return row, err
}
