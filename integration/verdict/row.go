package verdict

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Row is a row as JSON, in the representation of the topics: timestamps are in microseconds.
type Row map[string]any

// Text returns the row in a form that can be compared.
func (r Row) Text() string {
	text, err := json.Marshal(r) // sorts the keys
	if err != nil {
		panic(fmt.Sprintf("marshal what was unmarshalled: %v", err))
	}
	return string(text)
}

// Key returns the values of the key columns in a form that can be compared.
func (r Row) Key(columns []string) string {
	key := Row{}
	for _, column := range columns {
		key[column] = r[column]
	}
	return key.Text()
}

func parseRow(text []byte) (Row, error) {
	if text == nil {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var row Row
	if err := decoder.Decode(&row); err != nil {
		return nil, fmt.Errorf("row %s: %w", text, err)
	}
	return row, nil
}

// LoadRows reads a table, whose rows the key columns identify; the rows are by the text of those.
func LoadRows(ctx context.Context, conn *pgx.Conn, table string, key []string) (map[string]Row, error) {
	rows, err := conn.Query(ctx, "SELECT to_jsonb(t)::text FROM "+table+" AS t")
	if err != nil {
		return nil, err
	}
	loaded := map[string]Row{}
	var text string
	_, err = pgx.ForEachRow(rows, []any{&text}, func() error {
		row, err := parseRow([]byte(text))
		if err != nil {
			return err
		}
		id := row.Key(key)
		if loaded[id] != nil {
			return fmt.Errorf("%s: two rows %s", table, id)
		}
		loaded[id] = row
		return nil
	})
	return loaded, err
}
