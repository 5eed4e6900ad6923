package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A bug that does not meet the code any more would be found only when somebody plants it.
func TestPlantedBugsMeetTheCode(t *testing.T) {
	for name, bug := range planted {
		text, err := os.ReadFile(filepath.Join("..", "..", bug.File))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n := strings.Count(string(text), bug.Old); n != 1 {
			t.Errorf("%s: %s has %d places for it, want 1", name, bug.File, n)
		}
	}
}
