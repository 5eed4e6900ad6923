package verdict

import (
	"fmt"
	"strings"
)

// Direct is the prefix of the application_name of sessions that bypass the proxy, or for whose writes it cannot write notes.
const Direct = "direct"

// backend is a server process; after a crash of the server, another client's process may have the same pid.
type backend struct {
	pid         int32
	application string
}

// authors know the backend of each session: that of the first event that names the session.
type authors struct {
	sessions map[string]int32
	backends map[backend]string
}

func newAuthors() authors {
	return authors{sessions: map[string]int32{}, backends: map[backend]string{}}
}

// checkAuthor compares the author and the statement that an event names with what the backend itself recorded.
func (c *checker) checkAuthor(table string, e *Event, change *RowChange) {
	if e.Tombstone {
		return
	}
	said := &e.Pgtee
	direct := strings.HasPrefix(change.Application, Direct)
	switch {
	case said.Via == "direct" && direct:
		return
	case said.Via == "direct":
		c.Unattributed++
		c.detail("unattributed: %s commit %s by %s (%s), pid %d: %s", table, e.Commit, change.User, change.Application, change.PID, change.Query)
		return
	}
	if complaint := c.authors.complaint(table, said, change, direct); complaint != "" {
		c.Misattributed++
		c.detail("misattributed: %s commit %s key %s: %s", table, e.Commit, e.Key, complaint)
	}
}

// complaint says what is wrong with an attribution; "" if it is correct.
func (a *authors) complaint(table string, said *Attribution, change *RowChange, direct bool) string {
	session, text := &said.Session, said.Statement.Text
	author := backend{change.PID, change.Application}
	if a.sessions[session.ID] == 0 && a.backends[author] == "" {
		a.sessions[session.ID], a.backends[author] = change.PID, session.ID
	}
	nonce, _ := change.New["stmt"].(string)
	_, name, _ := strings.Cut(table, ".")
	switch {
	case direct:
		return "written past the proxy, but attributed to session " + session.ID
	case said.Via != "proxy" || !said.Verified:
		return fmt.Sprintf("via %q, verified %t", said.Via, said.Verified)
	case session.PID != change.PID || a.sessions[session.ID] != change.PID || a.backends[author] != session.ID:
		return fmt.Sprintf("says session %s of backend %d, written by backend %d (session %s)", session.ID, session.PID, change.PID, a.backends[author])
	case session.User != change.User || session.Application != change.Application:
		return fmt.Sprintf("says %s (%s), written by %s (%s)", session.User, session.Application, change.User, change.Application)
	case text == "" || !strings.Contains(change.Query, text):
		return fmt.Sprintf("says statement %q, the backend ran %q", text, change.Query)
	case !strings.Contains(text, nonce):
		return fmt.Sprintf("says statement %q, the row's is %s", text, nonce)
	case strings.HasPrefix(name, "pgbench_") && !strings.Contains(text, name):
		return fmt.Sprintf("says statement %q, the row is of %s", text, name)
	}
	return ""
}
