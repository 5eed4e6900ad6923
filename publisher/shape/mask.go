package shape

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/filter"
)

// MaskKind says what happens to the values of a column. A lower one hides more.
type MaskKind byte

const (
	// Asterisks replaces every value, including NULL, by Length asterisks.
	Asterisks MaskKind = iota
	// Hash replaces a value by the SHA-256 of salt and text, in hexadecimal, cut to the length of a varchar(n) or char(n), but never in a key. Equal
	// values stay equal; NULL stays NULL.
	Hash
	// Truncate keeps Length characters of a value that is published as a string, or bytes of one that is published as bytes, but never in a key.
	// Columns in another form that match a glob are not truncated.
	Truncate
)

// MaskConfig masks the columns of a table that match. A column masked with asterisks or a hash is published as a string, whatever its type.
type MaskConfig struct {
	Column string // glob
	Kind   MaskKind
	Length int
}

const maxMaskLength = 1 << 20

func (m MaskConfig) validate(salt []byte) error {
	switch {
	case m.Column == "":
		return errors.New("a mask names no column")
	case m.Length < 0 || m.Length > maxMaskLength:
		return fmt.Errorf("column %s: length %d: want 0 to %d", m.Column, m.Length, maxMaskLength)
	case m.Kind == Hash && len(salt) == 0:
		return fmt.Errorf("column %s is hashed without a salt, so its values could be guessed: give one with --hash-salt-file or PGTEE_HASH_SALT", m.Column)
	}
	return CheckPattern(m.Column)
}

// Mask hides the values of one column. It is used by one goroutine at a time.
type Mask struct {
	kind   MaskKind
	fixed  string // Asterisks: the JSON of every value
	length int    // Truncate: characters or bytes kept; Hash: length of the column, -1 for no limit
	named  bool   // the column is named without a glob

	salt   []byte
	hash   hash.Hash
	digest []byte
	text   []byte
}

func newMask(config MaskConfig, c pgoutput.Column, salt []byte) *Mask {
	m := &Mask{kind: config.Kind, length: config.Length, named: !IsGlob(config.Column)}
	switch config.Kind {
	case Asterisks:
		m.text = bytes.Repeat([]byte("*"), config.Length)
		m.fixed = `"` + string(m.text) + `"`
	case Hash:
		m.hash, m.salt, m.length = sha256.New(), salt, declaredLength(c)
	}
	return m
}

// declaredLength returns n of varchar(n) and char(n), otherwise -1.
func declaredLength(c pgoutput.Column) int {
	const header = 4 // VARHDRSZ, part of the type modifier
	if (c.Type == filter.OIDVarchar || c.Type == filter.OIDBPChar) && c.TypeMod >= header {
		return int(c.TypeMod) - header
	}
	return -1
}

// Kind says what the mask does; Length says how many characters it keeps or inserts (Hash: -1 for all).
func (m *Mask) Kind() MaskKind { return m.kind }
func (m *Mask) Length() int    { return m.length }

// Named reports whether the configuration names the column itself, without a glob.
func (m *Mask) Named() bool { return m.named }

// InKey returns the mask of the column as part of a key, which must not give two rows the same key by cutting their values: a hash is whole there, and a
// column that is only truncated has no mask (nil).
func (m *Mask) InKey() *Mask {
	if m == nil || m.kind == Truncate {
		return nil
	}
	whole := *m
	if m.kind == Hash {
		whole.length = -1
	}
	return &whole
}

// Fixed returns the JSON that replaces every value, including NULL; "" if there is none.
func (m *Mask) Fixed() string { return m.fixed }

// Text returns the replacement for a value that is masked or hashed, given its text. It is valid until the next call.
func (m *Mask) Text(text []byte) []byte {
	if m.kind == Asterisks {
		return m.text
	}
	return m.hashed(text)
}

func (m *Mask) hashed(text []byte) []byte {
	m.hash.Reset()
	m.hash.Write(m.salt)
	m.hash.Write(text)
	m.digest = m.hash.Sum(m.digest[:0])
	m.text = hex.AppendEncode(m.text[:0], m.digest)
	if m.length >= 0 && m.length < len(m.text) {
		return m.text[:m.length]
	}
	return m.text
}
