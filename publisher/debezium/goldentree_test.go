package debezium

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/publisher/record"
)

// node is JSON whose numbers and order are kept as they were written.
type node struct {
	kind   byte    // '{', '[' or 0 for a scalar
	scalar string  // canonical text
	fields []field // of an object; of an array without names
}

type field struct {
	name string
	node *node
}

var jsonNull = &node{scalar: "null"}

func parseJSON(raw []byte) (*node, error) {
	if raw == nil {
		return jsonNull, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	n, err := readNode(decoder)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}
	return n, nil
}

func readNode(decoder *json.Decoder) (*node, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return scalarNode(token), nil
	}
	n := &node{kind: byte(delim)}
	for decoder.More() {
		var f field
		if n.kind == '{' {
			name, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			f.name = name.(string)
		}
		if f.node, err = readNode(decoder); err != nil {
			return nil, err
		}
		n.fields = append(n.fields, f)
	}
	_, err = decoder.Token()
	n.nameFields()
	return n, err
}

func scalarNode(token json.Token) *node {
	switch v := token.(type) {
	case string:
		return &node{scalar: string(record.AppendJSONString(nil, v))}
	case json.Number:
		return &node{scalar: v.String()}
	case bool:
		if v {
			return &node{scalar: "true"}
		}
		return &node{scalar: "false"}
	}
	return jsonNull
}

// nameFields gives the fields of a Connect struct schema, which are an array, the names that they have.
func (n *node) nameFields() {
	if n.kind != '[' {
		return
	}
	for i := range n.fields {
		if name := n.fields[i].node.at("field"); name != nil {
			n.fields[i].name, _ = strconv.Unquote(name.scalar)
		}
	}
}

// at returns what stands under a path of names, nil for nothing.
func (n *node) at(path ...string) *node {
	for _, name := range path {
		if n == nil {
			return nil
		}
		i := slices.IndexFunc(n.fields, func(f field) bool { return f.name == name })
		if n.kind != '{' || i < 0 {
			return nil
		}
		n = n.fields[i].node
	}
	return n
}

// payload returns the payload of JSON that has its schema beside it, else n.
func (n *node) payload() *node {
	if n.kind == '{' && len(n.fields) == 2 && n.fields[0].name == "schema" && n.fields[1].name == "payload" {
		return n.fields[1].node
	}
	return n
}

func (n *node) remove(name string) {
	n.fields = slices.DeleteFunc(n.fields, func(f field) bool { return f.name == name })
}

// mask takes the values of named fields out, but not whether they are null.
func (n *node) mask(names ...string) {
	if n == nil {
		return
	}
	for i, f := range n.fields {
		if slices.Contains(names, f.name) && f.node.scalar != "null" {
			n.fields[i].node = &node{scalar: "masked"}
		}
	}
}

func (n *node) String() string {
	if n.kind == 0 {
		return n.scalar
	}
	text := []byte{n.kind}
	for i, f := range n.fields {
		if i > 0 {
			text = append(text, ',')
		}
		if n.kind == '{' {
			text = append(record.AppendJSONString(text, f.name), ':')
		}
		text = append(text, f.node.String()...)
	}
	return string(append(text, n.kind+2))
}

// diff reports where got is not n. Fields must stand in the same order.
func (n *node) diff(got *node, path []string, report func(path []string, format string, args ...any)) {
	if n.kind != got.kind || n.kind == 0 || n.kind == '[' && !n.named() {
		if n.String() != got.String() {
			report(path, "%.300s, want %.300s", got, n)
		}
		return
	}
	want := n.fields
	for _, g := range got.fields {
		at := append(slices.Clip(path), g.name)
		i := slices.IndexFunc(want, func(f field) bool { return f.name == g.name })
		if i < 0 {
			report(at, "extra: %.300s", g.node)
			continue
		}
		for _, missing := range want[:i] {
			report(append(slices.Clip(path), missing.name), "missing, or not in its place")
		}
		want[i].node.diff(g.node, at, report)
		want = want[i+1:]
	}
	for _, missing := range want {
		report(append(slices.Clip(path), missing.name), "missing, or not in its place")
	}
}

func (n *node) named() bool { return len(n.fields) > 0 && n.fields[0].name != "" }

// line is one record of a capture, or of ours.
type line struct {
	Topic   string
	Key     json.RawMessage
	Value   json.RawMessage
	Headers [][2]json.RawMessage

	key, value, headers *node
}

// read parses the record and takes out what changes from run to run, and our own block. Flat records have it in volatile fields.
func (l *line) read(t testing.TB, volatile []string) {
	l.headers = &node{kind: '{'}
	parse := func(raw []byte) *node {
		n, err := parseJSON(raw)
		if err != nil {
			t.Fatalf("%s: %v in %.200s", l.Topic, err, raw)
		}
		return n
	}
	l.key, l.value = parse(l.Key), parse(l.Value)
	for _, h := range l.Headers {
		var name string
		if err := json.Unmarshal(h[0], &name); err != nil {
			t.Fatal(err)
		}
		l.headers.fields = append(l.headers.fields, field{name, parse(h[1])})
	}
	if l.value.payload() != l.value && l.value.payload().scalar == "null" {
		l.value = jsonNull // of a flat delete: ours is the null that compaction needs
	}
	l.headers.mask("__debezium.context.runId")
	l.mask()
	l.value.payload().mask(volatile...)
	l.headers.mask(volatile...)
}

// isRead reports whether a snapshot has read the row.
func (l *line) isRead() bool {
	for _, op := range []*node{l.value.payload().at("op"), l.value.payload().at("__op"), l.headers.at("__op")} {
		if op != nil && op.scalar == `"r"` {
			return true
		}
	}
	return false
}

func (l *line) mask() {
	payload := l.value.payload()
	if payload != l.value {
		if schema := l.value.at("schema", "fields"); schema != nil {
			schema.remove("pgtee")
		}
	}
	payload.remove("pgtee")
	payload.mask("ts_ms", "ts_us", "ts_ns")
	payload.at("source").mask("version", "sequence", "ts_ms", "ts_us", "ts_ns", "lsn", "txId", "xmin")
	payload.at("transaction").mask("id")
	payload.at("source").nameMark()
	if payload.at("data_collections") != nil {
		payload.mask("id")
		l.key.payload().mask("id")
		payload.at("data_collections").nameMessages()
	}
}

// nameMark calls the first and the last row of a snapshot by their place in their table: which table is the first, each program
// has for itself.
func (n *node) nameMark() {
	if mark := n.at("snapshot"); mark != nil && (mark.scalar == `"first"` || mark.scalar == `"last"`) {
		mark.scalar = strings.TrimSuffix(mark.scalar, `"`) + `_in_data_collection"`
	}
}

// nameMessages gives the count of logical messages the name that Debezium's documentation promises: it writes
// the address of a Java object there, which makes their order random too.
func (n *node) nameMessages() {
	random := false
	for _, f := range n.fields {
		name := f.node.at("data_collection")
		if strings.Contains(name.scalar, "LogicalDecodingMessageId@") || strings.Contains(name.scalar, messageCollection) {
			name.scalar, random = messageCollection, true
		}
	}
	if random {
		slices.SortFunc(n.fields, func(a, b field) int { return strings.Compare(a.node.String(), b.node.String()) })
	}
}

// headerJSON is how Debezium's JSON converter reads a header: as JSON, or as text.
func headerJSON(value []byte) json.RawMessage {
	if json.Valid(value) {
		return value
	}
	return record.AppendJSONString(nil, value)
}

func quoted(text string) json.RawMessage { return record.AppendJSONString(nil, text) }
