package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Verdict counts the errors in the topics of one scenario.
type Verdict struct {
	Transactions, Events int // in the truth

	Lost          int // committed, but not in the topic
	Duplicated    int // more than once in the topic
	Reordered     int // not in commit order
	Misattributed int // names another session, user or SQL than the one that wrote it
	Unattributed  int // went through the proxy, but is "direct"
	Invented      int // never committed: rolled back or altered

	Details []string // the first few of them
}

// Clean reports whether there are no errors.
func (v *Verdict) Clean() bool {
	return v.Lost+v.Duplicated+v.Reordered+v.Misattributed+v.Unattributed+v.Invented == 0
}

func (v *Verdict) String() string {
	line := fmt.Sprintf("transactions=%d events=%d lost=%d duplicated=%d reordered=%d misattributed=%d unattributed=%d invented=%d",
		v.Transactions, v.Events, v.Lost, v.Duplicated, v.Reordered, v.Misattributed, v.Unattributed, v.Invented)
	return strings.Join(append([]string{line}, v.Details...), "\n  ")
}

func (v *Verdict) detail(format string, args ...any) {
	if len(v.Details) < 20 {
		v.Details = append(v.Details, fmt.Sprintf(format, args...))
	}
}

// Direct is the prefix of the application_name of sessions that bypass the proxy, or for whose writes it cannot write notes.
const Direct = "direct"

// expected is an event that the truth requires.
type expected struct {
	content string
	change  *RowChange
}

// place identifies the events of one transaction for one key in a topic.
type place struct {
	commit, key string
}

// checker compares the topics with the truth.
type checker struct {
	Verdict
	truth    *Truth
	order    map[string]int // LSN of the commit record -> place in commit order
	sessions map[string]int32
	backends map[backend]string
}

// backend is a server process; after a crash of the server, another client's process may have the same pid.
type backend struct {
	pid         int32
	application string
}

// Check compares the committed records of the table topics (by table) with the truth.
func Check(truth *Truth, topics map[string][]Record) (*Verdict, error) {
	c := &checker{truth: truth, order: map[string]int{}, sessions: map[string]int32{}, backends: map[backend]string{}}
	c.Transactions = len(truth.Commits)
	for i, commit := range truth.Commits {
		c.order[commit.LSN] = i
	}
	want := c.expect()
	for _, table := range slices.Sorted(maps.Keys(topics)) { // a fixed order, because the first event of a session determines its backend
		if want[table] == nil {
			want[table] = map[place][]expected{}
		}
		if err := c.checkTable(table, want[table], topics[table]); err != nil {
			return nil, err
		}
		delete(want, table)
	}
	for table, groups := range want {
		for _, group := range groups {
			c.Lost += len(group)
		}
		c.detail("lost: no topic of %s", table)
	}
	return &c.Verdict, nil
}

// expect returns the events that the truth requires. A delete is followed by a tombstone; an update of the key is a delete, a tombstone and a create.
func (c *checker) expect() map[string]map[place][]expected {
	all := map[string]map[place][]expected{}
	for _, commit := range c.truth.Commits {
		for i := range commit.Changes {
			change := &commit.Changes[i]
			if all[change.Table] == nil {
				all[change.Table] = map[place][]expected{}
			}
			add := func(row Row, contents ...string) {
				at := place{commit.LSN, c.keyOf(change.Table, row)}
				for _, content := range contents {
					all[change.Table][at] = append(all[change.Table][at], expected{content, change})
					c.Events++
				}
			}
			switch {
			case change.Op == 'T':
				all[change.Table][place{commit: commit.LSN}] = append(all[change.Table][place{commit: commit.LSN}], expected{"t", change})
				c.Events++
			case change.Op == 'I':
				add(change.New, "c"+change.New.Text())
			case change.Op == 'D':
				add(change.Old, "d", "tombstone")
			case c.keyOf(change.Table, change.Old) != c.keyOf(change.Table, change.New):
				add(change.Old, "d", "tombstone")
				add(change.New, "c"+change.New.Text())
			default:
				add(change.New, "u"+change.New.Text())
			}
		}
	}
	return all
}

func (c *checker) keyOf(table string, row Row) string {
	if columns := c.truth.Keys[table]; columns != nil {
		return row.only(columns).Text()
	}
	return ""
}

func (c *checker) checkTable(table string, want map[place][]expected, records []Record) error {
	got := map[place][]*Event{}
	var places []place // those of got, in the order in which the log first names them
	ids := map[string]bool{}
	latest := map[int32]int{} // place in commit order, by partition
	for _, r := range records {
		e, err := parseEvent(r)
		if err != nil {
			return err
		}
		at := place{commit: e.Commit}
		if at.key, err = e.keyText(); err != nil {
			return err
		}
		if e.Op != "t" || e.Partition == 0 { // TRUNCATE is in each partition
			if got[at] == nil {
				places = append(places, at)
			}
			got[at] = append(got[at], &e)
		}
		if ids[e.ID] {
			c.Duplicated++
			c.detail("duplicated: %s event id %s occurs twice", table, e.ID)
		}
		ids[e.ID] = true
		if i, known := c.order[e.Commit]; known && i < latest[e.Partition] {
			c.Reordered++
			c.detail("reordered: %s offset %d, commit %s comes after commit %s", table, e.Offset, e.Commit, c.truth.Commits[latest[e.Partition]].LSN)
		} else if known {
			latest[e.Partition] = i
		}
	}
	for _, at := range places {
		c.checkGroup(table, at, want[at], got[at])
	}
	for at, missing := range want {
		if got[at] == nil {
			c.checkGroup(table, at, missing, nil)
		}
	}
	return nil
}

// checkGroup compares the events of one transaction for one key.
func (c *checker) checkGroup(table string, at place, want []expected, got []*Event) {
	left := slices.Clone(want)
	inOrder := len(want) == len(got)
	for i, e := range got {
		inOrder = inOrder && e.content() == want[i].content
		k := slices.IndexFunc(left, func(x expected) bool { return x.content == e.content() })
		if k >= 0 {
			c.checkAuthor(table, e, left[k].change)
			left = slices.Delete(left, k, k+1)
			continue
		}
		if slices.ContainsFunc(want, func(x expected) bool { return x.content == e.content() }) {
			c.Duplicated++
			c.detail("duplicated: %s commit %s key %s: %s", table, at.commit, at.key, e.content())
		} else {
			c.Invented++
			c.detail("invented: %s commit %s key %s: %s", table, at.commit, at.key, e.content())
		}
		inOrder = true // already counted
	}
	c.Lost += len(left)
	for _, x := range left {
		c.detail("lost: %s commit %s key %s: %s", table, at.commit, at.key, x.content)
	}
	if len(left) == 0 && !inOrder {
		c.Reordered++
		c.detail("reordered: %s within commit %s, key %s", table, at.commit, at.key)
	}
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
	if complaint := c.authorComplaint(table, said, change, direct); complaint != "" {
		c.Misattributed++
		c.detail("misattributed: %s commit %s key %s: %s", table, e.Commit, e.Key, complaint)
	}
}

// authorComplaint says what is wrong with an attribution; "" if it is correct.
func (c *checker) authorComplaint(table string, said *Attribution, change *RowChange, direct bool) string {
	session, text := &said.Session, said.Statement.Text
	author := backend{change.PID, change.Application}
	if c.sessions[session.ID] == 0 && c.backends[author] == "" {
		c.sessions[session.ID], c.backends[author] = change.PID, session.ID
	}
	nonce, _ := change.New["stmt"].(string)
	_, name, _ := strings.Cut(table, ".")
	switch {
	case direct:
		return "written past the proxy, but attributed to session " + session.ID
	case said.Via != "proxy" || !said.Verified:
		return fmt.Sprintf("via %q, verified %t", said.Via, said.Verified)
	case session.PID != change.PID || c.sessions[session.ID] != change.PID || c.backends[author] != session.ID:
		return fmt.Sprintf("says session %s of backend %d, written by backend %d (session %s)", session.ID, session.PID, change.PID, c.backends[author])
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

// CheckAudit adds the errors of the audit topic, which must have one record per commit, in commit order.
func (v *Verdict) CheckAudit(truth *Truth, records []Record) error {
	order := map[string]int{}
	for i, commit := range truth.Commits {
		order[commit.LSN] = i
	}
	seen := make([]int, len(truth.Commits))
	latest := map[int32]int{}
	for _, r := range records {
		commit, _, err := placeOf(r.Headers["pgtee-event-id"])
		if err != nil {
			return err
		}
		i, known := order[commit]
		if !known {
			continue // of tables that are not watched
		}
		if i < latest[r.Partition] {
			v.Reordered++
			v.detail("reordered: the audit record of commit %s", commit)
		}
		latest[r.Partition] = i
		seen[i]++
	}
	for i, n := range seen {
		switch {
		case n == 0:
			v.Lost++
			v.detail("lost: the audit record of commit %s", truth.Commits[i].LSN)
		case n > 1:
			v.Duplicated++
			v.detail("duplicated: %d audit records of commit %s", n, truth.Commits[i].LSN)
		}
	}
	return nil
}
