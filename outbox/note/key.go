package note

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// MasterKey is the secret that proxies and publishers share, 32 bytes. Each proxy signs with its own key, derived from the master key: no other proxy
// can have produced its signatures.
type MasterKey []byte

// ID is the key id in the notes: it distinguishes two master keys during a key rotation. It reveals nothing about the key.
func (m MasterKey) ID() byte { return m.derive("pgtee key id", 1)[0] }

// Signer returns the Signer of a proxy.
func (m MasterKey) Signer(proxy uint32) *Signer {
	return newSigner(m.ID(), m.derive("pgtee note key "+string(binary.BigEndian.AppendUint32(nil, proxy)), sha256.Size))
}

func (m MasterKey) derive(purpose string, length int) []byte {
	key, err := hkdf.Key(sha256.New, m, nil, purpose, length)
	if err != nil {
		panic(err) // only for a length above 255 hashes
	}
	return key
}

// Verifier checks notes against the valid master keys.
type Verifier struct {
	keys    []MasterKey
	signers map[signerID]*Signer
}

type signerID struct {
	key   byte
	proxy uint32
}

// maxSigners bounds how many Signers forged proxy ids can make a Verifier keep.
const maxSigners = 1024

func NewVerifier(keys []MasterKey) *Verifier {
	return &Verifier{keys, map[signerID]*Signer{}}
}

// HasKeys reports whether there is a key to verify with.
func (v *Verifier) HasKeys() bool { return len(v.keys) > 0 }

// Check reports whether a proxy with one of the keys made the note.
func (v *Verifier) Check(n *Note) bool {
	signer := v.signer(signerID{n.KeyID, n.ProxyID})
	return signer != nil && signer.Check(n)
}

// signer returns the Signer for id, or nil if no key has that id.
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
