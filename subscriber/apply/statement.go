package apply

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox"
)

// A Query may have several commands. Each leaves a record with the text of the whole Query, so the command of a record must be found in it. The number
// of the record is not enough: a command leaves none if it has nothing to do (IF EXISTS) or concerns temporary objects. The objects of the record tell.

// Statement is one statement of a SQL text.
type Statement struct {
	Verb     string // "ALTER TABLE"
	Text     string
	Names    [][]string // objects that it names, each preceded by its schema if the statement has that; none: it names none, or their kind is not known
	Optional bool       // it may have nothing to do, and then leaves no record
	Moved    bool       // it moves an object that it names without schema; Names has the new schema
}

// maxStatementBytes is the length from which on the statement of a DDL record may be cut: the outbox and the publisher cut it at 64 KiB, at a character.
const maxStatementBytes = 64<<10 - 4

// redacted takes the place of a value, or of a whole text, that the stream must not have.
const redacted = "<redacted>"

// isWhole reports whether the statement of the record is the text of the whole Query.
func (d *ddlRecord) isWhole() bool {
	return d.Statement != "" && d.Statement != redacted && len(d.Statement) < maxStatementBytes
}

// find finds the command among the statements of the Query and returns its text, whose names it keeps; "" if a function or trigger of the Query ran it. known is false if that
// cannot be determined. Records of a Query are in its order: next is the place after the statement that was found last for a record of this Query in the
// same transaction, and is moved on.
func (d *ddlRecord) find(all []Statement, next *int) (text string, known bool) {
	places := d.candidates(all)
	if len(places) == 0 {
		return "", len(all) > 0
	}
	i := slices.IndexFunc(places, func(place int) bool { return place >= *next })
	found := all[places[max(i, 0)]]
	*next = places[max(i, 0)] + 1
	switch {
	case i < 0 && len(places) < len(all): // the Query was sent again, or its other statements have run such a command
	case !areAlike(all, places) && mayMiss(all, places):
	case d.hasAll(&found):
		d.Names, d.Moved = found.Names, found.Moved
		return found.Text, true
	}
	return "", false
}

// candidates returns the places of the statements that may be the command: those that name one of its objects, otherwise those that name none.
func (d *ddlRecord) candidates(all []Statement) []int {
	var named, unnamed []int
	for i, s := range all {
		switch {
		case !strings.EqualFold(s.Verb, d.Command):
		case len(s.Names) == 0:
			unnamed = append(unnamed, i)
		case slices.ContainsFunc(s.Names, d.has):
			named = append(named, i)
		}
	}
	if named != nil {
		return named
	}
	return unnamed
}

// has reports whether the record has an object with a name.
func (d *ddlRecord) has(name []string) bool {
	return slices.ContainsFunc(d.Objects, func(o ddlObject) bool {
		return slices.ContainsFunc(o.names(), func(own []string) bool {
			return len(own) >= len(name) && slices.Equal(own[len(own)-len(name):], name) || len(own) > 0 && len(name) > len(own) && slices.Equal(name[len(name)-len(own):], own)
		})
	})
}

// hasAll reports whether the record has all objects that a DROP names. Otherwise some did not exist at the source, and may exist in the target.
func (d *ddlRecord) hasAll(s *Statement) bool {
	return !strings.HasPrefix(s.Verb, "DROP ") || !slices.ContainsFunc(s.Names, func(name []string) bool { return !d.has(name) })
}

// names returns the names that a command may give an object, each preceded by its schema: that of a column is the name of its table, that of a trigger
// or a constraint is followed by the name of its table.
func (o *ddlObject) names() (names [][]string) {
	switch {
	case strings.HasSuffix(o.Type, " column"): // of a table, a view, a foreign table or a composite type
		if parts := outbox.IdentityParts(o.Name); len(parts) > 2 {
			return [][]string{parts[:2]}
		}
	case slices.Contains([]string{"function", "procedure", "aggregate"}, o.Type):
		name, _, _ := strings.Cut(o.Name, "(")
		return [][]string{outbox.IdentityParts(name)}
	}
	for part := range strings.SplitSeq(o.Name, " on ") {
		names = append(names, outbox.IdentityParts(part))
	}
	return names
}

// areAlike reports whether the statements at these places are the same.
func areAlike(all []Statement, places []int) bool {
	return !slices.ContainsFunc(places, func(i int) bool { return all[i].Text != all[places[0]].Text })
}

// mayMiss reports whether a statement at one of these places may have left no record, or none in this transaction: then the order of the records does not
// tell which one it is.
func mayMiss(all []Statement, places []int) bool {
	return slices.ContainsFunc(places, func(i int) bool { return all[i].Optional }) ||
		slices.ContainsFunc(all[places[0]:places[len(places)-1]], func(s Statement) bool {
			return strings.HasPrefix(s.Verb, "COMMIT") || strings.HasPrefix(s.Verb, "ROLLBACK")
		})
}

// unknown is the error for a command whose text is not known. why says why.
func (d *ddlRecord) unknown(why string) error {
	return Halt{fmt.Sprintf("the text of %s (%s), run by %s at the source, is not in the stream: %s", d.Command, d.objects(), d.User, why), "run it on the target as the source has run it, and start with --ddl ignore until it is passed"}
}

// objects returns the names of the objects for messages.
func (d *ddlRecord) objects() string {
	var names []string
	for _, o := range d.Objects {
		if o.Name != "" {
			names = append(names, o.Name)
		}
	}
	if len(names) > 3 {
		names = append(names[:3], "…")
	}
	return strings.Join(names, ", ")
}
