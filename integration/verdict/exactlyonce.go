package verdict

import (
	"maps"
	"slices"
)

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
	truth   *Truth
	order   map[string]int
	authors authors
}

// Check compares the committed records of the table topics (by table) with the truth.
func Check(truth *Truth, topics map[string][]Record) (*Verdict, error) {
	c := &checker{truth: truth, order: truth.order(), authors: newAuthors()}
	c.Transactions = len(truth.Commits)
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
				at := place{commit.LSN, c.truth.key(change.Table, row)}
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
			case c.truth.key(change.Table, change.Old) != c.truth.key(change.Table, change.New):
				add(change.Old, "d", "tombstone")
				add(change.New, "c"+change.New.Text())
			default:
				add(change.New, "u"+change.New.Text())
			}
		}
	}
	return all
}

func (c *checker) checkTable(table string, want map[place][]expected, records []Record) error {
	got := map[place][]*Event{}
	var places []place // those of got, in the order in which the log first names them
	ids := map[string]bool{}
	latest := map[int32]int{} // place in commit order, by partition
	for _, r := range records {
		e, err := ParseEvent(r)
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
	surplus := false
	for _, e := range got {
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
		surplus = true
	}
	c.Lost += len(left)
	for _, x := range left {
		c.detail("lost: %s commit %s key %s: %s", table, at.commit, at.key, x.content)
	}
	inOrder := slices.EqualFunc(want, got, func(x expected, e *Event) bool { return x.content == e.content() })
	if len(left) == 0 && !surplus && !inOrder {
		c.Reordered++
		c.detail("reordered: %s within commit %s, key %s", table, at.commit, at.key)
	}
}

// CheckAudit adds the errors of the audit topic, which must have one record per commit, in commit order.
func (v *Verdict) CheckAudit(truth *Truth, records []Record) error {
	order := truth.order()
	seen := make([]int, len(truth.Commits))
	latest := map[int32]int{}
	for _, r := range records {
		commit, _, err := parseID(r.EventID())
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
