package publisher

import (
	"cmp"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// TestSharedTopics: two tables are in one topic only if the configuration says that they share it.
func TestSharedTopics(t *testing.T) {
	for shared, want := range map[bool]bool{false: true, true: false} {
		shape := shapeOf(t, ShapeConfig{Tables: []TableConfig{{Match: "shard_?.orders", Topic: "{prefix}.orders", Shared: shared}}})
		taken := owners{}
		var refused *unusableTopic
		for _, schema := range []string{"shard_1", "shard_2", "shard_1"} {
			r := &pgoutput.Relation{Schema: schema, Name: "orders", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Type: 25, TypeMod: -1, Key: true}}}
			plan, failed := shape.Table(r)
			if failed != nil {
				t.Fatal(failed)
			}
			var b Batch
			b.Add(plan.Topic, Null, Null)
			refused = cmp.Or(refused, taken.claim(&b, 0, &outbox.Change{Relation: r}, shape, nil))
		}
		if (refused != nil) != want {
			t.Errorf("shared %t: %v", shared, refused)
		}
	}
}

func shapeOf(t *testing.T, c ShapeConfig) *Shape {
	t.Helper()
	c.Prefix = "shop"
	s, err := NewShape(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
