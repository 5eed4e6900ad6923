package debezium

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/record"
)

var orders = &pgoutput.Relation{
	OID: 16400, Schema: "public", Name: "orders", Identity: 'd',
	Columns: []pgoutput.Column{
		{Name: "id", Type: 20, TypeMod: -1, Key: true},
		{Name: "customer", Type: 25, TypeMod: -1},
		{Name: "total", Type: 1700, TypeMod: 10<<16 + 2 + 4},
		{Name: "placed", Type: 1184, TypeMod: -1},
		{Name: "paid", Type: 16, TypeMod: -1},
		{Name: "tags", Type: 1009, TypeMod: -1},
	},
}

var ordersCatalog = &fixedCatalog{Tables: map[uint32]Table{
	16400: {NotNull: []string{"id", "customer"}, Keys: [][]string{{"id"}}},
}}

const isNull = "\x00"

// tuple makes a row; isNull stands for NULL.
func tuple(values ...string) pgoutput.Tuple {
	t := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		if v == isNull {
			t = append(t, pgoutput.Null)
			continue
		}
		t = binary.BigEndian.AppendUint32(append(t, pgoutput.Text), uint32(len(v)))
		t = append(t, v...)
	}
	return t
}

func order(id string) pgoutput.Tuple {
	return tuple(id, `Zoë "Z"`, "1234.50", "2025-01-31 12:00:00.5+00", "t", `{a,"b c",NULL}`)
}

func identity(id string) pgoutput.Tuple {
	return tuple(id, isNull, isNull, isNull, isNull, isNull)
}

// sampleTransaction has every operation, with and without a note.
func sampleTransaction() *outbox.Transaction {
	session := note.NewSessionID(time.UnixMilli(1738324800000), 7)
	changes := []outbox.Change{
		{Op: outbox.Insert, Relation: orders, New: order("1"), Note: -1},
		{Op: outbox.Update, Relation: orders, New: order("1")},
		{Op: outbox.Update, Relation: orders, OldKind: 'K', Old: identity("1"), New: order("2")},
		{Op: outbox.Delete, Relation: orders, OldKind: 'K', Old: identity("2")},
		{Op: outbox.Truncate, Relation: orders},
		{Op: outbox.Message, Prefix: "app", Content: []byte("hello")},
	}
	for i := range changes {
		changes[i].Ordinal, changes[i].LSN = i, 0x16B3700
	}
	return &outbox.Transaction{
		XID: 731, CommitLSN: 0x16B3748, EndLSN: 0x16B3780, CommitTime: time.UnixMicro(1738324800123456), Changes: changes,
		Notes: []note.Note{{
			Payload: note.Payload{
				Session: session, Statement: 3, Fingerprint: 0xABCDEF, Client: netip.MustParseAddrPort("10.0.0.9:5555"),
				Time: time.UnixMilli(1738324800100),
			},
			User: []byte("anna"), Role: []byte("anna"), PID: 4711, Application: []byte("shop"),
			SQL: []byte("UPDATE orders SET id = 2"), Trust: note.Verified,
		}},
	}
}

func newSampleEncoder() *Encoder { return New(sampleConfig()) }

func sampleConfig() Config {
	return Config{
		Prefix: "shop", Database: "shop", Version: "1.0", RunID: "01a1fb92", Catalog: ordersCatalog,
		Now: func() time.Time { return time.Unix(1738324801, 234567890) },
	}
}

// TestRecords is what our own records look like, byte for byte.
func TestRecords(t *testing.T) {
	matchGolden(t, "testdata/records.txt", sampleRecords(t, newSampleEncoder()))
}

func orNull(raw []byte) string {
	if raw == nil {
		return "null"
	}
	return string(raw)
}

// TestTrace: the trace context that a statement's SQL names goes with each of its rows.
func TestTrace(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	tx := sampleTransaction()
	tx.Notes[0].SQL = []byte("UPDATE orders SET id = 2 /*traceparent='" + trace + "',tracestate='a%3Db'*/")
	batch := testBatch()
	if err := encodeAll(t.Context(), newSampleEncoder(), &batch, tx); err != nil {
		t.Fatal(err)
	}
	for i, r := range batch.Records() {
		if r.Topic != "shop.public.orders" {
			continue
		}
		got := ""
		for _, h := range r.Headers {
			if h.Key == record.TraceparentHeader || h.Key == record.TracestateHeader {
				got += string(h.Value)
			}
		}
		if direct := i == 0; direct != (got == "") || !direct && got != trace+"a=b" {
			t.Errorf("record %d: trace %q", i, got)
		}
	}
}

func TestOptions(t *testing.T) {
	tx := sampleTransaction()
	encoder := New(Config{NoTombstones: true, Skip: SkipTruncate})
	batch := testBatch()
	for i := range tx.Changes {
		if err := encoder.Append(t.Context(), &batch, tx, i); err != nil {
			t.Fatal(err)
		}
	}
	if batch.Len() != 6 { // c, u, d + c, d, m
		t.Errorf("%d records, want 6", batch.Len())
	}
}

func TestErrors(t *testing.T) {
	binaryRow := append(tuple("1", "2", "3", "4", "5")[:0:0], order("1")...)
	binaryRow[2] = pgoutput.Binary
	for name, c := range map[string]outbox.Change{
		"binary values":      {Op: outbox.Insert, Relation: orders, New: binaryRow},
		"row of 2 columns":   {Op: outbox.Insert, Relation: orders, New: tuple("1", "2")},
		"not the rows":       {Op: outbox.Insert, Relation: orders},
		"no Debezium record": {Op: outbox.DDL},
		"key column id":      {Op: outbox.Delete, Relation: orders, OldKind: 'K', Old: identity(isNull)},
	} {
		tx := &outbox.Transaction{Changes: []outbox.Change{c}}
		err := newSampleEncoder().Append(t.Context(), &record.Batch{}, tx, 0)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one with %q", err, name)
		}
	}
}

type brokenCatalog struct{ emptyCatalog }

var errCatalog = errors.New("connection refused")

func (brokenCatalog) Table(context.Context, uint32, record.Place) (Table, bool, error) {
	return Table{}, false, errCatalog
}

// TestBrokenCatalog: a catalog that cannot be asked must not change the record.
func TestBrokenCatalog(t *testing.T) {
	encoder := New(Config{Catalog: brokenCatalog{}})
	if err := encoder.Append(t.Context(), &record.Batch{}, sampleTransaction(), 0); !errors.Is(err, errCatalog) {
		t.Errorf("error %v, want %v", err, errCatalog)
	}
}

// TestUnchanged: what an update does not have comes from the old row, or is marked.
func TestUnchanged(t *testing.T) {
	row := order("1")
	row[2+5+1] = pgoutput.Unchanged
	row = append(row[:2+5+1+1], row[2+5+1+5+len(`Zoë "Z"`):]...)
	for want, c := range map[string]outbox.Change{
		`"after":{"id":1,"customer":"__debezium_unavailable_value","total":`: {New: row},
		`"after":{"id":1,"customer":"Zoë \"Z\"","total":`:                    {New: row, OldKind: 'O', Old: order("1")},
	} {
		c.Op, c.Relation, c.Note = outbox.Update, orders, -1
		batch := testBatch()
		if err := newSampleEncoder().Append(t.Context(), &batch, &outbox.Transaction{Changes: []outbox.Change{c}}, 0); err != nil {
			t.Fatal(err)
		}
		if value := batch.Records()[0].Value; !bytes.Contains(value, []byte(want)) {
			t.Errorf("value %s, want %s", value, want)
		}
	}
}

// TestMistakable: a text that looks like the placeholder for an unchanged value is told in the pgtee block, with and without a schema.
func TestMistakable(t *testing.T) {
	const placeholder = "__debezium_unavailable_value"
	row := func(customer string) pgoutput.Tuple {
		whole := order("1")
		start := 2 + 5 + 1
		changed := append(slices.Clone(whole[:start]), 't')
		changed = append(binary.BigEndian.AppendUint32(changed, uint32(len(customer))), customer...)
		return append(changed, whole[start+1+4+len(`Zoë "Z"`):]...)
	}
	for _, framing := range []record.Framing{nil, unframed{}} {
		encoder := New(Config{Prefix: "shop", Database: "shop", Framing: framing})
		for text, told := range map[string]bool{placeholder: true, base64.StdEncoding.EncodeToString([]byte(placeholder)): true, "__debezium_unavailable_valu": false} {
			tx := &outbox.Transaction{Changes: []outbox.Change{{Op: outbox.Update, Relation: orders, Note: -1, New: row(text)}}}
			batch := testBatch()
			if err := encoder.Append(t.Context(), &batch, tx, 0); err != nil {
				t.Fatal(err)
			}
			if value := batch.Records()[0].Value; bytes.Contains(value, []byte(`"values":{"after.customer":"`+text+`"}`)) != told || !bytes.Contains(value, []byte(`"customer":"`+text+`"`)) {
				t.Errorf("%s: %s", text, value)
			}
		}
	}
}

func BenchmarkInsert(b *testing.B) { benchmarkAppend(b, 1) }
func BenchmarkRekey(b *testing.B)  { benchmarkAppend(b, 2) }

func benchmarkAppend(b *testing.B, i int) {
	tx, encoder := sampleTransaction(), newSampleEncoder()
	batch := testBatch()
	batch.Begin(tx)
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		if err := encoder.Append(b.Context(), &batch, tx, i); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocations: none per row once the buffers have grown.
func TestAllocations(t *testing.T) {
	tx, encoder := sampleTransaction(), newSampleEncoder()
	batch := testBatch()
	batch.Begin(tx)
	allocations := testing.AllocsPerRun(100, func() {
		batch.Reset()
		for i := range tx.Changes {
			if err := encoder.Append(t.Context(), &batch, tx, i); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations per transaction, want 0", allocations)
	}
}

// A row that is encoded again, without the values that made its record too large, is counted once.
func TestCountedOnce(t *testing.T) {
	config := sampleConfig()
	config.TransactionMetadata = true
	encode := func(times int) string {
		e, b, tx := New(config), &record.Batch{Authors: publisher.NewAuthors(publisher.Normalised)}, sampleTransaction()
		if err := e.Begin(t.Context(), b, tx); err != nil {
			t.Fatal(err)
		}
		for i := range tx.Changes {
			for range times {
				b.Reset()
				if err := e.Append(t.Context(), b, tx, i); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := e.End(t.Context(), b, tx); err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, r := range b.Records() {
			text += string(r.Value) + "\n"
		}
		return text
	}
	once := encode(1)
	if again := encode(3); again != once || !strings.Contains(once, `"event_count":7`) {
		t.Errorf("encoded once:\n%s\nencoded again:\n%s", once, again)
	}
}

// testBatch knows who wrote what.
func testBatch() record.Batch {
	return record.Batch{Authors: publisher.NewAuthors(publisher.Normalised)}
}
