package property

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// script works on the tables of a place, one after another and at random.
type script struct {
	*session
	r     *rand.Rand
	next  *int // last number assigned to a row or a code
	major int
}

// act does one thing to a table.
func (s *script) act(ctx context.Context, t *table, ddl int) error {
	switch {
	case t.dropped:
		return nil
	case s.r.IntN(100) < ddl:
		return s.change(ctx, t)
	}
	return s.write(ctx, t)
}

// write writes a transaction of one to three statements.
func (s *script) write(ctx context.Context, t *table) error {
	rows := slices.Clone(t.rows)
	var statements []string
	for range 1 + s.r.IntN(3) {
		statements = append(statements, s.statement(t, &rows))
	}
	if s.r.IntN(10) == 0 {
		return s.do(ctx, "BEGIN; "+strings.Join(statements, "; ")+"; ROLLBACK")
	}
	if err := s.do(ctx, "BEGIN; "+strings.Join(statements, "; ")+"; COMMIT"); err != nil {
		_ = s.do(ctx, "ROLLBACK")
		return err
	}
	t.rows = rows
	return nil
}

func (s *script) statement(t *table, rows *[]int) string {
	switch n := s.r.IntN(20); {
	case len(*rows) == 0 || n < 7 || !s.captures(t):
		if n == 0 && len(*rows) > 0 && !t.detached() {
			*rows = nil
			return "TRUNCATE " + t.String()
		}
		return s.insert(t, rows)
	case n == 7 || n == 8:
		return fmt.Sprintf("UPDATE %s SET %s", t, t.next())
	case n < 16:
		return s.update(t, (*rows)[s.r.IntN(len(*rows))])
	case n == 19 && s.r.IntN(3) == 0 && !t.detached():
		*rows = nil
		return "TRUNCATE " + t.String()
	}
	i := s.r.IntN(len(*rows))
	id := (*rows)[i]
	*rows = slices.Delete(*rows, i, i+1)
	return fmt.Sprintf("DELETE FROM %s WHERE %s = %d", t, t.sql(columnID), id)
}

// captures reports whether UPDATE and DELETE of a table are captured. Before PostgreSQL 18 the WAL lacks generated columns of a key.
func (s *script) captures(t *table) bool {
	return t.style.updates && !(t.style.generate && s.major < 18)
}

// version returns a number that no row and no code has yet.
func (s *script) version() int {
	*s.next++
	return *s.next
}

// insert writes one to five rows in their first version.
func (s *script) insert(t *table, rows *[]int) string {
	var names, lists []string
	for _, c := range t.columns {
		if c.generated == "" {
			names = append(names, quote(c.name))
		}
	}
	for range 1 + s.r.IntN(5) {
		id := s.version()
		*rows = append(*rows, id)
		var values []string
		for _, c := range t.columns {
			if c.generated == "" {
				values = append(values, s.value(t, c, id))
			}
		}
		lists = append(lists, "("+strings.Join(values, ", ")+")")
	}
	return "INSERT INTO " + t.String() + " (" + strings.Join(names, ", ") + ") VALUES " + strings.Join(lists, ", ")
}

// value returns a literal for a column of the row id.
func (s *script) value(t *table, c *column, id int) string {
	switch c.number {
	case columnID:
		return fmt.Sprint(id)
	case columnVersion:
		return "1"
	case columnFilter:
		if s.r.IntN(8) == 0 {
			return "NULL"
		}
		return fmt.Sprint(s.r.IntN(20) - 6)
	case columnPart:
		return fmt.Sprint(s.part(t))
	case columnCode:
		return fmt.Sprintf("'%s%d'", []string{"k", "é", "Ü", "a b"}[s.r.IntN(4)], s.version())
	}
	if !c.notNull && s.r.IntN(6) == 0 {
		return "NULL"
	}
	return c.kind.value(s.r)
}

// part returns a value of the partitioning column for a partition that is attached.
func (s *script) part(t *table) int {
	if t.split == nil {
		return s.r.IntN(90)
	}
	var places []int
	for i, l := range t.leaves {
		switch {
		case l.detached:
		case t.split.name == "range":
			places = append(places, 30*i+s.r.IntN(30))
		case t.split.name == "list":
			places = append(places, []int{1, 6, 50}[i])
		}
	}
	if len(places) == 0 { // hash and multi-level: their partitions are never detached
		return s.r.IntN(90)
	}
	return places[s.r.IntN(len(places))]
}

// next returns the assignment that increases a row's version.
func (t *table) next() string {
	version := t.sql(columnVersion)
	return version + " = " + version + " + 1"
}

// bulk inserts many rows, so that copying the table takes a while.
func (s *script) bulk(t *table) string {
	const rows = 80
	first := *s.next + 1
	*s.next += rows
	var names, values []string
	for _, c := range t.columns {
		if c.generated != "" {
			continue
		}
		names = append(names, quote(c.name))
		switch c.number {
		case columnID:
			values = append(values, "n")
		case columnVersion:
			values = append(values, "1")
		case columnCode:
			values = append(values, "'bulk' || n")
		default:
			values = append(values, s.value(t, c, 0)+"::"+c.kind.sql(t.number))
		}
	}
	for id := first; id < first+rows; id++ {
		t.rows = append(t.rows, id)
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM generate_series(%d, %d) AS n", t, strings.Join(names, ", "), strings.Join(values, ", "), first, first+rows-1)
}

func (s *script) update(t *table, id int) string {
	sets := []string{t.next()}
	for _, c := range t.columns {
		often := 3
		if c.number == columnPart || c.number == columnCode {
			often = 4
		}
		if c.number > columnVersion && c.generated == "" && s.r.IntN(often) == 0 {
			sets = append(sets, quote(c.name)+" = "+s.value(t, c, id))
		}
	}
	return fmt.Sprintf("UPDATE %s SET %s WHERE %s = %d", t, strings.Join(sets, ", "), t.sql(columnID), id)
}
