package outbox

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestHashPublications(t *testing.T) {
	publications := [][]string{
		{"pgtee_identity", "16400", "f", "t", "t", "f", "f", "t"},
		{"pgtee_partitioned", "16402", "t", "f", "f", "t", "f", "t"},
		{"pgtee_rows", "16401", "t", "f", "f", "t", "t", "f"},
	}
	hash, err := hashPublications(publications)
	if err != nil || len(hash) != 16 || strings.Trim(hash, "0123456789abcdef") != "" {
		t.Fatalf("hash %q, %v", hash, err)
	}
	for i := range publications {
		for j := range publications[i] {
			changed := [][]string{slices.Clone(publications[0]), slices.Clone(publications[1]), slices.Clone(publications[2])}
			changed[i][j] += "x"
			got, err := hashPublications(changed)
			if got == hash || j == 0 && !errors.Is(err, ErrPublicationMissing) {
				t.Errorf("publication %d, column %d changed: hash %q, %v", i, j, got, err)
			}
		}
	}
	if _, err := hashPublications(publications[:1]); !errors.Is(err, ErrPublicationMissing) || !strings.Contains(err.Error(), "pgtee_rows") {
		t.Errorf("got %v, want pgtee_rows missing", err)
	}
}
