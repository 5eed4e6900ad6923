package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/verdict"
)

// Archive drains the publisher and runs pgtee archive up to what Kafka holds.
func (a *applied) Archive(dir string, args ...string) {
	a.t.Helper()
	a.Drain()
	args = append([]string{"archive", "--kafka", a.broker.Address, "--prefix", a.prefix, "--out", dir, "--once"}, args...)
	if out, code := a.Pgtee(args...); code != 0 {
		a.t.Fatalf("archive exits with %d:\n%s", code, out)
	}
}

// ExpectArchived fails unless an archive is as it was written and holds every event of some topics once.
func (a *applied) ExpectArchived(dir string, topics ...string) {
	a.t.Helper()
	if out, code := a.Pgtee("archive", "--verify", dir); code != 0 {
		a.t.Errorf("archive --verify exits with %d:\n%s", code, out)
	}
	var want, got []string
	for _, topic := range topics {
		for _, r := range a.Topic(topic) {
			if r.Value != nil {
				want = append(want, topic+" "+r.EventID())
			}
		}
	}
	a.must(verdict.EachArchived(dir, func(r *verdict.Archived) error {
		if topic := strings.TrimPrefix(r.Topic, a.prefix+"."); slices.Contains(topics, topic) {
			got = append(got, topic+" "+r.ID)
		}
		return nil
	}))
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(got, want) {
		a.t.Errorf("the archive holds %d events, the topics %d", len(got), len(want))
	}
}

// restoreArgs apply an archive to the target. No broker is named.
func (a *applied) restoreArgs(dir string, args ...string) []string {
	return append([]string{"apply", "--from", dir, "--postgres", a.targetURL(), "--origin", a.origin()}, args...)
}

// An archive that several runs have written holds every event once; without Kafka it makes the tables, and an applier of the
// topics goes on behind it.
func TestArchive(t *testing.T) {
	a := newApplied(t, applySchema)
	tables := []string{"plain", "two", "bare", "only_key"}
	topics := []string{"public.plain", "public.two", "public.bare", "public.only_key", "ddl"}
	dir := filepath.Join(t.TempDir(), "files")
	a.Write(`INSERT INTO plain SELECT i, 'name '||i||E'\t\\x\n', i/3.0, now(), jsonb_build_object('q', '"\'), ARRAY['a', NULL] FROM generate_series(1, 300) AS i`,
		`UPDATE plain SET name = NULL WHERE id % 3 = 0`, `DELETE FROM plain WHERE id % 7 = 0`,
		`INSERT INTO two SELECT 'k'||i, i, 'c', repeat(md5(i::text), 200) FROM generate_series(1, 20) AS i`,
		`INSERT INTO bare SELECT i % 5, 'x' FROM generate_series(1, 20) AS i`)
	a.Archive(dir)
	for range 3 {
		a.Write(`UPDATE two SET c = c||'again'`, `UPDATE two SET a = a||'moved' WHERE b % 5 = 0`, `DELETE FROM bare WHERE a = 1`, `INSERT INTO bare VALUES (1, NULL)`,
			`TRUNCATE only_key`, `INSERT INTO only_key VALUES (1), (2)`, `UPDATE plain SET id = -id WHERE id % 11 = 0`)
		a.Archive(dir, "--flush-after", "1ns")
	}
	a.ExpectArchived(dir, topics...)

	if out, code := a.Pgtee(a.restoreArgs(dir)...); code != 0 {
		t.Fatalf("apply --from exits with %d:\n%s", code, out)
	}
	a.ExpectEqual(tables...)
	if out, code := a.Pgtee(a.restoreArgs(dir)...); code != 0 {
		t.Errorf("apply --from, once more, exits with %d:\n%s", code, out)
	}
	a.Write(`UPDATE two SET c = 'live'`, `DELETE FROM bare WHERE a = 2`, `INSERT INTO only_key VALUES (3)`)
	a.ExpectApplied()
	a.ExpectEqual(tables...)
	if out, code := a.Pgtee(a.restoreArgs(dir)...); code != 3 || !strings.Contains(out, "the target is ahead") {
		t.Errorf("an archive that is behind the target: exits with %d:\n%s", code, out)
	}
	a.Archive(dir)
	a.Write(`UPDATE two SET c = 'later'`, `UPDATE bare SET b = 'later'`)
	a.Archive(dir)
	if out, code := a.Pgtee(a.restoreArgs(dir)...); code != 0 {
		t.Errorf("apply --from behind what was applied from Kafka exits with %d:\n%s", code, out)
	}
	a.ExpectEqual(tables...)
	if got := a.rows(a.targetURL(), "pgtee.conflicts"); got != "" {
		t.Errorf("conflicts: %s", got)
	}
}

// The rows of a snapshot come out of an archive as out of the topics, and so does a moment.
func TestArchiveOfASnapshotIsReplayed(t *testing.T) {
	a := newTarget(t)
	const schema = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);"
	a.Exec(schema, "INSERT INTO t SELECT i, 'before' FROM generate_series(1, 500) AS i")
	a.ExecTarget(schema)
	a.Setup()
	a.StartProxy()
	a.StartSnapshot()
	a.Write("UPDATE t SET v = 'after' WHERE id % 2 = 0", "DELETE FROM t WHERE id > 400")
	want := a.rows(a.URL(), "t")
	moment := a.Query("SELECT pg_current_wal_insert_lsn()::text")
	a.Write("DELETE FROM t", "INSERT INTO t VALUES (1000, 'last')")
	dir := filepath.Join(t.TempDir(), "files")
	a.Archive(dir)
	a.ExpectArchived(dir, "public.t")
	out, code := a.Pgtee("replay", "--to", moment, "--from", dir, "--postgres", a.targetURL(), "--origin", "off")
	if code != 0 || !strings.Contains(out, "the target is as the source was before") {
		t.Fatalf("replay --from exits with %d:\n%s", code, out)
	}
	if got := a.rows(a.targetURL(), "t"); got != want {
		t.Errorf("replayed is\n%.1000s\nand was\n%.1000s", got, want)
	}
	if out, code = a.Pgtee(a.restoreArgs(dir)...); code != 0 {
		t.Errorf("apply --from goes on to the end, exits with %d:\n%s", code, out)
	}
	a.ExpectEqual("t")
}

// Nothing of a damaged archive reaches a table, and one that does not begin at the beginning is not restored.
func TestDamagedArchive(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, v text);")
	dir := filepath.Join(t.TempDir(), "files")
	for range 3 {
		a.Write("INSERT INTO t SELECT coalesce(max(id), 0) + 1, md5(random()::text) FROM t")
		a.Archive(dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	a.must(err)
	if len(files) != 3 {
		t.Fatalf("files: %v", files)
	}
	whole, err := os.ReadFile(files[1])
	a.must(err)
	broken := slices.Clone(whole)
	broken[len(broken)/2] ^= 1
	a.must(os.WriteFile(files[1], broken, 0o600))
	name := filepath.Base(files[1])
	if out, code := a.Pgtee("archive", "--verify", dir); code != 1 || !strings.Contains(out, "DAMAGED  file "+name+": bytes in it were changed") {
		t.Errorf("archive --verify exits with %d:\n%s", code, out)
	}
	if out, code := a.Pgtee(a.restoreArgs(dir)...); code != 3 || !strings.Contains(out, "file "+name+" of the archive is damaged") {
		t.Errorf("apply --from exits with %d:\n%s", code, out)
	}
	a.must(os.WriteFile(files[1], whole, 0o600))
	a.Archive(dir, "--retain-bytes", "1kB", "--flush-after", "1ns")
	a.Write("INSERT INTO t VALUES (100, 'x')")
	a.Archive(dir, "--retain-bytes", "1kB")
	if out, code := a.Pgtee("archive", "--verify", dir); code != 0 || !strings.Contains(out, "were removed by the retention") {
		t.Errorf("archive --verify exits with %d:\n%s", code, out)
	}
	a.ExecTarget("DROP TABLE t; DROP SCHEMA pgtee CASCADE; CREATE TABLE t (id int PRIMARY KEY, v text)")
	if out, code := a.Pgtee(a.restoreArgs(dir)...); code != 3 || !strings.Contains(out, "was removed") {
		t.Errorf("apply --from an archive whose beginning is gone exits with %d:\n%s", code, out)
	}
}

// DuckDB counts, in the archive's views, what the topics hold, and has the rows of the tables, in both formats.
func TestArchiveInDuckDB(t *testing.T) {
	a := newApplied(t, readSchema)
	a.readWorkload()
	a.Write("CREATE TABLE read.later (id int)", "TRUNCATE read.visit", "INSERT INTO read.visit VALUES (1, 1, '{a}')")
	python, err := world.Python()
	a.must(err)
	for _, format := range []string{"jsonl", "parquet"} {
		dir := filepath.Join(t.TempDir(), format)
		a.Archive(dir, "--format", format)
		a.Write("UPDATE read.person SET note = 'later' WHERE id % 7 = 0")
		a.Archive(dir, "--format", format)
		a.Archive(dir, "--format", format)
		if out, code := a.Pgtee("archive", "--verify", dir); code != 0 {
			t.Errorf("archive --verify exits with %d:\n%s", code, out)
		}
		out, err := exec.Command(python, filepath.Join(world.Source, "integration", "archived.py"), dir).Output()
		if err != nil {
			t.Fatal(explain(err))
		}
		var seen struct {
			Counts  map[string]int
			Rows    map[string][]json.RawMessage
			Deleted int
			DDL     []string
		}
		a.must(json.Unmarshal(out, &seen))
		deleted := 0
		for _, table := range readTables {
			want := 0
			for _, r := range a.Topic(table) {
				if r.Value != nil {
					want++
				}
				if strings.Contains(string(r.Value), `"op":"d"`) {
					deleted++
				}
			}
			if got := seen.Counts[a.prefix+"."+table]; got != want {
				t.Errorf("%s, %s: DuckDB counts %d, the topic has %d", format, table, got, want)
			}
			if got, want := canonical(t, seen.Rows[table]), a.rowsOf(table); !slices.Equal(got, want) {
				t.Errorf("%s, %s: DuckDB has %d rows %.300s, the table %d %.300s", format, table, len(got), got, len(want), want)
			}
		}
		if seen.Deleted != deleted || !slices.Contains(seen.DDL, "CREATE TABLE") {
			t.Errorf("%s: DuckDB counts %d deleted rows, the topics have %d; DDL %v", format, seen.Deleted, deleted, seen.DDL)
		}
		if format == "parquet" { // a format is as good as the other for a restore
			a.ExecTarget("CREATE TABLE IF NOT EXISTS read.later (id int)")
			if out, code := a.Pgtee(a.restoreArgs(dir, "--ddl", "ignore")...); code != 0 {
				t.Errorf("apply --from exits with %d:\n%s", code, out)
			}
			a.ExpectEqual(readTables...)
		}
	}
}

// The views are right for topics with several partitions, whatever the time zone, and for values that the last record of a row does not have.
func TestViewsOfAnArchive(t *testing.T) {
	s := newStrangers(t, "")
	python, err := world.Python()
	s.must(err)
	topic, progress := s.NewTopic("public.t", 2), s.NewTopic("progress", 1)
	const placeholder = "__debezium_unavailable_value"
	table := "t"
	put := func(partition int32, ago time.Duration, id, key, op, after, pgtee string, headers ...string) {
		t.Helper()
		if after == "" {
			after = "null"
		}
		value := fmt.Sprintf(`{"before":null,"after":%s,"source":{"schema":"public","table":%q,"txId":7,"ts_us":%d},"op":%q,"pgtee":{%s}}`, after, table, time.Now().Add(-ago).UnixMicro(), op, pgtee)
		record := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "pgtee-event-id", Value: []byte("1/s/1/0/" + id)}}}
		if key != "" {
			record.Key = fmt.Appendf(nil, `{"id":%s}`, key)
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, "=")
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
		}
		s.must(s.kafka.ProduceSync(s.ctx, record).FirstErr())
	}
	unchanged := fmt.Sprintf(`"values":{"after.price":%q,"after.a/b~c":%[1]q}`, placeholder)
	put(0, 3*time.Hour, "10/1", "9", "c", `{"id":9}`, "")
	put(1, 0, "90/1", "8", "c", `{"id":8}`, "")
	put(0, 0, "80/snapshot.mine.t1", "", "t", "", "", "pgtee-resync=mine")
	put(0, 0, "80/snapshot.mine.1", "6", "r", `{"id":6}`, "")
	put(1, 0, "80/snapshot.mine.t1", "", "t", "", "", "pgtee-resync=mine")
	put(0, 0, "A0/1", "1", "c", `{"id":1,"big":"long","small":"a","raw":"AAEC"}`, "")
	put(0, 0, "A1/1", "1", "u", `{"id":1,"big":"`+placeholder+`","small":"b","raw":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="}`, "")
	put(0, 0, "A2/1", "2", "c", `{"id":2,"big":"`+placeholder+`"}`, "", "pgtee-left-out=1")
	put(0, 0, "A3/1", "3", "c", `{"id":3,"big":"old"}`, "")
	put(0, 0, "A4/1", "3", "u", `{"id":3,"big":"`+placeholder+`"}`, "", "pgtee-left-out=1")
	put(0, 0, "A5/1", "3", "u", `{"id":3,"big":"`+placeholder+`"}`, "")
	put(0, 0, "A6/1", "4", "c", `{"id":4,"price":1.50,"a/b~c":["x"],"none":null}`, "")
	put(0, 0, "A7/1", "4", "u", `{"id":4,"price":null,"a/b~c":null,"none":null}`, unchanged)
	put(0, 0, "A8/1", "5", "c", `{"id":5,"note":"`+placeholder+`"}`, `"values":{"after.note":"`+placeholder+`"}`)
	put(0, 0, "A9/1", "7", "c", `{"id":7,"big":"of another life"}`, "")
	put(0, 0, "AA/1", "7", "d", "", "")
	put(0, 0, "AB/1", "7", "c", `{"id":7,"big":"`+placeholder+`"}`, "")
	table = "another" // in the same topic: it has a row of the same key, and is emptied
	put(0, 0, "AC/1", "1", "c", `{"id":1}`, "")
	put(0, 0, "AD/1", "", "t", "", "")
	s.must(s.kafka.ProduceSync(s.ctx, &kgo.Record{Topic: progress, Value: []byte(`{"v":2,"timeline":1,"system_id":"1","slot":"s","end_lsn":"0/100"}`)}).FirstErr())
	queries := []string{
		`SET TimeZone = 'America/New_York'`,
		`SELECT "row"::VARCHAR || ' ' || array_to_string(incomplete, ',') FROM current_rows ORDER BY (key->>'$.id')::INT`,
		`SELECT count(*) FROM history WHERE committed > now() - INTERVAL 1 HOUR AND committed < now() + INTERVAL 1 HOUR`,
		`SELECT count(*) FROM events WHERE ts > now() - INTERVAL 1 HOUR AND ts < now() + INTERVAL 1 HOUR`,
		`SELECT count(*) FROM archive_files WHERE "at" > now() - INTERVAL 1 HOUR AND "at" < now() + INTERVAL 1 HOUR`,
	}
	for _, format := range []string{"jsonl", "parquet"} {
		dir := filepath.Join(t.TempDir(), format)
		archive := func() {
			t.Helper()
			if out, code := s.Pgtee("archive", "--kafka", s.broker.Address, "--prefix", s.prefix, "--out", dir, "--format", format, "--once"); code != 0 {
				t.Fatalf("archive exits with %d:\n%s", code, out)
			}
		}
		archive()
		for _, name := range []string{"others.jsonl.zst", "others.parquet", "views.sql"} {
			s.must(os.WriteFile(filepath.Join(dir, name), []byte("no view"), 0o600))
		}
		archive()
		out, err := exec.Command(python, append([]string{filepath.Join(world.Source, "integration", "archived.py"), dir}, queries...)...).Output()
		if err != nil {
			t.Fatal(explain(err))
		}
		var got [][]string
		s.must(json.Unmarshal(out, &got))
		want := [][]string{got[0], {
			`{"id":1,"big":"long","small":"b","raw":"AAEC"} `, `{"id":2,"big":"` + placeholder + `"} big`, `{"id":3,"big":"` + placeholder + `"} big`,
			`{"id":4,"price":1.5,"a/b~c":["x"],"none":null} `, `{"id":5,"note":"` + placeholder + `"} `, `{"id":6} `, `{"id":7,"big":"` + placeholder + `"} big`,
		}, {"18"}, {"19"}, {"1"}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: DuckDB has\n%q, want\n%q", format, got, want)
		}
	}
}

// An archiver that is killed again and again, while rows are written, keeps each event once.
func TestArchiverIsKilled(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, v text);")
	dir := filepath.Join(t.TempDir(), "files")
	const most = 12
	for n := range most {
		p := a.process("archive", "archive", "--kafka", a.broker.Address, "--prefix", a.prefix, "--out", dir, "--flush-after", "1ms")
		for i := range 5 + n {
			a.Write(fmt.Sprintf("INSERT INTO t SELECT %d + g, md5(g::text) FROM generate_series(1, 20) AS g", (n*100+i)*20), "UPDATE t SET v = v||'x' WHERE id % 50 = 0")
		}
		p.Kill()
	}
	a.Archive(dir)
	a.ExpectArchived(dir, "public.t")
	if out, code := a.Pgtee(a.restoreArgs(dir)...); code != 0 {
		t.Fatalf("apply --from exits with %d:\n%s", code, out)
	}
	a.ExpectEqual("t")
}
