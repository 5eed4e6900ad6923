package integration

import (
	"context"
	"fmt"
	"testing"

	"github.com/pgtee/pgtee/integration/schemas/property"
)

// Tables of all kinds, written and changed at random while the publisher is killed and copies them, are what their topics fold to; make
// schemas has more of them.
func TestSchemas(t *testing.T) {
	registry, err := sharedRegistry()
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.SetCompatibility(t.Context(), "", "NONE"); err != nil { // tables change as nobody would let them
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := registry.SetCompatibility(context.Background(), "", "BACKWARD"); err != nil {
			t.Error(err)
		}
	})
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprintf("PostgreSQL %d", major), func(t *testing.T) {
			r := property.Run{World: world, Major: major, Registry: registry, Tables: 12, CopyRows: 2000, Seed: 16, Name: fmt.Sprintf("schemas%d", major), Log: t.Logf}
			if r.Binary, err = sharedBinary(); err != nil {
				t.Fatal(err)
			}
			if r.Broker, err = sharedBroker(); err != nil {
				t.Fatal(err)
			}
			if r.Server, err = sharedPostgres[major](); err != nil {
				t.Fatal(err)
			}
			v, err := r.Do(t.Context())
			if err != nil {
				t.Error(err)
			}
			for _, finding := range v.Findings {
				t.Error(finding)
			}
		})
	}
}
