package verdict

import (
	"fmt"
	"testing"
)

// Audit and DDL topics with each fault, and without.
func TestCheckAuditAndCreated(t *testing.T) {
	truth := &Truth{Commits: []Commit{{XID: 1, LSN: "0/10"}, {XID: 2, LSN: "0/20"}}, Keys: map[string][]string{"work.made_1": {"id"}, "work.item": {"id"}}}
	audit := func(ends ...string) (records []Record) {
		for _, end := range ends {
			records = append(records, Record{Headers: map[string]string{"pgtee-event-id": "1/s/1/" + end + "/audit"}})
		}
		return records
	}
	ddl := func(id, command, name string) Record {
		return Record{Value: fmt.Appendf(nil, `{"command":%q,"objects":[{"name":%q}]}`, command, name), Headers: map[string]string{"pgtee-event-id": id}}
	}
	made := ddl("a", "CREATE TABLE", "work.made_1")
	for _, c := range []struct {
		name                        string
		audit, ddl                  []Record
		lost, duplicated, reordered int
	}{
		{"none", audit("0/10", "0/18", "0/20"), []Record{made}, 0, 0, 0},
		{"an audit record lost", audit("0/10"), []Record{made}, 1, 0, 0},
		{"an audit record twice", audit("0/10", "0/20", "0/20"), []Record{made}, 0, 1, 0},
		{"audit records swapped", audit("0/20", "0/10"), []Record{made}, 0, 0, 1},
		{"no DDL record", audit("0/10", "0/20"), nil, 1, 0, 0},
		{"the DDL record of another command", audit("0/10", "0/20"), []Record{ddl("a", "ALTER TABLE", "work.made_1")}, 1, 0, 0},
		{"a DDL record twice", audit("0/10", "0/20"), []Record{made, made}, 0, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v Verdict
			if err := v.CheckAudit(truth, c.audit); err != nil {
				t.Fatal(err)
			}
			if err := v.CheckCreated(truth, "work.made_", c.ddl); err != nil {
				t.Fatal(err)
			}
			if v.Lost != c.lost || v.Duplicated != c.duplicated || v.Reordered != c.reordered {
				t.Errorf("verdict is %s; want lost=%d duplicated=%d reordered=%d", &v, c.lost, c.duplicated, c.reordered)
			}
		})
	}
}
