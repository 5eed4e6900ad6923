package console

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"testing"
)

// TestWeight: all that a browser loads is less than 100 KB.
func TestWeight(t *testing.T) {
	total := 0
	for name, a := range loadedAssets {
		total += len(a.packed)
		t.Logf("%s: %d bytes, %d packed", name, len(a.body), len(a.packed))
	}
	if total > 100_000 {
		t.Errorf("%d bytes", total)
	}
}

// TestVendored: what is not ours is what its project has published.
func TestVendored(t *testing.T) {
	text, err := os.ReadFile("assets/VENDORED.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\S+) .*\| ([0-9a-f]{64}) \|$`).FindAllSubmatch(text, -1)
	if len(rows) != 2 {
		t.Fatalf("%d files are listed", len(rows))
	}
	for _, row := range rows {
		a, known := loadedAssets[string(row[1])]
		if sum := fmt.Sprintf("%x", sha256.Sum256(a.body)); !known || sum != string(row[2]) {
			t.Errorf("%s has the hash %s, listed is %s", row[1], sum, row[2])
		}
	}
}
