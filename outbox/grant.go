package outbox

import (
	"fmt"
	"strings"
)

// Privileges granted to roles; %s are the names of the roles.
const (
	publisherGrant = `GRANT SELECT ON pgtee.meta TO %s;`
	publishGrant   = `GRANT EXECUTE ON FUNCTION
		pgtee.publish(text, text, jsonb, jsonb), pgtee.publish(text, text, json, jsonb), pgtee.publish(text, text, text, jsonb),
		pgtee.publish(text, text, bytea, jsonb), pgtee.publish(text, bytea, bytea, jsonb) TO %s;`
	signalGrant = `GRANT EXECUTE ON FUNCTION pgtee.snapshot(regclass[], text, text),
		pgtee.snapshot_pause(text), pgtee.snapshot_resume(text), pgtee.snapshot_cancel(text) TO %[1]s;
		GRANT INSERT, SELECT ON pgtee.signal TO %[1]s;`
)

// grant returns the SQL that grants privileges to roles. It refuses PUBLIC, which is every present and future role. REVOKE or teardown removes the
// privileges.
func grant(what, sql string, roles []string) (string, error) {
	if len(roles) == 0 {
		return "", nil
	}
	quoted := make([]string, len(roles))
	for i, role := range roles {
		if role == "" || strings.EqualFold(role, "public") { // PostgreSQL reads "public" as PUBLIC, even in quotes
			return "", fmt.Errorf("grant %s to role %q: name single roles, PUBLIC never may", what, role)
		}
		quoted[i] = quoteIdentifier(role)
	}
	return fmt.Sprintf(sql, strings.Join(quoted, ", ")), nil
}
