package debezium

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// capture is a folder of records that Debezium made, and of the log that it made them from. See
// testdata/golden/README.md.
type capture struct{ folder string }

// captured is one file of records, made under one set of Debezium's settings.
type captured struct {
	capture
	name     string
	settings map[string]string
}

// files returns what settings.json names, in order.
func (c capture) files(t *testing.T) []captured {
	raw, err := os.ReadFile(filepath.Join(c.folder, "settings.json"))
	if err != nil {
		t.Fatal(err)
	}
	var settings map[string]map[string]string
	if err := json.Unmarshal(raw, &settings); err != nil {
		t.Fatal(err)
	}
	var files []captured
	for _, name := range sortedKeys(settings) {
		files = append(files, captured{c, name, settings[name]})
	}
	return files
}

// excuses reads excuses.tsv: where, what, reason; and those of rows that a snapshot has read from excuses_snapshot.tsv. Captures without
// excuses of their own have those of testdata.
func (c capture) excuses(t *testing.T) []*excuse {
	var excuses []*excuse
	for _, name := range []string{"excuses.tsv", "excuses_snapshot.tsv"} {
		from := c
		if !c.has("excuses.tsv") {
			from = capture{flag.Lookup("captures").DefValue}
		}
		if !from.has(name) {
			continue
		}
		for _, raw := range from.lines(t, name) {
			parts := strings.Split(string(raw), "\t")
			if len(parts) != 3 {
				t.Fatalf("%s: %q has not three columns", name, raw)
			}
			excuses = append(excuses, &excuse{where: parts[0], what: parts[1], reason: parts[2], snapshot: name != "excuses.tsv"})
		}
	}
	return excuses
}

// wanted reads Debezium's records by topic, with or without those of its snapshot.
func (f captured) wanted(t *testing.T, snapshot bool) map[string][]line {
	records := map[string][]line{}
	for _, raw := range f.lines(t, f.name+".jsonl") {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatal(err)
		}
		l.read(t, f.volatile())
		if snapshot || !l.isRead() {
			records[l.Topic] = append(records[l.Topic], l)
		}
	}
	return records
}

// log is the file with the messages of the publication that the settings name.
func (f captured) log() string {
	if f.settings["publication.name"] == "gp_leaf" {
		return "pgoutput_v1_nomsg_leaf.tsv"
	}
	return "pgoutput_v1.tsv"
}

// transactions reads the log.
func (f *captured) transactions(t *testing.T) []*outbox.Transaction {
	assembler := outbox.NewAssembler(0, 1<<28, nil)
	var transactions []*outbox.Transaction
	for _, raw := range f.lines(t, f.log()) {
		lsn, message, err := readMessage(raw)
		if err != nil {
			t.Fatal(err)
		}
		tx, err := assembler.Message(lsn, message)
		if err != nil {
			t.Fatal(err)
		}
		if tx != nil {
			transactions = append(transactions, tx)
		}
	}
	return transactions
}

// readMessage reads LSN, xid and the message in hexadecimal digits.
func readMessage(raw []byte) (pgoutput.LSN, []byte, error) {
	parts := bytes.Split(raw, []byte("\t"))
	if len(parts) != 3 {
		return 0, nil, fmt.Errorf("line of %d parts", len(parts))
	}
	lsn, err := pgoutput.ParseLSN(string(parts[0]))
	if err != nil {
		return 0, nil, err
	}
	message, err := hex.AppendDecode(nil, parts[2])
	return lsn, message, err
}

// fixedCatalog is the catalog of the database that testdata was captured from.
type fixedCatalog struct {
	Types  map[uint32]Type
	Tables map[uint32]Table
}

// builtIn has the names of built-in types, which the captured catalogs lack.
var builtIn = pgtype.NewMap()

func (c *fixedCatalog) Type(_ context.Context, oid uint32, _ record.Place) (Type, bool, error) {
	if t, ok := c.Types[oid]; ok {
		return t, true, nil
	}
	if t, ok := builtIn.TypeForOID(oid); ok {
		return Type{Name: t.Name, Kind: KindBase}, true, nil
	}
	name, ok := map[uint32]string{oidTimeTZ: "timetz", 1270: "_timetz", oidMoney: "money", oidXML: "xml"}[oid]
	return Type{Name: name, Kind: KindBase}, ok, nil
}

func (c *fixedCatalog) Table(_ context.Context, oid uint32, _ record.Place) (Table, bool, error) {
	t, ok := c.Tables[oid]
	return t, ok, nil
}

func (c capture) catalog(t testing.TB) Catalog {
	raw, err := os.ReadFile(filepath.Join(c.folder, "catalog.json"))
	if err != nil {
		t.Fatal(err)
	}
	catalog := &fixedCatalog{}
	if err := json.Unmarshal(raw, catalog); err != nil {
		t.Fatal(err)
	}
	return catalog
}

// lines reads a file, or the same compressed; lines that start with # are comments.
func (c capture) lines(t testing.TB, name string) [][]byte {
	content, err := c.read(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(content, []byte("\n"))
	lines = slices.DeleteFunc(lines, func(l []byte) bool { return len(l) == 0 || l[0] == '#' })
	return lines
}

// has reports whether the folder has a file, or the same compressed.
func (c capture) has(name string) bool {
	for _, name := range []string{name, name + ".gz"} {
		if _, err := os.Stat(filepath.Join(c.folder, name)); err == nil {
			return true
		}
	}
	return false
}

func (c capture) read(name string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(c.folder, name))
	if !errors.Is(err, fs.ErrNotExist) {
		return content, err
	}
	file, err := os.Open(filepath.Join(c.folder, name+".gz"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	packed, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(packed)
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
