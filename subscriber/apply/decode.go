package apply

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/subscriber/decode"
)

// decoder converts the JSON of rows and keys to values in a batch's arena. It must be used by one goroutine at a time.
type decoder struct {
	row, old []value
	cut      bool // row lacks values that were too large for the record
	ignore   func(table, column string) bool
}

// rowOf decodes one half of an envelope into the columns of a table.
func (d *decoder) rowOf(b *batch, t *table, object, texts []byte, side string, row []value) ([]value, error) {
	row = slices.Grow(row[:0], len(t.columns))[:len(t.columns)]
	clear(row)
	n := 0
	err := decode.Fields(object, func(name, json []byte) error {
		if n >= len(t.names) || t.names[n] != string(name) {
			if err := d.learn(t, n, name); err != nil {
				return err
			}
		}
		i := t.layout[n]
		n++
		if i < 0 {
			return nil
		}
		v, err := d.valueOf(b, &t.columns[i], json)
		if err != nil {
			return fmt.Errorf("column %s of table %s: %w", t.columns[i].name, t.source, err)
		}
		row[i] = v
		return nil
	})
	t.names, t.layout = t.names[:n], t.layout[:n] // the table may have lost its last columns
	if err != nil || texts == nil {
		return row, err
	}
	return row, d.setFromTexts(b, t, texts, side, row)
}

// learn finds the column for field n of a table's records.
func (d *decoder) learn(t *table, n int, escaped []byte) error {
	name := decode.Unquoted(slices.Concat([]byte{'"'}, escaped, []byte{'"'}))
	t.names, t.layout = append(t.names[:n], string(escaped)), append(t.layout[:n], -1)
	i, found := t.find(name)
	if !found {
		if d.ignore != nil && d.ignore(t.source, name) {
			return nil
		}
		return Halt{fmt.Sprintf("table %s of the target has no column %s, which the stream has", t.plain, name),
			fmt.Sprintf("add it with ALTER TABLE %s ADD COLUMN, as the source has it, or leave it out with --ignore-columns %s.%s", t.name, t.source, name)}
	}
	t.layout[n] = i
	return nil
}

// find returns the index of a column by its name in the stream. Avro allows only letters, digits and underscores; in the stream, other characters may
// have been replaced.
func (t *table) find(name string) (int, bool) {
	if i, found := t.byName[name]; found {
		return i, true
	}
	for i := range t.columns {
		if adjusted := avroName(t.columns[i].name, false); adjusted == name && adjusted != t.columns[i].name {
			return i, true
		}
		if adjusted := avroName(t.columns[i].name, true); adjusted == name && adjusted != t.columns[i].name {
			return i, true
		}
	}
	return 0, false
}

// avroName adjusts a name like --schema-name-adjustment-mode avro or avro_unicode.
func avroName(name string, unicode bool) string {
	var b strings.Builder
	for i, r := range name {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r >= '0' && r <= '9', r == '_' && !unicode:
			b.WriteRune(r)
		case unicode:
			fmt.Fprintf(&b, "_u%04x", r)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

// valueOf appends the text of a value to the arena.
func (d *decoder) valueOf(b *batch, c *column, json []byte) (value, error) {
	switch {
	case len(json) == 4 && string(json) == "null":
		return value{kind: isNull}, nil
	case c.form.isUnavailable(json):
		return value{}, nil
	}
	start := len(b.arena)
	var err error
	if b.arena, err = c.form.read(c.form, b.arena, json); err != nil {
		return value{}, err
	}
	return value{uint32(start), uint32(len(b.arena)), isText}, nil
}

// setFromTexts sets the values that the row could not represent, from PostgreSQL's texts. If the text is the placeholder, it means an unchanged value
// where the row has null, and is the value itself where the row has the placeholder too.
func (d *decoder) setFromTexts(b *batch, t *table, texts []byte, side string, row []value) error {
	return decode.Fields(texts, func(name, json []byte) error {
		text := decode.Unquoted(slices.Concat([]byte{'"'}, name, []byte{'"'}))
		half, column, _ := strings.Cut(text, ".")
		i, found := t.byName[column]
		if half != side || !found {
			return nil
		}
		if string(json) == "null" {
			row[i] = value{kind: isNull}
			return nil
		}
		if row[i].kind != absent && t.columns[i].form.isUnavailable(json) {
			row[i] = value{}
			return nil
		}
		start := len(b.arena)
		var err error
		b.arena, err = decode.AppendUnquoted(b.arena, json)
		row[i] = value{uint32(start), uint32(len(b.arena)), isText}
		return err
	})
}

// keyOf decodes the key of a record: it remembers the columns, and stores their texts one after another, each preceded by its length; see
// nullPart.
func (d *decoder) keyOf(b *batch, t *table, object []byte) (key span, err error) {
	start, n := len(b.arena), 0
	err = decode.Fields(object, func(name, json []byte) error {
		if n >= len(t.keys.columns) || t.columns[t.keys.columns[n]].name != string(name) {
			if err := t.learnKey(n, name); err != nil {
				return err
			}
		}
		c := &t.columns[t.keys.columns[n]]
		n++
		if bytes.Equal(json, null) {
			b.arena = binary.BigEndian.AppendUint32(b.arena, nullPart)
			return nil
		}
		at := len(b.arena)
		b.arena = append(b.arena, 0, 0, 0, 0)
		var err error
		if b.arena, err = c.form.read(c.form, b.arena, json); err != nil {
			return fmt.Errorf("key column %s of table %s: %w", c.name, t.source, err)
		}
		binary.BigEndian.PutUint32(b.arena[at:], uint32(len(b.arena)-at-4))
		return nil
	})
	if err == nil && n < len(t.keys.columns) { // the key has lost its last columns
		t.setKeys(slices.Clone(t.keys.columns[:n]))
	}
	return span{uint32(start), uint32(len(b.arena))}, err
}

// learnKey finds the column for field n of a key.
func (t *table) learnKey(n int, escaped []byte) error {
	name := decode.Unquoted(slices.Concat([]byte{'"'}, escaped, []byte{'"'}))
	i, found := t.find(name)
	if !found && name == standInKey {
		return Halt{fmt.Sprintf("the topic of table %s is compacted: its records without a key have one that stands in for it", t.source), "set cleanup.policy=delete for the topic (topic-config of the publisher, too), and have the publisher resync the table"}
	}
	if !found {
		return Halt{fmt.Sprintf("table %s of the target has no column %s, which is part of the key in the stream", t.plain, name),
			fmt.Sprintf("add it with ALTER TABLE %s ADD COLUMN, as the source has it", t.name)}
	}
	t.setKeys(append(slices.Clone(t.keys.columns[:n]), i))
	return nil
}

// setKeys sets the columns of a key. It does not modify the former list, which batches may still use.
func (t *table) setKeys(columns []int) {
	t.keys = keyLayout{columns: columns, arbiter: slices.ContainsFunc(t.unique, func(u uniqueIndex) bool { return !u.deferred && sameColumns(u.columns, columns) })}
}
