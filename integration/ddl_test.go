package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// ddlRecords are the records of the DDL topic, each as "COMMAND confirmed atomic application".
func (r *runner) ddlRecords() (list []string) {
	r.t.Helper()
	for _, record := range r.Topic("ddl") {
		var ddl struct {
			Command           string
			Confirmed, Atomic bool
			Pgtee             Attribution
		}
		r.must(json.Unmarshal(record.Value, &ddl))
		list = append(list, fmt.Sprint(ddl.Command, " ", ddl.Confirmed, " ", ddl.Atomic, " ", ddl.Pgtee.Session.Application))
	}
	return list
}

// TestDDLWithoutEventTriggers has the notes alone tell of DDL, as where setup ran without a superuser; with the
// triggers each command is told of once as well.
func TestDDLWithoutEventTriggers(t *testing.T) {
	for _, triggers := range []bool{true, false} {
		t.Run(fmt.Sprintf("triggers %v", triggers), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
			r.Watch("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);", "mark.mark")
			r.Setup()
			if !triggers {
				r.Exec("DROP EVENT TRIGGER pgtee_ddl; DROP EVENT TRIGGER pgtee_drop")
			}
			r.StartProxy()
			r.StartPublisher()
			conn := r.dial(r.ProxyURL("postgres", "ddl"))
			defer conn.Close(r.ctx)
			s := &session{ctx: r.ctx, conn: conn}
			r.must(s.simple("CREATE TABLE fresh (id int PRIMARY KEY, v text)", "BEGIN", "ALTER TABLE fresh ADD w int", "ALTER TABLE fresh DROP v", "COMMIT",
				"BEGIN", "DROP TABLE fresh", "ROLLBACK", "CREATE INDEX CONCURRENTLY ON fresh (w)", "INSERT INTO fresh VALUES (1, 2)", "DROP TABLE fresh"))
			r.Drain()
			want := fmt.Sprintf("CREATE TABLE %[1]v true, ALTER TABLE %[1]v true, ALTER TABLE %[1]v true, CREATE INDEX %[1]v %[1]v, DROP TABLE %[1]v true", triggers)
			var got []string
			for _, record := range r.ddlRecords() {
				got = append(got, strings.TrimSpace(strings.TrimSuffix(record, "ddl")))
			}
			if strings.Join(got, ", ") != want {
				t.Errorf("DDL topic: %s\nwant       %s", strings.Join(got, ", "), want)
			}
		})
	}
}
