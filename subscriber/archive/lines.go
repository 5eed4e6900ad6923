package archive

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// A line is a JSON object with its fields in this order, but without line feeds:
//
//	{"n":1,"id":"7300…/pgtee/1/0/16B3748/12","topic":"shop.public.orders","partition":0,"offset":17,"ts":1735689600000,
//	 "headers":{"__debezium.oldkey":"{…}"},"key":{"id":7},"value":{…}}
//
// headers is present only if there are headers besides the event id. key and value are the JSON of the record. A key or value that is not JSON is
// base64 in a field key64 or value64, and a header that is not text is an object {"base64":"…"}.
const (
	numberField    = `{"n":`
	idField        = `,"id":`
	topicField     = `,"topic":`
	partitionField = `,"partition":`
	offsetField    = `,"offset":`
	timeField      = `,"ts":`
	headersField   = `,"headers":`
	keyField       = `,"key":`
	key64Field     = `,"key64":`
	valueField     = `,"value":`
	value64Field   = `,"value64":`
	lineEnd        = "}\n"
)

const idHeader = "pgtee-event-id"

// maxRecordBytes bounds a line, and so the memory that reading one takes. The largest record that a publisher allows is 90 MiB; JSON that was Avro, or
// base64, is longer.
const maxRecordBytes = 256 << 20

// blockBytes is how much is collected before it is compressed.
const blockBytes = 512 << 10

// lineEncoder writes lines compressed with zstd.
type lineEncoder struct {
	zstd  *zstd.Encoder
	block []byte
}

func newLineEncoder(out io.Writer) (*lineEncoder, error) {
	compressor, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return nil, err
	}
	return &lineEncoder{compressor, make([]byte, 0, blockBytes+64<<10)}, nil
}

func (l *lineEncoder) add(number int64, e *apply.Event) (line int, err error) {
	start := len(l.block)
	l.block = appendLine(l.block, number, e)
	if line = len(l.block) - start; line > maxRecordBytes {
		return line, Halt{What: fmt.Sprintf("the record at %s, partition %d, offset %d takes %d bytes as a line, more than the %d that can be read back", e.Record.Topic, e.Record.Partition, e.Record.Offset, line, maxRecordBytes),
			Repair: "archive into another folder with --format parquet"}
	}
	if len(l.block) < blockBytes {
		return line, nil
	}
	return line, l.flush()
}

func (l *lineEncoder) flush() error {
	_, err := l.zstd.Write(l.block)
	if l.block = l.block[:0]; cap(l.block) > 4*blockBytes {
		l.block = make([]byte, 0, blockBytes+64<<10)
	}
	return err
}

func (l *lineEncoder) close() error { return errors.Join(l.flush(), l.zstd.Close()) }

func appendLine(dst []byte, number int64, e *apply.Event) []byte {
	r := e.Record
	dst = strconv.AppendInt(append(dst, numberField...), number, 10)
	dst = appendText(append(dst, idField...), e.ID)
	dst = appendText(append(dst, topicField...), []byte(r.Topic))
	dst = strconv.AppendInt(append(dst, partitionField...), int64(r.Partition), 10)
	dst = strconv.AppendInt(append(dst, offsetField...), r.Offset, 10)
	dst = strconv.AppendInt(append(dst, timeField...), r.Timestamp.UnixMilli(), 10)
	dst = appendHeaders(dst, r.Headers)
	dst = appendJSON(dst, keyField, key64Field, e.Key)
	dst = appendJSON(dst, valueField, value64Field, e.Value)
	return append(dst, lineEnd...)
}

func appendHeaders(dst []byte, headers []kgo.RecordHeader) []byte {
	start := len(dst)
	dst = append(dst, headersField...)
	object := len(dst)
	if dst = appendHeaderObject(dst, headers); len(dst) == object {
		return dst[:start]
	}
	return dst
}

// appendHeaderObject appends all headers except the event id, or nothing if there are no others.
func appendHeaderObject(dst []byte, headers []kgo.RecordHeader) []byte {
	separator := byte('{')
	for i := range headers {
		h := &headers[i]
		if h.Key == idHeader {
			continue
		}
		dst = append(appendText(append(dst, separator), []byte(h.Key)), ':')
		separator = ','
		switch {
		case h.Value == nil:
			dst = append(dst, "null"...)
		case utf8.Valid(h.Value):
			dst = appendText(dst, h.Value)
		default:
			dst = append(append64(append(dst, `{"base64":`...), h.Value), '}')
		}
	}
	if separator == ',' {
		dst = append(dst, '}')
	}
	return dst
}

// appendJSON appends a field with a JSON value, or with base64 if the value is not JSON.
func appendJSON(dst []byte, field, field64 string, value []byte) []byte {
	switch {
	case value == nil:
		return dst
	case isJSON(value):
		return append(append(dst, field...), value...)
	}
	return append64(append(dst, field64...), value)
}

// isJSON reports whether a value is JSON on a single line. An object is accepted without further checks, since publishers write no invalid ones.
func isJSON(value []byte) bool {
	n := len(value)
	object := n >= 2 && value[0] == '{' && value[n-1] == '}'
	return bytes.IndexByte(value, '\n') < 0 && (object || json.Valid(value))
}

func append64(dst, value []byte) []byte { return append(appendBase64(append(dst, '"'), value), '"') }

func appendBase64(dst, value []byte) []byte { return base64.StdEncoding.AppendEncode(dst, value) }

func decodeBase64(text []byte) ([]byte, error) {
	return base64.StdEncoding.AppendDecode([]byte{}, text)
}

// appendText appends a JSON string. Most strings need no escapes.
func appendText(dst, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(string(text)) // encoding a string cannot fail
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), text...), '"')
}

// lineDecoder reads lines.
type lineDecoder struct {
	zstd  *zstd.Decoder
	lines *bufio.Reader
	block []byte // memory that records refer to
}

func newLineDecoder(in io.Reader) (*lineDecoder, error) {
	d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, err
	}
	return &lineDecoder{zstd: d, lines: bufio.NewReaderSize(d, blockBytes)}, nil
}

func (l *lineDecoder) close() { l.zstd.Close() }

// next returns the next record, io.EOF after the last one.
func (l *lineDecoder) next() (number int64, record *kgo.Record, err error) {
	line, err := l.line()
	if err != nil {
		return 0, nil, err
	}
	return parseRecord(line)
}

// line returns a line that remains valid.
func (l *lineDecoder) line() ([]byte, error) {
	text, err := l.lines.ReadSlice('\n')
	if err == nil {
		if cap(l.block)-len(l.block) < len(text) {
			l.block = make([]byte, 0, max(blockBytes, len(text)))
		}
		start := len(l.block)
		l.block = append(l.block, text...)
		return l.block[start:len(l.block):len(l.block)], nil
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(text)
		rest, err := readLine(l.lines, maxRecordBytes)
		return append(long, rest...), err
	}
	if errors.Is(err, io.EOF) && len(text) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// cursor parses a line.
type cursor struct {
	rest []byte
	bad  bool
}

// field skips the start of a field if it is next, and reports whether it was.
func (c *cursor) field(start string) bool {
	if !bytes.HasPrefix(c.rest, []byte(start)) {
		return false
	}
	c.rest = c.rest[len(start):]
	return true
}

func (c *cursor) want(start string) {
	if !c.field(start) {
		c.bad = true
	}
}

func (c *cursor) number(bits int) int64 {
	end := 0
	for end < len(c.rest) && (c.rest[end] == '-' || c.rest[end] >= '0' && c.rest[end] <= '9') {
		end++
	}
	n, err := strconv.ParseInt(string(c.rest[:end]), 10, bits)
	c.bad = c.bad || err != nil
	c.rest = c.rest[end:]
	return n
}

// json reads one JSON value.
func (c *cursor) json() []byte {
	end := valueEnd(c.rest)
	if end < 0 {
		c.bad = true
		return nil
	}
	value := c.rest[:end:end]
	c.rest = c.rest[end:]
	return value
}

func (c *cursor) text() (text string) {
	value := c.json()
	if n := len(value); n >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : n-1])
	}
	c.bad = c.bad || json.Unmarshal(value, &text) != nil
	return text
}

func (c *cursor) base64() []byte {
	value, err := decodeBase64([]byte(c.text()))
	c.bad = c.bad || err != nil
	return value
}

// valueEnd returns the end of the JSON value at the start of a text, -1 if there is none.
func valueEnd(text []byte) int {
	depth, inside := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
			if !inside && depth == 0 {
				return i + 1
			}
		case inside:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 { // ends a number or word
				return i
			}
		case c == ',' && depth == 0:
			return i
		}
	}
	return -1
}

// maxPartition bounds the partition numbers accepted in a line.
const maxPartition = 1 << 20

// parseRecord parses a line; the record refers to the memory of the line.
func parseRecord(line []byte) (number int64, r *kgo.Record, err error) {
	c := cursor{rest: line}
	c.want(numberField)
	number = c.number(64)
	c.want(idField)
	id := c.text()
	r = &kgo.Record{}
	c.want(topicField)
	r.Topic = c.text()
	c.want(partitionField)
	r.Partition = int32(c.number(32))
	c.want(offsetField)
	r.Offset = c.number(64)
	c.want(timeField)
	r.Timestamp = time.UnixMilli(c.number(64))
	r.Headers = []kgo.RecordHeader{{Key: idHeader, Value: []byte(id)}}
	if c.field(headersField) {
		r.Headers = c.headers(r.Headers)
	}
	if c.field(keyField) {
		r.Key = c.json()
	} else if c.field(key64Field) {
		r.Key = c.base64()
	}
	if c.field(valueField) {
		r.Value, c.rest = bytes.TrimSuffix(c.rest, []byte(lineEnd)), []byte(lineEnd)
	} else if c.field(value64Field) {
		r.Value = c.base64()
	}
	if c.bad || string(c.rest) != lineEnd || r.Partition < 0 || r.Partition > maxPartition || r.Offset < 0 {
		return 0, nil, fmt.Errorf("not a record: %.100q", line)
	}
	return number, r, nil
}

// headers reads headers in order, since several may have the same name.
func (c *cursor) headers(list []kgo.RecordHeader) []kgo.RecordHeader {
	for c.want("{"); !c.bad; c.want(",") {
		h := kgo.RecordHeader{Key: c.text()}
		c.want(":")
		switch {
		case c.field("null"):
		case c.field(`{"base64":`):
			h.Value = c.base64()
			c.want("}")
		default:
			h.Value = []byte(c.text())
		}
		list = append(list, h)
		if c.field("}") {
			break
		}
	}
	return list
}
