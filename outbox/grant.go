package outbox

import (
	"fmt"
	"strings"
)

// grantPublish is the SQL that lets roles execute pgtee.publish(). PUBLIC, which stands for every role
// that there will ever be, is refused. Who may no longer is told by REVOKE, or by teardown.
func grantPublish(roles []string) (string, error) {
	if len(roles) == 0 {
		return "", nil
	}
	quoted := make([]string, len(roles))
	for i, role := range roles {
		if role == "" || strings.EqualFold(role, "public") { // PostgreSQL takes "public" for PUBLIC, quoted too
			return "", fmt.Errorf("grant pgtee.publish to role %q: name the roles that may publish, PUBLIC never may", role)
		}
		quoted[i] = quoteIdentifier(role)
	}
	return fmt.Sprintf(`GRANT EXECUTE ON FUNCTION
		pgtee.publish(text, text, jsonb, jsonb), pgtee.publish(text, text, json, jsonb), pgtee.publish(text, text, text, jsonb),
		pgtee.publish(text, text, bytea, jsonb), pgtee.publish(text, bytea, bytea, jsonb) TO %s;`, strings.Join(quoted, ", ")), nil
}
