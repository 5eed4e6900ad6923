package verdict

import (
	"encoding/json"
	"fmt"
	"strings"
)

// CheckCreated adds the errors of the DDL topic, which must have the creation of each table that was written to and whose name begins with a prefix.
func (v *Verdict) CheckCreated(truth *Truth, prefix string, records []Record) error {
	v.checkRepeats(records)
	created := map[string]bool{}
	for _, r := range records {
		var d struct {
			Command string
			Objects []struct{ Name string }
		}
		if err := json.Unmarshal(r.Value, &d); err != nil {
			return fmt.Errorf("DDL record at offset %d: %w", r.Offset, err)
		}
		for _, object := range d.Objects {
			created[object.Name] = created[object.Name] || d.Command == "CREATE TABLE"
		}
	}
	for table := range truth.Keys {
		if strings.HasPrefix(table, prefix) && !created[table] {
			v.Lost++
			v.detail("lost: the DDL record that creates %s", table)
		}
	}
	return nil
}
