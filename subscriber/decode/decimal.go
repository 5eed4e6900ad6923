package decode

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/big"
	"strconv"
)

const (
	maxScale        = 16383    // of an untrusted decimal: the limit of PostgreSQL's numeric
	maxDecimalBytes = 64 << 10 // more digits than numeric can have
)

// AppendDecimal appends the number raw * 10^-scale, where raw is a big-endian two's complement.
func AppendDecimal(dst, raw []byte, scale int) ([]byte, error) {
	if scale > maxScale || scale < -maxScale || len(raw) > maxDecimalBytes {
		return dst, fmt.Errorf("decimal: %d bytes, scale %d", len(raw), scale)
	}
	var buffer [64]byte
	if len(raw) <= 8 {
		return appendScaled(dst, strconv.AppendInt(buffer[:0], signed(raw), 10), scale), nil
	}
	n := new(big.Int).SetBytes(raw)
	if raw[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	return appendScaled(dst, n.Append(nil, 10), scale), nil
}

// AppendVariableDecimal appends the number of an io.debezium.data.VariableScaleDecimal: {"scale":2,"value":"MDk="}.
func AppendVariableDecimal(dst, object []byte) ([]byte, error) {
	scale, err := strconv.Atoi(string(Field(object, "scale")))
	if err != nil {
		return dst, err
	}
	value := Field(object, "value")
	raw, err := base64.StdEncoding.DecodeString(Unquoted(value))
	if err == nil && (len(value) == 0 || value[0] != '"') {
		err = ErrJSON
	}
	if err != nil {
		return dst, err
	}
	return AppendDecimal(dst, raw, scale)
}

func signed(raw []byte) int64 {
	var wide [8]byte
	if len(raw) > 0 && raw[0] >= 0x80 {
		for i := range wide {
			wide[i] = 0xFF
		}
	}
	copy(wide[8-len(raw):], raw)
	return int64(binary.BigEndian.Uint64(wide[:]))
}

// appendScaled appends digits, which may have a sign, with the decimal point scale digits before their end.
func appendScaled(dst, digits []byte, scale int) []byte {
	if digits[0] == '-' {
		dst, digits = append(dst, '-'), digits[1:]
	}
	if scale <= 0 {
		dst = append(dst, digits...)
		for ; scale < 0 && string(digits) != "0"; scale++ {
			dst = append(dst, '0')
		}
		return dst
	}
	whole := len(digits) - scale
	if whole <= 0 {
		dst = append(dst, '0', '.')
		for ; whole < 0; whole++ {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(dst, digits[:whole]...)
	return append(append(dst, '.'), digits[whole:]...)
}
