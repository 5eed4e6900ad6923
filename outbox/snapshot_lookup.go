package outbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// lookUpBy sets the columns that rows are looked up by: the columns of the index in whose order the table is read if names include all of them, else
// the columns in names, compared as text.
func (t *source) lookUpBy(names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(t.relation.Columns, func(c pgoutput.Column) bool { return c.Name == name }) {
			return fmt.Errorf("%s: %w", t.name, ErrOtherKey)
		}
	}
	t.order = t.key
	if t.key != nil && !slices.ContainsFunc(t.key, func(c keyColumn) bool { return !slices.Contains(names, c.name) }) {
		return nil
	}
	t.texts, t.key = true, nil
	for _, name := range names {
		t.key = append(t.key, keyColumn{name: name, value: "format('%s', " + quoteIdentifier(name) + ")", equal: "OPERATOR(pg_catalog.=)"})
	}
	return nil
}

// lookupSQL reads the rows with the keys of the span. Each key has a query of its own, so that the planner uses the index for each.
func (t *source) lookupSQL(s *Span) string {
	rows := "SELECT " + t.columns() + t.from()
	if s.UpTo != nil && t.order != nil { // a ctid cannot be compared with a key
		rows += " AND NOT (" + t.order.after(s.UpTo[1:]) + ")"
	}
	parts := make([]string, len(s.Keys))
	for i, key := range s.Keys {
		parts[i] = t.matching(s.By, key)
	}
	if t.texts {
		return "COPY (" + rows + " AND ((" + strings.Join(parts, ") OR (") + "))) TO STDOUT"
	}
	return "COPY (" + rows + " AND " + strings.Join(parts, " UNION ALL "+rows+" AND ") + ") TO STDOUT"
}

// matching returns the condition that a row has a key.
func (t *source) matching(by []string, key [][]byte) string {
	conditions := make([]string, len(t.key))
	for i, c := range t.key {
		conditions[i] = c.value + " " + c.equal + " " + quoteLiteral(string(key[slices.Index(by, c.name)]))
	}
	return strings.Join(conditions, " AND ")
}
