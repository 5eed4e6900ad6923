package main

import (
	"context"
	"fmt"
)

// load returns the load of the other runs, plus sessions whose changes are hard to apply. Each round continues with ids of its own.
func (a *appliers) load() []actor {
	actors := a.actorsFrom(a.marks*20, append(scripts[:len(scripts):len(scripts)], hard...))
	return actors
}

// hard are changes that an applier may get wrong: keys that move, values that are not in the WAL, rows without a key, unique values that pass from
// row to row, cascades.
var hard = []script{
	func(s *session, ctx context.Context) error { // unchanged TOASTed values, under the same key and under another
		id, stmt := s.next()
		_, touch := s.next()
		_, moved := s.next()
		texts := []string{
			fmt.Sprintf("INSERT INTO work.toast VALUES (%d, '%s', 0, repeat(md5('%s'), 150))", id, stmt, stmt),
			fmt.Sprintf("UPDATE work.toast SET stmt = '%s', n = n + 1 WHERE id = %d", touch, id),
			fmt.Sprintf("UPDATE work.toast SET id = -id, stmt = '%s' WHERE id = %d", moved, id),
			fmt.Sprintf("UPDATE work.toast SET n = n + 1 WHERE id = %d", -id),
		}
		if s.random.Intn(2) == 0 {
			texts = append(append([]string{"BEGIN"}, texts...), "COMMIT")
		}
		return s.simple(ctx, texts...)
	},
	func(s *session, ctx context.Context) error { // rows without a key, many of them equal
		_, stmt := s.next()
		n := s.random.Intn(20)
		return s.simple(ctx, fmt.Sprintf("INSERT INTO work.bare SELECT %d, '' FROM generate_series(1, 3)", n),
			fmt.Sprintf("UPDATE work.bare SET stmt = '%s' WHERE ctid = (SELECT ctid FROM work.bare WHERE a = %d LIMIT 1)", stmt, n),
			fmt.Sprintf("DELETE FROM work.bare WHERE ctid IN (SELECT ctid FROM work.bare WHERE a = %d LIMIT 2)", n))
	},
	func(s *session, ctx context.Context) error { // a unique value that passes from row to row
		id, stmt := s.next()
		return s.simple(ctx, "BEGIN", fmt.Sprintf("INSERT INTO work.named VALUES ('a%[1]d', %[1]d, '%[2]s'), ('b%[1]d', -%[1]d, '%[2]s')", id, stmt),
			fmt.Sprintf("UPDATE work.named SET slot = NULL WHERE name = 'a%d'", id),
			fmt.Sprintf("UPDATE work.named SET slot = %[1]d WHERE name = 'b%[1]d'", id),
			fmt.Sprintf("UPDATE work.named SET slot = -%[1]d WHERE name = 'a%[1]d'", id), "COMMIT",
			fmt.Sprintf("DELETE FROM work.named WHERE name = 'b%d'", id),
			fmt.Sprintf("UPDATE work.named SET name = 'b%[1]d', slot = %[1]d WHERE name = 'a%[1]d'", id))
	},
	func(s *session, ctx context.Context) error { // partitions, keys that move between them, cascades
		id, stmt := s.next()
		child, _ := s.next()
		return s.simple(ctx, fmt.Sprintf("INSERT INTO work.part VALUES (%d, '%s', 0)", id, stmt),
			fmt.Sprintf("INSERT INTO work.child VALUES (%d, %d, '%s')", child, id, stmt),
			fmt.Sprintf("UPDATE work.part SET n = n + 1 WHERE id BETWEEN %d AND %d", id-50, id),
			fmt.Sprintf("DELETE FROM work.part WHERE id = %d", id))
	},
	func(s *session, ctx context.Context) error { // a row that is inserted, deleted, and inserted again
		id, stmt := s.next()
		return s.simple(ctx, "BEGIN", fmt.Sprintf("INSERT INTO work.part VALUES (%d, '%s', 0)", id, stmt), fmt.Sprintf("DELETE FROM work.part WHERE id = %d", id),
			fmt.Sprintf("INSERT INTO work.part VALUES (%d, '%s', 1)", id, stmt), "COMMIT",
			fmt.Sprintf("DELETE FROM work.part WHERE id = %d", id), fmt.Sprintf("INSERT INTO work.part VALUES (%d, NULL, 2)", id))
	},
}
