package archive

import (
	_ "embed"
	"strings"
)

//go:embed views.sql
var views string

// How DuckDB reads the files of each format, into columns of the same names and types.
var readers = map[Format]string{
	JSONLines: `SELECT n, id, topic, "partition", "offset", epoch_ms(ts) AS ts, headers, key, value, filename
  FROM read_json('*.jsonl.zst', format = 'newline_delimited', filename = true, columns = {n: 'BIGINT', id: 'VARCHAR', topic: 'VARCHAR', "partition": 'INTEGER', "offset": 'BIGINT',
    ts: 'BIGINT', headers: 'JSON', key: 'JSON', key64: 'VARCHAR', value: 'JSON', value64: 'VARCHAR'})`,
	Parquet: `SELECT n, id, topic, "partition", "offset", ts::TIMESTAMP AS ts, nullif(headers, '')::JSON AS headers, nullif(key, '')::JSON AS key, nullif(value, '')::JSON AS value, filename
  FROM read_parquet('*.parquet', filename = true)`,
}

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

func viewsOf(format Format) string { return strings.Replace(views, "$READ", readers[format], 1) }
