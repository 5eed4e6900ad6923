package harness

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Python returns an interpreter with the packages in integration/requirements.txt, which are downloaded once.
func (w *World) Python() (string, error) {
	cmd := exec.Command(filepath.Join(w.Source, "integration", "python.sh"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("make the Python environment: %w: %s", err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}
