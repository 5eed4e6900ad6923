package publisher

import (
	"cmp"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// TestSharedTopics: two tables are in one topic only if the configuration says that they share it.
func TestSharedTopics(t *testing.T) {
	for shared, want := range map[bool]bool{false: true, true: false} {
		shape := shapeOf(t, shape.Config{Tables: []shape.TableConfig{{Match: "shard_?.orders", Topic: "{prefix}.orders", Shared: shared}}})
		taken := owners{}
		var refused *UnusableTopic
		for _, schema := range []string{"shard_1", "shard_2", "shard_1"} {
			r := &pgoutput.Relation{Schema: schema, Name: "orders", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Type: 25, TypeMod: -1, Key: true}}}
			plan, failed := shape.Table(r)
			if failed != nil {
				t.Fatal(failed)
			}
			var b record.Batch
			b.Add(plan.Topic, record.Null, record.Null)
			refused = cmp.Or(refused, taken.claim(&b, 0, &outbox.Change{Relation: r}, shape, nil))
		}
		if (refused != nil) != want {
			t.Errorf("shared %t: %v", shared, refused)
		}
	}
}

func shapeOf(t *testing.T, c shape.Config) *shape.Shape {
	t.Helper()
	c.Prefix = "shop"
	s, err := shape.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
