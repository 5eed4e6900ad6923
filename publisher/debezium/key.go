package debezium

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// identityOf says what the log has of the old rows of a table. For a partitioned one the catalog has to know, for the log says what the identity of
// the root is, and has what those of the leaves are.
func identityOf(r *pgoutput.Relation, known *Table) record.Identity {
	if !known.Partitioned {
		return record.LoggedIdentity(r)
	}
	id := record.Identity{Whole: known.Identity == nil}
	for i, c := range r.Columns {
		if id.Whole || slices.Contains(known.Identity, c.Name) {
			id.Columns = append(id.Columns, i)
		}
	}
	return id
}

// unloggedKey returns a column of the replica identity that the log leaves out, a generated one: without it the others may be the same in
// several rows. "": there is none.
func unloggedKey(r *pgoutput.Relation, known *Table) string {
	for _, name := range known.Identity {
		if indexOf(r, name) < 0 && slices.Contains(known.Generated, name) {
			return name
		}
	}
	return ""
}

// chooseKey returns the columns of the record key: those of the first of the table's keys whose values the log has in every old row; without a primary key
// the one that it had before, if that is still there. If the catalog knows none, they are the columns of the replica identity that the log names. nil: the
// records have no key.
//
// Stream and snapshot both come here, and so do versions of the table: the same table has the same key.
func (e *Encoder) chooseKey(r *pgoutput.Relation, known *Table) []int {
	id, logged := identityOf(r, known), record.LoggedIdentity(r)
	usable := usableKeys(r, known, id, logged)
	switch {
	case known.Primary || len(usable) == 0:
		e.config.Keys.Forget(r.OID)
	default:
		return locate(r, e.config.Keys.Choose(r.OID, usable), id.Columns)
	}
	switch {
	case len(usable) > 0:
		return locate(r, usable[0], id.Columns)
	case logged.Whole || id.Whole || unloggedKey(r, known) != "" || slices.ContainsFunc(logged.Columns, func(i int) bool { return !slices.Contains(id.Columns, i) }):
		return nil
	}
	return logged.Columns
}

// usableKeys lists the keys that a record can have: the log has their columns of every old row.
func usableKeys(r *pgoutput.Relation, known *Table, id, logged record.Identity) (usable [][]string) {
	if !id.Whole && unloggedKey(r, known) != "" {
		return nil
	}
	for _, names := range known.Keys {
		if r.Identity == 'd' && len(logged.Columns) > 0 && len(names) != len(logged.Columns) {
			continue // the log names the columns of the primary key of that time: this one came later
		}
		if locate(r, names, id.Columns) != nil {
			usable = append(usable, names)
		}
	}
	return usable
}

// locate returns where the named columns are; nil if one is missing, or old rows do not have it.
func locate(r *pgoutput.Relation, names []string, identity []int) []int {
	var key []int
	for _, name := range names {
		i := indexOf(r, name)
		if i < 0 || len(identity) > 0 && !slices.Contains(identity, i) {
			return nil
		}
		key = append(key, i)
	}
	return key
}

func indexOf(r *pgoutput.Relation, name string) int {
	return slices.IndexFunc(r.Columns, func(c pgoutput.Column) bool { return c.Name == name })
}

// warnOfKey says what an operator should know of the key of a table's records: that there is none although the table has one, or that it is another than
// that of the records before.
func (e *Encoder) warnOfKey(t *table, known *Table, found bool) {
	r, before := t.relation, e.tables[t.relation.OID]
	if e.config.Warn == nil {
		return
	}
	name := r.Schema + "." + r.Name
	generated := unloggedKey(r, known)
	switch {
	case before != nil && t.keyNames() == before.keyNames():
	case generated != "" && t.key == nil:
		e.config.Warn("table-key-generated", fmt.Sprintf("records of table %s have no key: its replica identity has the generated column %s, which the log does not have "+
			"(on PostgreSQL 18 run pgtee setup; before, make it a plain column, or give the table another unique index and REPLICA IDENTITY USING INDEX)", name, generated))
	case !found && r.Identity == 'f':
		e.config.Warn("table-key-changed", fmt.Sprintf("records of table %s have no key: it was dropped before they were read, and what it was is not known any more; take a new snapshot of the table if there is one of that name", name))
	case before != nil && !before.excluded && before.key != nil:
		e.config.Warn("table-key-changed", fmt.Sprintf("the key of table %s is another one from here on: %s instead of %s. Records of the same row have both; take a new snapshot of it with a signal of type resync",
			name, t.keyNames(), before.keyNames()))
	}
}

func (t *table) keyNames() string {
	if t.key == nil {
		return "none"
	}
	var names []string
	for _, i := range t.key {
		names = append(names, t.relation.Columns[i].Name)
	}
	return "(" + strings.Join(names, ", ") + ")"
}
