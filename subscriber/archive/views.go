package archive

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/subscriber/postgres"
)

//go:embed views.sql
var views string

// How DuckDB reads the files of each format, into columns of the same names and types. The patterns leave out files of others.
var readers = map[Format]string{
	JSONLines: `SELECT n, id, topic, "partition", "offset", epoch_ms(ts) AT TIME ZONE 'UTC' AS ts, headers, key, value, filename
  FROM read_json('` + namePattern + `.jsonl.zst', format = 'newline_delimited', filename = true, columns = {n: 'BIGINT', id: 'VARCHAR', topic: 'VARCHAR', "partition": 'INTEGER', "offset": 'BIGINT',
    ts: 'BIGINT', headers: 'JSON', key: 'JSON', key64: 'VARCHAR', value: 'JSON', value64: 'VARCHAR'}$LONGEST)`,
	Parquet: `SELECT n, id, topic, "partition", "offset", ts::TIMESTAMPTZ AS ts, nullif(headers, '')::JSON AS headers, nullif(key, '')::JSON AS key, nullif(value, '')::JSON AS value, filename
  FROM read_parquet('` + namePattern + `.parquet', filename = true)`,
}

const namePattern = "????????????????-????????????????-????????????*" // see fileName

// objectBytes is the length up to which DuckDB reads a line unless it is told otherwise. Each of its threads takes twice the length, so it is told no more
// than necessary.
const objectBytes = 16 << 20

// writeViews writes SQL views for querying the archive.
func (f *folder) writeViews(m *manifest) error {
	file, err := f.create(viewsName)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(viewsOf(m.header.Format, m.longest)); err != nil {
		_ = file.Close()
		return unwritable(err)
	}
	return f.publish(file, viewsName)
}

// viewsOf returns the views. longest is the length of the longest line, if it is above objectBytes.
func viewsOf(format Format, longest int) string {
	option := ""
	if longest > objectBytes {
		option = fmt.Sprintf(", maximum_object_size = %d", longest)
	}
	var placeholders []string
	for _, json := range new(debezium.Modes).Placeholders() {
		placeholders = append(placeholders, postgres.QuoteLiteral(string(json)))
	}
	return strings.NewReplacer("$READ", strings.Replace(readers[format], "$LONGEST", option, 1), "$PLACEHOLDERS", strings.Join(placeholders, ", ")).Replace(views)
}
