package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

var errCopyText = errors.New("malformed row of COPY")

// appendCopied appends the first columns of a row in the text format of COPY ("File Formats" in the documentation of
// COPY) as a Tuple of pgoutput, whose values are the same texts. line ends without a newline. It returns what follows
// those columns, still in the format of COPY.
func appendCopied(dst, line []byte, columns int) (tuple, rest []byte, err error) {
	dst = binary.BigEndian.AppendUint16(dst, uint16(columns))
	for n := range columns {
		if n > 0 {
			if len(line) == 0 || line[0] != '\t' {
				return dst, nil, fmt.Errorf("%w: %d columns, want %d", errCopyText, n, columns)
			}
			line = line[1:]
		}
		if dst, line, err = appendField(dst, line); err != nil {
			return dst, nil, err
		}
	}
	return dst, line, nil
}

// appendField appends the value at the start of line, and returns the rest, which starts with a tab if there is any.
func appendField(dst, line []byte) ([]byte, []byte, error) {
	if len(line) >= 2 && line[0] == '\\' && line[1] == 'N' {
		return append(dst, pgoutput.Null), line[2:], nil
	}
	dst = append(dst, pgoutput.Text, 0, 0, 0, 0)
	start := len(dst)
	for {
		plain := 0
		for plain < len(line) && line[plain] != '\t' && line[plain] != '\\' {
			plain++
		}
		dst = append(dst, line[:plain]...)
		line = line[plain:]
		if len(line) == 0 || line[0] == '\t' {
			break
		}
		if len(line) == 1 {
			return dst, nil, fmt.Errorf("%w: it ends in a backslash", errCopyText)
		}
		dst = append(dst, unescaped(line[1]))
		line = line[2:]
	}
	binary.BigEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
	return dst, line, nil
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'v':
		return '\v'
	}
	return c
}
