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

// Column is a column of a Relation, in the order of the tuples.
type Column struct {
	Name    string
	Type    uint32 // pg_type.oid
	TypeMod int32  // pg_attribute.atttypmod, -1 for none
	Key     bool   // part of the replica identity
}

// Tuple is one row as pgoutput sends it (TupleData in the PostgreSQL documentation, "Logical
// Replication Message Formats"): int16 count, then per column a kind byte and, for 't' and 'b', an
// int32 length and the bytes. The decoder has checked every length, so reading one cannot fail.
// It is a slice of the transaction's buffer and lives as long as the transaction.
type Tuple []byte

// Kinds of a column in a Tuple.
const (
	Null      = 'n'
	Unchanged = 'u' // a TOASTed value that the statement did not touch: not in the log
	Text      = 't'
	Binary    = 'b'
)
