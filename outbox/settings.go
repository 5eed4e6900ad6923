package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// ownSettings are the settings of pgtee's own connections. They override the defaults of the role and the database, which are meant for applications.
// All supported servers have these settings.
var ownSettings = map[string]string{
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_session_timeout":                "0",
	"idle_in_transaction_session_timeout": "0",
	"client_connection_check_interval":    "0",
	"tcp_keepalives_idle":                 "0",
	"tcp_keepalives_interval":             "0",
	"tcp_keepalives_count":                "0",
	"tcp_user_timeout":                    "0",
	"default_transaction_isolation":       "read committed",
	"default_transaction_read_only":       "off",
	"default_transaction_deferrable":      "off",
}

// laterSettings sets what only newer servers have. transaction_timeout (PostgreSQL 17) also ends a walsender that needs longer for a transaction.
const laterSettings = "SELECT pg_catalog.set_config(s.name, '0', false) FROM pg_catalog.pg_settings AS s WHERE s.name OPERATOR(pg_catalog.=) 'transaction_timeout'"

// OwnSettings applies ownSettings to connections made with config.
func OwnSettings(config *pgconn.Config) {
	for name, value := range ownSettings {
		config.RuntimeParams[name] = value
	}
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if _, err := conn.Exec(ctx, laterSettings).ReadAll(); err != nil {
			return fmt.Errorf("settings of the session: %w", err)
		}
		return nil
	}
}
