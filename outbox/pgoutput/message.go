// Package pgoutput decodes protocol version 1 of pgoutput, PostgreSQL's logical decoding plugin ("Logical Replication Message Formats" in its
// documentation). It is pure: bytes in, values out, no allocation for a row.
package pgoutput

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Kind is the first byte of a message.
type Kind byte

const (
	KindBegin    Kind = 'B'
	KindCommit   Kind = 'C'
	KindOrigin   Kind = 'O'
	KindRelation Kind = 'R'
	KindType     Kind = 'Y'
	KindInsert   Kind = 'I'
	KindUpdate   Kind = 'U'
	KindDelete   Kind = 'D'
	KindTruncate Kind = 'T'
	KindLogical  Kind = 'M'
)

var kindNames = map[Kind]string{
	KindBegin: "Begin", KindCommit: "Commit", KindOrigin: "Origin", KindRelation: "Relation", KindType: "Type",
	KindInsert: "Insert", KindUpdate: "Update", KindDelete: "Delete", KindTruncate: "Truncate", KindLogical: "Message",
}

func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("%q", byte(k))
}

// Message is one decoded message. Only the field for its Kind is set; Row is used for Insert, Update and Delete. Byte slices refer to the parsed
// bytes; Relation owns its memory.
type Message struct {
	Kind     Kind
	Begin    Begin
	Commit   Commit
	Origin   Origin
	Relation *Relation
	Type     Type
	Row      Row
	Truncate Truncated
	Logical  Logical
}

// Begin opens a transaction. Its changes follow, without changes of other transactions in between.
type Begin struct {
	CommitLSN  LSN // where the commit record starts (final_lsn in the documentation)
	CommitTime time.Time
	XID        XID
}

// Commit ends the transaction.
type Commit struct {
	CommitLSN  LSN // where the commit record starts
	EndLSN     LSN // where it ends
	CommitTime time.Time
}

// Origin names the replication origin of a transaction that was replicated from another server.
type Origin struct {
	CommitLSN LSN // LSN on that server
	Name      []byte
}

// Type names a type that is not built in, before the first Relation that uses it. For a domain, OID is that of the domain and the names are those of
// its base type.
type Type struct {
	OID    uint32
	Schema []byte
	Name   []byte
}

// Row is an inserted, updated or deleted row.
type Row struct {
	RelationOID uint32
	OldKind     byte  // 'K': Old holds the replica identity only; 'O': the whole row; 0: there is no Old
	Old         Tuple // for Update and Delete
	New         Tuple // for Insert and Update
}

// Truncated lists the tables of one TRUNCATE.
type Truncated struct {
	Options byte // 1 CASCADE, 2 RESTART IDENTITY
	oids    []byte
}

// Len returns the number of tables.
func (t Truncated) Len() int { return len(t.oids) / 4 }

// OID returns the OID of table number i.
func (t Truncated) OID(i int) uint32 { return binary.BigEndian.Uint32(t.oids[4*i:]) }

// Logical is a message written by pg_logical_emit_message.
type Logical struct {
	Transactional bool // false: sent immediately, outside of Begin and Commit, whether committed or not
	LSN           LSN
	Prefix        []byte
	Content       []byte
	Omitted       uint64 // length of Content, if it was too long to be kept in memory; else 0
}

// FlagOmitted is not part of the protocol: a Logical message with this flag contains, instead of its content, the length of the content in
// OmittedBytes.
const FlagOmitted = 0x80
