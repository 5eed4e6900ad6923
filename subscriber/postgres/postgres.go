// Package postgres contains what the programs that write into a database share: queries, escaping for COPY, and the meaning of the server's errors.
package postgres

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Settings are the settings of a session that writes records from Kafka.
var Settings = map[string]string{
	"client_encoding":                     "UTF8",
	"search_path":                         "pg_catalog",
	"datestyle":                           "ISO, MDY",
	"intervalstyle":                       "postgres",
	"lc_monetary":                         "C", // money is written with a decimal point
	"extra_float_digits":                  "1",
	"bytea_output":                        "hex",
	"xmloption":                           "content",
	"timezone":                            "UTC",
	"row_security":                        "off",
	"synchronous_commit":                  "off",   // rows and position are lost together
	"idle_in_transaction_session_timeout": "10min", // a giant may wait for Kafka
	"tcp_keepalives_idle":                 "10",
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3", // a client that has lost power or network soon releases its locks
	"tcp_user_timeout":                    "30s",
	"statement_timeout":                   "0",
}

// Configure gives a connection the settings of a session that writes records from Kafka.
func Configure(config *pgconn.Config) {
	maps.Copy(config.RuntimeParams, Settings)
	config.AfterConnect = unlimited
}

// unlimited turns off what would end each attempt at a giant transaction. Servers before 17 do not know the setting, and would refuse it as a parameter of the
// connection.
func unlimited(ctx context.Context, conn *pgconn.PgConn) error {
	const known = "SELECT pg_catalog.set_config('transaction_timeout', '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'"
	_, err := conn.Exec(ctx, known).ReadAll() // a replication connection knows no other protocol
	return err
}

// EqualOperator is an SQL expression: the schema-qualified equality operator of type t, a row of pg_type; ” if there is none.
const EqualOperator = `coalesce((SELECT 'OPERATOR(' || pg_catalog.quote_ident(s.nspname) || '.' || p.oprname || ')'
    FROM pg_catalog.pg_opclass AS o JOIN pg_catalog.pg_am AS m ON m.oid = o.opcmethod
    JOIN pg_catalog.pg_amop AS a ON a.amopfamily = o.opcfamily AND a.amoplefttype = t.oid AND a.amoprighttype = t.oid AND a.amopstrategy = CASE m.amname WHEN 'btree' THEN 3 ELSE 1 END
    JOIN pg_catalog.pg_operator AS p ON p.oid = a.amopopr JOIN pg_catalog.pg_namespace AS s ON s.oid = p.oprnamespace
    WHERE m.amname IN ('btree', 'hash') AND o.opcdefault AND o.opcintype = t.oid ORDER BY m.amname LIMIT 1),
    CASE WHEN t.typtype IN ('e', 'r', 'm') OR t.typname IN ('varchar', 'cidr') THEN 'OPERATOR(pg_catalog.=)' ELSE '' END)`

// Query returns the rows that sql selects, as text; NULL is "".
func Query(ctx context.Context, conn *pgconn.PgConn, sql string, args ...string) ([][]string, error) {
	params := make([][]byte, len(args))
	for i, arg := range args {
		params[i] = []byte(arg)
	}
	result := conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	rows := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		for _, field := range row {
			rows[i] = append(rows[i], string(field))
		}
	}
	return rows, nil
}

// untrusted finds the owners of these tables and, for a superuser, of schema pgtee, except trusted roles, superusers and the connection's own role.
const untrusted = `SELECT coalesce(pg_catalog.string_agg(DISTINCT r.rolname::pg_catalog.text, ', '), '')
FROM (SELECT relowner AS oid FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.to_regnamespace('pgtee') AND relname = ANY (pg_catalog.string_to_array($1, ','))
  UNION SELECT n.nspowner FROM pg_catalog.pg_namespace AS n, pg_catalog.pg_roles AS we WHERE n.nspname = 'pgtee' AND we.rolname = current_user AND we.rolsuper) AS owner
JOIN pg_catalog.pg_roles AS r ON r.oid = owner.oid
WHERE r.rolname <> current_user AND NOT r.rolsuper AND r.rolname <> ALL (pg_catalog.string_to_array($2, ','))`

// UntrustedOwner returns what is wrong, and how to repair it, if a role whose code the connection must not run owns one of these tables of schema pgtee:
// a write evaluates the defaults and triggers of a table, and a read the functions of a view. what is "" if there is none. Called before the tables are used.
func UntrustedOwner(ctx context.Context, conn *pgconn.PgConn, tables, trusted []string) (what, repair string, err error) {
	rows, err := Query(ctx, conn, untrusted, strings.Join(tables, ","), strings.Join(trusted, ","))
	if err != nil || rows[0][0] == "" {
		return "", "", err
	}
	return "tables of schema pgtee, or the schema, belong to " + rows[0][0] + ", whose code this user must not run",
		"connect as that role, or add --trust-owner ROLE if its code may run with the privileges of this user; if somebody has planted the tables, run DROP SCHEMA pgtee CASCADE", nil
}

// Results ends a pipeline and returns the row counts of its statements.
func Results(conn *pgconn.PgConn, pipeline *pgconn.Pipeline) (counts []int64, err error) {
	if err := pipeline.Sync(); err != nil {
		return nil, errors.Join(err, pipeline.Close())
	}
	for {
		got, failed := pipeline.GetResults()
		if failed != nil {
			if err == nil {
				err = failed
			}
			if conn.IsClosed() {
				break
			}
			continue
		}
		switch r := got.(type) {
		case *pgconn.ResultReader:
			tag, failed := r.Close()
			if failed != nil && err == nil {
				err = failed
			}
			counts = append(counts, tag.RowsAffected())
			continue
		case *pgconn.PipelineSync:
		case nil:
		}
		break
	}
	return counts, errors.Join(err, pipeline.Close())
}

// State returns the SQLSTATE of an error reported by the server, or "" for any other error.
func State(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}

// Retriable reports whether another attempt may succeed without human intervention. 25006 is the answer of a standby, which may be promoted.
func Retriable(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		if answer.Code == "53100" {
			return false // disk full
		}
		for _, class := range []string{"08", "40", "53", "57", "55P03", "25006", "25P0", "58"} {
			if strings.HasPrefix(answer.Code, class) {
				return true
			}
		}
		return false
	}
	return true
}

// QuoteIdentifier quotes an identifier for SQL.
func QuoteIdentifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// QuoteLiteral quotes a text for SQL.
func QuoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// AppendCopyText escapes the characters that have a special meaning in COPY's text format.
func AppendCopyText(dst, text []byte) []byte {
	from := 0
	for i, c := range text {
		if c > '\r' && c != '\\' {
			continue
		}
		switch c {
		case '\\':
		case '\n':
			c = 'n'
		case '\r':
			c = 'r'
		case '\t':
			c = 't'
		default:
			continue
		}
		dst = append(append(dst, text[from:i]...), '\\', c)
		from = i + 1
	}
	return append(dst, text[from:]...)
}
