// Package note is the part of the outbox that the proxy knows: the bytes of a note, the keys that sign it, and the detection of replays.
package note

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"time"
)

// Note is what the proxy knows about one write statement, together with what the server added.
//
// The proxy sends the Payload. PostgreSQL stores it, together with the names and the SQL, as a row of pgtee.outbox or as a logical message with the
// prefix "pgtee". The byte slices of a decoded note belong to its Transaction.
type Note struct {
	Payload

	User        []byte // session_user
	Role        []byte // current_user when the note was called
	PID         int32  // server process
	Application []byte // application_name: the client's claim
	Actor       []byte // pgtee.actor, the person or service for which the client acts, as it claims; nil: none
	SQL         []byte // the statement, in client_encoding; nil if SQL text is off or the text was too long
	Trust       Trust
}

// Trust says whether a note is one that a proxy wrote, for this transaction.
type Trust uint8

const (
	Unverified  Trust = iota // there is no key to verify with
	Verified                 // a proxy made it, and the server wrote it in this transaction
	Forged                   // unknown key id, wrong HMAC, or a note of another session: forged, altered or stolen
	Replayed                 // a proxy wrote it, but for another statement: the note has been used before
	Pooled                   // like Verified, but the proxy cannot know which server process serves its session
	UserChanged              // like Verified, but the server's name of the user differs from the proxy's
	Unbound                  // a proxy wrote it, but it is unknown whether for this transaction
)

// Reason says why a note is neither verified nor false; it is empty for notes that are one of the two.
func (t Trust) Reason() string { return reasons[t] }

var reasons = [...]string{
	Unverified: "no key", Verified: "", Forged: "", Replayed: "", Pooled: "pooler", UserChanged: "user changed", Unbound: "unbound",
}

// And returns the combined trust in two notes: that of a false one if there is one, otherwise that of one that is not Verified.
func (t Trust) And(other Trust) Trust {
	if t.Lies() || t != Verified && !other.Lies() {
		return t
	}
	return other
}

// Nameless reports whether the note identifies only a session: which of its statements wrote the rows is not known.
func (n *Note) Nameless() bool { return n.Flags&FlagNameless != 0 }

// Lies reports whether the note makes a false claim.
func (t Trust) Lies() bool { return t == Forged || t == Replayed }

// Payload is the part of a note that the proxy makes: 94 bytes, then the optional SQL text.
//
//	offset size
//	     0    1  version (3; version 2 has its HMAC at byte 66, which also covers user and pid; version 1 has it at byte 65)
//	     1    1  flags, the lower eight
//	     2    1  key id
//	     3    4  offset of the statement in the Query message, bytes
//	     7    4  its length, bytes
//	    11    4  proxy id
//	    15    8  session id: milliseconds since 1970 of its start << 22 | number
//	    23    4  counter of notes in the session, from 1
//	    27    4  number of the statement in the session, from 1
//	    31    8  time, microseconds since 1970
//	    39   16  client address (IPv4 mapped; zero for a Unix socket)
//	    55    2  client port
//	    57    8  fingerprint of the statement
//	    65    1  flags, the upper eight
//	    66    4  server process
//	    70    8  the session's user: see UserTag
//	    78   16  HMAC-SHA256 over bytes 0-77 and SQL, truncated to 16 bytes
//	    94       SQL text, with FlagSQL
//
// Integers are big-endian. The payload is sent as base64, which no setting of the session can change.
type Payload struct {
	version     byte // 1 or 2 if an older proxy made it, else 0
	Flags       Flags
	KeyID       byte
	Offset      uint32
	Length      uint32
	ProxyID     uint32
	Session     SessionID
	Counter     uint32
	Statement   uint32
	Time        time.Time
	Client      netip.AddrPort
	Fingerprint uint64
	Process     int32  // process id of the server process, as known to the proxy
	UserTag     uint64 // user, as known to the proxy
	MAC         [16]byte
}

// Flags of a payload. pgtee.note() reads FlagRow and FlagQuery, pgtee.sign() FlagQuery.
type Flags uint16

const (
	FlagRow            Flags = 1 << iota // store this note as a row of pgtee.outbox, not only as a message
	FlagQuery                            // the SQL is the part of current_query() given by Offset and Length
	FlagSQL                              // the SQL follows the payload
	FlagRedacted                         // credentials were removed from the SQL
	FlagOutsideBlock                     // written after the success of a command that cannot run in a transaction block
	FlagBackslash                        // standard_conforming_strings was off: a backslash is an escape character in '…'
	FlagMultiByte                        // client_encoding has characters whose second byte may be ASCII
	FlagDDL                              // event triggers fire for the statement
	FlagClaimsPrevious                   // the statement precedes the note: what was written since the last note was written by this statement
	FlagNameless                         // it identifies a session and no statement: which one wrote the changes after it is not known
	FlagSigned                           // pgtee.sign() writes this note as a message and signs it
	FlagAnyUser                          // UserTag may be that of another user, since SET SESSION AUTHORIZATION has not been answered yet, or of the user's name in another encoding
	FlagPooled                           // Process is not the server process: there is a pooler in front of the server
)

// UserTag identifies the session's user in a payload: the first eight bytes of the SHA-256 of the name.
func UserTag(user []byte) uint64 {
	sum := sha256.Sum256(user)
	return binary.BigEndian.Uint64(sum[:])
}

// SessionID identifies a client session of a proxy; it increases with the time of its start.
type SessionID uint64

// NewSessionID returns the id of a session that starts now and is the proxy's nth.
func NewSessionID(start time.Time, n uint32) SessionID {
	return SessionID(uint64(start.UnixMilli())<<22 | uint64(n)&(1<<22-1))
}

// Start returns the time at which the session began, to the millisecond.
func (id SessionID) Start() time.Time { return time.UnixMilli(int64(id >> 22)).UTC() }

func (id SessionID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

const (
	payloadVersion = 3

	// PayloadBytes is the length of a payload without SQL.
	PayloadBytes = 94

	// MessagePrefix is the prefix of pgtee's logical messages.
	MessagePrefix = "pgtee"
	// MaxQueryBytes is the maximum length of a Query message whose notes take the text from current_query(): each note of a Query copies the complete
	// text.
	MaxQueryBytes = 64 << 10
)

// ErrNote means that a payload is malformed.
var ErrNote = errors.New("malformed note")

// Signer computes and checks the HMAC of notes. It may be used by one goroutine at a time.
type Signer struct {
	keyID byte
	hash  hash.Hash
	raw   []byte // the last payload; reused
	who   []byte
	sum   []byte
}

// newSigner returns a Signer with the given 32-byte key.
func newSigner(keyID byte, key []byte) *Signer {
	return &Signer{keyID: keyID, hash: hmac.New(sha256.New, key)}
}

// Append signs p and appends the base64 text that pgtee.note() takes. sql is the statement; it is included only if p.Flags has FlagSQL.
func (s *Signer) Append(dst []byte, p *Payload, sql []byte) []byte {
	p.KeyID = s.keyID
	s.raw = p.appendSigned(s.raw[:0])
	p.MAC = s.mac(s.raw, nil, sql)
	s.raw = append(s.raw, p.MAC[:]...)
	if p.Flags&FlagSQL != 0 {
		s.raw = append(s.raw, sql...)
	}
	return base64.StdEncoding.AppendEncode(dst, s.raw)
}

// Check reports whether a proxy with this key wrote the note. The payload of an older proxy lacks user and process, but its HMAC covers them.
func (s *Signer) Check(n *Note) bool {
	if n.KeyID != s.keyID {
		return false
	}
	s.raw = n.appendSigned(s.raw[:0])
	s.who = s.who[:0]
	if n.version != 0 {
		s.who = binary.BigEndian.AppendUint32(s.who, uint32(len(n.User)))
		s.who = binary.BigEndian.AppendUint32(s.who, uint32(n.PID))
		s.who = append(s.who, n.User...)
	}
	want := s.mac(s.raw, s.who, n.SQL)
	return hmac.Equal(want[:], n.MAC[:])
}

func (s *Signer) mac(signed, who, sql []byte) (cut [16]byte) {
	s.hash.Reset()
	s.hash.Write(signed)
	s.hash.Write(who)
	s.hash.Write(sql)
	s.sum = s.hash.Sum(s.sum[:0])
	copy(cut[:], s.sum)
	return cut
}

func (p *Payload) appendSigned(dst []byte) []byte {
	dst = append(dst, cmp.Or(p.version, payloadVersion), byte(p.Flags), p.KeyID)
	dst = binary.BigEndian.AppendUint32(dst, p.Offset)
	dst = binary.BigEndian.AppendUint32(dst, p.Length)
	dst = binary.BigEndian.AppendUint32(dst, p.ProxyID)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Session))
	dst = binary.BigEndian.AppendUint32(dst, p.Counter)
	dst = binary.BigEndian.AppendUint32(dst, p.Statement)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Time.UnixMicro()))
	address := [16]byte{}
	if p.Client.IsValid() {
		address = p.Client.Addr().As16()
	}
	dst = append(dst, address[:]...)
	dst = binary.BigEndian.AppendUint16(dst, p.Client.Port())
	dst = binary.BigEndian.AppendUint64(dst, p.Fingerprint)
	if p.version == 1 {
		return dst
	}
	dst = append(dst, byte(p.Flags>>8))
	if p.version == 2 {
		return dst
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.Process))
	return binary.BigEndian.AppendUint64(dst, p.UserTag)
}

// payloadBytes is the length of a payload without SQL, by version.
var payloadBytes = [...]int{1: 81, 2: 82, payloadVersion: PayloadBytes}

// ParsePayload parses raw, which has been decoded from base64. The returned SQL is a slice of raw.
func ParsePayload(raw []byte) (p Payload, sql []byte, err error) {
	if len(raw) == 0 || raw[0] == 0 {
		return p, nil, ErrNote
	}
	version := int(raw[0])
	if version >= len(payloadBytes) {
		return p, nil, fmt.Errorf("%w: version %d, this program reads up to %d", ErrNote, version, payloadVersion)
	}
	length := payloadBytes[version]
	if len(raw) < length {
		return p, nil, fmt.Errorf("%w: %d bytes, want at least %d", ErrNote, len(raw), length)
	}
	if version < payloadVersion {
		p.version = raw[0]
	}
	p.Flags = Flags(raw[1])
	p.KeyID = raw[2]
	p.Offset = binary.BigEndian.Uint32(raw[3:])
	p.Length = binary.BigEndian.Uint32(raw[7:])
	p.ProxyID = binary.BigEndian.Uint32(raw[11:])
	p.Session = SessionID(binary.BigEndian.Uint64(raw[15:]))
	p.Counter = binary.BigEndian.Uint32(raw[23:])
	p.Statement = binary.BigEndian.Uint32(raw[27:])
	p.Time = time.UnixMicro(int64(binary.BigEndian.Uint64(raw[31:]))).UTC()
	address := netip.AddrFrom16([16]byte(raw[39:55]))
	if !address.IsUnspecified() {
		p.Client = netip.AddrPortFrom(address.Unmap(), binary.BigEndian.Uint16(raw[55:]))
	}
	p.Fingerprint = binary.BigEndian.Uint64(raw[57:])
	if version >= 2 {
		p.Flags |= Flags(raw[65]) << 8
	}
	if version >= 3 {
		p.Process = int32(binary.BigEndian.Uint32(raw[66:]))
		p.UserTag = binary.BigEndian.Uint64(raw[70:])
	}
	copy(p.MAC[:], raw[length-len(p.MAC):])
	if p.Flags&FlagSQL != 0 {
		sql = raw[length:]
	}
	return p, sql, nil
}

// Known compares what the proxy knew about its session with what the server reports. A note of an older proxy contains neither value, but its HMAC
// covers both.
func (n *Note) Known() Trust {
	switch {
	case n.version != 0:
		return Verified
	case n.PID != n.Process && n.Flags&FlagPooled == 0: // used by another session
		return Forged
	case n.PID != n.Process:
		return Pooled
	case UserTag(n.User) != n.UserTag && n.Flags&FlagAnyUser == 0: // ALTER ROLE … RENAME, set_config()
		return UserChanged
	}
	return Verified
}
