package decode

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const testSchema = `{"type":"record","name":"r","namespace":"n","fields":[{"name":"id","type":"long"},{"name":"d","type":["null",{"type":"int","logicalType":"date"}]},
{"name":"t","type":{"type":"int","logicalType":"time-millis"}},{"name":"at","type":{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}},
{"name":"n","type":{"type":"fixed","name":"f","size":2,"logicalType":"decimal","precision":4,"scale":2}},{"name":"raw","type":"bytes"},{"name":"k","type":{"type":"enum","name":"e","symbols":["A","B"]}},
{"name":"again","type":"e"},{"name":"tags","type":{"type":"array","items":"string"}}]}`

// body is one record of testSchema.
const body = "\x02" + "\x02\x02" + "\xc0\x84\x3d" + "\x02" + "\xff\xff" + "\x04\x00\xff" + "\x02" + "\x00" + "\x02\x02x\x00"

func registry(t *testing.T) *Avro {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/schemas/ids/7":
			fmt.Fprintf(w, `{"schema":%q}`, testSchema)
		case "/schemas/ids/10":
			fmt.Fprint(w, `{"schema":"{\"type\":\"record\",\"name\":\"a.Order\",\"fields\":[{\"name\":\"to\",\"type\":\"b.Address\"},{\"name\":\"from\",\"type\":\"b.Address\"},{\"name\":\"in\",\"type\":\"c.Land\"}]}",
"references":[{"name":"b.Address","subject":"address/value","version":2},{"name":"c.Land","subject":"land","version":1}]}`)
		case "/subjects/address/value/versions/2":
			fmt.Fprint(w, `{"subject":"address/value","version":2,"id":3,"schema":"{\"type\":\"record\",\"name\":\"Address\",\"namespace\":\"b\",\"fields\":[{\"name\":\"land\",\"type\":\"c.Land\"}]}",
"references":[{"name":"c.Land","subject":"land","version":1}]}`)
		case "/subjects/land/versions/1":
			fmt.Fprint(w, `{"schema":"{\"type\":\"enum\",\"name\":\"Land\",\"namespace\":\"c\",\"symbols\":[\"AT\",\"CH\"]}"}`)
		case "/schemas/ids/11":
			fmt.Fprint(w, `{"schema":"syntax = \"proto3\";","schemaType":"PROTOBUF"}`)
		case "/schemas/ids/12":
			fmt.Fprint(w, `{"schema":"\"b.Address\"","references":[{"name":"b.Address","subject":"address","version":9}]}`)
		case "/schemas/ids/8":
			fmt.Fprint(w, `{"schema":"{\"type\":\"unheard\"}"}`)
		default:
			http.Error(w, `{"error_code":40403}`, http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	return &Avro{URLs: []string{server.URL}}
}

func TestAvro(t *testing.T) {
	ctx := context.Background()
	framed := []byte("\x00\x00\x00\x00\x07" + body)
	for readable, want := range map[bool]string{
		false: `{"id":1,"d":1,"t":500000,"at":1,"n":"//8=","raw":"AP8=","k":"B","again":"A","tags":["x"]}`,
		true:  `{"id":1,"d":"1970-01-02","t":"00:08:20","at":"1970-01-01T00:00:00.000001","n":-0.01,"raw":"\\x00ff","k":"B","again":"A","tags":["x"]}`,
	} {
		a := registry(t)
		a.Readable = readable
		got, err := a.JSON(ctx, framed)
		if err != nil || string(got) != want {
			t.Errorf("got %s (%v), want %s", got, err, want)
		}
		for n := range framed {
			if _, err := a.JSON(ctx, framed[:n]); err == nil {
				t.Errorf("%d bytes of %d are taken for a record", n, len(framed))
			}
		}
	}
	a := registry(t)
	columns, err := a.Columns(ctx, framed)
	if want := "[{id bigint} {d date} {t time} {at timestamp} {n numeric} {raw bytea} {k text} {again text} {tags jsonb}]"; err != nil || fmt.Sprint(columns) != want {
		t.Errorf("columns %v (%v), want %s", columns, err, want)
	}
	if _, err := a.JSON(ctx, []byte("\x00\x00\x00\x00\x09x")); !errors.Is(err, ErrNoSchema) {
		t.Errorf("a schema that is not there: %v", err)
	}
	var unreadable SchemaError
	if _, err := a.JSON(ctx, []byte("\x00\x00\x00\x00\x08x")); !errors.As(err, &unreadable) || unreadable.ID != 8 {
		t.Errorf("a schema that cannot be read: %v", err)
	}
}

// A schema may refer to others, which may do so, too.
func TestAvroReferences(t *testing.T) {
	a := registry(t)
	if got, err := a.JSON(t.Context(), []byte("\x00\x00\x00\x00\x0a\x02\x00\x02")); err != nil || string(got) != `{"to":{"land":"CH"},"from":{"land":"AT"},"in":"CH"}` {
		t.Errorf("%s, %v", got, err)
	}
	var unreadable SchemaError
	if _, err := a.JSON(t.Context(), []byte("\x00\x00\x00\x00\x0bx")); !errors.As(err, &unreadable) || !strings.Contains(err.Error(), "it is PROTOBUF, not Avro") {
		t.Errorf("Protobuf: %v", err)
	}
	if _, err := a.JSON(t.Context(), []byte("\x00\x00\x00\x00\x0cx")); !errors.Is(err, ErrNoSchema) || !strings.Contains(err.Error(), "b.Address, version 9 of subject address, to which it refers") {
		t.Errorf("a reference to nothing: %v", err)
	}
}

// What Debezium's schemas say about a number: an interval, a decimal with its own scale. A number whose schema is not known is not taken for a bare one.
func TestAvroOfDebezium(t *testing.T) {
	var raw any
	if err := json.Unmarshal([]byte(`{"type":"record","name":"r","fields":[{"name":"i","type":{"type":"long","connect.name":"io.debezium.time.MicroDuration"}},
{"name":"n","type":["null",{"type":"record","name":"VariableScaleDecimal","namespace":"io.debezium.data","connect.name":"io.debezium.data.VariableScaleDecimal","fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]}]},
{"name":"u","type":["null",{"type":"long","connect.name":"io.debezium.time.Unheard"}]}]}`), &raw); err != nil {
		t.Fatal(err)
	}
	p := avroParser{named: map[string]*avroType{}}
	schema, err := p.parse(raw, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	framed := append(binary.AppendVarint([]byte("\x00\x00\x00\x00\x01"), -90_000_000), "\x02\x04\x0430"...)
	for _, c := range []struct {
		end, readable, plain string
	}{
		{"\x00", `{"i":"-00:01:30","n":131.04,"u":null}`, `{"i":-90000000,"n":{"scale":2,"value":"MzA="},"u":null}`},
		{"\x02\x02", "", `{"i":-90000000,"n":{"scale":2,"value":"MzA="},"u":1}`},
	} {
		for readable, want := range map[bool]string{true: c.readable, false: c.plain} {
			a := &Avro{Readable: readable, schemas: map[uint32]*avroType{1: schema}}
			got, err := a.JSON(t.Context(), append(bytes.Clone(framed), c.end...))
			if unknown := UnknownSchema(""); want == "" {
				if !errors.As(err, &unknown) || unknown != "io.debezium.time.Unheard" {
					t.Errorf("an unknown schema: %s, %v", got, err)
				}
			} else if err != nil || string(got) != want {
				t.Errorf("readable %v: got %s (%v), want %s", readable, got, err, want)
			}
		}
	}
	a := &Avro{schemas: map[uint32]*avroType{1: schema}}
	if columns, err := a.Columns(t.Context(), framed); err != nil || fmt.Sprint(columns) != "[{i interval} {n numeric} {u bigint}]" {
		t.Errorf("columns %v, %v", columns, err)
	}
}

// answers is a registry that answers as it is told.
type answers func(host string) (status int, body string)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := a(r.URL.Host)
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

// Only registries that say so do not have a schema: a proxy's 404, an empty answer or an outage of one of them is not a reason to give a record up.
func TestMissingSchema(t *testing.T) {
	const missing, schema = `{"error_code":40403,"message":"Schema 7 not found"}`, `{"schema":"\"string\""}`
	type answer struct {
		status int
		body   string
	}
	for name, test := range map[string]struct {
		one, two answer
		missing  bool
	}{
		"both":            {answer{404, missing}, answer{404, missing}, true},
		"one is down":     {answer{404, missing}, answer{503, "down"}, false},
		"the other is":    {answer{503, "down"}, answer{404, missing}, false},
		"a proxy":         {answer{404, "<html>"}, answer{404, missing}, false},
		"a wrong path":    {answer{404, `{"error_code":404,"message":"HTTP 404 Not Found"}`}, answer{404, `{"error_code":404}`}, false},
		"an empty answer": {answer{200, "{}"}, answer{200, "<html>"}, false},
	} {
		a := &Avro{URLs: []string{"http://one", "http://two/"}, Client: &http.Client{Transport: answers(func(host string) (int, string) {
			if host == "one" {
				return test.one.status, test.one.body
			}
			return test.two.status, test.two.body
		})}}
		var unreadable SchemaError
		_, err := a.JSON(t.Context(), []byte("\x00\x00\x00\x00\x07\x02x"))
		if err == nil || errors.Is(err, ErrNoSchema) != test.missing || errors.As(err, &unreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) { // a missing schema is asked for again after a while
		asked, status, body := 0, 404, missing
		a := &Avro{URLs: []string{"http://one"}, Client: &http.Client{Transport: answers(func(string) (int, string) { asked++; return status, body })}}
		for range 1000 {
			if _, err := a.JSON(t.Context(), []byte("\x00\x00\x00\x00\x07\x02x")); !errors.Is(err, ErrNoSchema) {
				t.Fatal(err)
			}
		}
		status, body = 200, schema
		time.Sleep(missingFor)
		if text, err := a.JSON(t.Context(), []byte("\x00\x00\x00\x00\x07\x02x")); err != nil || string(text) != `"x"` || asked != 2 {
			t.Errorf("%s (%v), asked %d times", text, err, asked)
		}
	})
}

// FuzzAvro: whatever bytes follow a schema's id, reading them neither panics nor makes much of little.
func FuzzAvro(f *testing.F) {
	f.Add([]byte(body))
	f.Fuzz(func(t *testing.T, data []byte) {
		a := &Avro{Readable: true}
		p := avroParser{named: map[string]*avroType{}}
		schema, err := p.parse(map[string]any{"type": "array", "items": []any{"null", "bytes", map[string]any{"type": "map", "values": "long"}}}, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		a.schemas = map[uint32]*avroType{1: schema}
		text, err := a.JSON(context.Background(), append([]byte{0, 0, 0, 0, 1}, data...))
		if err == nil && len(text) > 100+50*len(data) {
			t.Errorf("%d bytes become %d", len(data), len(text))
		}
	})
}

func TestLogical(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int64
		want string
	}{
		{"date", 19753, "2024-01-31"}, {"date", -1, "1969-12-31"}, {"time-micros", 86399999999, "23:59:59.999999"},
		{"timestamp-millis", -1, "1969-12-31T23:59:59.999Z"}, {"timestamp-nanos", 1706702400123456789, "2024-01-31T12:00:00.123456789Z"}, {"local-timestamp-micros", 0, "1970-01-01T00:00:00"},
		{"org.apache.kafka.connect.data.Timestamp", 1706702400123, "2024-01-31T12:00:00.123Z"}, {"io.debezium.time.Timestamp", 1706702400123, "2024-01-31T12:00:00.123"},
		{"io.debezium.time.MicroTime", 86400000000, "24:00:00"}, {"io.debezium.time.Date", 2146033979, "infinity"}, {"io.debezium.time.Date", -2147472691, "-infinity"}, {"io.debezium.time.Date", -735160, "0044-03-15 BC"},
		{"io.debezium.time.MicroTimestamp", math.MaxInt64, "infinity"}, {"io.debezium.time.MicroTimestamp", math.MinInt64, "-infinity"}, {"io.debezium.time.Timestamp", 9223372036825200000, "infinity"},
		{"io.debezium.time.MicroDuration", 3600000000, "01:00:00"}, {"io.debezium.time.MicroDuration", -90000001, "-00:01:30.000001"}, {"io.debezium.time.NanoDuration", 3600000000001, "01:00:00.000000001"},
		{"io.debezium.time.MicroDuration", math.MaxInt64, "infinity"}, {"io.debezium.time.MicroDuration", math.MinInt64, "-infinity"}, {"io.debezium.time.Year", 2024, "2024"},
		{"io.debezium.time.MicroTimestamp", -63517780800000000, "0044-03-15T12:00:00 BC"}, {"org.apache.kafka.connect.data.Timestamp", -63517780800000, "0044-03-15T12:00:00Z BC"},
	} {
		l, known := LogicalOf(c.name, 0)
		if got := string(l.AppendNumber(nil, c.n)); !known || got != c.want {
			t.Errorf("%s %d: %s, want %s", c.name, c.n, got, c.want)
		}
	}
	for raw, want := range map[string]string{"\x30\x39": "123.45", "\xff": "-0.01", "": "0.00", "\x00": "0.00", strings.Repeat("\x7f", 9): "23519236993115487927.03"} {
		got, err := AppendDecimal(nil, []byte(raw), 2)
		if err != nil || string(got) != want {
			t.Errorf("%x: %s (%v), want %s", raw, got, err, want)
		}
	}
	if _, err := AppendDecimal(nil, []byte{1}, maxScale+1); err == nil {
		t.Error("a scale that numeric cannot have is taken")
	}
}
