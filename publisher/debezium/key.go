package debezium

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// identityOf returns the columns that the WAL holds for the old rows of a table. For a partitioned table it needs the catalog: the Relation describes
// the replica identity of the root, but old rows have the columns of the leaf's replica identity. A configured key says that its columns are unique,
// and old rows have them.
func identityOf(r *pgoutput.Relation, known *Table, configured bool) record.Identity {
	ambiguous := !configured && unloggedKey(r, known) != ""
	if !known.Partitioned {
		id := record.LoggedIdentity(r)
		id.Ambiguous = !id.Whole && ambiguous
		return id
	}
	id := record.Identity{Whole: known.Identity == nil, Ambiguous: ambiguous}
	for i, c := range r.Columns {
		if id.Whole || slices.Contains(known.Identity, c.Name) {
			id.Columns = append(id.Columns, i)
		}
	}
	return id
}

// unloggedKey returns a generated column of the replica identity that the WAL leaves out: without it, several rows may have the same values in the
// other columns. "" means that there is none.
func unloggedKey(r *pgoutput.Relation, known *Table) string {
	for _, name := range known.Identity {
		if indexOf(r, name) < 0 && slices.Contains(known.Generated, name) {
			return name
		}
	}
	return ""
}

// chooseKey returns the columns of the record key: the first of the table's keys whose values the WAL has for every old row. A table without a
// primary key keeps its previous key if that still exists, also if columns of it were renamed. If the catalog lists no usable key, the columns of the
// replica identity in the Relation are the key. nil means that the records have no key.
//
// Stream and snapshot both use chooseKey, for every version of the table, so the same table always has the same key.
func (e *Encoder) chooseKey(r *pgoutput.Relation, known *Table) []int {
	id, logged := identityOf(r, known, false), record.LoggedIdentity(r)
	usable := usableKeys(r, known, id, logged)
	switch {
	case known.Primary || len(usable) == 0:
		e.config.Keys.Forget(r.OID)
	default:
		return locate(r, e.config.Keys.Choose(r.OID, usable, known.Numbers), id.Columns)
	}
	switch {
	case len(usable) > 0:
		return locate(r, usable[0], id.Columns)
	case logged.Whole || id.Whole || unloggedKey(r, known) != "" || !subset(logged.Columns, id.Columns):
		return nil
	}
	return logged.Columns
}

// usableKeys lists the keys whose columns the WAL has for every old row.
func usableKeys(r *pgoutput.Relation, known *Table, id, logged record.Identity) (usable [][]string) {
	if !id.Whole && unloggedKey(r, known) != "" {
		return nil
	}
	primary := r.Identity == 'd' && len(logged.Columns) > 0 && subset(logged.Columns, id.Columns)
	for _, names := range known.Keys {
		if primary && len(names) != len(logged.Columns) {
			continue // pgoutput names the primary key of the time of the change; this key was created later
		}
		if locate(r, names, id.Columns) != nil {
			usable = append(usable, names)
		}
	}
	return usable
}

// locate returns the indexes of the named columns; nil if a column does not exist or old rows do not have it.
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

// subset reports whether all contains each element of some.
func subset(some, all []int) bool {
	return !slices.ContainsFunc(some, func(i int) bool { return !slices.Contains(all, i) })
}

func indexOf(r *pgoutput.Relation, name string) int {
	return slices.IndexFunc(r.Columns, func(c pgoutput.Column) bool { return c.Name == name })
}

// warnOfKey warns the operator if a table's records have no key although the table has one, or if their key has changed.
func (e *Encoder) warnOfKey(t *table, known *Table, found bool) {
	r, before := t.relation, e.tables[t.relation.OID]
	if e.config.Warn == nil {
		return
	}
	name := r.Schema + "." + r.Name
	generated := unloggedKey(r, known)
	switch {
	case before != nil && t.keyNames() == before.keyNames() && (t.key == nil || before.excluded || t.keyForm() == before.keyForm()):
	case generated != "" && t.key == nil:
		e.config.Warn("table-key-generated", fmt.Sprintf("records of table %s have no key: its replica identity has the generated column %s, which is not in the WAL "+
			"(on PostgreSQL 18 run pgtee setup; on older versions make it a plain column, or give the table another unique index and REPLICA IDENTITY USING INDEX)", name, generated))
	case !found && r.Identity == 'f':
		e.config.Warn("table-key-changed", fmt.Sprintf("records of table %s have no key: the table was dropped before they were read, and its key is not known any more; if a table of that name exists, take a new snapshot of it", name))
	case before != nil && !before.excluded && before.key != nil && t.keyNames() == before.keyNames():
		e.config.Warn("table-key-changed", fmt.Sprintf("a column of the key %s of table %s has another type from here on. Records of the same row have two keys; take a new snapshot of it with a signal of type resync",
			t.keyNames(), name))
	case before != nil && !before.excluded && before.key != nil:
		e.config.Warn("table-key-changed", fmt.Sprintf("the key of table %s is another one from here on: %s instead of %s. Records of the same row have both; take a new snapshot of it with a signal of type resync",
			name, t.keyNames(), before.keyNames()))
	}
}

// warnOfLossyKey warns the operator if two rows of a table may have one key, because the form of a key column does not show every value.
func (e *Encoder) warnOfLossyKey(t *table) {
	for _, i := range t.key {
		if repair := t.columns[i].inKey().codec.lossy; repair != "" {
			e.warnOnce(t, "table-key-lossy", fmt.Sprintf("different rows of table %s may have the same key, because records do not show all of key column %s: %s, then publish the table again with a signal of type resync",
				t.relation.Schema+"."+t.relation.Name, t.relation.Columns[i].Name, repair))
		}
	}
}

// keyForm returns the types of the key columns, as far as they determine the JSON of a key: integers of all sizes look the same.
func (t *table) keyForm() string {
	var types []string
	for _, i := range t.key {
		s := t.columns[i].inKey().keySchema
		form := string(s.Type)
		if strings.HasPrefix(form, "int") {
			form = "int"
		}
		types = append(types, form+" "+s.Name)
	}
	return strings.Join(types, ", ")
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
