package publisher

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// valuesFormat writes the values of a row, and ? for one that is not there; its key is the first.
type valuesFormat struct{ tableFormat }

func (valuesFormat) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	c := &tx.Changes[i]
	if c.Relation == nil {
		return tableFormat{}.Append(ctx, b, tx, i)
	}
	key, value := len(b.Buf), record.Null
	for n, columns := 0, c.New.Columns(); columns.Next(); n++ {
		switch columns.Kind() {
		case pgoutput.Omitted:
			return fmt.Errorf("encode: %w", &record.TooLarge{What: "column " + c.Relation.Columns[n].Name, Bytes: binary.BigEndian.Uint64(columns.Value())})
		case pgoutput.Unchanged:
			if n == 0 {
				return errors.New("no key")
			}
			b.Buf = append(b.Buf, '?')
		}
		b.Buf = append(b.Buf, columns.Value()...)
		if n == 0 {
			value = len(b.Buf)
		}
	}
	b.Add("shop.public.docs", key, value)
	return nil
}

func tupleOf(values ...string) pgoutput.Tuple {
	t := pgoutput.Tuple(binary.BigEndian.AppendUint16(nil, uint16(len(values))))
	for _, v := range values {
		t = append(binary.BigEndian.AppendUint32(append(t, pgoutput.Text), uint32(len(v))), v...)
	}
	return t
}

// omittedLast is the tuple with a gigabyte as one more value.
func omittedLast(t pgoutput.Tuple) pgoutput.Tuple {
	t = binary.BigEndian.AppendUint32(append(t, pgoutput.Omitted), pgoutput.OmittedBytes)
	t = binary.BigEndian.AppendUint64(t, 1_000_000_000)
	binary.BigEndian.PutUint16(t, uint16(t.Len()+1))
	return t
}

func docs(identity byte) *pgoutput.Relation {
	r := &pgoutput.Relation{OID: 1, Schema: "public", Name: "docs", Identity: identity}
	for _, name := range []string{"id", "title", "body", "more"} {
		r.Columns = append(r.Columns, pgoutput.Column{Name: name, Key: name == "id"})
	}
	return r
}

func TestTooLarge(t *testing.T) {
	big, half := strings.Repeat("x", 200_000), strings.Repeat("y", 40_000)
	row := func(tuple pgoutput.Tuple) outbox.Change {
		return outbox.Change{Op: outbox.Insert, Note: -1, Relation: docs('d'), New: tuple}
	}
	for name, c := range map[string]struct {
		change  outbox.Change
		value   string // of the row's record; "": it has none
		leftOut string
		reason  string
		whole   string // of the record, in pieces
	}{
		"a large value":         {row(tupleOf("7", "a title", big, "more")), "a title?more", "[{body 200000}]", "its record", "a title" + big + "more"},
		"a value left out":      {row(omittedLast(tupleOf("7", "a title", half))), "a title" + half + "?", "[{more 1000000000}]", "column more has 1000000000 bytes", ""},
		"many":                  {row(tupleOf("7", half, half, half)), "???", "[{title 40000} {body 40000} {more 40000}]", "its record", half + half + half},
		"the key itself":        {row(tupleOf(big, "a", "b", "c")), "", "[]", "its record", "abc"},
		"a message":             {outbox.Change{Op: outbox.Message, Note: -1, Prefix: "app", Content: nil, Omitted: 5_000_000}, "", "[]", "its content has 5000000 bytes", ""},
		"an event":              {outbox.Change{Op: outbox.Event, Note: -1, Event: &outbox.EventRecord{Topic: "orders", Key: []byte("k"), Payload: []byte(big)}}, "", "[]", "its record", big},
		"an event not held":     {outbox.Change{Op: outbox.Event, Note: -1, Event: &outbox.EventRecord{}, Omitted: 5_000_000}, "", "[]", "its content", ""},
		"of the whole identity": {outbox.Change{Op: outbox.Insert, Note: -1, Relation: docs('f'), New: tupleOf("7", "t", big, "m")}, "t?m", "[{body 200000}]", "its record", "t" + big + "m"},
	} {
		t.Run(name, func(t *testing.T) {
			tx := &outbox.Transaction{XID: 1, CommitLSN: 0x100, EndLSN: 0x130, Changes: []outbox.Change{c.change, row(tupleOf("8", "small", "b", "m"))}}
			p := newPublisher(Config{Prefix: "shop", MaxRecordBytes: 100_000, TooLarge: DeadLetter}.WithDefaults(), nil, nil, valuesFormat{})
			p.source, p.batch = &simSource{}, &record.Batch{Authors: p.composer.notes}
			p.copier = p.newCopier(nil)
			if _, err := p.compose(t.Context(), []*outbox.Transaction{tx}, Position{}, Position{}); err != nil {
				t.Fatal(err)
			}
			records := p.batch.Records()
			if c.value != "" {
				if string(records[0].Value) != c.value || string(records[0].Key) != "7" || records[0].Headers[1].Key != record.IncompleteHeader {
					t.Errorf("row: key %.40q, value %.40q, headers %q", records[0].Key, records[0].Value, records[0].Headers)
				}
				records = records[1:]
			}
			var letter deadLetter
			if err := json.Unmarshal(records[0].Value, &letter); err != nil || records[0].Topic != "shop.dead-letter" {
				t.Fatalf("%s %.80s: %v", records[0].Topic, records[0].Value, err)
			}
			if letter.Published != (c.value != "") || fmt.Sprint(letter.LeftOut) != c.leftOut || !strings.HasPrefix(letter.Reason, c.reason) || len(letter.Key) > maxQuotedKeyBytes {
				t.Errorf("dead letter: %.500s", records[0].Value)
			}
			if string(records[0].Key) != string(records[0].Headers[0].Value) {
				t.Errorf("the key of the dead letter is %q", records[0].Key)
			}
			var whole []byte
			for n := range letter.Pieces {
				piece := records[1+n]
				if h := piece.Headers[1]; h.Key != record.PieceHeader || string(h.Value) != fmt.Sprintf("%d/%d", n+1, letter.Pieces) || len(piece.Value) > 100_000 || string(piece.Key) == string(records[0].Key) {
					t.Errorf("piece %d: %q, %q, %d bytes", n, piece.Key, piece.Headers, len(piece.Value))
				}
				whole = append(whole, piece.Value...)
			}
			if string(whole) != c.whole {
				t.Errorf("the pieces hold %d bytes, want %d", len(whole), len(c.whole))
			}
			records = records[letter.Pieces:]
			if len(records) != 3 || p.batch.DeadLetters != 1 || string(records[1].Key) != "8" {
				t.Errorf("%d records, %d dead letters", len(records), p.batch.DeadLetters)
			}
			if fmt.Sprint(tx.Changes[0]) != fmt.Sprint(c.change) {
				t.Error("the transaction has changed")
			}
			p.cfg.TooLarge = HaltTooLarge
			_, err := p.compose(t.Context(), []*outbox.Transaction{tx}, Position{}, Position{})
			if !errors.Is(err, halt.ErrRecordTooLarge) || halt.FateOf(err) != halt.Stop || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "--record-too-large dead-letter") {
				t.Errorf("%v", err)
			}
		})
	}
}

// A row that a snapshot has read comes under the same policy, and keeps its event id.
func TestTooLargeRowOfASnapshot(t *testing.T) {
	cfg := Config{Prefix: "shop", MaxRecordBytes: 100_000, TooLarge: DeadLetter, Snapshot: snapshot.Config{Open: func() snapshot.TableReader { return nil }}}
	p := newPublisher(cfg.WithDefaults(), nil, nil, valuesFormat{})
	p.source, p.batch = &simSource{}, &record.Batch{Authors: p.composer.notes}
	p.copier.Obey(&outbox.SignalRecord{ID: "c", Type: outbox.ExecuteSnapshot})
	rows := p.beginRows(t.Context(), &snapshot.HeldChunk{Chunk: &outbox.Chunk{Table: 1}}, docs('d'))
	for i, row := range []pgoutput.Tuple{
		tupleOf("7", "a", strings.Repeat("x", 200_000), "m"),
		omittedLast(tupleOf("8", "b", "m")), // what the stream lacks is not held of the chunk, either
	} {
		if err := rows.add(i, row); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.end(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range p.batch.Records() {
		got = append(got, r.Topic+" "+string(r.Headers[0].Value[strings.LastIndex(string(r.Headers[0].Value), "/")+1:]))
	}
	const want = "[shop.public.docs snapshot.c.0 shop.dead-letter snapshot.c.0.dead-letter shop.dead-letter snapshot.c.0.dead-letter.1 shop.dead-letter snapshot.c.0.dead-letter.2 shop.dead-letter snapshot.c.0.dead-letter.3 shop.public.docs snapshot.c.1 shop.dead-letter snapshot.c.1.dead-letter]"
	if fmt.Sprint(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}
