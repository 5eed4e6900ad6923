package pgoutput

// Relation is a table as the log described it when the change was made.
// It is immutable: a later ALTER TABLE makes a new Relation, so a pointer to one is its version.
type Relation struct {
	OID      uint32
	Schema   string
	Name     string
	Identity byte // REPLICA IDENTITY: 'd' default, 'n' nothing, 'f' full, 'i' index
	Columns  []Column
}

// KeyNames are the columns that tell the rows of the table apart; none: nothing does.
func (r *Relation) KeyNames() (names []string) {
	for _, c := range r.Columns {
		if c.Key {
			names = append(names, c.Name)
		}
	}
	return names
}

// Column is a column of a Relation, in the order of the tuples.
type Column struct {
	Name    string
	Type    uint32 // pg_type.oid
	TypeMod int32  // pg_attribute.atttypmod, -1 for none
	Key     bool   // part of the replica identity

	// TypeSchema and TypeName name a type that is not built in (of a domain: its base type); else "".
	// They come from Type messages, so whoever keeps those fills them in before the Relation is used.
	TypeSchema, TypeName string
}
