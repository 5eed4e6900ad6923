package property

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// change runs some DDL on a table.
func (s *script) change(ctx context.Context, t *table) error {
	if t.detached() { // a detached partition must not be changed, or it could not be attached again
		return s.ddl(ctx, t, s.detach(t))
	}
	changes := []func(*table) []string{s.add, s.add, s.rename, s.remove, s.retype, s.retype, s.rekey, s.rekey, s.detach, s.index, s.drop}
	for _, n := range s.r.Perm(len(changes)) {
		if commands := changes[n](t); commands != nil {
			return s.ddl(ctx, t, commands)
		}
	}
	return nil
}

// ddl runs commands, in one transaction or several.
func (s *script) ddl(ctx context.Context, t *table, commands []string) error {
	if t.dropped {
		last, err := s.load(ctx, t)
		if err != nil {
			return err
		}
		t.last = last
	}
	t.history = append(t.history, commands...)
	if s.r.IntN(2) == 0 {
		commands = []string{"BEGIN; " + strings.Join(commands, "; ") + "; COMMIT"}
	}
	for _, sql := range commands {
		if err := s.do(ctx, sql); err != nil {
			_ = s.do(ctx, "ROLLBACK")
			return fmt.Errorf("table %s, %s: %w", t, t.style.name, err)
		}
	}
	return nil
}

// create creates the table, and fills every third one with many rows.
func (s *script) create(ctx context.Context, t *table) error {
	if err := s.ddl(ctx, t, t.create()); err != nil || s.r.IntN(3) > 0 {
		return err
	}
	return s.do(ctx, s.bulk(t))
}

func (s *script) add(t *table) []string {
	if len(t.columns) > 14 {
		return nil
	}
	next := 0
	for _, c := range t.columns {
		next = max(next, c.number+1)
	}
	next += len(t.history) // including dropped columns
	c := t.addColumn(s.place, s.r, next)
	sql := "ALTER TABLE " + t.String() + " ADD " + t.define(c)
	if c.filled = c.notNull || s.r.IntN(3) == 0; c.filled {
		value := c.kind.value(s.r)
		if c.kind == kindComposite {
			value += "::" + c.kind.sql(t.number)
		}
		sql += " DEFAULT " + value
	}
	if c.kind.create != "" {
		return []string{strings.ReplaceAll(c.kind.create, "%s", fmt.Sprint(t.number)), sql}
	}
	return []string{sql}
}

// some returns one of the columns that satisfy a condition, or nil if none does.
func (s *script) some(t *table, satisfy func(*column) bool) *column {
	for _, n := range s.r.Perm(len(t.columns)) {
		if c := t.columns[n]; satisfy(c) {
			return c
		}
	}
	return nil
}

func (s *script) rename(t *table) []string {
	c := s.some(t, func(c *column) bool { return c.number != columnFilter })
	old := quote(c.name)
	for range 20 {
		if c.name = s.place.oddName(s.r, fmt.Sprintf("c%d", c.number)); quote(c.name) != old {
			return []string{"ALTER TABLE " + t.String() + " RENAME " + old + " TO " + quote(c.name)}
		}
	}
	return nil
}

func (s *script) remove(t *table) []string {
	c := s.some(t, func(c *column) bool { return c.number > columnCode && !slices.Contains(t.style.columns, c.number) })
	if c == nil {
		return nil
	}
	t.columns = slices.DeleteFunc(t.columns, func(other *column) bool { return other == c })
	commands := []string{"ALTER TABLE " + t.String() + " DROP " + quote(c.name)}
	return append(commands, s.dropType(t, c.kind)...)
}

// dropType drops a type of the table's own that no column has any more.
func (s *script) dropType(t *table, k *kind) []string {
	if k.create == "" {
		return nil
	}
	verb := strings.Fields(k.create)
	return []string{"DROP " + verb[1] + " " + strings.ReplaceAll(verb[2], "%s", fmt.Sprint(t.number))}
}

func (s *script) retype(t *table) []string {
	c := s.some(t, func(c *column) bool {
		return c.kind.wider != nil && c.generated == "" && c.number != columnFilter && c.number != columnID && c.number != columnPart
	})
	if c != nil && c.number == columnCode && t.style.leafKey != "" && s.major >= 18 {
		return nil // PostgreSQL 18 itself refuses this: "cannot create not-null constraint"
	}
	if c == nil || slices.ContainsFunc(t.columns, func(c *column) bool { return c.generated != "" }) && c.number <= columnCode {
		return nil
	}
	return s.widen(t, c)
}

// widen changes the type of a column, and drops its former type if that belongs to the table.
func (s *script) widen(t *table, c *column) []string {
	old := c.kind
	c.kind, c.kinds = old.wider, c.kinds+1
	sql := "ALTER TABLE " + t.String() + " ALTER " + quote(c.name) + " TYPE " + c.kind.sql(t.number)
	commands := []string{sql + " USING " + strings.ReplaceAll(old.using, "%s", quote(c.name))}
	if old.using == "" {
		commands[0] = sql
	}
	if c.filled { // its default may have the old type
		commands = append([]string{"ALTER TABLE " + t.String() + " ALTER " + quote(c.name) + " DROP DEFAULT"}, commands...)
	}
	return append(commands, s.dropType(t, old)...)
}

// rekey drops the key, and creates another one or the same.
func (s *script) rekey(t *table) []string {
	if !t.style.dropKey || t.split != nil {
		return nil
	}
	old := t.fill("ALTER TABLE %t DROP CONSTRAINT %k", t.String())
	t.epochs += 2 // in between, it has no key in the WAL
	t.style = styles[s.r.IntN(3)]
	return []string{old, "ALTER TABLE " + t.String() + " ADD " + t.fill(t.style.key, "")}
}

// detach detaches a partition, or attaches it again.
func (s *script) detach(t *table) []string {
	if t.split == nil || t.split.name != "range" && t.split.name != "list" {
		return nil
	}
	for _, l := range t.leaves {
		if l.detached {
			l.detached = false
			return []string{"ALTER TABLE " + t.String() + " ATTACH PARTITION " + l.name + " " + l.bound}
		}
	}
	l := t.leaves[s.r.IntN(len(t.leaves))]
	l.detached = true
	return []string{"ALTER TABLE " + t.String() + " DETACH PARTITION " + l.name}
}

// index creates an index on which no key depends.
func (s *script) index(t *table) []string {
	if t.split != nil || len(t.style.columns) == 0 {
		return nil
	}
	name := quote(fmt.Sprintf("a%d_%d", t.number, len(t.history)))
	return []string{"CREATE UNIQUE INDEX " + name + " ON " + t.String() + " (" + t.sql(columnID) + ")"}
}

func (s *script) drop(t *table) []string {
	if s.r.IntN(3) > 0 || len(t.history) < 4 {
		return nil
	}
	t.dropped = true
	commands := []string{"DROP TABLE " + t.String()}
	for _, c := range t.columns {
		commands = append(commands, s.dropType(t, c.kind)...)
	}
	return commands
}
