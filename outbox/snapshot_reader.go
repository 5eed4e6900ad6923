package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// TableReader reads the rows of tables for a snapshot, in the background and over its own connections. Results of its tasks arrive in Results. Each
// pass is a short read-only transaction, so vacuum is never held back for long.
type TableReader struct {
	connString string
	encoding   string // see StreamConfig
	rowBytes   int
	trusted    []string // roles whose functions may run: see checkStrangers
	results    chan Reading
	ctx        context.Context
	cancel     context.CancelFunc
	running    sync.WaitGroup

	mu        sync.Mutex
	free      []*tableConn
	relations map[uint32]*pgoutput.Relation // latest Relation of each table, so that each version has one pointer
}

const (
	maxChunkRows  = 16 << 10
	maxChunkBytes = 1 << 20  // bytes of rows; a single row may exceed it
	maxPassBytes  = 64 << 20 // bytes that a pass may read
	maxPassRows   = 1 << 17
	maxPassBlocks = 8 << 10
	maxAheadBytes = 32 << 20 // bytes of chunks that the publisher has not taken

	// sendPatience is how long a pass with an open transaction waits for the publisher to take a chunk.
	sendPatience = 5 * time.Second
	// waitPause is how often Begin checks whether older transactions have ended.
	waitPause = 50 * time.Millisecond
)

// OpenTableReader returns a TableReader, which connects on its first task. If a row exceeds rowBytes, its longest values are left out. Functions
// owned by trusted roles may run with the reader's privileges. Close releases everything.
func OpenTableReader(connString, encoding string, rowBytes int, trusted []string) *TableReader {
	t := &TableReader{
		connString: connString, encoding: encoding, rowBytes: rowBytes, trusted: trusted,
		results: make(chan Reading, min(8, max(1, maxAheadBytes/max(1, rowBytes)))), relations: map[uint32]*pgoutput.Relation{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Results returns the channel for the results of tasks. The results of one task are in order.
func (t *TableReader) Results() <-chan Reading { return t.results }

// Close cancels the running tasks and waits for them.
func (t *TableReader) Close() {
	t.cancel()
	t.running.Wait()
	for _, conn := range t.free {
		conn.close()
	}
}

// Begin waits until every transaction that has already written its commit record is visible to new snapshots, and returns such a snapshot. With a
// synchronous standby, a transaction can be in the stream long before other sessions see its effects.
func (t *TableReader) Begin(task int) {
	t.run(task, func(conn *tableConn) (Reading, error) {
		// The id of this transaction is greater than that of every transaction that has started to write.
		got, err := conn.query("SELECT pg_current_xact_id()")
		if err != nil {
			return Reading{}, err
		}
		ticket, err := strconv.ParseUint(got[0][0], 10, 64)
		if err != nil {
			return Reading{}, err
		}
		visible, err := t.await(conn, task, ticket)
		return Reading{Visible: visible}, err
	})
}

// await returns a snapshot in which every transaction up to ticket has ended.
func (t *TableReader) await(conn *tableConn, task int, ticket uint64) (*Visible, error) {
	for last := ""; ; {
		got, err := conn.query("SELECT pg_current_snapshot()")
		if err != nil {
			return nil, err
		}
		v, err := ParseVisible(got[0][0])
		if err != nil || v.Xmin > ticket {
			return &v, err
		}
		waiting, err := conn.query(fmt.Sprintf(blockersSQL, v.Xmin))
		if err != nil {
			return nil, err
		}
		if len(waiting) > 0 && waiting[0][0] != last {
			last = waiting[0][0]
			t.deliver(Reading{Task: task, Waiting: last})
		}
		if !t.sleep(waitPause) {
			return nil, t.ctx.Err()
		}
	}
}

// blockersSQL names the oldest transaction that is still in progress.
const blockersSQL = `SELECT format('transaction %%s of server process %%s (%%s), begun %%s', a.backend_xid, a.pid, coalesce(nullif(a.application_name, ''), 'unknown'), a.xact_start)
	FROM pg_stat_activity AS a WHERE a.backend_xid::text = (%[1]d::int8 %% 4294967296)::text
	UNION ALL SELECT format('prepared transaction %%s, prepared %%s', p.gid, p.prepared) FROM pg_prepared_xacts AS p WHERE p.transaction::text = (%[1]d::int8 %% 4294967296)::text`

// List lists the published tables, each leaf partition by itself, in OID order.
func (t *TableReader) List(task int) {
	t.run(task, func(conn *tableConn) (Reading, error) {
		got, err := conn.query(listSQL)
		if err != nil {
			return Reading{}, fmt.Errorf("list tables: %w", err)
		}
		tables := make([]ListedTable, len(got))
		for i, row := range got {
			oid, _ := strconv.ParseUint(row[0], 10, 32)
			root, _ := strconv.ParseUint(row[1], 10, 32)
			estimate, _ := strconv.ParseInt(row[4], 10, 64)
			tables[i] = ListedTable{uint32(oid), uint32(root), row[2], row[3], estimate}
		}
		return Reading{Tables: tables}, nil
	})
}

// Describe describes tables, partitioned ones as their roots, as pgoutput would at this moment. A table that cannot be read is in Refused instead;
// tables that no longer exist are left out.
func (t *TableReader) Describe(task int, tables []ListedTable) {
	t.run(task, func(conn *tableConn) (Reading, error) {
		r := Reading{Relations: []*pgoutput.Relation{}, Refused: map[uint32]error{}}
		readable := map[uint32]bool{} // by OID of the root
		for _, table := range tables {
			if there, known := readable[table.Root]; known && !there {
				continue
			}
			switch err := conn.try(&Span{Table: table.OID, Root: table.Root}); {
			case errors.Is(err, ErrTableGone):
			case errors.Is(err, ErrTableRefused):
				r.Refused[table.OID] = readError(err)
				readable[table.Root] = false
			case err != nil:
				return r, fmt.Errorf("try to read table %s.%s: %w", table.Schema, table.Name, err)
			default:
				readable[table.Root] = true
			}
		}
		for _, root := range slices.Sorted(maps.Keys(readable)) {
			if !readable[root] {
				continue
			}
			switch relation, err := conn.relation(root); {
			case errors.Is(err, ErrTableGone):
			case err != nil:
				return r, fmt.Errorf("describe table %d: %w", root, err)
			default:
				r.Relations = append(r.Relations, relation)
			}
		}
		return r, nil
	})
}

// Nudge makes the server write a WAL record without effect, so that all earlier WAL is flushed and sent: an idle server may keep the end of its WAL
// in memory for 15 seconds.
func (t *TableReader) Nudge(task int) {
	t.run(task, func(conn *tableConn) (Reading, error) {
		_, err := conn.query("SELECT pg_current_xact_id()")
		return Reading{}, err
	})
}

// Read runs a pass.
func (t *TableReader) Read(s Span) {
	t.run(s.Task, func(conn *tableConn) (Reading, error) { return Reading{}, tableError(&s, t.read(conn, &s)) })
}

// run executes a task on a free connection or a new one; its last Reading is the result of do.
func (t *TableReader) run(task int, do func(*tableConn) (Reading, error)) {
	t.running.Go(func() {
		conn, err := t.take()
		reading := Reading{}
		if err == nil {
			stop := context.AfterFunc(t.ctx, conn.close)
			reading, err = do(conn)
			stop()
			t.giveBack(conn, err)
			if errors.Is(err, errStop) {
				err = nil
			}
		}
		reading.Task, reading.Err, reading.Done = task, readError(err), true
		t.deliver(reading)
	})
}

// tableError marks errors that concern only this table.
func tableError(s *Span, err error) error {
	state := sqlState(err)
	switch {
	case err == nil || len(state) != 5:
		return err
	case s.Condition != nil && (slices.Contains([]string{"42703", "42883", "42804"}, state) || state[:2] == "22"):
		return fmt.Errorf("%w: %w", ErrCondition, err)
	case state[:2] == "42", state[:2] == "55", state[:2] == "22", state[:2] == "0A", state[:2] == "54", state[:2] == "XX":
		return fmt.Errorf("%w: %w", ErrTableRefused, err)
	}
	return err
}

// readError adds a repair to a refusal of the server.
func readError(err error) error {
	switch sqlState(err) {
	case "55P03": // lock_not_available
		return fmt.Errorf("%w: %w", err, ErrTableLocked)
	case "42501": // insufficient_privilege; with row_security=off, row policies cause it too
	default:
		return err
	}
	return fmt.Errorf("%w: grant the publisher's role SELECT on the table (of a partitioned one, on its partitions) and USAGE on its schema; "+
		"if the table has row policies, ALTER ROLE ... BYPASSRLS; or leave the table out of the snapshot", err)
}

func (t *TableReader) take() (*tableConn, error) {
	t.mu.Lock()
	if n := len(t.free); n > 0 {
		conn := t.free[n-1]
		t.free = t.free[:n-1]
		t.mu.Unlock()
		return conn, nil
	}
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.ctx, answerTimeout)
	defer cancel()
	return openTableConn(ctx, t)
}

// giveBack keeps a connection for the next task, unless the connection is broken or its state is unknown.
func (t *TableReader) giveBack(conn *tableConn, err error) {
	var refusal *pgconn.PgError
	if err != nil && !(errors.As(err, &refusal) && conn.rollback() == nil) || t.ctx.Err() != nil {
		conn.close()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = append(t.free, conn)
}

// deliver returns false if the reader has been closed.
func (t *TableReader) deliver(r Reading) bool {
	select {
	case t.results <- r:
		return true
	case <-t.ctx.Done():
		return false
	}
}

func (t *TableReader) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// intern returns the latest Relation of the same table if it is the same version.
func (t *TableReader) intern(r *pgoutput.Relation) *pgoutput.Relation {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := t.relations[r.OID]; last != nil && reflect.DeepEqual(last, r) {
		return last
	}
	t.relations[r.OID] = r
	return r
}
