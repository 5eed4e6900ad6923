package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// feed is a connection that has only bytes to read, in pieces of any length.
type feed struct {
	net.Conn
	data   bytes.Buffer
	random *rand.Rand
}

func (f *feed) SetReadDeadline(time.Time) error { return nil }
func (f *feed) Read(p []byte) (int, error) {
	return f.data.Read(p[:1+f.random.IntN(min(len(p), 100_000))])
}

// copyOf is the CopyData message of XLogData with a message of pgoutput.
func copyOf(message []byte) []byte {
	raw := binary.BigEndian.AppendUint32([]byte{'d'}, uint32(4+25+len(message)))
	return append(append(append(raw, 'w'), make([]byte, 24)...), message...)
}

func framesOf(longest int, messages ...[]byte) *frames {
	f := &feed{random: rand.New(rand.NewPCG(1, 2))}
	for _, message := range messages {
		f.data.Write(copyOf(message))
	}
	frames := newFrames(f)
	frames.longest = longest
	return frames
}

func TestValuesThatAreTooLongAreLeftOut(t *testing.T) {
	const longest = 500_000
	long, half, short := strings.Repeat("x", 600_000), strings.Repeat("y", 300_000), strings.Repeat("z", 4000)
	update := insertMessage(1, "7", half, half, long, short, null)
	update[0] = 'U'
	old := insertMessage(1, "7", "small", long, short, short, "")
	update = append(append(update[:5:5], append([]byte{'O'}, old[6:]...)...), update[5:]...)
	f := framesOf(longest, update, insertMessage(1, "9"))
	kind, body, err := f.next()
	var m pgoutput.Message
	if err != nil || kind != 'd' || pgoutput.Parse(body[25:], &m) != nil {
		t.Fatalf("%c %d bytes: %v", kind, len(body), err)
	}
	wantTuple(t, m.Row.Old, "t7", "tsmall", "x600000", "t"+short, "t"+short, "t")
	wantTuple(t, m.Row.New, "t7", "t"+half, "x300000", "x600000", "t"+short, "n")
	if len(f.buffer) > 2*framesBytes {
		t.Errorf("a buffer of %d bytes", len(f.buffer))
	}
	if _, body, err = f.next(); err != nil || !bytes.Equal(body[25:], insertMessage(1, "9")) {
		t.Errorf("the next message is %q: %v", body, err)
	}
}

func wantTuple(t *testing.T, tuple pgoutput.Tuple, want ...string) {
	t.Helper()
	columns := tuple.Columns()
	for i, w := range want {
		columns.Next()
		got := string(columns.Kind()) + string(columns.Value())
		if columns.Kind() == pgoutput.Omitted {
			got = "x" + string(rune('0'+binary.BigEndian.Uint64(columns.Value())/100_000)) + "00000"
		}
		if got != w {
			t.Errorf("column %d is %.40q, want %.40q", i, got, w)
		}
	}
	if columns.Next() {
		t.Error("more columns")
	}
}

func TestMessagesThatAreTooLongAreLeftOut(t *testing.T) {
	for name, c := range map[string]struct{ prefix, content, want string }{
		"content": {"app", strings.Repeat("x", 600_000), "app"},
		"prefix":  {strings.Repeat("p", 600_000), "short", strings.Repeat("p", maxPrefixBytes)},
	} {
		w := &wal{t: t}
		w.begin(1)
		_, body, err := framesOf(500_000, logicalMessage(c.prefix, c.content)).next()
		if err != nil {
			t.Fatal(err)
		}
		change := w.send(body[25:]).commit().Changes[0]
		if change.Op != Message || change.Prefix != c.want || change.Content != nil || change.Omitted != uint64(len(c.content)) {
			t.Errorf("%s: %c with prefix %.20s (%d bytes), %d bytes of content, %d omitted", name, change.Op, change.Prefix, len(change.Prefix), len(change.Content), change.Omitted)
		}
	}
}

// What is neither a row nor a message of the protocol ends the stream, and takes no memory.
func TestDigestRefuses(t *testing.T) {
	long := strings.Repeat("x", 600_000)
	for name, message := range map[string][]byte{
		"relation":         []byte("R" + long),
		"negative length":  append([]byte("I\x00\x00\x00\x01N\x00\x01t\xff\xff\xff\xff"), long...),
		"length too large": append([]byte("I\x00\x00\x00\x01N\x00\x01t\x7f\x00\x00\x00"), long...),
		"bytes behind":     append(insertMessage(1, long), 'N'),
		"prefix only":      []byte("M\x0123456789" + long),
	} {
		f := framesOf(500_000, message)
		if _, _, err := f.next(); !errors.Is(err, pgoutput.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := framesOf(500_000, insertMessage(1, long))
	f.conn.(*feed).data.Truncate(300_000)
	if _, _, err := f.next(); !errors.Is(err, io.EOF) {
		t.Errorf("cut off: %v", err)
	}
	f = framesOf(500_000, insertMessage(1, long))
	f.conn.(*feed).data.Bytes()[0] = 'E'
	if _, _, err := f.next(); err == nil || !strings.Contains(err.Error(), "'E'") {
		t.Errorf("an error message of that length: %v", err)
	}
}

// Whatever the server sends: an error, or what Parse makes of the message and that of its digest differ in omitted
// values only.
func FuzzDigest(f *testing.F) {
	f.Add(insertMessage(1, "a", "some value", null), 20)
	f.Add(logicalMessage("prefix", "content"), 10)
	f.Fuzz(func(t *testing.T, message []byte, longest int) {
		longest = 40 + longest&0xff
		_, body, err := framesOf(longest, message).next()
		var whole, digested pgoutput.Message
		if pgoutput.Parse(message, &whole) != nil {
			return
		}
		switch whole.Kind {
		case pgoutput.KindInsert, pgoutput.KindUpdate, pgoutput.KindDelete, pgoutput.KindLogical:
		default:
			return
		}
		if err != nil {
			t.Fatalf("well-formed, but %v", err)
		}
		if err := pgoutput.Parse(body[25:], &digested); err != nil {
			t.Fatalf("%x becomes %x: %v", message, body[25:], err)
		}
		if whole.Row.New.Len() != digested.Row.New.Len() || whole.Row.Old.Len() != digested.Row.Old.Len() {
			t.Fatalf("%x becomes %x", message, body[25:])
		}
	})
}

func TestCopiedValuesThatAreTooLongAreLeftOut(t *testing.T) {
	const longest = 500_000
	long, half, short := strings.Repeat("x", 600_000), strings.Repeat("y", 300_000), strings.Repeat("z", 4000)
	for _, c := range []struct {
		name, line string
		want       []string
	}{
		{"every kind of column", "7\t" + half + "\t" + half + "\t" + long + "\t" + short + "\t\\N\t\n", []string{"t7", "t" + half, "x300000", "x600000", "t" + short, "n", "t"}},
		{"only escapes make it long", strings.Repeat(`\\`, 300_000) + "\t1\n", []string{"t" + strings.Repeat(`\`, 300_000), "t1"}},
		{"escapes do not count", strings.Repeat(`\n`, 600_000) + "\t1\n", []string{"x600000", "t1"}},
		{"the last column", "1\t" + long + "\n", []string{"t1", "x600000"}},
	} {
		f := &feed{random: rand.New(rand.NewPCG(1, 2))}
		for _, line := range []string{c.line, "next\n"} {
			f.data.Write(append(binary.BigEndian.AppendUint32([]byte{'d'}, uint32(4+len(line))), line...))
		}
		frames := newFrames(f)
		frames.longest, frames.shorten = longest, (*digest).copied
		_, body, err := frames.next()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		row, rest, err := appendCopied(nil, bytes.TrimSuffix(body, []byte("\n")), len(c.want), nil)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%s: %v, %d bytes behind the row", c.name, err, len(rest))
		}
		wantTuple(t, row, c.want...)
		if len(frames.buffer) > 2*framesBytes || cap(body) > 4*longest {
			t.Errorf("%s: a buffer of %d bytes, %d kept", c.name, len(frames.buffer), cap(body))
		}
		if _, body, err = frames.next(); err != nil || string(body) != "next\n" {
			t.Errorf("%s: the next row is %q: %v", c.name, body, err)
		}
	}
}

func FuzzCopiedRow(f *testing.F) {
	f.Add([]byte("1\tab\\t\\N\t\\O5\n"), uint16(3))
	f.Fuzz(func(t *testing.T, line []byte, longest uint16) {
		feed := &feed{random: rand.New(rand.NewPCG(1, 2))}
		feed.data.Write(append(binary.BigEndian.AppendUint32([]byte{'d'}, uint32(4+len(line))), line...))
		frames := newFrames(feed)
		frames.longest, frames.shorten = int(longest), (*digest).copied
		_, body, err := frames.next()
		if err != nil {
			t.Fatal(err)
		}
		if len(body) > 2*len(line)+smallBytes {
			t.Fatalf("%d bytes kept of %d", len(body), len(line))
		}
	})
}
