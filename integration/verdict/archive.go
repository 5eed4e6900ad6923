package verdict

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// Archived is a record of an archive of JSON lines.
type Archived struct {
	Number    int64           `json:"n"`
	ID        string          `json:"id"`
	Topic     string          `json:"topic"`
	Partition int32           `json:"partition"`
	Offset    int64           `json:"offset"`
	Key       json.RawMessage `json:"key"`
	Value     json.RawMessage `json:"value"`
}

// EachArchived reads the records of the files that the manifest of an archive names.
func EachArchived(dir string, use func(*Archived) error) error {
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.jsonl"))
	if err != nil {
		return err
	}
	for line := range bytes.Lines(manifest) {
		var l struct{ File *struct{ Name string } }
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		if l.File == nil {
			continue
		}
		if err := eachLine(filepath.Join(dir, l.File.Name), use); err != nil {
			return fmt.Errorf("%s: %w", l.File.Name, err)
		}
	}
	return nil
}

func eachLine(path string, use func(*Archived) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := zstd.NewReader(file)
	if err != nil {
		return err
	}
	defer text.Close()
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var a Archived
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return fmt.Errorf("%.300s: %w", lines.Bytes(), err)
		}
		if err := use(&a); err != nil {
			return err
		}
	}
	return lines.Err()
}
