package outbox

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

var (
	// ErrSlotBusy means that another process uses the slot: stand by and retry.
	ErrSlotBusy = errors.New("slot in use")
	// ErrSlotMissing means that the slot does not exist.
	ErrSlotMissing = errors.New("slot missing: changes written since it was dropped are lost to the stream; " + cureSetup)
	// ErrSlotLost means that the slot's WAL has been removed or the server has invalidated the slot.
	ErrSlotLost = errors.New("slot lost: the server has removed WAL that was not yet published; " + cureSetup)
	// ErrNotSetUp means that the database lacks pgtee's objects, or that they belong to another server or database.
	ErrNotSetUp = errors.New("not set up: run `pgtee setup` for this database")
	// ErrUndecodable means that the WAL has a value that the server cannot convert to UTF-8, in a database with a multi-byte encoding.
	ErrUndecodable = errors.New("the server cannot send a value in the WAL as UTF-8, so nothing after it can be published: correct the row at the position that the error names, drop the slot with pg_drop_replication_slot(), " + cureSetup)
	// ErrDecoding means that the server's logical decoding failed with an internal error (SQLSTATE class XX), or exceeds a limit (class 54): it cannot send a row of more
	// than 1 GB. The error may be temporary, or come again each time the server decodes this transaction.
	ErrDecoding = errors.New("PostgreSQL fails to decode its WAL")
	// ErrServerWarning is a WARNING on the replication connection. PostgreSQL 18 reports only in this way that it skips committed rows.
	ErrServerWarning = errors.New("the server has sent a warning, so rows may be missing from the stream")
)

// walSenderTimeout lets another publisher take over the slot within seconds after the host of the current one has lost power.
const walSenderTimeout = "10s"

// publisherName is the application_name of the connection that streams.
const publisherName = "pgtee"

// replicationConfig returns the configuration of a logical replication connection, which also accepts SQL in the simple protocol. The settings
// determine how pgoutput prints values, so they override the role's.
func replicationConfig(connString string) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(connString)
	if err != nil {
		return nil, err // pgconn masks the password
	}
	OwnSettings(config)
	for name, value := range map[string]string{
		"replication":         "database",
		"wal_sender_timeout":  walSenderTimeout,
		"application_name":    publisherName,
		"client_encoding":     "UTF8",
		"client_min_messages": "warning", // a role's default must not hide warnings
		"search_path":         "pg_catalog",
		"datestyle":           "ISO",
		"intervalstyle":       "postgres",
		"extra_float_digits":  "3",
		"lc_monetary":         "C", // money with a decimal point, whatever the server's locale
		"bytea_output":        "hex",
		"timezone":            "UTC",
	} {
		config.RuntimeParams[name] = value
	}
	if config.ValidateConnect == nil { // with several hosts, connect to the primary, which has the slot
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	return config, nil
}

func connectReplication(ctx context.Context, connString string) (*pgconn.PgConn, error) {
	config, err := replicationConfig(connString)
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if errors.Is(err, pgconn.ErrStandbyConnection) {
		return nil, fmt.Errorf("PostgreSQL at %s:%d is a standby, but the slot is on the primary: name the primary in --postgres as well", config.Host, config.Port)
	}
	if err != nil {
		return nil, connectError(config, err)
	}
	if _, err := simpleQuery(ctx, conn, "IDENTIFY_SYSTEM"); sqlState(err) == "42601" { // syntax_error: a pooler that accepted the setting replication and ignores it
		conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("%w (%w)", poolerError(config), err)
	}
	return conn, nil
}

// simpleQuery runs one command in the simple protocol, the only one that a replication connection supports, and returns its rows as text; NULL is "".
func simpleQuery(ctx context.Context, conn *pgconn.PgConn, command string) ([][]string, error) {
	results, err := conn.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, err
	}
	var table [][]string
	for _, result := range results {
		for _, row := range result.Rows {
			values := make([]string, len(row))
			for i, value := range row {
				values[i] = string(value)
			}
			table = append(table, values)
		}
	}
	return table, nil
}

// identify reads the identity of the server and pgtee.meta, and returns an error if the database was not set up for cfg.
func identify(ctx context.Context, conn *pgconn.PgConn, cfg *StreamConfig) (System, error) {
	got, err := simpleQuery(ctx, conn, "IDENTIFY_SYSTEM")
	if err != nil {
		return System{}, fmt.Errorf("identify the server: %w", err)
	}
	if len(got) != 1 || len(got[0]) != 4 {
		return System{}, errors.New("identify the server: want one row of system id, timeline, LSN, database")
	}
	system := System{ID: got[0][0], Database: got[0][3]}
	timeline, err := strconv.ParseInt(got[0][1], 10, 32)
	if err != nil {
		return System{}, fmt.Errorf("identify the server: timeline: %w", err)
	}
	system.Timeline = int32(timeline)
	if system.Server, err = pgoutput.ParseLSN(got[0][2]); err != nil {
		return System{}, fmt.Errorf("identify the server: %w", err)
	}
	if err := readMeta(ctx, conn, cfg.Slot, &system); err != nil {
		return System{}, err
	}
	if system.PublicationHash, system.Publications, err = publicationHash(ctx, conn); err != nil {
		return system, err
	}
	return system, checkYounger(ctx, conn)
}

// checkYounger returns an error if a publication is younger than the slot: PostgreSQL up to 17 would fail on every attempt, and 18 would leave out
// rows.
func checkYounger(ctx context.Context, conn *pgconn.PgConn) error {
	got, err := simpleQuery(ctx, conn, "SELECT pg_catalog.to_jsonb(m) ->> 'publications', "+identitySQL+" FROM pgtee.meta AS m")
	if err != nil {
		return fmt.Errorf("read the publications: %w", err)
	}
	if len(got) != 1 || got[0][0] == "" || got[0][0] == got[0][1] {
		return nil
	}
	s := serverState{slotPublications: strings.Fields(got[0][0])}
	for _, name := range strings.Fields(got[0][1]) {
		name, oid, _ := strings.Cut(name, "=")
		s.publications = append(s.publications, publication{name: name, oid: oid})
	}
	return fmt.Errorf("%w (since the slot was created, missing: %q, re-created: %q)", ErrPublicationChanged, s.missing(), s.younger())
}

// triggersFireSQL reports whether pgtee's event triggers fire. The setting event_triggers exists since PostgreSQL 17; a session or role that has its own value
// is not known.
const triggersFireSQL = `(SELECT pg_catalog.count(*) = 2 FROM pg_catalog.pg_event_trigger WHERE evtname IN ('pgtee_ddl', 'pgtee_drop') AND evtenabled = 'A')
	AND coalesce(pg_catalog.current_setting('event_triggers', true), 'on') = 'on'`

func readMeta(ctx context.Context, conn *pgconn.PgConn, slot string, system *System) error {
	got, err := simpleQuery(ctx, conn, `
		SELECT m.system_identifier = c.system_identifier AND m.database_oid = d.oid, d.oid, m.version, m.slot, m.consistent_point,
			`+triggersFireSQL+`,
			pg_catalog.to_jsonb(m) ->> 'secret', m.generation
		FROM pgtee.meta AS m, pg_catalog.pg_control_system() AS c, pg_catalog.pg_database AS d
		WHERE d.datname = pg_catalog.current_database()`)
	switch code := sqlState(err); {
	case code == "42P01" || code == "3F000" || err == nil && len(got) == 0: // undefined_table, invalid_schema_name
		return fmt.Errorf("%w (no pgtee.meta in database %s)", ErrNotSetUp, system.Database)
	case code == "42501": // insufficient_privilege
		return fmt.Errorf("read pgtee.meta: let the publisher's role read it (GRANT SELECT ON pgtee.meta), or use the role that ran pgtee setup: %w", err)
	case err != nil:
		return fmt.Errorf("read pgtee.meta: %w", err)
	}
	meta := got[0]
	if meta[0] != "t" {
		return fmt.Errorf("%w (schema pgtee in %s was copied from another server or database)", ErrNotSetUp, system.Database)
	}
	if version, _ := strconv.Atoi(meta[2]); version > objectsVersion {
		return fmt.Errorf("schema pgtee has version %s, this program reads up to %d: upgrade pgtee", meta[2], objectsVersion)
	}
	if meta[6] == "" { // without the secret, signed messages could not be read and would be lost
		return fmt.Errorf("%w (schema pgtee in %s is of an older pgtee)", ErrNotSetUp, system.Database)
	}
	if meta[3] != slot || meta[4] == "" {
		return fmt.Errorf("%w (pgtee.meta in %s names slot %q, not %q)", ErrNotSetUp, system.Database, meta[3], slot)
	}
	oid, err := strconv.ParseUint(meta[1], 10, 32)
	if err != nil {
		return fmt.Errorf("read pgtee.meta: database oid: %w", err)
	}
	system.DatabaseOID, system.Triggers = uint32(oid), meta[5] == "t"
	system.Generation, _ = strconv.Atoi(meta[7])
	if system.secret, err = hex.DecodeString(strings.TrimPrefix(meta[6], `\x`)); err != nil {
		return fmt.Errorf("read pgtee.meta: secret: %w", err)
	}
	system.ConsistentPoint, err = pgoutput.ParseLSN(meta[4])
	return err
}

// checkSlot returns an error if the slot is unusable.
func checkSlot(ctx context.Context, conn *pgconn.PgConn, slot, database string) error {
	// Columns that only newer servers have are read through JSON.
	got, err := simpleQuery(ctx, conn, `
		SELECT s.plugin, s.database, s.wal_status, pg_catalog.to_jsonb(s) ->> 'conflicting', pg_catalog.to_jsonb(s) ->> 'invalidation_reason'
		FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = `+quoteLiteral(slot))
	if err != nil {
		return fmt.Errorf("read the state of slot %s: %w", slot, err)
	}
	if len(got) == 0 {
		return fmt.Errorf("%w (%s)", ErrSlotMissing, slot)
	}
	plugin, owner, walStatus, conflicting, reason := got[0][0], got[0][1], got[0][2], got[0][3], got[0][4]
	if walStatus == "lost" || conflicting == "true" || reason != "" {
		return fmt.Errorf("%w (%s, wal_status %s %s)", ErrSlotLost, slot, walStatus, reason)
	}
	if plugin != "pgoutput" || owner != database {
		return fmt.Errorf("slot %s has plugin %q and database %q, want pgoutput and %s: name another with --slot", slot, plugin, owner, database)
	}
	return nil
}

// confirmedFlush reads the slot's position, which no other process moves while this one holds the slot, and the pid of the server process that holds
// it for this connection.
func confirmedFlush(ctx context.Context, connString, slot, systemID string) (position LSN, holder string, err error) {
	conn, err := connect(ctx, connString)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	got, err := simpleQuery(ctx, conn, `
		SELECT s.confirmed_flush_lsn, s.active_pid, c.system_identifier
		FROM pg_catalog.pg_replication_slots AS s, pg_catalog.pg_control_system() AS c WHERE s.slot_name = `+quoteLiteral(slot))
	if err != nil {
		return 0, "", fmt.Errorf("read the state of slot %s: %w", slot, err)
	}
	if len(got) != 1 || got[0][1] == "" || got[0][2] != systemID {
		return 0, "", fmt.Errorf("slot %s is not held on the server that a second connection reached: name only the primary in --postgres", slot)
	}
	position, err = pgoutput.ParseLSN(got[0][0])
	return position, got[0][1], err
}

// checkHolder returns an error if a server process other than holder has the slot, or no process has it.
func checkHolder(ctx context.Context, conn *pgconn.PgConn, slot, holder string) error {
	got, err := simpleQuery(ctx, conn, "SELECT s.active_pid FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = "+quoteLiteral(slot))
	if err != nil || len(got) == 1 && got[0][0] == holder {
		return nil // a server that does not respond says nothing about the stream
	}
	return fmt.Errorf("slot %s: server process %s, which held it for us, no longer holds it: the network has lost the connection", slot, holder)
}

// hold takes the slot: it starts replication from the slot's position and returns the connection once the server has accepted. No other process can
// use the slot until the connection ends. No start LSN is given, as one above the server's position would silently skip rows.
func hold(ctx context.Context, conn *pgconn.PgConn, cfg *StreamConfig, publications []string) (*frames, error) {
	if err := conn.SyncConn(ctx); err != nil {
		return nil, err
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { hijacked.Conn.Close() })
	defer stop()
	f := newFrames(hijacked.Conn)
	if err := startReplication(f, cfg, publications); err != nil {
		hijacked.Conn.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("start replication from slot %s: %w", cfg.Slot, err)
	}
	return f, nil
}

func startReplication(f *frames, cfg *StreamConfig, publications []string) error {
	command := fmt.Sprintf(`START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names '%s', messages 'true')`,
		quoteIdentifier(cfg.Slot), strings.Join(quoteAll(publications), ","))
	query, err := (&pgproto3.Query{String: command}).Encode(nil)
	if err != nil {
		return err
	}
	if _, err := f.conn.Write(query); err != nil {
		return err
	}
	for {
		kind, body, err := f.next()
		if err != nil {
			return err
		}
		switch kind {
		case 'W': // CopyBothResponse
			return nil
		case 'E': // ErrorResponse
			return startError(body)
		case 'N': // NoticeResponse
			if _, err := serverWarning(body); err != nil {
				return err
			}
		case 'S': // ParameterStatus
		default:
			return fmt.Errorf("unexpected message of kind %q", kind)
		}
	}
}

func startError(body []byte) error {
	err := serverError(body)
	switch sqlState(err) {
	case "55006": // object_in_use
		return fmt.Errorf("%w: %w", ErrSlotBusy, err)
	case "42704": // undefined_object
		return fmt.Errorf("%w: %w", ErrSlotMissing, err)
	case "55000": // object_not_in_prerequisite_state; checkSlot has ruled out the other causes
		return fmt.Errorf("%w: %w", ErrSlotLost, err)
	}
	return err
}

// serverError decodes an ErrorResponse.
func serverError(body []byte) error {
	var response pgproto3.ErrorResponse
	if err := response.Decode(body); err != nil {
		return err
	}
	return pgconn.ErrorResponseToPgError(&response)
}

// standbysRoutine is the function of the server that waits for the standbys in synchronized_standby_slots (PostgreSQL 17, slot.c).
const standbysRoutine = "StandbySlotsHaveCaughtup"

// serverWarning decodes a NoticeResponse and returns an error if it is a warning that changes may be missing. A warning that the server waits for a
// standby, which delays changes, is returned as awaited.
func serverWarning(body []byte) (awaited string, err error) {
	var notice pgproto3.NoticeResponse
	if err := notice.Decode(body); err != nil {
		return "", err
	}
	switch {
	case notice.SeverityUnlocalized != "WARNING":
		return "", nil
	case notice.Routine == standbysRoutine:
		return notice.Message, nil
	}
	return "", fmt.Errorf("%w: %s (SQLSTATE %s): %s", ErrServerWarning, notice.Message, notice.Code, cureSetup)
}

func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

func quoteIdentifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
