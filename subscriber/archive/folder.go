package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Names in the folder of an archive, besides the names of its files.
const (
	manifestName = "manifest.jsonl"
	viewsName    = "views.sql"
	lockName     = "lock"
	temporary    = ".tmp" // suffix of the name of an unfinished file
)

// Modes of created files and folders: rows must not be readable by everyone.
const (
	folderMode = 0o750
	fileMode   = 0o640
)

// folder is the folder of an archive, locked so that only this process writes to it.
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

// unwritable is the error of a failed file system operation, which a retry would not repair.
func unwritable(err error) error {
	return Halt{What: "the archive cannot be written: " + err.Error(), Repair: "check the free space and the permissions of the folder, and start again; records that are not in the manifest are read again"}
}

// sync makes names in the folder survive a crash of the machine.
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

// publish gives a written file its name, completely or not at all, even if there is a crash.
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

// create creates a file under a temporary name.
func (f *folder) create(name string) (*os.File, error) {
	file, err := os.OpenFile(f.join(name+temporary), os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, unwritable(err)
	}
	return file, nil
}

// clean removes what a crash has left behind: unfinished files, a file that was not yet in the manifest, and files that were about to be removed. Files
// of others stay.
func (f *folder) clean(m *manifest) error {
	names, err := f.files()
	if err != nil {
		return err
	}
	var unnamed, old []string
	for _, name := range names {
		switch {
		case isUnfinished(name) || m.removed[name]:
			old = append(old, name)
		case !m.names[name]:
			unnamed = append(unnamed, name)
		}
	}
	if len(unnamed) > 1 {
		return Halt{What: fmt.Sprintf("%d files are not in the manifest: %s and others; a crash leaves one at most, so the end of the manifest was cut off", len(unnamed), unnamed[0]),
			Repair: "restore the " + manifestName + " that belongs to these files; `pgtee archive --verify` lists them"}
	}
	for _, name := range append(old, unnamed...) {
		if err := f.remove(name); err != nil {
			return err
		}
	}
	return f.sync()
}

// remove removes a file, which may be gone already.
func (f *folder) remove(name string) error {
	if err := os.Remove(f.join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unwritable(err)
	}
	return nil
}

// unlisted returns an error if there are files of an archive but no manifest: it was lost, and clean would remove the files like those of a crash.
func (f *folder) unlisted() error {
	names, err := f.files()
	if err != nil {
		return err
	}
	if names = slices.DeleteFunc(names, isUnfinished); len(names) == 0 {
		return nil
	}
	return Halt{What: fmt.Sprintf("%s holds %d files of an archive, such as %s, and its %s is missing or empty", f.path, len(names), names[0], manifestName),
		Repair: "put back the " + manifestName + " that belongs to them, or name another folder with --out"}
}

// files lists, in order, the files of the archive, finished or not.
func (f *folder) files() ([]string, error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, unwritable(err)
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); isFile(name) || isUnfinished(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// unfinished is the name under which files are written.
const unfinished = "next"

// isUnfinished reports whether a file is one that this program writes under a temporary name.
func isUnfinished(name string) bool {
	final, temp := strings.CutSuffix(name, temporary)
	return temp && (final == viewsName || final == unfinished+suffixes[JSONLines] || final == unfinished+suffixes[Parquet])
}

// isFile reports whether a name is one that fileName makes.
func isFile(name string) bool { return filePattern.MatchString(name) }

var filePattern = regexp.MustCompile(`^[0-9A-F]{16}-[0-9A-F]{16}-[0-9]{12,}\.(jsonl\.zst|parquet)$`)

var suffixes = map[Format]string{JSONLines: ".jsonl.zst", Parquet: ".parquet"}

// fileName returns the name of a file from the commits that it holds and the number of its first record. Names sort in record order.
func fileName(format Format, first, last LSN, number int64) string {
	return fmt.Sprintf("%016X-%016X-%012d%s", uint64(first), uint64(last), number, suffixes[format])
}
