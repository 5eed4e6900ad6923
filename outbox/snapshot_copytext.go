package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

var errCopyText = errors.New("malformed row of COPY")

// appendCopied appends the first columns of a row in COPY text format ("File Formats" in the documentation of COPY) as a Tuple of pgoutput with the
// same text in UTF-8. line has no trailing newline. rest is what follows these columns, still in COPY text format.
func appendCopied(dst, line []byte, columns int, text *Encoding) (tuple, rest []byte, err error) {
	dst = binary.BigEndian.AppendUint16(dst, uint16(columns))
	for n := range columns {
		if n > 0 {
			if len(line) == 0 || line[0] != '\t' {
				return dst, nil, fmt.Errorf("%w: %d columns, want %d", errCopyText, n, columns)
			}
			line = line[1:]
		}
		if dst, line, err = appendField(dst, line, text); err != nil {
			return dst, nil, err
		}
	}
	return dst, line, nil
}

// appendField appends the value at the start of line and returns the rest, which starts with a tab unless it is empty.
func appendField(dst, line []byte, text *Encoding) ([]byte, []byte, error) {
	if len(line) >= 2 && line[0] == '\\' && line[1] == 'N' {
		return append(dst, pgoutput.Null), line[2:], nil
	}
	if bytes.HasPrefix(line, omittedField) {
		return appendOmittedField(dst, line[len(omittedField):])
	}
	dst = append(dst, pgoutput.Text, 0, 0, 0, 0)
	start := len(dst)
	for {
		plain := 0
		for plain < len(line) && line[plain] != '\t' && line[plain] != '\\' {
			plain++
		}
		dst = text.Append(dst, line[:plain])
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

// omittedField starts a field that was too long to be kept in memory; its length in decimal digits follows. PostgreSQL never produces it: its only
// escape with a capital letter is \N.
var omittedField = []byte(`\O`)

func appendOmitted(dst []byte, size int) []byte {
	return strconv.AppendInt(append(dst, omittedField...), int64(size), 10)
}

func appendOmittedField(dst, digits []byte) ([]byte, []byte, error) {
	end := bytes.IndexByte(digits, '\t')
	if end < 0 {
		end = len(digits)
	}
	size, err := strconv.ParseUint(string(digits[:min(end, 20)]), 10, 63)
	if err != nil {
		return dst, nil, fmt.Errorf("%w: length of a value that is left out", errCopyText)
	}
	dst = binary.BigEndian.AppendUint32(append(dst, pgoutput.Omitted), pgoutput.OmittedBytes)
	return binary.BigEndian.AppendUint64(dst, size), digits[end:], nil
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
