package outbox

import (
	"context"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5/pgconn"
)

// service is the managed service that hosts a server, recognized by the roles that the service creates. On such a service no user is a superuser, the
// configuration cannot be changed by SQL, and replication is granted in a different way.
type service struct {
	admin string // the role that identifies the service; "" for a self-hosted server
	// How to let a role (%s) replicate, and where to change a setting.
	replication, settings string
}

var services = []service{
	{"rds_replication", "GRANT rds_replication TO %s as the master user", "the DB parameter group"},
	{"cloudsqlsuperuser", "ALTER ROLE %s REPLICATION as a member of cloudsqlsuperuser", "the flags of the instance"},
	{"alloydbsuperuser", "ALTER ROLE %s REPLICATION as a member of alloydbsuperuser", "the flags of the instance"},
	{"azure_pg_admin", "ALTER ROLE %s REPLICATION as the server's administrator", "the server parameters"},
	{"supabase_admin", "ALTER ROLE %s REPLICATION as role postgres", "the project with supabase postgres-config update --config"},
}

// logicalFlags has the services' counterparts of wal_level.
var logicalFlags = map[string]string{
	"rds_replication":   "set rds.logical_replication = 1 in the DB parameter group and reboot",
	"cloudsqlsuperuser": "set the flag cloudsql.logical_decoding = on and restart the instance",
	"alloydbsuperuser":  "set the flag alloydb.logical_decoding = on and restart the instance",
	"azure_pg_admin":    "set the server parameter wal_level = LOGICAL and restart",
	"supabase_admin":    "set wal_level = logical in the project with supabase postgres-config update --config",
}

func findService(ctx context.Context, conn *pgconn.PgConn) (service, error) {
	for _, s := range services {
		got, err := rows(ctx, conn, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", s.admin)
		if err != nil {
			return service{}, err
		}
		if got[0][0] == "t" {
			return s, nil
		}
	}
	return service{replication: "ALTER ROLE %s REPLICATION as a superuser"}, nil
}

// letReplicate says how to let a role use slots.
func (s service) letReplicate(role string) string {
	return "run " + fmt.Sprintf(s.replication, quoteIfNeeded(role))
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// quoteIfNeeded quotes a name only where SQL requires it.
func quoteIfNeeded(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return quoteIdentifier(name)
}

// set says how to change a setting, and how to apply it: "SELECT pg_reload_conf()", or "restart the server".
func (s service) set(name, value, then string) string {
	if s.admin == "" {
		return fmt.Sprintf("run ALTER SYSTEM SET %s = %s and %s", name, value, then)
	}
	if name == "wal_level" {
		return logicalFlags[s.admin]
	}
	return fmt.Sprintf("set %s = %s in %s", name, value, s.settings)
}
