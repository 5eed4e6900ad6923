package debezium

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher"
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

// excuses reads excuses.tsv: file (or *), what, reason; and those of rows that a snapshot has read from excuses_snapshot.tsv.
func (c capture) excuses(t *testing.T) []*excuse {
	var excuses []*excuse
	for _, name := range []string{"excuses.tsv", "excuses_snapshot.tsv"} {
		if !c.has(name) {
			continue
		}
		for _, raw := range c.lines(t, name) {
			parts := strings.Split(string(raw), "\t")
			if len(parts) != 3 {
				t.Fatalf("%s: %q has not three columns", name, raw)
			}
			excuses = append(excuses, &excuse{file: parts[0], what: parts[1], reason: parts[2], snapshot: name != "excuses.tsv"})
		}
	}
	return excuses
}

// ignored are settings that do not change records.
var ignored = []string{"plugin.name", "publication.autocreate.mode", "snapshot.mode", "slot.name",
	"publication.name", "heartbeat.interval.ms", "key.converter", "value.converter", "key.converter.schemas.enable"}

// config turns Debezium's settings into ours.
func (f *captured) config(t *testing.T) Config {
	config := Config{
		Database: "golden", Version: "test", RunID: "run", Catalog: f.catalog(t),
		SkipTruncate: true,
	}
	shape := publisher.ShapeConfig{Prefix: f.settings["topic.prefix"]}
	for _, name := range sortedKeys(f.settings) {
		if err := apply(&config, &shape, name, f.settings[name]); err != nil {
			t.Fatalf("%s=%s: %v", name, f.settings[name], err)
		}
	}
	config.Outboxes = f.outboxes(t, shape.IncludeTables)
	var err error
	if config.Shape, err = publisher.NewShape(shape); err != nil {
		t.Fatal(err)
	}
	return config
}

// outboxes reads the settings of a transformation of type EventRouter, which has the tables that are included.
func (f *captured) outboxes(t *testing.T, tables []string) []OutboxTable {
	transform := "transforms." + f.settings["transforms"] + "."
	if f.settings[transform+"type"] != "io.debezium.transforms.outbox.EventRouter" {
		return nil
	}
	if tables == nil {
		tables = []string{"*.outbox"}
	}
	var outboxes []OutboxTable
	for _, table := range tables {
		outbox := NewOutboxTable(table)
		for name, value := range f.settings {
			option, ours := strings.CutPrefix(name, transform)
			if !ours || option == "type" {
				continue
			}
			if err := outbox.Set(option, value); err != nil {
				t.Fatal(err)
			}
		}
		outboxes = append(outboxes, outbox)
	}
	return outboxes
}

func apply(c *Config, shape *publisher.ShapeConfig, name, value string) error {
	switch name {
	case "topic.prefix":
		c.Prefix = value
	case "tombstones.on.delete":
		c.NoTombstones = value == "false"
	case "skipped.operations":
		c.SkipTruncate = strings.Contains(value, "t")
	case "provide.transaction.metadata":
		c.TransactionMetadata = value == "true"
	case "value.converter.schemas.enable":
		if value == "true" {
			c.Framing = &publisher.ConnectJSON{}
		}
	case "table.include.list":
		shape.IncludeTables = strings.Split(value, ",")
	case "table.exclude.list":
		shape.ExcludeTables = strings.Split(value, ",")
	case "message.prefix.include.list":
		shape.IncludeMessages = strings.Split(value, ",")
	case "message.prefix.exclude.list":
		shape.ExcludeMessages = strings.Split(value, ",")
	default:
		if slices.Contains(ModeKeys, name) {
			return c.Set(name, value)
		}
		if !slices.Contains(ignored, name) && !strings.HasPrefix(name, "transforms") {
			return errors.New("the comparison does not know this setting")
		}
	}
	return nil
}

// wanted reads Debezium's records by topic, with or without those of its snapshot.
func (f captured) wanted(t *testing.T, snapshot bool) map[string][]line {
	records := map[string][]line{}
	for _, raw := range f.lines(t, f.name+".jsonl") {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatal(err)
		}
		l.read(t)
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

func (c *fixedCatalog) Type(oid uint32, _ publisher.Place) (Type, bool, error) {
	t, ok := c.Types[oid]
	return t, ok, nil
}

func (c *fixedCatalog) Table(oid uint32, _ publisher.Place) (Table, bool, error) {
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

// has says whether the folder has a file, or the same compressed.
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
