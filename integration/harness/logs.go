package harness

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// KeepLogs copies the logs of everything that ran in w into a new temporary folder, whose name begins with prefix, because w's own folder is removed
// at the end.
func (w *World) KeepLogs(prefix string) (kept string, err error) {
	if kept, err = os.MkdirTemp("", prefix); err != nil {
		return "", err
	}
	return kept, filepath.WalkDir(w.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".log") || strings.Contains(path, "/data/") {
			return nil // files that have been removed meanwhile, and files that are not logs
		}
		return copyFile(filepath.Join(kept, filepath.Base(path)), path)
	})
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
