package debezium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/outbox"

	"github.com/pgtee/pgtee/publisher/record"
)

// Catalog supplies what pgoutput does not say about types and tables: their definition at the time of a change or, if no later DDL is known, their
// current one. An error means that the catalog could not be read or cannot answer yet. The change cannot be encoded then, since its record would
// differ.
type Catalog interface {
	// Type describes a type that is not built in. It returns false if the type is no longer known.
	Type(ctx context.Context, oid uint32, at record.Place) (Type, bool, error)
	// Table describes the table with the OID of a Relation. It returns false if the table is no longer known.
	Table(ctx context.Context, oid uint32, at record.Place) (Table, bool, error)
}

// Kinds of a Type: pg_type.typtype.
const (
	KindBase   = 'b'
	KindDomain = 'd'
	KindEnum   = 'e'
)

// Type holds the parts of a pg_type row that an encoder needs.
type Type struct {
	Name      string `json:"name"`
	Kind      byte   `json:"kind"`
	Base      uint32 `json:"base,omitempty"`      // base type of a domain
	TypeMod   int32  `json:"typmod,omitempty"`    // type modifier of a domain, -1 if it has none
	Element   uint32 `json:"element,omitempty"`   // element type of an array, else 0
	Delimiter byte   `json:"delimiter,omitempty"` // separates the elements of an array
	Labels    string `json:"labels,omitempty"`    // labels of an enum in its order: "a,b"
}

// Table holds what an encoder needs to know about a table.
type Table struct {
	// NotNull names the columns that cannot be null, by a constraint of their own or of their domain.
	NotNull []string `json:"not_null,omitempty"`
	// Keys are the unique indexes on whole columns that cannot be null: first the primary key, then the replica identity, then the others, oldest
	// first. Columns are in index order. For a partitioned table, the indexes that all leaf partitions share follow its own.
	Keys [][]string `json:"keys,omitempty"`
	// Numbers are the attribute numbers of the columns in Keys, by name. A column that is renamed keeps its number.
	Numbers map[string]int `json:"numbers,omitempty"`
	// Primary reports whether the first of Keys is the primary key.
	Primary bool `json:"primary,omitempty"`
	// Identity names the columns that the WAL holds for every old row: those of the replica identity, for a partitioned table those that the replica
	// identities of all leaf partitions share. nil means all columns.
	Identity []string `json:"identity,omitempty"`
	// Partitioned reports whether the rows are stored in leaf partitions.
	Partitioned bool `json:"partitioned,omitempty"`
	// Generated names the generated columns, which the WAL may leave out.
	Generated []string `json:"generated,omitempty"`
	// Defaults are the expressions of column defaults by column name, as printed by pg_get_expr. Expressions of generated columns are not included.
	Defaults map[string]string `json:"defaults,omitempty"`
}

// LookupError is a failed read of the catalog. It is temporary: the same change can be encoded once the database answers.
type LookupError struct {
	What string // "type 16385"
	Err  error
}

func (e *LookupError) Error() string {
	return "look up " + e.What + " in the catalog: " + e.Err.Error()
}
func (e *LookupError) Unwrap() error   { return e.Err }
func (e *LookupError) Temporary() bool { return true }

func lookupError(what string, oid uint32, err error) error {
	return &LookupError{fmt.Sprintf("%s %d", what, oid), err}
}

// emptyCatalog is a Catalog without types and tables.
type emptyCatalog struct{}

func (emptyCatalog) Type(context.Context, uint32, record.Place) (Type, bool, error) {
	return Type{}, false, nil
}
func (emptyCatalog) Table(context.Context, uint32, record.Place) (Table, bool, error) {
	return Table{}, false, nil
}

// Database is the Catalog of a running database. It connects on the first lookup and reconnects when the connection is broken. It caches types, since
// the type of an OID does not change. It must be used by one goroutine at a time.
type Database struct {
	connString string
	declared   string // encoding of the database: see outbox.StreamConfig
	encoding   *outbox.Encoding
	conn       *pgconn.PgConn
	history    bool // setup has created PastFunction
	types      map[uint32]Type
}

// NewDatabase returns the catalog of the database that connString names. Reading the catalog needs no privilege but CONNECT.
func NewDatabase(connString, encoding string) *Database {
	return &Database{connString: connString, declared: encoding, types: map[uint32]Type{}}
}

// Close closes the connection, if there is one.
func (d *Database) Close(ctx context.Context) error {
	if d.conn == nil {
		return nil
	}
	return d.conn.Close(ctx)
}

const (
	lookupTimeout  = 10 * time.Second // of one lookup, including the time to connect
	visibleTimeout = 3 * time.Second  // part of it: how long a lookup waits for the change's transaction to become visible
	lockTimeout    = "100ms"          // of one query: a session may hold a lock on a catalog table
	lookupPause    = 20 * time.Millisecond
)

func (d *Database) Type(ctx context.Context, oid uint32, at record.Place) (Type, bool, error) {
	if t, ok := d.types[oid]; ok {
		return t, true, nil
	}
	var t Type
	found, err := d.describe(ctx, 't', oid, at, &t)
	if err != nil {
		return Type{}, false, lookupError("type", oid, err)
	}
	if found && t.Kind != KindEnum { // an enum may have gained a label by the next lookup
		d.types[oid] = t
	}
	return t, found, nil
}

func (d *Database) Table(ctx context.Context, oid uint32, at record.Place) (Table, bool, error) {
	var t Table
	found, err := d.describe(ctx, 'r', oid, at, &t)
	if err != nil {
		return Table{}, false, lookupError("table", oid, err)
	}
	return t, found, nil
}

// describe reads the description of a table or type as it was at a place in the WAL. It returns false if there is none.
func (d *Database) describe(ctx context.Context, kind byte, oid uint32, at record.Place, description any) (bool, error) {
	text, err := d.queryDescription(ctx, kind, oid, at)
	if err != nil || text == nil {
		return false, err
	}
	return true, json.Unmarshal(text, description)
}

// descriptionQuery returns the query for a snapshot and a description. The event triggers save the former definition in the transaction of the DDL that
// changes it, so either the saved definition or the current one is that of the change.
func descriptionQuery(kind byte, history bool) string {
	now := outbox.DescribeTableSQL
	if kind == 't' {
		now = outbox.DescribeTypeSQL
	}
	now = "(\n" + now + ")"
	if !history {
		return "SELECT pg_current_snapshot(), " + now + "::text"
	}
	return "SELECT pg_current_snapshot(), coalesce(pgtee.past($2, $1, $3), " + now + ")::text"
}

// queryDescription runs the query, once more on a new connection if the old one is broken. It repeats the query, holding no snapshot in between, until the
// change's transaction is visible: with a synchronous standby the WAL can be read before the commit is visible to other sessions. Before that the
// catalog describes another version of the table, or none.
func (d *Database) queryDescription(ctx context.Context, kind byte, oid uint32, at record.Place) ([]byte, error) {
	bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	fresh := d.conn == nil || d.conn.IsClosed()
	if fresh {
		if err := d.connect(bounded); err != nil {
			return nil, err
		}
	}
	history := d.history && at.LSN != 0
	parameters := [][]byte{strconv.AppendUint(nil, uint64(oid), 10)}
	if history {
		parameters = append(parameters, []byte{kind}, []byte(at.LSN.String()))
	}
	for began := time.Now(); ; {
		result := d.conn.ExecParams(bounded, descriptionQuery(kind, history), parameters, nil, nil, nil).Read()
		switch {
		case result.Err != nil && !fresh && d.conn.IsClosed():
			return d.queryDescription(ctx, kind, oid, at) // with a time limit of its own
		case isLocked(result.Err):
		case result.Err != nil:
			return nil, result.Err
		default:
			text, visible, err := scanDescription(result.Rows, at.XID, d.encoding)
			if visible || err != nil {
				return text, err
			}
			if time.Since(began) > visibleTimeout {
				return nil, fmt.Errorf("transaction %d, which is in the WAL, is not visible to others yet: it waits for a synchronous standby (synchronous_standby_names)", at.XID)
			}
		}
		if err := pause(bounded, lookupPause); err != nil {
			return nil, errors.Join(result.Err, err)
		}
	}
}

// scanDescription reads the result. visible reports whether the transaction was visible to other sessions when the query ran.
func scanDescription(rows [][][]byte, xid outbox.XID, encoding *outbox.Encoding) (description []byte, visible bool, err error) {
	if len(rows) != 1 || len(rows[0]) != 2 {
		return nil, false, fmt.Errorf("unexpected answer %q", rows)
	}
	snapshot, err := outbox.ParseVisible(string(rows[0][0]))
	if err != nil {
		return nil, false, err
	}
	text := rows[0][1]
	if encoding != nil {
		text = encoding.Append(nil, text)
	}
	return text, xid == 0 || snapshot.Sees(xid), nil
}

func isLocked(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == "55P03" // lock_not_available
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (d *Database) connect(ctx context.Context) error {
	config, err := pgconn.ParseConfig(d.connString)
	if err != nil {
		return err
	}
	outbox.OwnSettings(config)
	config.RuntimeParams["application_name"] = "pgtee catalog"
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.RuntimeParams["search_path"] = "pg_catalog"
	config.RuntimeParams["lock_timeout"] = lockTimeout
	config.RuntimeParams["datestyle"] = "ISO" // for constants in column defaults
	config.RuntimeParams["intervalstyle"] = "postgres"
	if d.conn, err = pgconn.ConnectConfig(ctx, config); err != nil {
		return err
	}
	if d.encoding, err = outbox.TakeText(ctx, d.conn, d.declared); err != nil {
		d.conn.Close(ctx)
		return err
	}
	result := d.conn.ExecParams(ctx, "SELECT to_regprocedure($1) IS NOT NULL", [][]byte{[]byte(outbox.PastFunction)}, nil, nil, nil).Read()
	if result.Err != nil {
		d.conn.Close(ctx)
		return result.Err
	}
	d.history = len(result.Rows) == 1 && string(result.Rows[0][0]) == "t"
	return nil
}
