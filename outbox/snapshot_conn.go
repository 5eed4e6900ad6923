package outbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// tableConn is a connection that reads tables. It uses the simple protocol and a large read buffer, since each row of COPY is a message and a
// snapshot has millions of rows.
type tableConn struct {
	reader   *TableReader
	frames   *frames
	encoding *Encoding
	version  int    // major
	buffer   []byte // for messages to be sent
}

// tableSettings make values look as on the replication connection, and produce the plans that copySQL relies on.
var tableSettings = map[string]string{
	"application_name":                "pgtee snapshot",
	"row_security":                    "off",  // fail rather than leave out rows silently
	"lock_timeout":                    "10ms", // while it waits, others wait behind it, and CREATE INDEX CONCURRENTLY for its snapshot
	"enable_seqscan":                  "off",
	"enable_bitmapscan":               "off",
	"enable_sort":                     "off",
	"max_parallel_workers_per_gather": "0",
	"jit":                             "off",
	"constraint_exclusion":            "off", // while planning, the server would evaluate CHECK constraints
}

// patient is a connection without a read deadline, because the server may search long for rows that satisfy a condition.
type patient struct{ net.Conn }

func (patient) SetReadDeadline(time.Time) error { return nil }

func openTableConn(ctx context.Context, reader *TableReader) (*tableConn, error) {
	config, err := replicationConfig(reader.connString)
	if err != nil {
		return nil, err
	}
	delete(config.RuntimeParams, "replication")
	delete(config.RuntimeParams, "wal_sender_timeout")
	for name, value := range tableSettings {
		config.RuntimeParams[name] = value
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, connectError(config, err)
	}
	encoding, err := TakeText(ctx, conn, reader.encoding)
	if err != nil {
		return nil, err
	}
	if err := conn.SyncConn(ctx); err != nil {
		return nil, err
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	r := &tableConn{reader: reader, frames: newFrames(patient{hijacked.Conn}), encoding: encoding}
	r.frames.longest, r.frames.shorten = reader.rowBytes, (*digest).copied
	got, err := r.query("SELECT current_setting('server_version_num')::int8 / 10000")
	if err != nil {
		r.close()
		return nil, err
	}
	r.version, err = strconv.Atoi(got[0][0])
	return r, err
}

func (r *tableConn) close() { r.frames.conn.Close() }

// send sends a query.
func (r *tableConn) send(sql string) (err error) {
	if r.buffer, err = (&pgproto3.Query{String: r.encoding.Original(sql)}).Encode(r.buffer[:0]); err != nil {
		return err
	}
	_, err = r.frames.conn.Write(r.buffer)
	return err
}

// query runs one or more commands and returns all their rows; NULL is "". After an error reported by the server the connection can be used again.
func (r *tableConn) query(sql string) (rows [][]string, err error) {
	if err := r.send(sql); err != nil {
		return nil, err
	}
	err = r.replies(func(kind byte, body []byte) error {
		if kind != 'D' {
			return nil
		}
		var row pgproto3.DataRow
		if err := row.Decode(body); err != nil {
			return err
		}
		values := make([]string, len(row.Values))
		for i, value := range row.Values {
			values[i] = r.encoding.String(string(value))
		}
		rows = append(rows, values)
		return nil
	})
	return rows, err
}

// errStop ends replies before all messages have been read; the connection cannot be used afterwards.
var errStop = errors.New("enough")

// replies calls use for each message up to the next ReadyForQuery. body is valid during the call.
func (r *tableConn) replies(use func(kind byte, body []byte) error) error {
	var failure error
	for {
		kind, body, err := r.frames.next()
		if err != nil {
			r.close()
			return fmt.Errorf("connection for tables: %w", err)
		}
		switch kind {
		case 'E':
			if failure == nil {
				failure = serverError(body)
			}
		case 'Z':
			return failure
		default:
			if err := use(kind, body); err != nil {
				r.close()
				return err
			}
		}
	}
}

// rollback ends a failed transaction.
func (r *tableConn) rollback() error {
	_, err := r.query("ROLLBACK")
	return err
}
