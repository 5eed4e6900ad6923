package outbox

import (
	"context"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5/pgconn"
)

// service is where a server runs, told by the roles that a managed service makes: there nobody is a superuser or changes the
// server's configuration by SQL, and who may replicate is told otherwise.
type service struct {
	admin string // the role that marks it; "" for a server of one's own
	// How to let a role replicate, for %s, and how to change a setting.
	replication, settings string
}

var services = []service{
	{"rds_replication", "GRANT rds_replication TO %s as the master user", "the DB parameter group"},
	{"cloudsqlsuperuser", "ALTER ROLE %s REPLICATION as a member of cloudsqlsuperuser", "the flags of the instance"},
	{"alloydbsuperuser", "ALTER ROLE %s REPLICATION as a member of alloydbsuperuser", "the flags of the instance"},
	{"azure_pg_admin", "ALTER ROLE %s REPLICATION as the server's administrator", "the server parameters"},
	{"supabase_admin", "ALTER ROLE %s REPLICATION as role postgres", "the project with supabase postgres-config update --config"},
}

// logicalFlags are what services have in place of wal_level.
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

// letReplicate is how a role gets to use slots.
func (s service) letReplicate(role string) string {
	return "run " + fmt.Sprintf(s.replication, quoteIfNeeded(role))
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// quoteIfNeeded is a name as people write it.
func quoteIfNeeded(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return quoteIdentifier(name)
}

// set is how a setting is changed, and what makes it count: "SELECT pg_reload_conf()", or "restart the server".
func (s service) set(name, value, then string) string {
	if s.admin == "" {
		return fmt.Sprintf("run ALTER SYSTEM SET %s = %s and %s", name, value, then)
	}
	if name == "wal_level" {
		return logicalFlags[s.admin]
	}
	return fmt.Sprintf("set %s = %s in %s", name, value, s.settings)
}
