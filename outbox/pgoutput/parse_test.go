package pgoutput

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// recorded returns the messages of a file of testdata: what PostgreSQL 15 sent for one workload, with
// values as text or in binary form.
func recorded(t testing.TB, name string) [][]byte {
	t.Helper()
	file, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var messages [][]byte
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		fields := strings.Split(lines.Text(), "\t")
		message, err := hex.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message)
	}
	if err := lines.Err(); err != nil || len(messages) == 0 {
		t.Fatalf("%s: %d messages, %v", name, len(messages), err)
	}
	return messages
}

func TestParseGolden(t *testing.T) {
	for _, name := range []string{"text", "binary"} {
		var got bytes.Buffer
		var m Message
		for _, data := range recorded(t, name+".tsv") {
			if err := Parse(data, &m); err != nil {
				t.Fatalf("%x: %v", data, err)
			}
			describe(&got, &m)
		}
		golden := "testdata/" + name + ".golden"
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s differs; see the change with go test -update and git diff", golden)
		}
	}
}

func describe(w *bytes.Buffer, m *Message) {
	fmt.Fprintf(w, "%s ", m.Kind)
	switch m.Kind {
	case KindBegin:
		fmt.Fprintf(w, "%s %s xid=%d", m.Begin.CommitLSN, m.Begin.CommitTime.Format("15:04:05.000000"), m.Begin.XID)
	case KindCommit:
		fmt.Fprintf(w, "%s end=%s %s", m.Commit.CommitLSN, m.Commit.EndLSN, m.Commit.CommitTime.Format("15:04:05.000000"))
	case KindRelation:
		r := m.Relation
		fmt.Fprintf(w, "%d %s.%s identity=%c", r.OID, r.Schema, r.Name, r.Identity)
		for _, c := range r.Columns {
			fmt.Fprintf(w, " %s:%d:%d:%t", c.Name, c.Type, c.TypeMod, c.Key)
		}
	case KindType:
		fmt.Fprintf(w, "%d %s.%s", m.Type.OID, m.Type.Schema, m.Type.Name)
	case KindInsert, KindUpdate, KindDelete:
		fmt.Fprintf(w, "%d", m.Row.RelationOID)
		if m.Row.OldKind != 0 {
			fmt.Fprintf(w, " %c%s", m.Row.OldKind, values(m.Row.Old))
		}
		fmt.Fprintf(w, " N%s", values(m.Row.New))
	case KindTruncate:
		fmt.Fprintf(w, "options=%d", m.Truncate.Options)
		for i := range m.Truncate.Len() {
			fmt.Fprintf(w, " %d", m.Truncate.OID(i))
		}
	case KindLogical:
		fmt.Fprintf(w, "transactional=%t %s %q %q", m.Logical.Transactional, m.Logical.LSN, m.Logical.Prefix, m.Logical.Content)
	}
	w.WriteByte('\n')
}

func values(t Tuple) string {
	var b strings.Builder
	for c := t.Columns(); c.Next(); {
		switch c.Kind() {
		case Text:
			fmt.Fprintf(&b, " %q", c.Value())
		case Binary:
			fmt.Fprintf(&b, " %x", c.Value())
		default:
			fmt.Fprintf(&b, " %c", c.Kind())
		}
	}
	return b.String()
}

// Whatever is cut off or added is noticed, at every byte of every recorded message.
func TestParseWrongLength(t *testing.T) {
	var m Message
	for _, data := range recorded(t, "text.tsv") {
		for n := range data {
			if err := Parse(data[:n], &m); !errors.Is(err, ErrMalformed) {
				t.Fatalf("first %d bytes of %x: %v", n, data, err)
			}
		}
		if err := Parse(append(bytes.Clone(data), 0), &m); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%x and a zero byte: %v", data, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, message, want string }{
		{"stream start of version 2", "S\x00\x00\x00\x01\x01", "unknown kind 'S'"},
		{"insert without N", "I\x00\x00\x00\x01K\x00\x00", "Insert"},
		{"insert of unknown column kind", "I\x00\x00\x00\x01N\x00\x01x", "Insert"},
		{"negative column length", "I\x00\x00\x00\x01N\x00\x01t\xff\xff\xff\xff", "Insert"},
		{"update with only an old row", "U\x00\x00\x00\x01O\x00\x00", "Update"},
		{"delete with a new row", "D\x00\x00\x00\x01N\x00\x00", "Delete"},
		{"relation that claims 65535 columns", "R\x00\x00\x00\x01s\x00t\x00d\xff\xff", "Relation"},
		{"truncate that claims 2^31-1 tables", "T\x7f\xff\xff\xff\x00", "Truncate"},
		{"truncate of -1 tables", "T\xff\xff\xff\xff\x00", "Truncate"},
		{"message that claims 2 GB", "M\x01\x00\x00\x00\x00\x00\x00\x00\x01p\x00\x7f\xff\xff\xff", "Message"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var m Message
			err := Parse([]byte(test.message), &m)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want ErrMalformed with %q", err, test.want)
			}
		})
	}
}

func TestParseCatalogSchema(t *testing.T) {
	var m Message
	if err := Parse([]byte("R\x00\x00\x00\x01\x00pg_class\x00d\x00\x00"), &m); err != nil {
		t.Fatal(err)
	}
	if m.Relation.Schema != "pg_catalog" || m.Relation.Name != "pg_class" {
		t.Errorf("got %+v, want pg_catalog.pg_class", *m.Relation)
	}
}

func TestParseRowAllocatesNothing(t *testing.T) {
	messages := recorded(t, "text.tsv")
	var m Message
	var length int
	got := testing.AllocsPerRun(10, func() {
		for _, data := range messages {
			if data[0] == 'R' {
				continue
			}
			_ = Parse(data, &m)
			for c := m.Row.New.Columns(); c.Next(); {
				length += len(c.Value())
			}
		}
	})
	if got != 0 || length == 0 {
		t.Errorf("%v allocations, %d bytes of values", got, length)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"text.tsv", "binary.tsv"} {
		for _, data := range recorded(f, name) {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Message
		if err := Parse(data, &m); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, tuple := range []Tuple{m.Row.Old, m.Row.New} {
			size, n := 2, 0
			for c := tuple.Columns(); c.Next(); n++ {
				size++
				if c.Value() != nil {
					size += 4 + len(c.Value())
				}
			}
			if n != tuple.Len() || tuple != nil && size != len(tuple) {
				t.Fatalf("walked %d of %d columns, %d of %d bytes", n, tuple.Len(), size, len(tuple))
			}
		}
		for i := range m.Truncate.Len() {
			m.Truncate.OID(i)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	row := []byte("I\x00\x00\x40\x01N\x00\x05t\x00\x00\x00\x041001t\x00\x00\x00\x0212t\x00\x00\x00\x1d2026-01-02 03:04:05.678901+00nt\x00\x00\x00\x05hello")
	var m Message
	b.SetBytes(int64(len(row)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Parse(row, &m); err != nil {
			b.Fatal(err)
		}
		for c := m.Row.New.Columns(); c.Next(); {
			_ = c.Value()
		}
	}
}
