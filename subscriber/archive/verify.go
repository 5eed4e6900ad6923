package archive

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Report is the result of Verify.
type Report struct {
	Lines, Files int
	Bytes        int64
	Records      int64
	Begins, Ends LSN
	Removed      int    // files removed by the retention
	Head         string // hash of the last line
	Damage       []string
}

// Verify checks every byte of an archive. head, unless empty, is the hash of a line that must exist: one that was noted down earlier.
func Verify(dir, head string) (Report, error) {
	f := &folder{path: dir}
	v := verifier{folder: f, manifest: &manifest{folder: f, names: map[string]bool{}, removed: map[string]bool{}, written: map[string]time.Time{}}, head: head}
	if err := v.lines(); err != nil {
		return v.report, err
	}
	if err := v.files(); err != nil {
		return v.report, err
	}
	m := v.manifest
	v.report.Lines, v.report.Head, v.report.Begins, v.report.Ends, v.report.Removed = m.lines, m.hash, m.begins, m.mark.EndLSN, len(m.removed)
	return v.report, nil
}

type verifier struct {
	folder   *folder
	manifest *manifest
	report   Report
	head     string
	lost     bool // the manifest could not be read to the end
}

func (v *verifier) damage(format string, args ...any) {
	v.report.Damage = append(v.report.Damage, fmt.Sprintf(format, args...))
}

// lines reads the manifest up to the first damaged line.
func (v *verifier) lines() error {
	file, err := os.Open(v.folder.join(manifestName))
	if err != nil {
		return Halt{What: fmt.Sprintf("%s contains no archive: %v", v.folder.path, err), Repair: "name the folder that `pgtee archive --out` has written"}
	}
	defer file.Close()
	lines, found := bufio.NewReaderSize(file, 64<<10), v.head == ""
	for number := 1; ; number++ {
		text, err := readLine(lines, maxLineBytes)
		if errors.Is(err, io.EOF) {
			if len(text) > 0 {
				v.damage("%s, line %d: the manifest is truncated", manifestName, number)
				v.lost = true
			}
			break
		}
		if err != nil {
			return err
		}
		line, err := parseLine(text)
		if err == nil {
			err = v.follows(&line)
		}
		if err == nil {
			err = v.manifest.addLine(line)
		}
		if err != nil {
			v.damage("%s, line %d: %v", manifestName, number, err)
			v.lost = true
			break
		}
		found = found || line.Hash == v.head
	}
	if v.manifest.header == nil && !v.lost {
		v.damage("%s is empty", manifestName)
	}
	if !found {
		v.damage("%s has no line with hash %s: the manifest is truncated, or it is another archive", manifestName, v.head)
	}
	return nil
}

// follows returns an error unless a file starts where the archive ended before it.
func (v *verifier) follows(line *Line) error {
	f, m := line.File, v.manifest
	if f == nil {
		return nil
	}
	if f.From != m.mark.EndLSN || f.First != m.records+1 {
		return fmt.Errorf("file %s begins at %s with record %d, but the archive ended at %s before record %d", f.Name, f.From, f.First, m.mark.EndLSN, m.records+1)
	}
	return nil
}

// files checks all files named in the manifest, and looks for other files.
func (v *verifier) files() error {
	m := v.manifest
	for i := range m.files {
		f := &m.files[i]
		v.report.Files++
		v.report.Bytes += f.Bytes
		v.report.Records += f.Records
		file, err := os.Open(v.folder.join(f.Name))
		switch {
		case missing(err):
			v.damage("file %s is missing", f.Name)
			continue
		case err != nil:
			return err
		}
		if err := f.compare(file); err != nil {
			v.damage("file %s: %v", f.Name, err)
		}
		_ = file.Close()
	}
	names, err := v.folder.files()
	if err != nil {
		return err
	}
	for _, name := range names {
		if isUnfinished(name) || m.names[name] || v.lost {
			continue // it is being written, or a damaged manifest might name it
		}
		v.damage("file %s is not in the manifest: the manifest is truncated, or a crash has left the file there and the next start removes it", name)
	}
	return nil
}

// compare returns an error unless a file has the bytes that were written.
func (f *File) compare(file *os.File) error {
	hash := sha256.New()
	n, err := io.Copy(hash, file)
	switch {
	case err != nil:
		return err
	case n < f.Bytes:
		return fmt.Errorf("it is truncated: it has %d of %d bytes", n, f.Bytes)
	case n > f.Bytes:
		return fmt.Errorf("it has %d bytes, %d were written", n, f.Bytes)
	case hex.EncodeToString(hash.Sum(nil)) != f.SHA256:
		return errors.New("bytes in it were changed")
	}
	return nil
}
