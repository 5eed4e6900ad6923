package outbox

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

// Note is what the proxy knows about one write statement, and what the server added to it.
//
// The proxy sends Payload; Postgres stores it together with the names and the SQL, as a row of
// pgtee.outbox or as a logical message with the prefix "pgtee". The byte slices of a decoded note
// belong to its Transaction.
type Note struct {
	Payload

	User        []byte // session_user
	Role        []byte // current_user where the note was called
	PID         int32  // server process
	Application []byte // application_name: the client's claim
	SQL         []byte // the statement, in client_encoding; nil if SQL text is off or was too long
	Trust       Trust
}

// Trust says whether a note is what a proxy wrote.
type Trust uint8

const (
	Unverified Trust = iota // no key to check with
	Verified                // the HMAC is right
	Forged                  // unknown key id, or the HMAC is wrong: forged or altered
	Replayed                // a proxy wrote it, but for another statement: it has come before
)

// Nameless reports whether the note tells of a session only: which of its statements wrote the rows is not known.
func (n *Note) Nameless() bool { return n.Flags&FlagNameless != 0 }

// lies reports whether the note tells of what did not happen.
func (t Trust) lies() bool { return t == Forged || t == Replayed }

// Payload is the part of a note that the proxy makes: 82 bytes, then the optional SQL text.
//
//	offset size
//	     0    1  version (2; version 1 has no byte 65, and its HMAC there)
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
//	    66   16  HMAC-SHA256 over bytes 0-65, user, pid and SQL, cut to 16 bytes
//	    82       SQL text, with FlagSQL
//
// Integers are big-endian. It travels as base64, which no setting of the session can change.
type Payload struct {
	version     byte // 1 of one that an older proxy made, else 0
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
	MAC         [16]byte
}

// Flags of a payload. pgtee.note() reads FlagRow and FlagQuery.
type Flags uint16

const (
	FlagRow       Flags = 1 << iota // make this note a row of pgtee.outbox, not only a message
	FlagQuery                       // the SQL is Offset, Length of current_query()
	FlagSQL                         // the SQL follows the payload
	FlagRedacted                    // credentials were taken out of the SQL
	FlagAfter                       // written after the success of a command that cannot run in a transaction block
	FlagBackslash                   // standard_conforming_strings was off: in '…' a backslash escapes
	FlagMultiByte                   // client_encoding has characters whose second byte may be ASCII
	FlagDDL                         // event triggers fire for the statement
	FlagBehind                      // the statement came before the note: what it has written since the last note, it has written
	FlagNameless                    // of a session, and of no statement: which one wrote what comes behind it is not known
)

// SessionID names a client session of a proxy; it grows with the time of its start.
type SessionID uint64

// NewSessionID makes the id of session number n (of its proxy) that starts now.
func NewSessionID(start time.Time, n uint32) SessionID {
	return SessionID(uint64(start.UnixMilli())<<22 | uint64(n)&(1<<22-1))
}

// Start returns when the session began, to the millisecond.
func (id SessionID) Start() time.Time { return time.UnixMilli(int64(id >> 22)).UTC() }

func (id SessionID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

const (
	payloadVersion = 2

	// PayloadBytes is the length of a payload without SQL.
	PayloadBytes = 82

	// MessagePrefix is the prefix of our logical messages.
	MessagePrefix = "pgtee"
	// MaxQueryBytes is the longest Query message whose text current_query() may bring: each note
	// of a Query copies it whole.
	MaxQueryBytes = 64 << 10
)

// ErrNote is a payload that cannot be read.
var ErrNote = errors.New("malformed note")

// Signer makes and checks the HMAC of notes. It may be used by one goroutine at a time.
type Signer struct {
	keyID byte
	hash  hash.Hash
	raw   []byte // of the last payload, reused
	sum   []byte
}

// NewSigner takes the 32 bytes of a key file.
func NewSigner(keyID byte, key []byte) *Signer {
	return &Signer{keyID: keyID, hash: hmac.New(sha256.New, key)}
}

// Append signs p for the session's user and server process and appends the base64 text that
// pgtee.note() takes. sql is the statement; it goes along only if p.Flags has FlagSQL.
func (s *Signer) Append(dst []byte, p *Payload, user []byte, pid int32, sql []byte) []byte {
	p.KeyID = s.keyID
	s.raw = p.appendSigned(s.raw[:0])
	p.MAC = s.mac(s.raw, user, pid, sql)
	s.raw = append(s.raw, p.MAC[:]...)
	if p.Flags&FlagSQL != 0 {
		s.raw = append(s.raw, sql...)
	}
	return base64.StdEncoding.AppendEncode(dst, s.raw)
}

// Check compares the note's HMAC with what its names and SQL say.
func (s *Signer) Check(n *Note) Trust {
	if n.KeyID != s.keyID {
		return Forged
	}
	s.raw = n.appendSigned(s.raw[:0])
	want := s.mac(s.raw, n.User, n.PID, n.SQL)
	if !hmac.Equal(want[:], n.MAC[:]) {
		return Forged
	}
	return Verified
}

func (s *Signer) mac(signed, user []byte, pid int32, sql []byte) (cut [16]byte) {
	s.sum = binary.BigEndian.AppendUint32(s.sum[:0], uint32(len(user)))
	s.sum = binary.BigEndian.AppendUint32(s.sum, uint32(pid))
	s.hash.Reset()
	s.hash.Write(signed)
	s.hash.Write(s.sum)
	s.hash.Write(user)
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
	return append(dst, byte(p.Flags>>8))
}

// parsePayload reads raw, decoded from base64. The returned SQL is a slice of raw.
func parsePayload(raw []byte) (p Payload, sql []byte, err error) {
	if len(raw) > 0 && raw[0] != payloadVersion && raw[0] != 1 {
		return p, nil, fmt.Errorf("%w: version %d, this program reads up to %d", ErrNote, raw[0], payloadVersion)
	}
	length := PayloadBytes
	if len(raw) > 0 && raw[0] == 1 {
		length--
	}
	if len(raw) < length {
		return p, nil, fmt.Errorf("%w: %d bytes, want at least %d", ErrNote, len(raw), length)
	}
	p.Flags = Flags(raw[1])
	if raw[0] == 1 {
		p.version = 1
	} else {
		p.Flags |= Flags(raw[65]) << 8
	}
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
	copy(p.MAC[:], raw[length-len(p.MAC):])
	if p.Flags&FlagSQL != 0 {
		sql = raw[length:]
	}
	return p, sql, nil
}
