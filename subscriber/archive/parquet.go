package archive

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// row is a row of a Parquet file. Its columns are the fields of a line, the same in every file. No column is NULL: a missing value is an empty
// string.
type row struct {
	Number    int64     `parquet:"n,delta"`
	ID        string    `parquet:"id"`
	Topic     string    `parquet:"topic,dict"`
	Partition int32     `parquet:"partition"`
	Offset    int64     `parquet:"offset,delta"`
	Time      time.Time `parquet:"ts,timestamp(millisecond)"`
	Headers   string    `parquet:"headers"`
	Key       string    `parquet:"key"`
	Key64     string    `parquet:"key64"`
	Value     string    `parquet:"value"`
	Value64   string    `parquet:"value64"`
}

const (
	rowGroupBytes = 32 << 20 // approximate size of the records in a row group
	rowsAtOnce    = 256
)

// rowEncoder writes rows.
type rowEncoder struct {
	writer *parquet.GenericWriter[row]
	rows   []row
	object []byte // scratch
	bytes  int    // bytes in the current row group
}

func newRowEncoder(out io.Writer) *rowEncoder {
	return &rowEncoder{writer: parquet.NewGenericWriter[row](out, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}), parquet.CreatedBy("pgtee", "", "")), rows: make([]row, 0, rowsAtOnce)}
}

func (e *rowEncoder) add(number int64, event *apply.Event) (line int, err error) {
	r := event.Record
	next := row{Number: number, ID: string(event.ID), Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp}
	e.object = appendHeaderObject(e.object[:0], r.Headers)
	next.Headers = string(e.object)
	next.Key, next.Key64 = textOf(event.Key)
	next.Value, next.Value64 = textOf(event.Value)
	e.rows = append(e.rows, next)
	e.bytes += len(event.Key) + len(event.Value) + len(event.ID) + len(next.Headers)
	if len(e.rows) < rowsAtOnce && e.bytes < rowGroupBytes {
		return 0, nil
	}
	return 0, e.write()
}

// textOf returns JSON as text, anything else as base64.
func textOf(value []byte) (text, in64 string) {
	switch {
	case value == nil:
		return "", ""
	case isJSON(value):
		return string(value), ""
	}
	return "", string(appendBase64(nil, value))
}

// write passes rows to the Parquet writer, which copies them, and ends a row group that is large enough.
func (e *rowEncoder) write() error {
	_, err := e.writer.Write(e.rows)
	e.rows = e.rows[:0]
	if err == nil && e.bytes >= rowGroupBytes {
		e.bytes = 0
		err = e.writer.Flush()
	}
	return err
}

func (e *rowEncoder) close() error { return errors.Join(e.write(), e.writer.Close()) }

// rowDecoder reads rows.
type rowDecoder struct {
	reader *parquet.GenericReader[row]
	rows   []row
	at     int
}

func newRowDecoder(file *os.File) *rowDecoder {
	return &rowDecoder{reader: parquet.NewGenericReader[row](file)}
}

func (d *rowDecoder) close() { _ = d.reader.Close() }

func (d *rowDecoder) next() (number int64, record *kgo.Record, err error) {
	if d.at == len(d.rows) {
		d.rows, d.at = make([]row, rowsAtOnce), 0 // new memory, since records refer to the previous rows
		n, err := d.reader.Read(d.rows)
		if d.rows = d.rows[:n]; n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, nil, err
		}
	}
	r := &d.rows[d.at]
	d.at++
	return r.record()
}

// record returns the record of a row.
func (r *row) record() (number int64, record *kgo.Record, err error) {
	record = &kgo.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Time, Headers: []kgo.RecordHeader{{Key: idHeader, Value: []byte(r.ID)}}}
	if r.Headers != "" {
		c := cursor{rest: []byte(r.Headers)}
		if record.Headers = c.headers(record.Headers); c.bad {
			return 0, nil, errors.New("its headers are not an object of strings")
		}
	}
	if record.Key, err = bytesOf(r.Key, r.Key64); err != nil {
		return 0, nil, err
	}
	if record.Value, err = bytesOf(r.Value, r.Value64); err != nil {
		return 0, nil, err
	}
	if record.Partition < 0 || record.Partition > maxPartition || record.Offset < 0 {
		return 0, nil, errors.New("it has no place in Kafka")
	}
	return r.Number, record, nil
}

// bytesOf reverses textOf.
func bytesOf(text, in64 string) ([]byte, error) {
	switch {
	case in64 != "":
		return decodeBase64([]byte(in64))
	case text != "":
		return []byte(text), nil
	}
	return nil, nil
}
