package outbox

import (
	"slices"
	"strings"
	"testing"
)

// A defect of the outbox is told and mended: only what a note does not fit into is created anew, with its children.
func TestOutboxDefects(t *testing.T) {
	healthy := func(name string) outboxTable {
		return outboxTable{name: name, columns: queueColumns, child: name != outboxTables[0], isPublished: true}
	}
	for what, c := range map[string]struct {
		damage        func(parent, child *outboxTable)
		told          string
		before, after string
		unpublished   int
	}{
		"none":          {func(_, _ *outboxTable) {}, "", "", "", 0},
		"dropped":       {func(_, c *outboxTable) { *c = outboxTable{name: c.name} }, "does not exist", "DROP TABLE IF EXISTS pgtee.outbox_0;\n", "", 1},
		"columns":       {func(p, _ *outboxTable) { p.columns = "kind text" }, "other columns", "DROP TABLE IF EXISTS pgtee.outbox, pgtee.outbox_0, pgtee.outbox_1, pgtee.outbox_2;\n", "", 2},
		"no child":      {func(_, c *outboxTable) { c.child = false }, "is not a child", "DROP TABLE IF EXISTS pgtee.outbox_0;\n", "", 1},
		"unlogged":      {func(_, c *outboxTable) { c.unlogged = true }, "unlogged", "", "ALTER TABLE pgtee.outbox_0 SET LOGGED;\n", 0},
		"row security":  {func(_, c *outboxTable) { c.secured = true }, "row security", "", "ALTER TABLE pgtee.outbox_0 NO FORCE ROW LEVEL SECURITY;\n", 0},
		"not published": {func(_, c *outboxTable) { c.isPublished = false }, "not published", "", "", 1},
	} {
		parent, child := healthy("pgtee.outbox"), healthy("pgtee.outbox_0")
		c.damage(&parent, &child)
		s := &serverState{outbox: []outboxTable{parent, child}}
		told := parent.defect(true) + child.defect(true)
		if (told == "") != (c.told == "") || !strings.Contains(told, c.told) {
			t.Errorf("%s: told %q, want %q", what, told, c.told)
		}
		if before, after := s.outboxSQLs(); before != c.before || after != c.after {
			t.Errorf("%s: %q before and %q after, want %q and %q", what, before, after, c.before, c.after)
		}
		if got := len(s.unpublishedOutbox()); got != c.unpublished {
			t.Errorf("%s: %d tables to publish, want %d", what, got, c.unpublished)
		}
	}
}

// Each routine that PUBLIC may execute is one that setup creates.
func TestPublicRoutines(t *testing.T) {
	made := routines(schemaSQL())
	for _, signature := range publicRoutines {
		name, _, _ := strings.Cut(strings.TrimPrefix(signature, "pgtee."), "(")
		if !slices.Contains(made, name) {
			t.Errorf("setup creates no %s", signature)
		}
	}
}
