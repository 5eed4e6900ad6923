package debezium

import (
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// lost collects, for the field "values" of the block pgtee, the columns of one record whose values the types of
// its schema cannot carry: {"after.price":"NaN"}.
type lost struct {
	side string // "before" or "after"
	json []byte // without the closing brace; empty: nothing is lost
	bare bool   // no schema binds: only values that are not in the log, and have no sign of their own in place of null, are lost
}

// losing empties what is lost, for the next record; nil if nothing can be, since there is no schema.
func (e *Encoder) losing() *lost {
	if e.config.Framing == nil {
		return nil
	}
	e.lost.json, e.lost.bare = e.lost.json[:0], false
	return &e.lost
}

// telling is losing, for a record whose block pgtee tells, also without a schema, an unchanged TOAST value from NULL.
func (e *Encoder) telling() *lost {
	if l := e.losing(); l != nil {
		return l
	}
	e.lost.json, e.lost.bare = e.lost.json[:0], true
	return &e.lost
}

// add takes a value as PostgreSQL's text: null for NULL, the placeholder for one that is not in the log. What
// is masked stays hidden.
func (l *lost) add(c *column, v value) {
	if c.masked {
		return
	}
	open := byte(',')
	if len(l.json) == 0 {
		open = '{'
	}
	l.json = append(append(append(l.json, open, '"'), l.side...), '.')
	l.json = append(l.json, c.name[1:]...)
	switch v.kind {
	case pgoutput.Null:
		l.json = append(l.json, "null"...)
	case pgoutput.Unchanged:
		l.json = record.AppendJSONString(l.json, c.placeholder)
	default:
		l.json = record.AppendJSONString(l.json, v.text)
	}
}

// in says to which row the next values belong.
func (l *lost) in(side string) *lost {
	if l != nil {
		l.side = side
	}
	return l
}

// appendTo appends the field's value.
func (l *lost) appendTo(dst []byte) []byte {
	if l == nil || len(l.json) == 0 {
		return append(dst, "null"...)
	}
	return append(append(dst, l.json...), '}')
}
