package publisher

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// maxKnownBytes bounds what is remembered of columns. Above it all is forgotten.
const maxKnownBytes = 16 << 20

// columnBefore is a column of a table before a DDL command. What the stream did not tell is left out:
// without an earlier DDL record of the table it tells names and the OIDs of types only.
type columnBefore struct {
	Name    string `json:"name"`
	Type    string `json:"type,omitempty"`     // format_type()
	TypeOID uint32 `json:"type_oid,omitempty"` // pg_type.oid, where Type is not known; of a domain: its base type
	NotNull *bool  `json:"not_null,omitempty"`
	Default string `json:"default,omitempty"`
}

// knownColumns are the columns of tables as the stream last told of them, by OID of the table: in a DDL
// record, else in the description that comes before rows. It never asks the catalog, which may be ahead
// of the stream.
type knownColumns struct {
	tables map[uint32]knownTable
	bytes  int
}

type knownTable struct {
	columns  []outbox.DDLColumn // of the last DDL record; nil: none
	relation *pgoutput.Relation // else
}

// forget is called before transactions are composed again: they must not be told of what follows them.
func (k *knownColumns) forget() { *k = knownColumns{} }

// row learns from the description of a row; r may be nil.
func (k *knownColumns) row(r *pgoutput.Relation) {
	if r == nil {
		return
	}
	if known, ok := k.tables[r.OID]; !ok || known.columns == nil && known.relation != r {
		k.set(r.OID, knownTable{relation: r})
	}
}

// ddl learns from a DDL record.
func (k *knownColumns) ddl(d *outbox.DDLRecord) {
	for _, o := range d.Objects {
		switch {
		case o.Dropped && o.Type == "table":
			k.drop(o.OID)
		case o.Columns != nil:
			k.set(o.OID, knownTable{columns: o.Columns})
		}
	}
}

// before returns the columns of an object's table before the record that names it was learned; nil: not
// known, or no table.
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

// size is about the memory that t takes; 0 of the zero value.
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
