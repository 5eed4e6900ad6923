package property

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgtee/pgtee/integration/verdict"
)

// row contains a row's values by column number, in a form into which both sides can be converted.
type row map[int]string

const null = "∅"

func (r row) String() string {
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(r)) {
		fmt.Fprintf(&b, " c%d=%.60s", n, r[n])
	}
	return strings.TrimSpace(b.String())
}

// id returns the permanent identifier of the row.
func (r row) id() int {
	id, _ := strconv.Atoi(r[columnID])
	return id
}

func (r row) version() int {
	version, _ := strconv.Atoi(r[columnVersion])
	return version
}

// form converts a text into the form that is compared: numbers in plain notation, JSON with sorted keys, times in microseconds. When a column's type
// changes, old and new values have the same form.
func form(text string) string {
	if text == "" {
		return ""
	}
	if text[0] == '{' || text[0] == '[' {
		var value any
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&value) == nil && !decoder.More() {
			return formOf(value)
		}
	}
	if strings.Trim(text, "0123456789-") == "" {
		return text
	}
	if len(text) < 16 && strings.Trim(text, "0123456789+-.eE") == "" {
		if number, err := strconv.ParseFloat(text, 64); err == nil {
			return strconv.FormatFloat(number, 'g', -1, 64)
		}
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return fmt.Sprintf("at %d", at.UnixMicro())
	}
	return text
}

// formOf returns the form of a JSON value.
func formOf(value any) string {
	switch v := value.(type) {
	case nil:
		return null
	case string:
		return form(v)
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return form(v.String())
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = formOf(item)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, name+":"+formOf(v[name]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return fmt.Sprint(value)
}

// load reads the rows of a table, including those of detached partitions, which have not been deleted.
func (s *session) load(ctx context.Context, t *table) (map[string]row, error) {
	var columns []string
	for _, c := range t.columns {
		columns = append(columns, c.kind.seen(quote(c.name)))
	}
	tables := []string{t.String()}
	for _, l := range t.leaves {
		if l.detached {
			tables = append(tables, l.name)
		}
	}
	held := map[string]row{}
	for _, name := range tables {
		rows, err := s.rows(ctx, "SET timezone = 'UTC'; SET extra_float_digits = 3; SELECT "+strings.Join(columns, ", ")+" FROM "+name)
		if err != nil {
			return nil, err
		}
		for _, values := range rows {
			r := row{}
			for i, v := range values {
				if r[t.columns[i].number] = null; v != nil {
					r[t.columns[i].number] = form(*v)
				}
			}
			held[r[columnID]] = r
		}
	}
	return held, nil
}

// parseRow parses a row of a record, nil for null. raw contains the kinds of JSON of its values.
func parseRow(value any) (r row, raw map[int]string) {
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, nil
	}
	r, raw = row{}, map[int]string{}
	for name, v := range fields {
		n := numberIn("c", name)
		r[n] = formOf(v)
		if v != nil && r[n] != verdict.Unavailable && !strings.Contains(r[n], verdict.Unavailable) {
			raw[n] = kindOfJSON(v)
		}
	}
	return r, raw
}

func kindOfJSON(v any) string {
	switch v.(type) {
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

func decodeJSON(text []byte) (any, error) {
	if text == nil {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}
