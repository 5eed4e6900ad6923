package main

import (
	"context"
	"fmt"
	"math/rand"
	"strings"
	"time"
)

// copier is a session whose scripts write into the tables of the sets.
type copier struct {
	*session
	snapshots *snapshots
}

// actors are the sessions of the load, and one that requests the copies.
func (s *snapshots) actors() []actor {
	actors := []actor{s.ask}
	for i := range 5 {
		worker := &session{user: "postgres", name: fmt.Sprintf("w%d", i), address: s.server.Address(), pace: 5 * time.Millisecond, chaos: s.chaos, base: (i + 1) * 100_000_000}
		c := &copier{worker, s}
		for _, work := range []func(context.Context) error{
			c.insert, c.insert, c.update, c.update, c.update, c.updateBig, c.updateRange, c.remove, c.move, c.moveWide, c.truncate,
			c.savepoints, c.prepared, c.slow, c.updateFull, c.rolledBack,
		} {
			worker.scripts = append(worker.scripts, func(_ *session, ctx context.Context) error { return work(ctx) })
		}
		actors = append(actors, func(ctx context.Context, random *rand.Rand) {
			worker.random = random
			worker.run(ctx)
		})
	}
	resolver := &session{user: "postgres", name: "resolver", address: s.server.Address(), pace: 3 * time.Second, chaos: s.chaos, scripts: []script{(*session).resolve}}
	return append(actors, func(ctx context.Context, random *rand.Rand) {
		resolver.random = random
		resolver.run(ctx)
	})
}

// table returns the name of a table of a kind, most often one of the set being copied.
func (c *copier) table(kind string) string {
	set := int(c.snapshots.hot.Load())
	if c.random.Intn(4) == 0 {
		set = c.random.Intn(sets)
	}
	return fmt.Sprintf("work.%s_%d", kind, set)
}

// keyed returns a table of one of the kinds with the key id.
func (c *copier) keyed() string {
	return c.table([]string{"plain", "wide", "cut", "part", "full"}[c.random.Intn(5)])
}

func (c *copier) insertText(table string) string {
	id, stmt := c.next()
	if strings.Contains(table, "wide") || strings.Contains(table, "full") {
		return fmt.Sprintf("INSERT INTO %s VALUES (%d, '%s', 0, repeat(md5('%s'), 100))", table, id, stmt, stmt)
	}
	if strings.Contains(table, "named") {
		return fmt.Sprintf("INSERT INTO %s VALUES ('%c', %d, '%s', 0)", table, 'A'+id%50, id, stmt)
	}
	return fmt.Sprintf("INSERT INTO %s VALUES (%d, '%s', 0)", table, id, stmt)
}

// updateText changes old rows without touching big.
func (c *copier) updateText(table string, rows int) string {
	_, stmt := c.next()
	first := 1 + c.random.Intn(setRows/2)
	return fmt.Sprintf("UPDATE %s SET stmt = '%s', n = n + 1 WHERE id BETWEEN %d AND %d", table, stmt, first, first+rows-1)
}

func (c *copier) insert(ctx context.Context) error {
	return c.simple(ctx, c.insertText(c.table("plain")), c.insertText(c.table("wide")), c.insertText(c.table("named")))
}

func (c *copier) update(ctx context.Context) error {
	return c.simple(ctx, c.updateText(c.keyed(), 1), c.updateText(c.table("named"), 1), c.updateText(c.table("wide"), 1+c.random.Intn(5)))
}

func (c *copier) updateBig(ctx context.Context) error {
	_, stmt := c.next()
	return c.simple(ctx, fmt.Sprintf("UPDATE %s SET stmt = '%s', big = repeat(md5('%s'), 130) WHERE id = %d", c.table("wide"), stmt, stmt, 1+c.random.Intn(setRows/6)))
}

func (c *copier) updateFull(ctx context.Context) error {
	return c.simple(ctx, c.updateText(c.table("full"), 1+c.random.Intn(10)), c.insertText(c.table("full")))
}

// updateRange moves rows to other pages.
func (c *copier) updateRange(ctx context.Context) error {
	return c.simple(ctx, c.updateText(c.keyed(), 100))
}

func (c *copier) remove(ctx context.Context) error {
	return c.simple(ctx, fmt.Sprintf("DELETE FROM %s WHERE id = %d", c.keyed(), 1+c.random.Intn(setRows/2)),
		fmt.Sprintf("DELETE FROM %s WHERE id = %d", c.table("named"), 1+c.random.Intn(setRows/2)))
}

// move gives a row another key, before or after the position of the copy, and another row the old key.
func (c *copier) move(ctx context.Context) error {
	table := c.table([]string{"plain", "part", "cut"}[c.random.Intn(3)])
	old := 1 + c.random.Intn(setRows/2)
	id, stmt := c.next()
	texts := []string{"BEGIN", fmt.Sprintf("UPDATE %s SET id = %d, stmt = '%s' WHERE id = %d", table, c.sign()*id, stmt, old)}
	if c.random.Intn(2) == 0 {
		texts = append(texts, fmt.Sprintf("INSERT INTO %s VALUES (%d, '%s', 0) ON CONFLICT DO NOTHING", table, old, stmt))
	}
	return c.simple(ctx, append(texts, "COMMIT")...)
}

// moveWide gives a row with a big value, which is then not in the WAL, another key, before or after all rows being copied.
func (c *copier) moveWide(ctx context.Context) error {
	id, stmt := c.next()
	return c.simple(ctx, fmt.Sprintf("UPDATE %s SET id = %d, stmt = '%s' WHERE id = %d", c.table("wide"), c.sign()*id, stmt, 1+c.random.Intn(setRows/6)))
}

func (c *copier) sign() int { return 1 - 2*c.random.Intn(2) }

func (c *copier) truncate(ctx context.Context) error {
	if c.random.Intn(8) != 0 {
		return nil
	}
	table, end := c.table("cut"), []string{"COMMIT", "COMMIT", "ROLLBACK"}[c.random.Intn(3)]
	return c.simple(ctx, "BEGIN", c.insertText(table), "TRUNCATE "+table, c.insertText(table), c.insertText(table), end)
}

func (c *copier) savepoints(ctx context.Context) error {
	table := c.keyed()
	return c.simple(ctx, "BEGIN", c.updateText(table, 3), "SAVEPOINT a", c.updateText(table, 5), c.insertText(table), "ROLLBACK TO a", c.insertText(table),
		"SAVEPOINT b", c.updateText(c.table("wide"), 2), "RELEASE b", "COMMIT")
}

func (c *copier) rolledBack(ctx context.Context) error {
	return c.simple(ctx, "BEGIN", c.updateText(c.keyed(), 20), c.insertText(c.table("wide")), "ROLLBACK")
}

// slow keeps a transaction open while chunks are read.
func (c *copier) slow(ctx context.Context) error {
	if err := c.simple(ctx, "BEGIN", c.insertText(c.table("plain")), c.updateText(c.table("wide"), 1), c.updateText(c.keyed(), 1)); err != nil {
		return err
	}
	sleep(ctx, time.Duration(c.random.Intn(2000))*time.Millisecond)
	return c.simple(ctx, c.insertText(c.table("wide")), "COMMIT")
}

// prepared ends a transaction in two phases, with time in between for chunks to be read.
func (c *copier) prepared(ctx context.Context) error {
	_, gid := c.next()
	err := c.simple(ctx, "BEGIN", c.insertText(c.keyed()), c.updateText(c.table("wide"), 1), c.insertText(c.table("wide")), fmt.Sprintf("PREPARE TRANSACTION '%s'", gid))
	if err != nil {
		return err
	}
	sleep(ctx, time.Duration(c.random.Intn(2000))*time.Millisecond)
	return c.finish(ctx, []string{"COMMIT", "COMMIT", "ROLLBACK"}[c.random.Intn(3)], gid)
}
