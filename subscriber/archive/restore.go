package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// Archive is an archive opened for reading. Its writer may continue meanwhile: reading ends where the archive ended when it was opened.
type Archive struct {
	manifest *manifest
}

var _ apply.Archive = (*Archive)(nil)

// Open reads the manifest in a folder.
func Open(dir string) (*Archive, error) {
	m, _, err := readManifest(&folder{path: dir})
	if err != nil {
		return nil, err
	}
	if m.header == nil {
		return nil, Halt{What: fmt.Sprintf("%s contains no archive: there is no %s", dir, manifestName), Repair: "name the folder that `pgtee archive --out` has written"}
	}
	return &Archive{m}, nil
}

// Header returns what the archive contains.
func (a *Archive) Header() Header { return *a.manifest.header }

// Held implements apply.Archive.
func (a *Archive) Held() (begins, ends apply.Mark, whole bool) {
	m := a.manifest
	begins, ends = apply.Mark{EndLSN: m.begins}, m.mark
	if m.records == 0 {
		ends = begins // there is nothing to restore
	}
	return begins, ends, m.begins == m.header.Begins
}

// Open implements apply.Archive.
func (a *Archive) Open(position LSN) (apply.Records, error) {
	files := a.manifest.files
	for len(files) > 0 && files[0].Ends.EndLSN < position {
		files = files[1:]
	}
	return &records{folder: a.manifest.folder, format: a.manifest.header.Format, files: files}, nil
}

// records reads the records of several files.
type records struct {
	folder  *folder
	format  Format
	files   []File // files not opened yet
	current *os.File
	decoder decoder // of current; nil: no file is open
	name    string
	number  int64 // of the next record
	left    int64 // remaining records of the current file
}

// Next implements apply.Records.
func (r *records) Next() (*kgo.Record, error) {
	for r.decoder == nil {
		if len(r.files) == 0 {
			return nil, io.EOF
		}
		if err := r.open(&r.files[0]); err != nil {
			return nil, err
		}
		r.files = r.files[1:]
	}
	number, record, err := r.decoder.next()
	if errors.Is(err, io.EOF) && r.left == 0 {
		if err := r.Close(); err != nil {
			return nil, err
		}
		return r.Next()
	}
	if err == nil && (number != r.number || r.left == 0) {
		err = fmt.Errorf("record %d is in the place of record %d", number, r.number)
	}
	if err != nil {
		return nil, damaged(r.name, err)
	}
	r.number++
	r.left--
	return record, nil
}

func damaged(name string, err error) error {
	return Halt{What: fmt.Sprintf("file %s of the archive is damaged: %v", name, err), Repair: "replace the file by a copy of it; `pgtee archive --verify` reports any other damage"}
}

// open opens a file after verifying that it is unchanged, since nothing of a damaged file may reach a table.
func (r *records) open(f *File) error {
	file, err := os.Open(r.folder.join(f.Name))
	if err != nil {
		return damaged(f.Name, err)
	}
	r.current, r.name, r.number, r.left = file, f.Name, f.First, f.Records
	if err = f.compare(file); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err == nil {
		r.decoder, err = newDecoder(r.format, file)
	}
	if err != nil {
		_ = file.Close()
		return damaged(f.Name, err)
	}
	return nil
}

// Close implements apply.Records.
func (r *records) Close() error {
	if r.decoder == nil {
		return nil
	}
	r.decoder.close()
	r.decoder = nil
	return r.current.Close()
}

// missing reports whether an error means that a file does not exist.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
