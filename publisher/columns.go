package publisher

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// maxKnownBytes bounds the memory of knownColumns. When it is exceeded, everything is forgotten.
const maxKnownBytes = 16 << 20

// columnBefore is a column of a table before a DDL command. Fields that the stream has not supplied are left out: without an earlier DDL record of
// the table, only names and the OIDs of types are known.
type columnBefore struct {
	Name    string `json:"name"`
	Type    string `json:"type,omitempty"`     // format_type()
	TypeOID uint32 `json:"type_oid,omitempty"` // pg_type.oid if Type is not known; for a domain, its base type
	NotNull *bool  `json:"not_null,omitempty"`
	Default string `json:"default,omitempty"`
}

// knownColumns holds the latest columns of each table in the stream, by OID: from a DDL record, else from the Relation that precedes rows. It never
// reads the catalog, which may be ahead of the stream.
type knownColumns struct {
	tables map[uint32]knownTable
	bytes  int
}

type knownTable struct {
	columns  []outbox.DDLColumn // of the latest DDL record; nil: there was none
	relation *pgoutput.Relation // used if columns is nil
}

// forget must be called before transactions are composed again, because they must not see columns from later transactions.
func (k *knownColumns) forget() { *k = knownColumns{} }

// row remembers the Relation of a row; r may be nil.
func (k *knownColumns) row(r *pgoutput.Relation) {
	if r == nil {
		return
	}
	if known, ok := k.tables[r.OID]; !ok || known.columns == nil && known.relation != r {
		k.set(r.OID, knownTable{relation: r})
	}
}

// ddl remembers the columns in a DDL record.
func (k *knownColumns) ddl(d *outbox.DDLRecord) {
	for _, o := range d.Objects {
		if o.Columns != nil {
			k.set(o.OID, knownTable{columns: o.Columns})
		}
	}
}

// before returns the columns of an object's table before the DDL record that names it; nil if they are not known, or if the object is not a table.
func (k *knownColumns) before(o outbox.DDLObject) []columnBefore {
	if o.Type != "table" && o.Type != "table column" {
		return nil
	}
	var before []columnBefore
	known := k.tables[o.OID]
	for _, c := range known.columns {
		before = append(before, columnBefore{Name: c.Name, Type: c.Type, NotNull: &c.NotNull, Default: c.Default})
	}
	if known.relation != nil {
		for _, c := range known.relation.Columns {
			before = append(before, columnBefore{Name: c.Name, TypeOID: c.Type})
		}
	}
	return before
}

func (k *knownColumns) set(oid uint32, t knownTable) {
	k.drop(oid)
	if k.bytes+t.size() > maxKnownBytes {
		k.forget()
	}
	if t.size() > maxKnownBytes {
		return
	}
	if k.tables == nil {
		k.tables = map[uint32]knownTable{}
	}
	k.tables[oid] = t
	k.bytes += t.size()
}

func (k *knownColumns) drop(oid uint32) {
	k.bytes -= k.tables[oid].size()
	delete(k.tables, oid)
}

// size is the approximate memory that t occupies; 0 for the zero value.
func (t knownTable) size() int {
	n := 0
	for _, c := range t.columns {
		n += 64 + len(c.Name) + len(c.Type) + len(c.Default)
	}
	if t.relation != nil {
		n += 64
		for _, c := range t.relation.Columns {
			n += 64 + len(c.Name)
		}
	}
	return n
}
