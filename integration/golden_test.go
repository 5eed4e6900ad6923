package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

// goldenFolder has records that Debezium's connector made of some SQL, and that SQL: see its README. GOLDEN_DIR
// names another one like it.
const goldenFolder = "../publisher/debezium/testdata/golden"

// otherLogs are captured files that need another log than this SQL makes here: one through another publication,
// one of two tables without an end to wait for.
var otherLogs = []string{"leaf", "heartbeat"}

// usual are the settings that make test tries; make golden tries all.
var usual = []string{"default", "txmeta", "structured", "propagate", "flat", "outbox"}

// TestPublishedGolden runs the SQL through proxy, PostgreSQL, publisher and Kafka, once for each of the captured
// settings, and compares what stands in the topics with what Debezium's connector made of it.
func TestPublishedGolden(t *testing.T) {
	folder := goldenFolder
	if other := os.Getenv("GOLDEN_DIR"); other != "" {
		folder = other
	}
	var settings map[string]map[string]string
	text, err := os.ReadFile(filepath.Join(folder, "settings.json"))
	if err == nil {
		err = json.Unmarshal(text, &settings)
	}
	if err != nil {
		t.Fatal(err)
	}
	published := t.TempDir()
	for name, s := range settings {
		if slices.Contains(otherLogs, name) || os.Getenv("GOLDEN_SUMMARY") == "" && !slices.Contains(usual, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			lines := publishGolden(t, folder, s)
			if err := os.WriteFile(filepath.Join(published, name+".jsonl"), lines, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	compareGolden(t, folder, published)
}

// compareGolden leaves the comparison to the one that is made of the log.
func compareGolden(t *testing.T, folder, published string) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"test", "-count=1", "-v", "-run", "^TestGolden$", "../publisher/debezium", "-captures", folder, "-published", published}
	if summary := os.Getenv("GOLDEN_SUMMARY"); summary != "" {
		args = append(args, "-summary", summary)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// publishGolden runs the SQL of the folder in a database of its own, the last file while pgtee publishes, and
// returns what stands in Kafka then.
func publishGolden(t *testing.T, folder string, settings map[string]string) []byte {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.rename("golden")
	r.prefix = settings["topic.prefix"]
	r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	scripts, err := filepath.Glob(filepath.Join(folder, "*.sql"))
	r.must(err)
	if len(scripts) == 0 {
		t.Fatalf("no SQL in %s", folder)
	}
	last := len(scripts) - 1
	for _, script := range scripts[:last] {
		r.script(r.URL(), script)
	}
	r.Setup()
	r.StartProxy()
	config, err := os.ReadFile(filepath.Join(folder, "pgtee.yaml"))
	if errors.Is(err, fs.ErrNotExist) { // it stands for the publication of the SQL, which other captures have, too
		config, err = os.ReadFile(filepath.Join(goldenFolder, "pgtee.yaml"))
	}
	r.must(err)
	flags := goldenFlags(t, settings)
	flags.excluding(string(config))
	t.Logf("%q", flags.args)
	r.startShaped(withTables(string(config), flags.tables), append(flags.args, "--snapshot", flags.mode)...)
	if flags.mode == "initial" {
		r.AwaitSnapshots("initial")
	}
	r.script(r.ProxyURL("postgres", "golden"), scripts[last])
	r.Drain()
	return r.lines(&flags)
}

// rename gives the database the name that stands in every record.
func (r *runner) rename(name string) {
	r.t.Helper()
	admin := r.dial(r.server.URL("postgres"))
	defer admin.Close(r.ctx)
	_, err := admin.Exec(r.ctx, fmt.Sprintf(`ALTER DATABASE "%s" RENAME TO "%s"`, r.database, name))
	r.must(err)
	r.database = name
}

// script runs a file in psql.
func (r *runner) script(url, file string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.ctx, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("psql -f %s: %v\n%s", file, err, out)
	}
}

// lines are the records of the topics that Debezium has too, in the form of the captured files.
func (r *runner) lines(flags *settingFlags) []byte {
	r.t.Helper()
	var lines bytes.Buffer
	topics := r.Topics()
	if flags.beats {
		topics["heartbeat"] = r.heartbeats()
	}
	for topic, records := range topics {
		if slices.Contains([]string{"audit", "ddl", "progress", "mark.mark"}, topic) {
			continue
		}
		if topic == "transaction" {
			records = records[:len(records)-2] // of the mark
		}
		for _, record := range records {
			line, err := json.Marshal(map[string]any{
				"topic": record.Topic, "key": json.RawMessage(orNull(record.Key)), "value": json.RawMessage(orNull(record.Value)), "headers": goldenHeaders(record, flags),
			})
			r.must(err)
			lines.Write(append(line, '\n'))
		}
	}
	return lines.Bytes()
}

// heartbeats waits for one, and returns those that there are.
func (r *runner) heartbeats() (records []verdict.Record) {
	r.t.Helper()
	topic := "__debezium-heartbeat." + r.prefix
	r.must(harness.Eventually(time.Minute, func(context.Context) error {
		topics, err := verdict.Read(r.broker.Address, verdict.Only(topic))
		if records = verdict.Visible(topics[topic]); err == nil && len(records) == 0 {
			err = errors.New("there is no heartbeat")
		}
		return err
	}))
	return records
}

func orNull(text []byte) []byte {
	if text == nil {
		return []byte("null")
	}
	return text
}

// goldenHeaders are those that Debezium has, in its order, then those that a transformation adds. JSON stays JSON, other text becomes a string.
func goldenHeaders(record verdict.Record, flags *settingFlags) [][2]any {
	headers := [][2]any{}
	names := []string{"__debezium.newkey", "__debezium.oldkey", "__debezium.context.connectorLogicalName", "__debezium.context.taskId", "__debezium.context.connectorName", "__debezium.context.runId"}
	names = append(names, flags.headers...)
	if record.Value == nil && flags.again != "" {
		names = append(names, flags.again) // twice, which a Record does not tell
	}
	for _, name := range names {
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
