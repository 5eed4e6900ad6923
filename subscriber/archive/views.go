package archive

import (
	_ "embed"
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
    ts: 'BIGINT', headers: 'JSON', key: 'JSON', key64: 'VARCHAR', value: 'JSON', value64: 'VARCHAR'})`,
	Parquet: `SELECT n, id, topic, "partition", "offset", ts::TIMESTAMPTZ AS ts, nullif(headers, '')::JSON AS headers, nullif(key, '')::JSON AS key, nullif(value, '')::JSON AS value, filename
  FROM read_parquet('` + namePattern + `.parquet', filename = true)`,
}

const namePattern = "????????????????-????????????????-????????????*" // see fileName

// writeViews writes SQL views for querying the archive.
func (f *folder) writeViews(format Format) error {
	file, err := f.create(viewsName)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(viewsOf(format)); err != nil {
		_ = file.Close()
		return unwritable(err)
	}
	return f.publish(file, viewsName)
}

func viewsOf(format Format) string {
	var placeholders []string
	for _, json := range new(debezium.Modes).Placeholders() {
		placeholders = append(placeholders, postgres.QuoteLiteral(string(json)))
	}
	return strings.NewReplacer("$READ", readers[format], "$PLACEHOLDERS", strings.Join(placeholders, ", ")).Replace(views)
}
