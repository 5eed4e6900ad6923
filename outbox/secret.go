package outbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
)

// secretBytes is the length of the secret in pgtee.meta: the HMAC key, XORed with ipad (64 bytes) and with opad (64 bytes), RFC 2104.
const secretBytes = 2 * sha256.BlockSize

// witness verifies the signatures of the database's functions, with the secret that only these functions and the publisher can read. It must be used
// by one goroutine at a time.
type witness struct {
	hash hash.Hash // nil: objects of an older pgtee have no secret and sign nothing
	sum  []byte
}

func newWitness(secret []byte) *witness {
	if len(secret) != secretBytes {
		return &witness{}
	}
	key := make([]byte, sha256.BlockSize)
	for i := range key {
		key[i] = secret[i] ^ 0x36
	}
	return &witness{hash: hmac.New(sha256.New, key)}
}

// open returns the signed part of a message, which follows a byte and the HMAC-SHA256. ok reports whether the signature is valid.
func (w *witness) open(content []byte) (signed []byte, ok bool) {
	if len(content) < 1+sha256.Size || w.hash == nil {
		return nil, false
	}
	signature, signed := content[1:1+sha256.Size], content[1+sha256.Size:]
	w.hash.Reset()
	w.hash.Write(signed)
	w.sum = w.hash.Sum(w.sum[:0])
	return signed, hmac.Equal(w.sum, signature)
}
