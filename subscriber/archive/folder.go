package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names in the folder of an archive, beside those of its files.
const (
	manifestName = "manifest.jsonl"
	viewsName    = "views.sql"
	lockName     = "lock"
	temporary    = ".tmp" // end of the name of what is not written to its end
)

// Modes of what is made: rows are not for everybody's eyes.
const (
	folderMode = 0o750
	fileMode   = 0o640
)

// folder is that of an archive, while this process alone may write into it.
type folder struct {
	path string
	lock *os.File
}

func openFolder(path string) (*folder, error) {
	if err := os.MkdirAll(path, folderMode); err != nil {
		return nil, unwritable(err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, unwritable(err)
	}
	if err := lockFile(lock); err != nil {
		lock.Close()
		return nil, Halt{What: fmt.Sprintf("another process writes the archive in %s (%v)", path, err), Repair: "run one `pgtee archive` for each folder"}
	}
	return &folder{path, lock}, nil
}

func (f *folder) close() { _ = f.lock.Close() }

func (f *folder) join(name string) string { return filepath.Join(f.path, name) }

// unwritable is the end because of the file system: another try would meet the same.
func unwritable(err error) error {
	return Halt{What: "the archive cannot be written: " + err.Error(), Repair: "see to the room and the rights of the folder, and start again; what is not in the manifest is read once more"}
}

// sync makes names in the folder outlive a crash of the machine.
func (f *folder) sync() error {
	dir, err := os.Open(f.path)
	if err != nil {
		return unwritable(err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return unwritable(err)
	}
	return nil
}

// publish gives what was written its name: whole, or not at all, whatever crashes.
func (f *folder) publish(file *os.File, name string) error {
	if err := file.Sync(); err != nil {
		return unwritable(err)
	}
	if err := file.Close(); err != nil {
		return unwritable(err)
	}
	if err := os.Rename(file.Name(), f.join(name)); err != nil {
		return unwritable(err)
	}
	return f.sync()
}

// create makes a file that has no name of its own yet.
func (f *folder) create(name string) (*os.File, error) {
	file, err := os.OpenFile(f.join(name+temporary), os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, unwritable(err)
	}
	return file, nil
}

// clean removes what a crash has left: files without an end, the one that was not in the manifest yet, those that were to be removed.
func (f *folder) clean(m *manifest) error {
	names, err := f.files()
	if err != nil {
		return err
	}
	var unnamed, old []string
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, temporary) || m.removed[name]:
			old = append(old, name)
		case !m.names[name]:
			unnamed = append(unnamed, name)
		}
	}
	if len(unnamed) > 1 {
		return Halt{What: fmt.Sprintf("%d files are not in the manifest: %s and others; a crash leaves one at most, so its end was cut", len(unnamed), unnamed[0]),
			Repair: "put back the " + manifestName + " that belongs to them; `pgtee archive --verify` lists them"}
	}
	for _, name := range append(old, unnamed...) {
		if err := os.Remove(f.join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(err)
		}
	}
	return f.sync()
}

// files lists, in order, what may be files of the archive.
func (f *folder) files() ([]string, error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, unwritable(err)
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); isFile(name) || strings.HasSuffix(name, temporary) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// isFile reports whether a name is one that files of an archive have.
func isFile(name string) bool {
	return strings.HasSuffix(name, suffixes[JSONLines]) || strings.HasSuffix(name, suffixes[Parquet])
}

var suffixes = map[Format]string{JSONLines: ".jsonl.zst", Parquet: ".parquet"}

// fileName is that of a file by the commits that it holds and the number of its first record: names sort as the records do.
func fileName(format Format, first, last LSN, number int64) string {
	return fmt.Sprintf("%016X-%016X-%012d%s", uint64(first), uint64(last), number, suffixes[format])
}
