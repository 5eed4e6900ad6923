package verdict

import (
	"fmt"
	"strconv"
	"strings"
)

// connectSchema is a schema as Kafka Connect's JsonConverter writes it beside a payload.
type connectSchema struct {
	Type       string
	Name       string
	Field      string
	Fields     []connectSchema
	Items      *connectSchema
	Parameters map[string]string
}

// field returns the schema of a field of a struct; nil if there is none.
func (s *connectSchema) field(name string) *connectSchema {
	for i := range s.Fields {
		if s.Fields[i].Field == name {
			return &s.Fields[i]
		}
	}
	return nil
}

func (s *connectSchema) byName() map[string]connectSchema {
	fields := map[string]connectSchema{}
	for _, field := range s.Fields {
		fields[field.Field] = field
	}
	return fields
}

// agree returns an error unless a schema describes this form of a column to a reader.
func (f *Form) agree(s connectSchema) error {
	want := connectSchema{Name: f.name}
	switch f.name {
	case formArray:
		if s.Type != "array" || s.Items == nil {
			return fmt.Errorf("its schema has type %s, want array", s.Type)
		}
		return f.items.agree(*s.Items)
	case formBytes:
		want = connectSchema{Type: "bytes"}
	case formBit:
		want = connectSchema{Type: "boolean"}
	case formHstore:
		want.Name = "io.debezium.data.Json"
	case formDecimal:
		want.Parameters = map[string]string{"scale": strconv.Itoa(f.scale)}
	case formBits:
		if f.length > 0 {
			want.Parameters = map[string]string{"length": strconv.Itoa(f.length)}
		}
	case "":
		return plain(s)
	}
	if s.Name != want.Name || want.Type != "" && s.Type != want.Type {
		return fmt.Errorf("its schema is %s %q, want %s %q", s.Type, s.Name, want.Type, want.Name)
	}
	for name, value := range want.Parameters {
		if s.Parameters[name] != value {
			return fmt.Errorf("its schema has %s=%q, want %q", name, s.Parameters[name], value)
		}
	}
	return nil
}

// plain returns an error if a schema requires a reader to know more about a value than its JSON shows.
func plain(s connectSchema) error {
	switch s.Type {
	case "string", "boolean", "int16", "int32", "int64", "float", "double":
	default:
		return fmt.Errorf("its schema has type %s, want a scalar", s.Type)
	}
	if s.Name == "io.debezium.time.ZonedTime" { // PostgreSQL can read it
		return nil
	}
	if strings.HasPrefix(s.Name, "io.debezium.time.") || strings.HasPrefix(s.Name, "org.apache.kafka.") {
		return fmt.Errorf("its schema is %q, want the value as it is", s.Name)
	}
	return nil
}
