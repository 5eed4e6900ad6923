package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// connect opens an ordinary connection for setup and checks. Its settings override the defaults of the role and the database.
func connect(ctx context.Context, connString string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(connString)
	if err != nil {
		return nil, err // pgconn masks the password
	}
	OwnSettings(config)
	config.RuntimeParams["application_name"] = "pgtee"
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.RuntimeParams["search_path"] = "pg_catalog"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, ConnectError{connectError(config, err)}
	}
	if conn.ParameterStatus("server_encoding") == asciiName { // the server cannot convert from SQL_ASCII, so names would cause errors
		if _, err := simpleQuery(ctx, conn, "SET client_encoding = 'SQL_ASCII'"); err != nil {
			conn.Close(context.WithoutCancel(ctx))
			return nil, fmt.Errorf("receive text unconverted: %w", err)
		}
	}
	return conn, nil
}

// ConnectError means that the server cannot be reached or refuses the login.
type ConnectError struct{ error }

func (e ConnectError) Unwrap() error { return e.error }

// connectError turns an error of pgconn into one line that says what to do.
func connectError(config *pgconn.Config, err error) error {
	var pgErr *pgconn.PgError
	where := fmt.Sprintf("PostgreSQL at %s:%d, database %s, user %s", config.Host, config.Port, config.Database, config.User)
	if !errors.As(err, &pgErr) {
		return fmt.Errorf("cannot reach %s: is it running, and are host and port of --postgres right? (%w)", where, oneLine{err})
	}
	if isPooler(pgErr) {
		return fmt.Errorf("%w (%w)", poolerError(config), pgErr)
	}
	switch pgErr.Code {
	case "28P01", "28000":
		return fmt.Errorf("%s refused the login: check user and password of --postgres and pg_hba.conf (%w)", where, pgErr)
	case "3D000":
		return fmt.Errorf("%s: the database does not exist: name one that does in --postgres (%w)", where, pgErr)
	}
	return fmt.Errorf("%s: %w", where, pgErr)
}

// mayReplicate asks the server whether the role may replicate, because managed services grant that in their own ways.
func mayReplicate(ctx context.Context, connString string) (bool, error) {
	conn, err := connectReplication(ctx, connString)
	if err != nil {
		return false, err
	}
	conn.Close(context.WithoutCancel(ctx))
	return true, nil
}

// isPooler reports whether PgBouncer or a similar pooler has refused a request that only a server can serve.
func isPooler(err *pgconn.PgError) bool {
	return err.Code == "08P01" && strings.Contains(err.Message, "startup parameter")
}

// poolerError returns the one-line error that --postgres names a pooler.
func poolerError(config *pgconn.Config) error {
	return fmt.Errorf("%s:%d %w", config.Host, config.Port, ErrPooler)
}

// ErrPooler means that --postgres names a pooler.
var ErrPooler = errors.New("is a pooler, through which nothing can be replicated: name the server itself in --postgres")

// oneLine prints an error of several lines as one line.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }

// execute runs one or more SQL statements and discards their results.
func execute(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		// The text may have opened a transaction; leave the connection usable.
		_, _ = conn.Exec(ctx, "ROLLBACK").ReadAll()
	}
	return err
}

// rows runs one statement and returns its rows as text; NULL is "".
func rows(ctx context.Context, conn *pgconn.PgConn, sql string, args ...string) ([][]string, error) {
	params := make([][]byte, len(args))
	for i, arg := range args {
		params[i] = []byte(arg)
	}
	result := conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	table := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		for _, value := range row {
			table[i] = append(table[i], string(value))
		}
	}
	return table, nil
}

// quoteLiteral returns a string constant that is read the same under any setting of the session.
func quoteLiteral(s string) string {
	quoted := "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + quoted
	}
	return quoted
}
