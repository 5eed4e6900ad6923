package pgoutput

// Relation is a table as the stream described it when the change was made. It is immutable: a later ALTER TABLE results in a new Relation, so a
// pointer to a Relation identifies its version.
type Relation struct {
	OID      uint32
	Schema   string
	Name     string
	Identity byte // REPLICA IDENTITY: 'd' default, 'n' nothing, 'f' full, 'i' index
	Columns  []Column
}

// Column is a column of a Relation, in the order of the tuples.
type Column struct {
	Name    string
	Type    uint32 // pg_type.oid
	TypeMod int32  // pg_attribute.atttypmod, -1 for none
	Key     bool   // part of the replica identity

	// TypeSchema and TypeName name a type that is not built in (for a domain, its base type); else "". They come from Type messages and must be
	// filled in from those before the Relation is used.
	TypeSchema, TypeName string
}
