package outbox

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// surroundings are conditions outside pgtee that cause trouble sooner or later; Check warns about them.
type surroundings struct {
	encoding      string
	skew          time.Duration // of the server's clock; positive: it is fast
	expires       string        // when the role's password expires, if that is soon; else ""
	triggersOff   bool          // event_triggers (17+)
	untriggered   [][2]string   // roles and databases whose own event_triggers is off, and the command that resets it
	idleTimeout   string        // idle_replication_slot_timeout (18+); "" or "0": none
	senders       int           // active walsenders
	subscriptions []string      // native subscriptions that write into this database
	oldest        []string      // transactions older than OldTransaction
	retained      int64         // bytes of WAL that the slot retains
}

const (
	oldTransaction = time.Hour
	largestSkew    = 5 * time.Second
)

const surroundingsSQL = `
	SELECT (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()),
	       (extract(epoch FROM clock_timestamp()) * 1000000)::int8,
	       coalesce((SELECT to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') FROM pg_roles
	           WHERE rolname = current_user AND rolvaliduntil BETWEEN '-infinity' AND now() + interval '7 days'), ''),
	       coalesce(current_setting('event_triggers', true), 'on'),
	       coalesce((SELECT setting FROM pg_settings WHERE name = 'idle_replication_slot_timeout'), '0'),
	       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'),
	       coalesce((SELECT greatest(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - restart_lsn, 0)::int8
	           FROM pg_replication_slots WHERE slot_name = $1), 0)`

// untriggeredSQL lists the roles and databases that have event_triggers = off of their own, and how to reset it.
const untriggeredSQL = `
	SELECT concat_ws(' ', 'role ' || quote_ident(r.rolname), CASE WHEN r.oid IS NULL THEN 'all roles' END, 'in database ' || quote_ident(d.datname)),
	       CASE WHEN r.oid IS NULL AND d.oid IS NOT NULL THEN 'ALTER DATABASE ' || quote_ident(d.datname)
	           ELSE concat('ALTER ROLE ', coalesce(quote_ident(r.rolname), 'ALL'), ' IN DATABASE ' || quote_ident(d.datname)) END || ' RESET event_triggers'
	FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
	WHERE (s.setdatabase = 0 OR d.datname = current_database()) AND EXISTS (SELECT FROM unnest(s.setconfig) AS c WHERE c ~* '^event_triggers=(off?|false|no|f|n|0)$')
	ORDER BY 1`

// oldestSQL lists what prevents the slot from advancing. Without pg_read_all_stats a role sees only transactions of its own roles.
const oldestSQL = `
	SELECT 'prepared transaction ' || quote_literal(gid) || ', since ' || to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
	FROM pg_prepared_xacts WHERE database = current_database() AND prepared < now() - $1::interval
	UNION ALL
	SELECT 'transaction of server process ' || pid || ', since ' || to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
	FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND xact_start < now() - $1::interval
	ORDER BY 1 LIMIT 5`

func (s *serverState) inspectSurroundings(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig) error {
	before := time.Now()
	got, err := rows(ctx, conn, surroundingsSQL, cfg.Slot)
	if err != nil {
		return err
	}
	row, now := got[0], before.Add(time.Since(before)/2)
	micros, _ := strconv.ParseInt(row[1], 10, 64)
	s.encoding, s.skew = row[0], time.UnixMicro(micros).Sub(now)
	s.expires, s.triggersOff, s.idleTimeout = row[2], row[3] == "off", row[4]
	s.senders, _ = strconv.Atoi(row[5])
	s.retained, _ = strconv.ParseInt(row[6], 10, 64)
	if got, err = rows(ctx, conn, "SELECT quote_ident(s.subname) FROM pg_subscription AS s JOIN pg_database AS d ON d.oid = s.subdbid WHERE d.datname = current_database() ORDER BY 1"); err != nil {
		return err
	}
	for _, row := range got {
		s.subscriptions = append(s.subscriptions, row[0])
	}
	if got, err = rows(ctx, conn, untriggeredSQL); err != nil {
		return err
	}
	for _, row := range got {
		s.untriggered = append(s.untriggered, [2]string{row[0], row[1]})
	}
	old := cfg.OldTransaction
	if old == 0 {
		old = oldTransaction
	}
	if got, err = rows(ctx, conn, oldestSQL, fmt.Sprintf("%d milliseconds", old.Milliseconds())); err != nil {
		return err
	}
	for _, row := range got {
		s.oldest = append(s.oldest, row[0])
	}
	return nil
}

// reportSurroundings only warns: a publisher works nevertheless.
func (s *serverState) reportSurroundings(cfg SetupConfig, r *Report) {
	if s.encoding == asciiName {
		r.warn("database-sql-ascii", "start the publisher with --source-encoding and the actual encoding of the text, and suppress this finding with --ignore database-sql-ascii",
			"database %s is of SQL_ASCII: the first text that is not UTF-8 stops the publisher", s.database)
	}
	if s.skew.Abs() > largestSkew {
		r.warn("clock-skew", "synchronize both machines with a time server", "the server's clock differs from this machine's by %s: lag and times of notes are wrong by that much", s.skew.Round(time.Second))
	}
	if s.expires != "" {
		r.warn("role-expires", fmt.Sprintf("run ALTER ROLE %s VALID UNTIL 'infinity', or give the role a new password in time", quoteIfNeeded(s.user)),
			"the password of role %s expires at %s", s.user, s.expires)
	}
	if s.triggersOff {
		r.warn("event-triggers-off", s.set("event_triggers", "on", "SELECT pg_reload_conf()"), "event_triggers is off: DDL is recorded only from notes, and new tables are captured late")
	}
	for _, u := range s.untriggered {
		r.warn("event-triggers-off", "run "+u[1], "event_triggers is off for %s: DDL of these sessions is not recorded, and their new tables are captured late", u[0])
	}
	if s.idleTimeout != "" && s.idleTimeout != "0" {
		r.warn("slot-idle-timeout", s.set("idle_replication_slot_timeout", "0", "SELECT pg_reload_conf()"),
			"idle_replication_slot_timeout is %s s: a publisher that is not running for that long loses its slot", s.idleTimeout)
	}
	if s.maxSenders > 0 && s.senders >= s.maxSenders && (s.slot == nil || !s.slot.active) {
		r.warn("wal-senders-exhausted", s.set("max_wal_senders", strconv.Itoa(s.maxSenders+5), "restart the server"), "all %d WAL senders are in use: none is left for the publisher", s.maxSenders)
	}
	for _, name := range s.subscriptions {
		r.warn("subscription-beside", "exclude its tables (--exclude-tables), or suppress this finding with --ignore subscription-beside",
			"subscription %s also writes into this database: its rows are published without an author (via: direct)", name)
	}
	for _, who := range s.oldest {
		r.warn("transaction-old", "end it: COMMIT, ROLLBACK, COMMIT PREPARED or pg_terminate_backend()", "%s: the server keeps all WAL since then for the slot", who)
	}
	if s.slot != nil && !s.slot.lost() && s.keepSize > 0 && s.retained > int64(s.keepSize)<<20/2 {
		r.warn("wal-retained", "start the publisher, find out why it is slow, or raise max_slot_wal_keep_size",
			"slot %s retains %d MB of WAL, more than half of max_slot_wal_keep_size (%d MB), beyond which the slot is lost", cfg.Slot, s.retained>>20, s.keepSize)
	}
	if version, _ := strconv.Atoi(s.ready); s.ready != "" && version < objectsVersion {
		r.warn("schema-older", "run `pgtee setup`", "schema pgtee has version %d, this program creates %d", version, objectsVersion)
	} else if version > objectsVersion {
		r.warn("schema-newer", "upgrade this program", "schema pgtee has version %d, this program knows %d", version, objectsVersion)
	}
}
