package consume

import (
	"bytes"
	"fmt"
)

// readLine splits a CSV or TSV record. It must have as many fields as there are columns.
func (d *decoder) readLine(value []byte) error {
	value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	var err error
	if d.cfg.Format == CSV {
		err = d.splitCSV(value)
	} else {
		err = d.splitTSV(value)
	}
	if err != nil {
		return err
	}
	d.fill(d.whole, cell{asText, value})
	wanted := 0
	for i := range d.table.columns {
		if line := d.table.columns[i].origin.line; line > 0 {
			wanted = max(wanted, line)
			if line <= len(d.line) {
				d.cells[i] = d.line[line-1]
			}
		}
	}
	if wanted = max(wanted, len(d.cfg.Mapping.Columns)); wanted != len(d.line) {
		return badRecord(fmt.Sprintf("%d fields, and %d columns for them", len(d.line), wanted))
	}
	return nil
}

// splitCSV splits a line of RFC 4180. An empty unquoted field is NULL, as in COPY.
func (d *decoder) splitCSV(text []byte) error {
	d.line = d.line[:0]
	for {
		if len(text) == 0 || text[0] != '"' {
			end := bytes.IndexByte(text, ',')
			last := end < 0
			if last {
				end = len(text)
			}
			field := text[:end]
			if bytes.ContainsAny(field, "\"\r\n") {
				return badRecord("a quote or a line break inside a field without quotes")
			}
			c := cell{asText, field}
			if len(field) == 0 {
				c = cell{form: null}
			}
			d.line = append(d.line, c)
			if last {
				return nil
			}
			text = text[end+1:]
			continue
		}
		start := len(d.text)
		rest, ok := d.unquote(text[1:])
		if !ok {
			return badRecord("a quoted field without an end")
		}
		d.line = append(d.line, cell{asText, d.text[start:len(d.text):len(d.text)]})
		if len(rest) == 0 {
			return nil
		}
		if rest[0] != ',' {
			return badRecord("text behind a quoted field")
		}
		text = rest[1:]
	}
}

// unquote reads up to the quote that ends a field; two quotes stand for one.
func (d *decoder) unquote(text []byte) (rest []byte, ok bool) {
	for {
		end := bytes.IndexByte(text, '"')
		if end < 0 {
			return nil, false
		}
		d.text = append(d.text, text[:end]...)
		text = text[end+1:]
		if len(text) == 0 || text[0] != '"' {
			return text, true
		}
		d.text = append(d.text, '"')
		text = text[1:]
	}
}

// splitTSV splits a line of COPY's text format (PostgreSQL documentation, COPY, Text Format).
func (d *decoder) splitTSV(text []byte) error {
	d.line = d.line[:0]
	if bytes.IndexByte(text, '\n') >= 0 {
		return badRecord("more than one line")
	}
	for more := true; more; {
		var field []byte
		field, text, more = cutField(text)
		switch {
		case string(field) == `\N`:
			d.line = append(d.line, cell{form: null})
		case bytes.IndexByte(field, '\\') < 0:
			d.line = append(d.line, cell{asText, field})
		default:
			start := len(d.text)
			d.unescape(field)
			d.line = append(d.line, cell{asText, d.text[start:len(d.text):len(d.text)]})
		}
	}
	return nil
}

// cutField returns the field before the first tab that has no backslash before it, and what follows the tab. more reports whether there is such a tab.
func cutField(text []byte) (field, rest []byte, more bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '\t':
			return text[:i], text[i+1:], true
		}
	}
	return text, nil, false
}

var tsvEscapes = map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// unescape appends a field to d.text. It may not be UTF-8 then: \xc3\xa4 and \303\244 are bytes.
func (d *decoder) unescape(field []byte) {
	for len(field) > 0 {
		c := field[0]
		field = field[1:]
		if c == '\\' && len(field) > 0 {
			c, field = escaped(field)
		}
		d.text = append(d.text, c)
	}
}

// escaped returns the byte that the text behind a backslash stands for, and what follows. text is not empty.
func escaped(text []byte) (c byte, rest []byte) {
	c, rest = text[0], text[1:]
	switch {
	case c >= '0' && c <= '7':
		return number(text, 8, 3)
	case c == 'x' && len(rest) > 0 && digit(rest[0]) < 16:
		return number(rest, 16, 2)
	case tsvEscapes[c] != 0:
		c = tsvEscapes[c]
	}
	return c, rest
}

// number reads up to so many digits. As in PostgreSQL, what exceeds a byte is cut off.
func number(text []byte, base byte, digits int) (c byte, rest []byte) {
	i := 0
	for ; i < min(digits, len(text)) && digit(text[i]) < base; i++ {
		c = c*base + digit(text[i])
	}
	return c, text[i:]
}

// digit returns the value of a hexadecimal digit; 16 for any other byte.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
