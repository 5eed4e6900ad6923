package outbox

import (
	"fmt"
	"slices"
	"strings"
)

// lookUpBy makes the rows be found by the columns of the identity: over the index in whose order the table is read, whose
// columns are some of those, or else by what their values print.
func (t *source) lookUpBy(identity []string) error {
	var names []string
	for _, c := range t.relation.Columns {
		if c.Key {
			names = append(names, c.Name)
		}
	}
	if !slices.Equal(names, identity) {
		return fmt.Errorf("%s: %w", t.name, ErrOtherKey)
	}
	if t.key == nil {
		t.key, t.texts = names, true
	}
	return nil
}

// lookupSQL reads the rows that have the keys of the span: one query for each, so that the plan of each is to look into the index.
func (t *source) lookupSQL(s *Span) string {
	rows := "SELECT " + t.columns() + t.from(s)
	if s.UpTo != nil && !t.texts { // a ctid says nothing about a key
		rows += t.compared("<=", s.UpTo)
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

// matching is the condition that a row has a key.
func (t *source) matching(by []string, key [][]byte) string {
	var conditions []string
	for _, name := range t.key {
		value := quoteLiteral(string(key[slices.Index(by, name)]))
		if t.texts {
			conditions = append(conditions, fmt.Sprintf("format('%%s', %s) OPERATOR(pg_catalog.=) %s", quoteIdentifier(name), value))
		} else {
			conditions = append(conditions, fmt.Sprintf("%s OPERATOR(%s.=) %s", quoteIdentifier(name), quoteIdentifier(t.operator), value))
		}
	}
	return strings.Join(conditions, " AND ")
}
