package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goldenFolder has records that Debezium's connector made of some SQL, and that SQL. See its README.
const goldenFolder = "../publisher/debezium/testdata/golden"

// goldenFlags are, for a file of captured records, the flags that stand for the connector's settings.
var goldenFlags = map[string][]string{
	"default":          {"--skip-truncate"},
	"allops":           {"--unknown-datatypes", "bytes", "--no-tombstones"},
	"microseconds":     {"--skip-truncate", "--time-precision-mode", "microseconds", "--binary-handling-mode", "base64-url-safe"},
	"schemas_small":    {"--skip-truncate", "--format", "json-schema", "--include-tables", smallTables},
	"string_isostring": {"--skip-truncate", "--decimal-handling-mode", "string", "--time-precision-mode", "isostring", "--interval-handling-mode", "string"},
	"txmeta":           {"--skip-truncate", "--provide-transaction-metadata"},
}

const smallTables = "mark.mark,g.o_cpk,g.o_default,g.o_full,g.o_nopk,g.t_arr,g.t_bit,g.t_date,g.t_enum,g.t_geo,g.t_int,g.t_interval,g.t_json,g.t_num,g.t_text,g.t_time,g.t_ts,g.t_uuid"

// goldenTables does by configuration what the SQL does by its publication, which leaves out further tables,
// the column hidden, and the rows with odd ids.
const goldenTables = `
exclude-tables: [g.p_leaf, g.outbox, g.dbz_signal]
tables:
  - match: g.o_collist
    exclude-columns: [hidden]
  - match: g.o_rowfilter
    where: id IN (10, 12, 14)
`

// TestPublishedGolden runs the SQL through proxy, PostgreSQL, publisher and Kafka, and compares what stands in the
// topics with what Debezium's connector made of it.
func TestPublishedGolden(t *testing.T) {
	published := t.TempDir()
	for name, flags := range goldenFlags {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
			r.rename("golden")
			r.prefix = "gd_" + name
			r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
			r.script(r.URL(), "10_schema.sql")
			r.script(r.URL(), "20_seed.sql")
			r.Setup()
			r.StartProxy()
			r.startShaped(goldenTables, flags...)
			r.script(r.ProxyURL("postgres", "golden"), "30_ops.sql")
			r.Drain()
			r.must(os.WriteFile(filepath.Join(published, name+".jsonl"), r.lines(), 0o600))
		})
	}
	args := []string{"test", "-count=1", "-run", "^TestGolden$", "../publisher/debezium", "-published", published}
	if summary := os.Getenv("GOLDEN_SUMMARY"); summary != "" {
		args = append(args, "-summary", summary)
	}
	out, err := exec.Command("go", append(args, "-test.v")...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// rename gives the database the name that stands in every record.
func (r *runner) rename(name string) {
	r.t.Helper()
	admin := r.dial(r.server.URL("postgres"))
	defer admin.Close(r.ctx)
	_, err := admin.Exec(r.ctx, "ALTER DATABASE "+r.database+" RENAME TO "+name)
	r.must(err)
	r.database = name
}

// script runs a file of the folder in psql.
func (r *runner) script(url, file string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.ctx, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", filepath.Join(goldenFolder, file))
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("psql -f %s: %v\n%s", file, err, out)
	}
}

// lines are the records of the topics that Debezium has too, in the form of the captured files.
func (r *runner) lines() []byte {
	r.t.Helper()
	var lines bytes.Buffer
	for topic, records := range r.Topics() {
		if slices.Contains([]string{"audit", "ddl", "progress", "mark.mark"}, topic) {
			continue
		}
		if topic == "transaction" {
			records = records[:len(records)-2] // of the mark
		}
		for _, record := range records {
			line, err := json.Marshal(map[string]any{
				"topic": record.Topic, "key": json.RawMessage(orNull(record.Key)), "value": json.RawMessage(orNull(record.Value)), "headers": goldenHeaders(record),
			})
			r.must(err)
			lines.Write(append(line, '\n'))
		}
	}
	return lines.Bytes()
}

func orNull(text []byte) []byte {
	if text == nil {
		return []byte("null")
	}
	return text
}

// goldenHeaders are those that Debezium has, in its order. JSON stays JSON, other text becomes a string.
func goldenHeaders(record Record) [][2]any {
	headers := [][2]any{}
	for _, name := range []string{"newkey", "oldkey", "context.connectorLogicalName", "context.taskId", "context.connectorName", "context.runId"} {
		name = "__debezium." + name
		text, ok := record.Headers[name]
		if !ok {
			continue
		}
		var value any = text
		if json.Valid([]byte(text)) && !strings.HasPrefix(text, `"`) {
			value = json.RawMessage(text)
		}
		headers = append(headers, [2]any{name, value})
	}
	return headers
}
