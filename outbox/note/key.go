package note

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// MasterKey is what proxies and publishers share, 32 bytes. Each proxy signs with a key of its own that is
// derived from it: what one of them signs, another cannot have signed.
type MasterKey []byte

// ID is the key id in the notes: it tells two master keys apart while one takes the place of the other. It
// says nothing about the key.
func (m MasterKey) ID() byte { return m.derive("pgtee key id", 1)[0] }

// Signer signs for a proxy.
func (m MasterKey) Signer(proxy uint32) *Signer {
	return NewSigner(m.ID(), m.derive("pgtee note key "+string(binary.BigEndian.AppendUint32(nil, proxy)), sha256.Size))
}

func (m MasterKey) derive(purpose string, length int) []byte {
	key, err := hkdf.Key(sha256.New, m, nil, purpose, length)
	if err != nil {
		panic(err) // only for a length above 255 hashes
	}
	return key
}

// Verifier checks notes against the master keys that are valid.
type Verifier struct {
	keys    []MasterKey
	signers map[signerID]*Signer
}

type signerID struct {
	key   byte
	proxy uint32
}

// maxSigners bounds what forged proxy ids can make us keep.
const maxSigners = 1024

func NewVerifier(keys []MasterKey) *Verifier {
	return &Verifier{keys, map[signerID]*Signer{}}
}

// HasKeys reports whether there is a key to check with.
func (v *Verifier) HasKeys() bool { return len(v.keys) > 0 }

// Check reports whether a proxy with one of the keys has made the note.
func (v *Verifier) Check(n *Note) bool {
	signer := v.signer(signerID{n.KeyID, n.ProxyID})
	return signer != nil && signer.Check(n)
}

// signer returns nil if no key has that id.
func (v *Verifier) signer(id signerID) *Signer {
	if known, ok := v.signers[id]; ok {
		return known
	}
	for _, key := range v.keys {
		if key.ID() != id.key {
			continue
		}
		if len(v.signers) == maxSigners {
			clear(v.signers)
		}
		v.signers[id] = key.Signer(id.proxy)
		return v.signers[id]
	}
	return nil
}
