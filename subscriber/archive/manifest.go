package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// Line is a line of the manifest. It holds the hash of the preceding line and its own hash, so that any line changed, removed or inserted is evident
// from those that follow.
type Line struct {
	Number  int       `json:"line"` // counted from 1
	Prev    string    `json:"prev"` // hash of the preceding line; "" in the first line
	At      time.Time `json:"at"`
	Archive *Header   `json:"archive,omitempty"` // only in the first line
	File    *File     `json:"file,omitempty"`    // this line makes the file valid
	Removed []string  `json:"removed,omitempty"` // files that are no longer valid

	Mark *apply.Mark `json:"mark,omitempty"` // everything before it was read, and there was nothing to store

	Hash string `json:"hash,omitempty"`
}

// Header says what an archive contains.
type Header struct {
	Version  int    `json:"v"`
	Prefix   string `json:"prefix"`
	Slot     string `json:"slot"`
	SystemID string `json:"system_id"`
	Database string `json:"database"`
	Format   Format `json:"format"`
	Begins   LSN    `json:"begins"` // earlier commits are left out; 0/0: it starts with the topics

	Start *apply.Mark `json:"start,omitempty"` // where to read first; nil: at the start of the topics
}

// File describes a file of an archive.
type File struct {
	Name         string     `json:"name"`
	Bytes        int64      `json:"bytes"`
	SHA256       string     `json:"sha256"`
	First        int64      `json:"first"` // number of its first record, counted from 1 over the whole archive
	Records      int64      `json:"records"`
	Transactions int64      `json:"transactions"`
	From         LSN        `json:"from"` // where the archive ended before this file
	Ends         apply.Mark `json:"ends"`
	Longest      int        `json:"longest,omitempty"` // bytes of its longest line, if DuckDB must be told
}

// newestVersion is the version of archives that this program writes, and the newest that it reads.
const newestVersion = 1

const maxLineBytes = 64 << 20 // of the manifest

// manifest is the list of valid files, and thereby defines the content of the archive.
type manifest struct {
	folder  *folder
	file    *os.File // nil: the manifest is only read
	header  *Header  // nil: there are no lines yet
	files   []File   // files that have not been removed
	written map[string]time.Time
	names   map[string]bool // of all files, including removed ones
	removed map[string]bool

	lines   int
	hash    string // hash of the last line
	mark    apply.Mark
	records int64 // of all files, including removed ones
	begins  LSN   // start of the first remaining file
	longest int   // of all files, including removed ones
}

// openManifest reads the manifest and opens it for appending. An incomplete last line, left by a crash, is removed.
func openManifest(f *folder) (*manifest, error) {
	m, end, err := readManifest(f)
	if err != nil {
		return nil, err
	}
	if m.file, err = os.OpenFile(f.join(manifestName), os.O_RDWR|os.O_CREATE, fileMode); err != nil {
		return nil, unwritable(err)
	}
	if err := m.file.Truncate(end); err != nil {
		m.close()
		return nil, unwritable(err)
	}
	if _, err := m.file.Seek(end, io.SeekStart); err != nil {
		m.close()
		return nil, unwritable(err)
	}
	return m, nil
}

// readManifest reads all complete lines; end is the offset after the last one.
func readManifest(f *folder) (m *manifest, end int64, err error) {
	m = &manifest{folder: f, names: map[string]bool{}, removed: map[string]bool{}, written: map[string]time.Time{}}
	file, err := os.Open(f.join(manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, 0, nil
	}
	if err != nil {
		return nil, 0, unwritable(err)
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 64<<10)
	for {
		text, err := readLine(lines, maxLineBytes)
		if errors.Is(err, io.EOF) {
			return m, end, nil
		}
		if err != nil {
			return nil, 0, unwritable(err)
		}
		line, err := parseLine(text)
		if err == nil {
			err = m.addLine(line)
		}
		if err != nil {
			return nil, 0, Halt{What: fmt.Sprintf("%s, line %d: %v", manifestName, m.lines+1, err), Repair: "restore the manifest; `pgtee archive --verify` reports any other damage"}
		}
		end += int64(len(text))
	}
}

// readLine returns a line including its line feed; io.EOF if it has none. A longer line than limit is an error.
func readLine(r *bufio.Reader, limit int) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return nil, fmt.Errorf("a line is longer than %d bytes", limit)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// hashLength is the length of the end of a line: ,"hash":"…"} and the line feed.
const hashLength = len(`,"hash":""}`) + 1 + 2*sha256.Size

// parseLine parses a line and verifies its hash.
func parseLine(text []byte) (line Line, err error) {
	if len(text) < hashLength {
		return line, errors.New("it is too short")
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return line, err
	}
	if hash := hashOf(text[:len(text)-hashLength]); string(text[len(text)-hashLength:]) != `,"hash":"`+hash+"\"}\n" {
		return line, errors.New("it was changed: its hash does not match")
	}
	return line, nil
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// addLine adds a line to the manifest's state if it follows the last line.
func (m *manifest) addLine(line Line) error {
	switch {
	case line.Number != m.lines+1:
		return fmt.Errorf("it is line %d: lines before it are missing", line.Number)
	case line.Prev != m.hash:
		return errors.New("it does not follow the line before it, which was changed")
	case (line.Archive != nil) != (m.lines == 0):
		return errors.New("the first line, and only that one, must describe the archive")
	case line.Archive != nil && line.Archive.Version > newestVersion:
		return fmt.Errorf("the archive is of version %d, this program reads up to %d: upgrade pgtee", line.Archive.Version, newestVersion)
	}
	if line.File != nil && (!filepath.IsLocal(line.File.Name) || !isFile(line.File.Name)) {
		return fmt.Errorf("%q is not the name of an archive file", line.File.Name)
	}
	m.lines, m.hash = line.Number, line.Hash
	if line.Archive != nil {
		m.header = line.Archive
		m.begins, m.mark = line.Archive.Begins, apply.Mark{EndLSN: line.Archive.Begins}
		if line.Archive.Start != nil {
			m.mark = *line.Archive.Start
		}
	}
	if line.Mark != nil {
		m.mark = *line.Mark
	}
	if line.File != nil {
		m.files, m.names[line.File.Name], m.written[line.File.Name] = append(m.files, *line.File), true, line.At
		m.mark, m.records, m.longest = line.File.Ends, m.records+line.File.Records, max(m.longest, line.File.Longest)
	}
	m.forget(line.Removed)
	return nil
}

// forget drops the oldest files.
func (m *manifest) forget(names []string) {
	for _, name := range names {
		m.removed[name] = true
	}
	for len(m.files) > 0 && m.removed[m.files[0].Name] {
		m.begins = m.files[0].Ends.EndLSN
		m.files = m.files[1:]
	}
}

// begin writes the first line, into a folder that has no files of an archive.
func (m *manifest) begin(header Header) error {
	if err := m.folder.unlisted(); err != nil {
		return err
	}
	header.Version = newestVersion
	return m.append(Line{Archive: &header})
}

// append appends a line. When it returns, the line survives a crash of the machine.
func (m *manifest) append(line Line) error {
	line.Number, line.Prev, line.At = m.lines+1, m.hash, time.Now().UTC().Truncate(time.Millisecond)
	text, hash, err := line.encode()
	if err != nil {
		return err
	}
	if _, err := m.file.Write(text); err != nil {
		return unwritable(err)
	}
	if err := m.file.Sync(); err != nil {
		return unwritable(err)
	}
	if m.lines == 0 { // the file name is new
		if err := m.folder.sync(); err != nil {
			return err
		}
	}
	line.Hash = hash
	return m.addLine(line)
}

func (l *Line) encode() (text []byte, hash string, err error) {
	if text, err = json.Marshal(l); err != nil {
		return nil, "", err
	}
	text = bytes.TrimSuffix(text, []byte("}"))
	hash = hashOf(text)
	return append(text, `,"hash":"`+hash+"\"}\n"...), hash, nil
}

func (m *manifest) close() {
	if m.file != nil {
		_ = m.file.Close()
	}
}

// bytes is the total size of the remaining files.
func (m *manifest) bytes() (n int64) {
	for i := range m.files {
		n += m.files[i].Bytes
	}
	return n
}
