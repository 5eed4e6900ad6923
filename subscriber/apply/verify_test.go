package apply

import (
	"slices"
	"testing"
)

// A column that the target lacks makes a table differ, unless the applier ignores it.
func TestShared(t *testing.T) {
	from := &table{columns: []column{{name: "id", quoted: "id"}, {name: "v", quoted: "v"}, {name: "A b", quoted: `"A b"`}, {name: "left", quoted: "left"}}}
	to := &table{byName: map[string]int{"id": 0, "own": 1, "v": 2}}
	c := Config{IgnoreColumns: []string{"public.t.left"}}
	shared, lacking := c.shared("public.t", from, to)
	if !slices.Equal(shared, []string{"id", "v"}) || !slices.Equal(lacking, []string{`"A b"`}) {
		t.Errorf("compares %q, lacks %q", shared, lacking)
	}
}
