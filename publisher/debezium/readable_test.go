package debezium

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/shape"
)

// textTuple is a row of texts.
func textTuple(values ...string) pgoutput.Tuple {
	t := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		t = append(binary.BigEndian.AppendUint32(append(t, pgoutput.Text), uint32(len(v))), v...)
	}
	return t
}

func legacy(names ...string) *pgoutput.Relation {
	return &pgoutput.Relation{OID: 17, Schema: "public", Name: names[0], Identity: 'd', Columns: []pgoutput.Column{
		{Name: names[1], Type: oidText, TypeMod: -1, Key: true}, {Name: names[2], Type: oidChar, TypeMod: -1}, {Name: names[3], Type: 99999, TypeMod: -1},
	}}
}

// Text that is not UTF-8 is never another text in a record.
func TestTextThatIsNotUTF8(t *testing.T) {
	w := legacy("w", "k", "c", "v")
	for name, c := range map[string]struct {
		change outbox.Change
		shape  shape.Config
		want   []string // of the error; none: it is published
	}{
		"key":      {change: outbox.Change{Op: outbox.Insert, Relation: w, New: textTuple("caf\xe9", "x", "y")}, want: []string{"table public.w, column k", `k="caf\xe9"`, "0/4D2", "transaction 751", "--source-encoding"}},
		"value":    {change: outbox.Change{Op: outbox.Read, Relation: w, New: textTuple("cafe", "x", "\xfc")}, want: []string{"column v, row (k=\"cafe\")", `\xfc`}},
		"old row":  {change: outbox.Change{Op: outbox.Delete, Relation: w, OldKind: 'O', Old: textTuple("a", "x", "\xfc")}, want: []string{"column v"}},
		"no rune":  {change: outbox.Change{Op: outbox.Insert, Relation: w, New: textTuple("a", "x", "\xed\xb2\x81")}, want: []string{`"\x81"`}},
		"of name":  {change: outbox.Change{Op: outbox.Insert, Relation: legacy("caf\xe9", "k", "c", "v"), New: textTuple("a", "x", "y")}, want: []string{`public"."caf\xe9"`}},
		"hidden":   {change: outbox.Change{Op: outbox.Insert, Relation: w, New: textTuple("a", "x", "\xfc")}, shape: shape.Config{Tables: []shape.TableConfig{{Match: "public.w", ExcludeColumns: []string{"v"}}}}},
		"excluded": {change: outbox.Change{Op: outbox.Insert, Relation: w, New: textTuple("a", "x", "\xfc")}, shape: shape.Config{ExcludeTables: []string{"public.*"}}},
		"char":     {change: outbox.Change{Op: outbox.Insert, Relation: w, New: textTuple("a", "\xc3", "y")}},
	} {
		t.Run(name, func(t *testing.T) {
			c.shape.Prefix = "shop"
			shape, err := shape.New(c.shape)
			if err != nil {
				t.Fatal(err)
			}
			c.change.Note = -1
			tx := &outbox.Transaction{XID: 751, CommitLSN: 1234, Changes: []outbox.Change{c.change}}
			batch := testBatch()
			err = New(Config{Prefix: "shop", Shape: shape}).Append(t.Context(), &batch, tx, 0)
			if c.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range batch.Records() {
					if name == "char" && !strings.Contains(string(r.Value), `"c":"\\303"`) {
						t.Errorf("record %s", r.Value)
					}
				}
				return
			}
			var stop *halt.Halt
			if !errors.As(err, &stop) || !errors.Is(err, halt.ErrText) {
				t.Fatalf("error %v, want a halt", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q has no %q", err, part)
				}
			}
		})
	}
}
