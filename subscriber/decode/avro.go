package decode

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Avro turns records in Confluent's wire format back into the JSON payload from which they were made. It requests each schema from the registry once.
type Avro struct {
	URLs      []string
	Client    *http.Client
	Authorize func(*http.Request) error

	// Readable writes dates, times, decimals and bytes in a form that PostgreSQL can read. Otherwise numbers remain numbers, and bytes are base64.
	Readable bool

	mu      sync.Mutex
	schemas map[uint32]*avroType
	missing map[uint32]time.Time // when the registries did not have a schema
}

// avroType is a node of a schema.
type avroType struct {
	kind   string
	fields []avroField
	items  *avroType   // for an array or a map
	union  []*avroType // branches

	symbols [][]byte // for an enum, as JSON
	size    int64    // for a fixed
	logical Logical
	unknown UnknownSchema // of a number; "": none
}

type avroField struct {
	name []byte // as JSON, with a colon
	typ  *avroType
}

// JSON returns the payload of a framed key or value.
func (a *Avro) JSON(ctx context.Context, framed []byte) ([]byte, error) {
	if len(framed) < 5 || framed[0] != 0 {
		return nil, ErrAvro
	}
	schema, err := a.schema(ctx, binary.BigEndian.Uint32(framed[1:]))
	if err != nil {
		return nil, err
	}
	r := avroReader{in: framed[5:], out: make([]byte, 0, 4*len(framed)), readable: a.Readable}
	if err := r.read(schema, 0); err != nil {
		return nil, err
	}
	if a.Readable && len(r.in) > 0 {
		return nil, ErrAvro
	}
	return r.out, nil
}

// Column is a field of a schema, with the PostgreSQL type that can hold it.
type Column struct{ Name, Type string }

// Columns returns the fields of the framed record.
func (a *Avro) Columns(ctx context.Context, framed []byte) (columns []Column, err error) {
	if len(framed) < 5 || framed[0] != 0 {
		return nil, ErrAvro
	}
	schema, err := a.schema(ctx, binary.BigEndian.Uint32(framed[1:]))
	if err != nil {
		return nil, err
	}
	for _, f := range schema.fields {
		columns = append(columns, Column{Unquoted(bytes.TrimSuffix(f.name, []byte{':'})), f.typ.column()})
	}
	return columns, nil
}

// column returns the PostgreSQL type for values of t. For a union it is the type of the first branch other than null.
func (t *avroType) column() string {
	switch {
	case t.logical != (Logical{}):
		return t.logical.Type()
	case t.kind == "union":
		for _, branch := range t.union {
			if branch.kind != "null" {
				return branch.column()
			}
		}
	}
	switch t.kind {
	case "boolean":
		return "boolean"
	case "int":
		return "integer"
	case "long":
		return "bigint"
	case "float", "double":
		return "double precision"
	case "bytes", "fixed":
		return "bytea"
	case "record", "array", "map":
		return "jsonb"
	}
	return "text"
}

// SchemaError means that a schema of the registry cannot be read.
type SchemaError struct {
	ID  uint32
	Err error
}

func (e SchemaError) Error() string { return fmt.Sprintf("schema %d of the registry: %v", e.ID, e.Err) }
func (e SchemaError) Unwrap() error { return e.Err }

// ErrNoSchema means that the registry does not have the schema.
var ErrNoSchema = errors.New("the registry has no such schema")

// ErrAvro means that the bytes do not match their schema.
var ErrAvro = errors.New("not Avro in Confluent's wire format")

func (a *Avro) schema(ctx context.Context, id uint32) (*avroType, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.schemas[id]; t != nil {
		return t, nil
	}
	if asked, missing := a.missing[id]; missing && time.Since(asked) < missingFor {
		return nil, fmt.Errorf("schema %d of the registry: %w", id, ErrNoSchema)
	}
	t, err := a.load(ctx, fmt.Sprintf("/schemas/ids/%d", id), &avroParser{named: map[string]*avroType{}}, map[string]bool{})
	if errors.Is(err, ErrNoSchema) {
		if len(a.missing) >= maxMissing || a.missing == nil {
			a.missing = map[uint32]time.Time{}
		}
		a.missing[id] = time.Now()
	}
	if unreadable := (unreadableSchema{}); errors.As(err, &unreadable) {
		return nil, SchemaError{id, err}
	}
	if err != nil {
		return nil, fmt.Errorf("schema %d of the registry: %w", id, err)
	}
	if a.schemas == nil {
		a.schemas = map[uint32]*avroType{}
	}
	a.schemas[id] = t
	return t, nil
}

// unreadableSchema is what is wrong with a schema that the registry has.
type unreadableSchema struct{ error }

// load requests a schema and parses it, after those that it refers to. loaded has the paths of the latter.
func (a *Avro) load(ctx context.Context, path string, p *avroParser, loaded map[string]bool) (*avroType, error) {
	schema, err := a.fetch(ctx, path)
	if err != nil {
		return nil, err
	}
	if schema.Type != "" && schema.Type != "AVRO" {
		return nil, unreadableSchema{fmt.Errorf("it is %s, not Avro", schema.Type)}
	}
	for _, r := range schema.References {
		path := fmt.Sprintf("/subjects/%s/versions/%d", url.PathEscape(r.Subject), r.Version)
		if loaded[path] {
			continue
		}
		loaded[path] = true
		if _, err := a.load(ctx, path, p, loaded); err != nil {
			return nil, fmt.Errorf("%s, version %d of subject %s, to which it refers: %w", r.Name, r.Version, r.Subject, err)
		}
	}
	var raw any
	if err := json.Unmarshal([]byte(schema.Text), &raw); err != nil {
		return nil, unreadableSchema{err}
	}
	t, err := p.parse(raw, "", 0)
	if err != nil {
		return nil, unreadableSchema{err}
	}
	return t, nil
}

const (
	missingFor = 10 * time.Second // how long a schema is taken to be missing before the registries are asked again
	maxMissing = 10_000           // remembered ids, which come from untrusted bytes

	maxSchemaBytes = 16 << 20
)

// registered is a schema as a registry returns it.
type registered struct {
	Text       string `json:"schema"`
	Type       string `json:"schemaType"` // "": AVRO
	References []struct {
		Name, Subject string
		Version       int
	}
}

// fetch queries the registries in turn. The error is ErrNoSchema if all of them answer that they do not have the schema.
func (a *Avro) fetch(ctx context.Context, path string) (schema registered, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var missing, failed []error
	for _, registry := range a.URLs {
		schema, err := a.fetchFrom(ctx, strings.TrimSuffix(registry, "/")+path)
		switch {
		case err == nil:
			return schema, nil
		case errors.Is(err, ErrNoSchema):
			missing = append(missing, err)
		default:
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 { // one of these may have it
		return schema, errors.Join(failed...)
	}
	return schema, errors.Join(missing...)
}

// The error codes with which a registry answers that it does not have a subject, a version or a schema. Proxies and wrong paths answer 404 without them.
const noSuchSubject, noSuchVersion, noSuchSchema = 40401, 40402, 40403

func (a *Avro) fetchFrom(ctx context.Context, address string) (schema registered, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return schema, err
	}
	request.Header.Set("Accept", "application/vnd.schemaregistry.v1+json")
	if a.Authorize != nil {
		if err := a.Authorize(request); err != nil {
			return schema, err
		}
	}
	client := a.Client
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return schema, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSchemaBytes))
	if err != nil {
		return schema, err
	}
	var answer struct {
		registered
		Code int `json:"error_code"`
	}
	err = json.Unmarshal(body, &answer)
	known := answer.Code != noSuchSubject && answer.Code != noSuchVersion && answer.Code != noSuchSchema
	switch {
	case response.StatusCode == http.StatusNotFound && err == nil && !known:
		return schema, fmt.Errorf("%s answers %s: %.200s: %w", address, response.Status, body, ErrNoSchema)
	case response.StatusCode != http.StatusOK, err != nil, answer.Text == "":
		return schema, fmt.Errorf("%s answers %s: %.200s", address, response.Status, body)
	}
	return answer.registered, nil
}

// maxAvroNesting bounds the nesting of a schema and of its values, which are read recursively.
const maxAvroNesting = 512

// avroParser parses a schema; records have names by which they can be referred to again.
type avroParser struct{ named map[string]*avroType }

func (p *avroParser) parse(raw any, namespace string, depth int) (*avroType, error) {
	if depth > maxAvroNesting {
		return nil, ErrAvro
	}
	switch s := raw.(type) {
	case string:
		switch s {
		case "null", "boolean", "int", "long", "float", "double", "bytes", "string":
			return &avroType{kind: s}, nil
		}
		if t := p.named[fullName(s, namespace)]; t != nil {
			return t, nil
		}
		return nil, fmt.Errorf("unknown type %q", s)
	case []any:
		t := &avroType{kind: "union"}
		for _, branch := range s {
			b, err := p.parse(branch, namespace, depth+1)
			if err != nil {
				return nil, err
			}
			t.union = append(t.union, b)
		}
		return t, nil
	case map[string]any:
		return p.complex(s, namespace, depth)
	}
	return nil, fmt.Errorf("a %T is not a type", raw)
}

func (p *avroParser) complex(s map[string]any, namespace string, depth int) (t *avroType, err error) {
	kind, named := s["type"].(string)
	if !named {
		return p.parse(s["type"], namespace, depth+1)
	}
	switch kind {
	case "array", "map":
		t = &avroType{kind: kind}
		of := s["items"]
		if kind == "map" {
			of = s["values"]
		}
		t.items, err = p.parse(of, namespace, depth+1)
		return t, err
	case "record", "enum", "fixed":
		if own, ok := s["namespace"].(string); ok {
			namespace = own
		}
		name, _ := s["name"].(string)
		t = &avroType{kind: kind}
		p.named[fullName(name, namespace)] = t
		if kind == "enum" {
			symbols, _ := s["symbols"].([]any)
			for _, symbol := range symbols {
				text, _ := symbol.(string)
				t.symbols = append(t.symbols, strconv.AppendQuote(nil, text))
			}
			return t, nil
		}
		if kind == "fixed" {
			size, _ := s["size"].(float64)
			t.size, t.logical = int64(size), logicalOf(s)
			return t, nil
		}
		list, _ := s["fields"].([]any)
		for _, item := range list {
			field, _ := item.(map[string]any)
			name, _ := field["name"].(string)
			typ, err := p.parse(field["type"], namespace, depth+1)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", name, err)
			}
			t.fields = append(t.fields, avroField{append(strconv.AppendQuote(nil, name), ':'), typ})
		}
		if l := logicalOf(s); l.IsVariableDecimal() {
			t.logical = l
		}
		return t, nil
	}
	if t, err = p.parse(kind, namespace, depth+1); err != nil {
		return nil, err
	}
	own := *t
	own.logical = logicalOf(s)
	if name, _ := s["connect.name"].(string); IsUnknown(name) && (kind == "int" || kind == "long") {
		own.unknown = UnknownSchema(name)
	}
	if own.logical == (Logical{}) && own.unknown == "" {
		return t, nil // a record that refers to itself is not complete yet
	}
	return &own, nil
}

// logicalOf returns the logical type that a schema names, as in Avro or in Kafka Connect.
func logicalOf(s map[string]any) Logical {
	scale, _ := s["scale"].(float64)
	for _, attribute := range []string{"connect.name", "logicalType"} {
		name, _ := s[attribute].(string)
		if l, known := LogicalOf(name, int(scale)); known {
			return l
		}
	}
	return Logical{}
}

func fullName(name, namespace string) string {
	if strings.Contains(name, ".") || namespace == "" {
		return name
	}
	return namespace + "." + name
}

// avroReader reads a message body. Every length is checked, because the bytes are untrusted.
type avroReader struct {
	in  []byte
	out []byte

	readable bool
}

func (r *avroReader) long() (int64, error) {
	n, size := binary.Varint(r.in) // zigzag, as Avro's
	if size <= 0 {
		return 0, ErrAvro
	}
	r.in = r.in[size:]
	return n, nil
}

func (r *avroReader) take(n int64) ([]byte, error) {
	if n < 0 || n > int64(len(r.in)) {
		return nil, ErrAvro
	}
	taken := r.in[:n]
	r.in = r.in[n:]
	return taken, nil
}

func (r *avroReader) bytes() ([]byte, error) {
	n, err := r.long()
	if err != nil {
		return nil, err
	}
	return r.take(n)
}

func (r *avroReader) read(t *avroType, depth int) error {
	if depth > maxAvroNesting {
		return ErrAvro
	}
	switch t.kind {
	case "null":
		r.out = append(r.out, "null"...)
	case "boolean":
		b, err := r.take(1)
		if err != nil {
			return err
		}
		r.out = strconv.AppendBool(r.out, b[0] != 0)
	case "int", "long":
		n, err := r.long()
		if err != nil {
			return err
		}
		if r.readable && t.unknown != "" {
			return t.unknown
		}
		if r.readable && t.logical.kind != noLogical {
			r.out = append(t.logical.AppendNumber(append(r.out, '"'), n), '"')
			return nil
		}
		r.out = strconv.AppendInt(r.out, n, 10)
	case "float":
		b, err := r.take(4)
		if err != nil {
			return err
		}
		r.float(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 32)
	case "double":
		b, err := r.take(8)
		if err != nil {
			return err
		}
		r.float(math.Float64frombits(binary.LittleEndian.Uint64(b)), 64)
	case "bytes":
		b, err := r.bytes()
		if err != nil {
			return err
		}
		return r.binary(t, b)
	case "fixed":
		b, err := r.take(t.size)
		if err != nil {
			return err
		}
		return r.binary(t, b)
	case "enum":
		n, err := r.long()
		if err != nil || n < 0 || n >= int64(len(t.symbols)) {
			return ErrAvro
		}
		r.out = append(r.out, t.symbols[n]...)
	case "string":
		b, err := r.bytes()
		if err != nil {
			return err
		}
		r.out = appendQuoted(r.out, b)
	case "union":
		n, err := r.long()
		if err != nil || n < 0 || n >= int64(len(t.union)) {
			return ErrAvro
		}
		return r.read(t.union[n], depth+1)
	case "record":
		if r.readable && t.logical.IsVariableDecimal() {
			return r.variableDecimal(t, depth)
		}
		return r.record(t, depth)
	case "array", "map":
		return r.blocks(t, depth)
	}
	return nil
}

// binary writes bytes: decimals as numbers, others in a form that JSON can represent.
func (r *avroReader) binary(t *avroType, b []byte) (err error) {
	switch {
	case r.readable && t.logical.IsDecimal():
		if r.out, err = AppendDecimal(r.out, b, t.logical.Scale); err != nil {
			err = ErrAvro
		}
	case r.readable:
		r.out = append(hex.AppendEncode(append(r.out, `"\\x`...), b), '"')
	default:
		r.out = append(base64.StdEncoding.AppendEncode(append(r.out, '"'), b), '"')
	}
	return err
}

func (r *avroReader) variableDecimal(t *avroType, depth int) error {
	plain := avroReader{in: r.in}
	err := plain.record(t, depth)
	if r.in = plain.in; err != nil {
		return err
	}
	if r.out, err = AppendVariableDecimal(r.out, plain.out); err != nil {
		return ErrAvro
	}
	return nil
}

func (r *avroReader) float(f float64, bits int) {
	switch {
	case math.IsNaN(f):
		r.out = append(r.out, `"NaN"`...)
	case math.IsInf(f, 1):
		r.out = append(r.out, `"Infinity"`...)
	case math.IsInf(f, -1):
		r.out = append(r.out, `"-Infinity"`...)
	default:
		r.out = strconv.AppendFloat(r.out, f, 'g', -1, bits)
	}
}

func (r *avroReader) record(t *avroType, depth int) error {
	r.out = append(r.out, '{')
	for i := range t.fields {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, t.fields[i].name...)
		if err := r.read(t.fields[i].typ, depth+1); err != nil {
			return err
		}
	}
	r.out = append(r.out, '}')
	return nil
}

// maxAvroText is the maximum length of the JSON of a record with arrays or maps.
const maxAvroText = 64 << 20

// blocks reads an array or a map (Avro specification, "Binary Encoding", Arrays and Maps).
func (r *avroReader) blocks(t *avroType, depth int) error {
	open, end := byte('['), byte(']')
	if t.kind == "map" {
		open, end = '{', '}'
	}
	r.out = append(r.out, open)
	first := true
	for {
		n, err := r.long()
		if err != nil {
			return err
		}
		if n == 0 {
			r.out = append(r.out, end)
			return nil
		}
		if n < 0 { // the block's size in bytes follows
			if n = -n; n < 0 {
				return ErrAvro
			}
			if _, err := r.long(); err != nil {
				return err
			}
		}
		for ; n > 0; n-- {
			if !first {
				r.out = append(r.out, ',')
			}
			first = false
			if t.kind == "map" {
				key, err := r.bytes()
				if err != nil {
					return err
				}
				r.out = append(appendQuoted(r.out, key), ':')
			}
			if len(r.out) > maxAvroText {
				return ErrAvro // items may take no bytes, so nothing else limits their number
			}
			if err := r.read(t.items, depth+1); err != nil {
				return err
			}
		}
	}
}

// appendQuoted appends a JSON string.
func appendQuoted(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
