package debezium

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/publisher"
)

// canonical writes JSON again without spaces and with one way to escape. Numbers and order stay.
func canonical(t testing.TB, raw []byte) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	var out bytes.Buffer
	if err := appendCanonical(&out, raw); err != nil {
		t.Fatalf("%v in %.200s", err, raw)
	}
	return out.Bytes()
}

func appendCanonical(out *bytes.Buffer, raw json.RawMessage) error {
	raw = bytes.TrimSpace(raw)
	if !json.Valid(raw) {
		return fmt.Errorf("invalid JSON")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return copyValue(out, decoder)
}

func copyValue(out *bytes.Buffer, decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return writeScalar(out, token)
	}
	out.WriteString(delim.String())
	for first := true; decoder.More(); first = false {
		if !first {
			out.WriteByte(',')
		}
		if delim == '{' {
			name, err := decoder.Token()
			if err != nil {
				return err
			}
			out.Write(publisher.AppendJSONString(nil, name.(string)))
			out.WriteByte(':')
		}
		if err := copyValue(out, decoder); err != nil {
			return err
		}
	}
	end, err := decoder.Token()
	if err != nil {
		return err
	}
	out.WriteString(end.(json.Delim).String())
	return nil
}

func writeScalar(out *bytes.Buffer, token json.Token) error {
	switch v := token.(type) {
	case string:
		out.Write(publisher.AppendJSONString(nil, v))
	case json.Number:
		out.WriteString(v.String())
	case nil:
		out.WriteString("null")
	default:
		fmt.Fprint(out, v)
	}
	return nil
}

type field struct {
	name  string
	value json.RawMessage
}

// fields returns the fields of an object in their order, none of null.
func fields(t testing.TB, raw json.RawMessage) []field {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil
	}
	var all []field
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		f := field{name: name.(string)}
		if err := decoder.Decode(&f.value); err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

func names(fields []field) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.name)
	}
	return strings.Join(all, ",")
}
