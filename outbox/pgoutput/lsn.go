package pgoutput

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// LSN is a byte position in the write-ahead log of one timeline.
type LSN uint64

// XID is a PostgreSQL transaction id, 32 bits, as pgoutput sends it.
type XID uint32

// String returns the form that PostgreSQL prints: "0/16B3748".
func (l LSN) String() string {
	return string(l.AppendTo(make([]byte, 0, 17)))
}

// AppendTo appends what String returns.
func (l LSN) AppendTo(dst []byte) []byte {
	return appendHex(append(appendHex(dst, uint32(l>>32)), '/'), uint32(l))
}

// appendHex appends upper-case digits without leading zeros.
func appendHex(dst []byte, n uint32) []byte {
	shift := max(bits.Len32(n)-1, 0) / 4 * 4
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789ABCDEF"[n>>shift&15])
	}
	return dst
}

// ParseLSN parses the form that String returns.
func ParseLSN(s string) (LSN, error) {
	high, low, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("LSN %q: want the form 0/16B3748", s)
	}
	h, err := strconv.ParseUint(high, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("LSN %q: %w", s, err)
	}
	l, err := strconv.ParseUint(low, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("LSN %q: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

// MarshalText and UnmarshalText use the form of String, also in JSON.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l *LSN) UnmarshalText(text []byte) error {
	parsed, err := ParseLSN(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}
