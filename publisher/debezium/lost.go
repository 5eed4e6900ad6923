package debezium

import (
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// lost collects the values of one record that its row cannot show, for the field "values" of the pgtee block: {"after.price":"NaN"}.
type lost struct {
	side string // "before" or "after"
	json []byte // without the closing brace; empty: no value is lost
	some bool   // a value is lost that is in the WAL
	zero bool   // a value that is not in the WAL is a zero, because its type has no placeholder and its field must have a value
	bare bool   // there is no schema, so every text fits: only values that are not in the WAL are lost

	placeholders Placeholders // a text that looks like one of them is added too; nil: none is
}

// collectLost returns e.lost, emptied for the next record. It returns nil if no value can be lost because there is no schema.
func (e *Encoder) collectLost() *lost {
	if e.config.Framing == nil {
		return nil
	}
	e.lost = lost{json: e.lost.json[:0]}
	return &e.lost
}

// collectAmbiguous is like collectLost, but also for what a reader could not distinguish: an unchanged TOAST value from NULL, even without a schema, and
// a text that looks like the placeholder from an unchanged value.
func (e *Encoder) collectAmbiguous() *lost {
	e.lost = lost{json: e.lost.json[:0], bare: e.config.Framing == nil, placeholders: e.codecs.placeholders.all}
	return &e.lost
}

// mistakable reports whether the JSON of a value looks like a placeholder.
func (l *lost) mistakable(json []byte) bool {
	return l != nil && l.placeholders.Include(json)
}

// add records a value as PostgreSQL's text: null for NULL, the placeholder for a value that is not in the WAL. Masked columns are never recorded.
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
		l.json, l.some = append(l.json, "null"...), true
	case pgoutput.Unchanged:
		l.zero = l.zero || !c.schema.Optional
		l.json = record.AppendJSONString(l.json, c.placeholder)
	default:
		l.some = true
		l.json = record.AppendJSONString(l.json, v.text)
	}
}

// in sets the row that the next values belong to: "before" or "after".
func (l *lost) in(side string) *lost {
	if l != nil {
		l.side = side
	}
	return l
}

// appendTo appends the value of the field "values".
func (l *lost) appendTo(dst []byte) []byte {
	if l == nil || len(l.json) == 0 {
		return append(dst, "null"...)
	}
	return append(append(dst, l.json...), '}')
}
