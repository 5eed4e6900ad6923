package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

// misfit is something that is wrong. check has to find it, and the repair that it prints has to cure it.
type misfit struct {
	id       string
	sql      []string          // makes it so, in the database
	settings map[string]string // makes it so, of the server, which is started anew
	plant    func(*doctorPatient)
	slow     bool
	as       string   // the role that check runs as
	flags    []string // of check, which make it so
	many     int      // how often it is found; 0: that does not matter

	// mends is what the operator does where the repair is not a command: it has to be a part of the repair's text.
	mends string
	does  []string // SQL by which that is done; none: the flags are left out
}

// beforeSetup are planted in a database where setup has not run.
var beforeSetup = []misfit{
	{id: "replication-privilege", as: "newcomer"},
	{id: "create-privilege", as: "newcomer"},
	{id: "slot-foreign", sql: []string{"SELECT pg_create_logical_replication_slot(current_database() || '_foreign', 'test_decoding')"}, flags: []string{"--slot", "DATABASE_foreign"},
		mends: "choose another name with --slot", does: []string{"SELECT pg_drop_replication_slot(current_database() || '_foreign')"}},
	{id: "wal-level", settings: map[string]string{"wal_level": "replica"}},
	{id: "wal-senders-none", settings: map[string]string{"max_wal_senders": "0"}},
	{id: "slots-exhausted", settings: map[string]string{"max_replication_slots": "0"}},
	{id: "not-set-up"},
}

// afterSetup are planted where the publisher has worked.
var afterSetup = []misfit{
	{id: "wal-unbounded", settings: map[string]string{"max_slot_wal_keep_size": "-1"}},
	{id: "wal-limit-small", settings: map[string]string{"max_slot_wal_keep_size": "0"}},
	{id: "slot-idle-timeout", settings: map[string]string{"idle_replication_slot_timeout": "1h"}},
	{id: "event-triggers-off", settings: map[string]string{"event_triggers": "off"}},
	{id: "meta-privilege", sql: []string{"CREATE ROLE watcher LOGIN REPLICATION"}, as: "watcher"},
	{id: "role-expires", sql: []string{"DO $$ BEGIN EXECUTE format('ALTER ROLE watcher VALID UNTIL %L', now() + interval '1 day'); END $$"}, as: "watcher"},
	{id: "slot-missing", sql: []string{"SELECT pg_drop_replication_slot(current_database())"}},
	{id: "slot-lost", slow: true, plant: (*doctorPatient).loseLog},
	{id: "wal-retained", slow: true, plant: (*doctorPatient).retainLog, mends: "start the publisher", does: []string{"SELECT pg_replication_slot_advance(current_database(), pg_current_wal_lsn())", "CHECKPOINT"}},
	{id: "slot-other", flags: []string{"--slot", "another"}, mends: "use --slot DATABASE"},
	{id: "publication-missing", sql: []string{"DROP PUBLICATION pgtee_identity_3"}},
	{id: "publication-owner", sql: []string{"ALTER PUBLICATION pgtee_identity_3 OWNER TO newcomer"}},
	{id: "publication-altered", sql: []string{"ALTER PUBLICATION pgtee_rows SET (publish = 'truncate')"}},
	{id: "publication-younger", sql: []string{"DROP PUBLICATION pgtee_identity", "CREATE PUBLICATION pgtee_identity WITH (publish = 'update, delete', publish_via_partition_root = true)"}},
	{id: "publication-narrowed", sql: []string{"ALTER PUBLICATION pgtee_identity SET TABLE item (id)"}},
	{id: "publication-generated", sql: []string{"ALTER PUBLICATION pgtee_rows SET (publish_generated_columns = none)"}},
	{id: "event-triggers", sql: []string{"ALTER EVENT TRIGGER pgtee_ddl DISABLE"}},
	{id: "outbox-altered", many: 3, sql: []string{"ALTER TABLE pgtee.outbox_0 SET UNLOGGED", "DROP TABLE pgtee.outbox_1", "ALTER TABLE pgtee.outbox_2 ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"}},
	{id: "outbox-altered", many: 4, sql: []string{"ALTER TABLE pgtee.outbox DROP COLUMN sql"}},
	{id: "routines-missing", sql: []string{"DROP PROCEDURE pgtee.put(integer, name, boolean, boolean)"}},
	{id: "public-privilege", sql: []string{"REVOKE EXECUTE ON FUNCTION pgtee.note(text, name) FROM PUBLIC"}},
	{id: "public-privilege", sql: []string{"REVOKE USAGE ON SCHEMA pgtee FROM PUBLIC"}, as: "watcher"},
	{id: "schema-older", sql: []string{"UPDATE pgtee.meta SET version = 1"}},
	{id: "schema-newer", sql: []string{"UPDATE pgtee.meta SET version = 1000"}, mends: "upgrade this program", does: []string{"UPDATE pgtee.meta SET version = 2"}},
	{id: "publish-public", sql: []string{"DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pgtee'::regnamespace AND proname = 'publish' LOOP EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', f); END LOOP; END $$"}},
	{id: "snapshot-public", sql: []string{"GRANT INSERT ON pgtee.signal TO PUBLIC"}},
	{id: "table-uncaptured", sql: []string{"CREATE TABLE nokey (id int)"}},
	{id: "table-unlisted", sql: []string{"ALTER PUBLICATION pgtee_identity DROP TABLE item"}},
	{id: "table-unkeyed", sql: []string{"DROP TABLE nokey", "CREATE TABLE unkeyed (id int)", "ALTER TABLE unkeyed REPLICA IDENTITY FULL"}, flags: []string{"--no-allow-unkeyed"}},
	{id: "subscription-beside", sql: []string{"CREATE SUBSCRIPTION beside CONNECTION 'dbname=elsewhere' PUBLICATION p WITH (connect = false)"}, mends: "--ignore subscription-beside",
		does: []string{"ALTER SUBSCRIPTION beside SET (slot_name = NONE)", "DROP SUBSCRIPTION beside"}},
	{id: "outbox-replicated", sql: []string{"CREATE PUBLICATION everything FOR ALL TABLES"}, mends: "--outbox message", does: []string{"DROP PUBLICATION everything"}},
	{id: "standbys-unsynchronised", sql: []string{"SELECT pg_create_physical_replication_slot('standby')"}, mends: "set synchronized_standby_slots",
		does: []string{"SELECT pg_drop_replication_slot('standby')"}},
	{id: "transaction-old", sql: []string{"BEGIN; INSERT INTO item VALUES (77); PREPARE TRANSACTION 'forgotten'"}, flags: []string{"--old-transaction", "1ms"}, mends: "end it: COMMIT",
		does: []string{"ROLLBACK PREPARED 'forgotten'"}},
	{id: "progress-topic", plant: alterTopic("progress", "cleanup.policy", "delete")},
	{id: "topic-compacted", plant: alterTopic("audit", "cleanup.policy", "compact")},
	{id: "topic-message-bytes", plant: alterTopic("public.item", "max.message.bytes", "1000")},
	{id: "topics-missing", flags: []string{"--prefix", "nobodys"}, mends: "check again"},
	{id: "transaction-timeout", flags: []string{"--part-after", "30m"}, mends: "lower that option"},
	{id: "kafka-unreachable", flags: []string{"--kafka", "127.0.0.1:1"}, mends: "--kafka"},
	{id: "registry-unreachable", flags: []string{"--schema-registry", "http://127.0.0.1:1"}, mends: "--schema-registry"},
	{id: "postgres-unreachable", flags: []string{"--postgres", "postgres://nobody@127.0.0.1:1/nothing"}, mends: "--postgres"},
	{id: "key-missing", plant: func(p *doctorPatient) { p.must(os.Remove(p.keyFile())) }},
	{id: "key-malformed", plant: func(p *doctorPatient) { p.must(os.WriteFile(p.keyFile(), []byte("not a key\n"), 0o600)) }},
	{id: "key-readable", plant: func(p *doctorPatient) { p.must(os.Chmod(p.keyFile(), 0o644)) }},
}

// doctorPatient is a database on a server of its own.
type doctorPatient struct {
	*runner
	ready bool // setup has run, and the publisher has worked
}

// Each thing that is planted is found, with its id and its repair; doing what the repair says cures it, and nothing else is wrong then.
func TestDoctor(t *testing.T) {
	server, err := world.StartPostgres(18, map[string]string{"wal_keep_size": "0", "max_slot_wal_keep_size": "2GB", "min_wal_size": "32MB"})
	if err != nil {
		t.Fatal(err)
	}
	p := &doctorPatient{runner: newRunner(t, must(t, sharedBinary), server, "table")}
	p.Exec(stopSchema, "CREATE ROLE newcomer LOGIN")
	for _, c := range chosen(beforeSetup) {
		t.Run(c.id, func(t *testing.T) { p.in(t).examine(c) })
	}
	p.Setup()
	p.StartPublisher()
	p.Drain()
	p.Exec("INSERT INTO item VALUES (1)")
	p.Drain()
	p.Stop(p.publisher)
	p.publisher, p.ready = nil, true
	if found := p.check(misfit{}); len(found) != 0 {
		t.Fatalf("something is wrong before anything is planted: %v", found)
	}
	for _, c := range chosen(afterSetup) {
		t.Run(c.id, func(t *testing.T) { p.in(t).examine(c) })
	}
}

// chosen are all of them with DOCTOR=all (make doctor), and those for which the server need not start anew without it.
func chosen(all []misfit) (list []misfit) {
	for _, c := range all {
		if os.Getenv("DOCTOR") == "all" || c.settings == nil && !c.slow {
			list = append(list, c)
		}
	}
	return list
}

// in is the patient in a subtest.
func (p *doctorPatient) in(t *testing.T) *doctorPatient {
	r := *p.runner
	r.t = t
	return &doctorPatient{&r, p.ready}
}

func (p *doctorPatient) examine(c misfit) {
	p.t.Helper()
	p.Exec(c.sql...)
	p.configure(c.settings)
	if c.plant != nil {
		c.plant(p)
	}
	found := p.check(c)
	i := slices.IndexFunc(found, func(f finding) bool { return f.ID == c.id })
	if i < 0 {
		p.t.Fatalf("it is not found; what is: %v", found)
	}
	if n := len(slices.DeleteFunc(slices.Clone(found), func(f finding) bool { return f.ID != c.id })); c.many > 0 && n != c.many {
		p.t.Errorf("it is found %d times, want %d: %v", n, c.many, found)
	}
	repair := found[i].Repair
	if found[i].Meaning == "" || found[i].Docs != "docs/findings.md#"+c.id || repair == "" {
		p.t.Errorf("it lacks something: %+v", found[i])
	}
	switch {
	case c.mends == "":
		p.followRepair(repair)
	case !strings.Contains(repair, strings.ReplaceAll(c.mends, "DATABASE", p.database)):
		p.t.Errorf("the repair is %q, want %q in it", repair, c.mends)
	default:
		p.Exec(c.does...)
		c.flags = nil
	}
	left := p.check(c)
	if !p.ready { // other things are missing still
		left = slices.DeleteFunc(left, func(f finding) bool { return f.ID != c.id })
	}
	if len(left) != 0 {
		p.t.Errorf("after %q there is: %v", repair, left)
	}
}

type finding struct{ ID, Severity, Text, Meaning, Repair, Docs string }

// check runs pgtee check and returns what is not well.
func (p *doctorPatient) check(c misfit) (found []finding) {
	p.t.Helper()
	url := p.URL()
	if c.as != "" {
		url = p.DirectURL(c.as, "pgtee")
	}
	args := []string{"check", "--output", "json", "--ignore", "topic-not-durable"}
	for flag, value := range map[string]string{"--postgres": url, "--slot": p.slot, "--kafka": p.broker.Address, "--prefix": p.prefix, "--key": p.keyFile()} {
		if !slices.Contains(c.flags, flag) && (p.ready || flag != "--kafka") {
			args = append(args, flag, value)
		}
	}
	for _, flag := range c.flags {
		args = append(args, strings.ReplaceAll(flag, "DATABASE", p.database))
	}
	out, code := p.Pgtee(args...)
	var report struct{ Findings []finding }
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		p.t.Fatalf("check prints invalid JSON (%v): %s", err, out)
	}
	want := 0
	for _, f := range report.Findings {
		if f.ID == "" {
			continue
		}
		found = append(found, f)
		want = max(want, map[string]int{"warning": 1, "problem": 2}[f.Severity])
	}
	if code != want {
		p.t.Errorf("check exits with %d, want %d: %s", code, want, out)
	}
	return found
}

var (
	alterSystem = regexp.MustCompile(`run ALTER SYSTEM SET (\w+) = '?(\w+)'? and`)
	plainSQL    = regexp.MustCompile(`run ((?:ALTER|GRANT|DROP) .*?)(?: as |, or|, name|$)`)
	orSQL       = regexp.MustCompile(`^ALTER TABLE .*, or (ALTER TABLE .*)$`)
	shell       = regexp.MustCompile(`run (chmod 600 \S+?),|make one with (\(.*\))$`)
	topicConfig = regexp.MustCompile("kafka-configs.sh .* --entity-name (\\S+) --add-config (\\S+)=([^`]+)`")
)

// followRepair does what a repair says, word for word.
func (p *doctorPatient) followRepair(repair string) {
	p.t.Helper()
	done := false
	if advised.MatchString(repair) {
		p.cure(strings.ReplaceAll(repair, "ROLE,...", "postgres"))
		done = true
	}
	if m := topicConfig.FindStringSubmatch(repair); m != nil {
		p.setTopic(m[1], m[2], m[3])
		done = true
	}
	if m := alterSystem.FindStringSubmatch(repair); m != nil {
		p.configure(map[string]string{m[1]: m[2]})
		done = true
	} else if m := plainSQL.FindStringSubmatch(repair); m != nil {
		p.Exec(strings.ReplaceAll(m[1], "(...)", "(id)"))
		done = true
	} else if m := orSQL.FindStringSubmatch(repair); m != nil {
		p.Exec(m[1])
		done = true
	}
	if m := shell.FindStringSubmatch(repair); m != nil {
		out, err := exec.CommandContext(p.ctx, "bash", "-c", m[1]+m[2]).CombinedOutput()
		if err != nil {
			p.t.Errorf("%s: %v: %s", m[1]+m[2], err, out)
		}
		done = true
	}
	if !done {
		p.t.Errorf("the repair %q has no command", repair)
	}
}

// configure starts the server with other settings.
func (p *doctorPatient) configure(settings map[string]string) {
	p.t.Helper()
	if len(settings) == 0 {
		return
	}
	for name, value := range settings {
		p.server.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	p.must(p.server.Stop(ctx, embedded.Fast))
	p.must(p.server.Start(ctx))
}

// retainLog has the slot keep three fifths of what it may keep.
func (p *doctorPatient) retainLog() {
	p.t.Helper()
	p.configure(map[string]string{"max_slot_wal_keep_size": "80MB", "max_wal_size": "64MB"})
	p.switchLog(3)
}

// loseLog has the slot lose what it needs, with a limit that is too low.
func (p *doctorPatient) loseLog() {
	p.t.Helper()
	p.configure(map[string]string{"max_slot_wal_keep_size": "16MB"})
	p.switchLog(4)
	p.configure(map[string]string{"max_slot_wal_keep_size": "2GB"})
}

func (p *doctorPatient) switchLog(segments int) {
	p.t.Helper()
	for range segments {
		p.Exec("CREATE TABLE filler ()", "DROP TABLE filler", "SELECT pg_switch_wal()")
	}
	p.Exec("CHECKPOINT")
}

func alterTopic(name, config, value string) func(*doctorPatient) {
	return func(p *doctorPatient) { p.setTopic(p.prefix+"."+name, config, value) }
}

func (p *doctorPatient) setTopic(topic, config, value string) {
	p.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(p.broker.Address))
	p.must(err)
	defer client.Close()
	answers, err := kadm.NewClient(client).AlterTopicConfigs(p.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: config, Value: &value}}, topic)
	p.must(err)
	_, err = answers.On(topic, nil)
	p.must(err)
}

// The other forms of the report, and what is refused.
func TestCheckOutput(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	key := filepath.Join(r.dir, "missing")
	out, code := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot, "--key", key, "--output", "nagios")
	first, rest, _ := strings.Cut(out, "\n")
	if code != 2 || !strings.HasPrefix(first, "PGTEE CRITICAL - 2 problems; not-set-up; key-missing | problems=2;;0 warnings=0;0") || !strings.Contains(rest, "key-missing: key: --key "+key) {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	r.Setup()
	if out, code = r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot, "--output", "nagios"); code != 0 || !strings.HasPrefix(out, "PGTEE OK - all is well | problems=0;;0 warnings=0;0\n") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if out, code = r.Pgtee("check", "--postgres", r.URL(), "--ignore", "nonsense"); code != 2 || !strings.Contains(out, "pgtee explain lists them") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

// Privileges that the publisher lacks in Kafka are found, whoever withholds them.
func TestCheckPrivilegesInKafka(t *testing.T) {
	dir := t.TempDir()
	kafka, secure, ca := startSecureKafka(t, dir)
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.broker = kafka
	r.Setup()
	password := filepath.Join(dir, "password")
	r.must(os.WriteFile(password, []byte("pw"), 0o600))
	admin := r.admin()
	_, err := admin.CreateTopics(r.ctx, 1, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, r.prefix+".progress", r.prefix+".public.item")
	r.must(err)
	allow := func(acl *kadm.ACLBuilder, user string, operations ...kadm.ACLOperation) {
		t.Helper()
		_, err := admin.CreateACLs(r.ctx, acl.Allow("User:"+user).AllowHosts("*").Operations(operations...))
		r.must(err)
	}
	topics := func() *kadm.ACLBuilder {
		return kadm.NewACLs().ResourcePatternType(kadm.ACLPatternPrefixed).Topics(r.prefix + ".")
	}
	expect := func(code int, wants ...string) {
		t.Helper()
		var out string
		r.must(harness.Eventually(20*time.Second, func(context.Context) error { // brokers learn of ACLs a moment later
			var got int
			out, got = r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot, "--prefix", r.prefix, "--ignore", "topic-not-durable", "--kafka", secure.Address,
				"--kafka-tls", "--kafka-ca", ca.file, "--kafka-sasl", "plain", "--kafka-user", "pgtee", "--kafka-password-file", password)
			for _, want := range wants {
				if !strings.Contains(out, want) {
					return fmt.Errorf("check lacks %q: %s", want, out)
				}
			}
			if got != code {
				return fmt.Errorf("check exits with %d, want %d: %s", got, code, out)
			}
			return nil
		}))
	}
	expect(0, "all is well")
	allow(kadm.NewACLs().ResourcePatternType(kadm.ACLPatternLiteral).Clusters(), "another", kadm.OpCreate)
	allow(topics(), "another", kadm.OpWrite)
	expect(2, "the user may not see topic "+r.prefix+".audit and 6 more: whether they exist is not known", "the user may not create topics")
	allow(topics(), "pgtee", kadm.OpWrite, kadm.OpDescribeConfigs)
	expect(2, "the user lacks READ on topic "+r.prefix+".progress and 1 more", "warning  kafka: the user may not create topics")
	allow(topics(), "pgtee", kadm.OpRead, kadm.OpCreate)
	expect(0, "all is well")
	ids := func() *kadm.ACLBuilder {
		return kadm.NewACLs().ResourcePatternType(kadm.ACLPatternPrefixed).TransactionalIDs("pgtee-")
	}
	allow(ids(), "pgtee", kadm.OpDescribe)
	expect(2, "the user lacks WRITE on transactional id pgtee-"+r.prefix)
	allow(ids(), "pgtee", kadm.OpWrite)
	expect(0, "all is well")
}
