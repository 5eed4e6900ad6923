package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Limits of what a page shows of one value and of one record; a link leads to the complete record.
const (
	shownValueBytes  = 2 << 10
	shownRecordBytes = 1 << 20
	maxIndentedBytes = 4 * shownRecordBytes // JSON that would become longer is not indented
	maxFields        = 1600                 // of an object: PostgreSQL's maximum of columns
)

// field is a member of a JSON object, in its original order.
type field struct {
	Name string
	Raw  json.RawMessage
}

// errNoObject means that the bytes are not a JSON object.
var errNoObject = errors.New("it is not a JSON object")

var errManyFields = fmt.Errorf("an object has more than %d fields", maxFields)

// fieldsOf parses an object; nil for null and for an empty text.
func fieldsOf(raw []byte) ([]field, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, errNoObject
	}
	list := []field{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		if len(list) == maxFields {
			return nil, errManyFields
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		list = append(list, field{name.(string), value})
	}
	return list, nil
}

func get(list []field, name string) json.RawMessage {
	for _, f := range list {
		if f.Name == name {
			return f.Raw
		}
	}
	return nil
}

// payloadOf extracts the payload from the format of Kafka Connect's JsonConverter; it returns anything else as it is.
func payloadOf(raw []byte) []byte {
	if list, err := fieldsOf(raw); err == nil && len(list) == 2 && list[0].Name == "schema" && list[1].Name == "payload" {
		return list[1].Raw
	}
	return raw
}

// value is one value of a row in readable form.
type value struct {
	Text   string
	Null   bool
	Absent bool // it is not in the WAL
	None   bool // the row does not exist: before an insert, after a delete
	Cut    bool // the record contains more of it
}

// unavailable is Debezium's placeholder for a TOAST value that the statement did not change.
const unavailable = `"__debezium_unavailable_value"`

func valueOf(raw json.RawMessage) value {
	switch {
	case raw == nil, string(raw) == unavailable:
		return value{Absent: true}
	case string(raw) == "null":
		return value{Null: true}
	}
	text := string(raw)
	if raw[0] == '"' {
		_ = json.Unmarshal(raw, &text)
	}
	if len(text) > shownValueBytes {
		return value{Text: cut(text, shownValueBytes), Cut: true}
	}
	return value{Text: text}
}

// recordPage shows one record as it is in Kafka.
type recordPage struct {
	Topic     string
	Partition int32
	Offset    int64
	At        time.Time
	Headers   []field
	Key       string
	Value     string
	Tombstone bool
	Bytes     int
	Cut       bool
	Binary    bool
}

// record shows a record in one of a stream's topics. Other topics are not accessible through the console.
func (c *Console) record(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	topic := r.FormValue("topic")
	if !strings.HasPrefix(topic, s.Prefix+".") {
		return nil, badRequest("topic %q does not begin with %s.", cut(topic, 100), s.Prefix)
	}
	partition, err := strconv.ParseInt(r.FormValue("partition"), 10, 32)
	offset, err2 := strconv.ParseInt(r.FormValue("offset"), 10, 64)
	if err != nil || err2 != nil {
		return nil, badRequest("partition and offset are numbers")
	}
	one, err := c.topics.begin().one(r.Context(), topic, int32(partition), offset)
	if err != nil {
		return nil, err
	}
	if one == nil {
		return nil, notFound("Kafka keeps no record at %s, partition %d, offset %d: it is older than the topic's retention, was compacted away, or was never there", topic, partition, offset)
	}
	return recordOf(one), nil
}

func recordOf(r *kgo.Record) recordPage {
	p := recordPage{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, At: r.Timestamp, Tombstone: r.Value == nil, Bytes: len(r.Value)}
	for _, h := range r.Headers {
		p.Headers = append(p.Headers, field{h.Key, h.Value})
	}
	key, _ := pretty(r.Key)
	p.Key = cut(key, shownRecordBytes)
	p.Value, p.Binary = pretty(r.Value)
	if len(p.Value) > shownRecordBytes {
		p.Value, p.Cut = cut(p.Value, shownRecordBytes), true
	}
	return p
}

// pretty indents JSON; binary reports that the bytes are not text.
func pretty(raw []byte) (text string, binary bool) {
	var indented bytes.Buffer
	if len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') && indentedBytes(raw) <= maxIndentedBytes && json.Indent(&indented, raw, "", "  ") == nil {
		return indented.String(), false
	}
	if bytes.IndexByte(raw, 0) >= 0 {
		return fmt.Sprintf("%q", cut(string(raw), 4096)), true
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD"), false
}

// indentedBytes returns the maximum length of JSON after it was indented. Each element gets a line of its own, with two blanks for each object and array
// around it: a record of 1 MB can become gigabytes.
func indentedBytes(raw []byte) int {
	size, depth := len(raw), 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			size += 1 + 2*depth
		case ',':
			size += 1 + 2*depth
		case '}', ']':
			depth--
			size += 1 + 2*depth
		case ':':
			size++
		}
	}
	return size
}
