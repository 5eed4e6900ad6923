package consume

import (
	"fmt"
	"strings"
)

// Mapping says where the values of columns come from. A column that it does not mention is filled from the field with the same name.
type Mapping struct {
	Columns   []string          // columns filled in order by CSV and TSV lines, or by name from objects; none: those of the table
	Paths     map[string]string // column to a path in the value
	Keys      []string          // COLUMN or COLUMN=PATH in the record's key; these columns identify a row
	Headers   map[string]string // column to the name of a header
	Offset    string            // columns for the offset, partition and time of the record; "": none
	Partition string
	Timestamp string
}

// origin says where a column's value comes from.
type origin struct {
	kind originKind
	path path
	name string // name of a header, or text of the path that --key gives
	line int    // number of a field in a line, counted from 1; 0: none
}

type originKind int

const (
	byName originKind = iota // the field of the value with the column's name
	byPath
	byKey
	byHeader
	byLine // a CSV or TSV field
	byOffset
	byPartition
	byTimestamp
)

// origins parses the mapping: the origin of each column by name, and the key columns.
func (m *Mapping) origins() (from map[string]origin, keys []string, err error) {
	from = map[string]origin{}
	add := func(flag, column string, o origin) {
		if _, twice := from[column]; twice && err == nil {
			err = fmt.Errorf("%s: column %s has two origins", flag, column)
		}
		from[column] = o
	}
	for column, text := range m.Paths {
		p, failed := parsePath(text)
		if failed != nil {
			return nil, nil, fmt.Errorf("--map %s=%s: %w", column, text, failed)
		}
		add("--map", column, origin{kind: byPath, path: p})
	}
	for _, text := range m.Keys {
		column, where, explicit := strings.Cut(text, "=")
		o := origin{kind: byKey, path: path{{column, -1}}}
		if explicit {
			if o.path, err = parsePath(where); err != nil {
				return nil, nil, fmt.Errorf("--key %s: %w", text, err)
			}
			o.name = where
		}
		keys = append(keys, column)
		if _, mapped := from[column]; !mapped || explicit {
			add("--key", column, o)
		}
	}
	for column, header := range m.Headers {
		add("--header", column, origin{kind: byHeader, name: header})
	}
	for _, place := range []struct {
		flag, column string
		kind         originKind
	}{{"--offset", m.Offset, byOffset}, {"--partition", m.Partition, byPartition}, {"--timestamp", m.Timestamp, byTimestamp}} {
		if place.column != "" {
			add(place.flag, place.column, origin{kind: place.kind})
		}
	}
	return from, keys, err
}

// hasLines reports whether a value is a line of fields without names.
func (c *Config) hasLines() bool { return c.Format == CSV || c.Format == TSV }

// Check returns an error for a configuration that makes no sense.
func (c *Config) Check() error {
	from, _, err := c.Mapping.origins()
	if err != nil {
		return err
	}
	if len(c.Mapping.Columns) > 0 && (c.Format == Text || c.Format == Raw) {
		return fmt.Errorf("--columns: a value of %s fills one column: see --map", c.Format)
	}
	whole := 0
	for column, o := range from {
		if o.kind != byPath {
			continue
		}
		if len(o.path) > 0 && c.Format != JSON && c.Format != Avro {
			return fmt.Errorf("--map %s: a value of %s has no paths: $ is the whole of it", column, c.Format)
		}
		whole++
	}
	if whole == 0 && (c.Format == Text || c.Format == Raw) {
		return fmt.Errorf("--format %s needs a column for the value: --map COLUMN=$", c.Format)
	}
	if c.Create && c.hasLines() && len(c.Mapping.Columns) == 0 {
		return fmt.Errorf("--create-table with %s needs --columns", c.Format)
	}
	return nil
}
