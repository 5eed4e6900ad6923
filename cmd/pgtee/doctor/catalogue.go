// Package doctor is the catalogue of what can be wrong with pgtee and around it. Each finding has a stable id: pgtee check, halts, warnings in the
// log and alerts use it, and docs/findings.md has a section with that name.
package doctor

import (
	"slices"

	"github.com/pgtee/pgtee/outbox"
)

// Entry is one kind of finding.
type Entry struct {
	ID       string
	Severity outbox.Severity
	Meaning  string
	Repair   string
}

// Docs returns where an id is explained.
func Docs(id string) string { return "docs/findings.md#" + id }

// Lookup returns the entry with this id.
func Lookup(id string) (Entry, bool) {
	for _, area := range Catalogue {
		if i := slices.IndexFunc(area.Entries, func(e Entry) bool { return e.ID == id }); i >= 0 {
			return area.Entries[i], true
		}
	}
	return Entry{}, false
}

// Area is a section of the catalogue, as in docs/findings.md.
type Area struct {
	Name    string
	Entries []Entry
}

const (
	warning = outbox.Warning
	problem = outbox.Problem
)

// Catalogue contains every finding once.
var Catalogue = []Area{
	{"Server", []Entry{
		{"postgres-unreachable", problem, "PostgreSQL does not answer, or refuses the login.", "Check that it is running, and that --postgres (host, port, user, password) and pg_hba.conf are right."},
		{"postgres-pooler", problem, "--postgres names a pooler. Nothing can be replicated through one.", "Name the server itself in --postgres."},
		{"postgres-too-old", problem, "The server is older than PostgreSQL 14.", "Upgrade it."},
		{"server-is-standby", problem, "The server is a standby. Setup must write.", "Name the primary, or all hosts of the cluster, in --postgres."},
		{"wal-level", problem, "wal_level is not logical.", "Set wal_level = logical and restart the server; managed services have a setting of their own, which check names."},
		{"wal-senders-none", problem, "max_wal_senders is 0: replication is impossible.", "Set it to 10 or so and restart the server."},
		{"wal-senders-exhausted", warning, "All WAL senders are in use: the publisher cannot connect.", "Raise max_wal_senders and restart the server, or end a replication connection that nobody needs."},
		{"slots-exhausted", problem, "No replication slot is free.", "Raise max_replication_slots and restart the server, or drop a slot that nobody uses."},
		{"wal-unbounded", warning, "Nothing limits the WAL that the slot retains while the publisher or Kafka is down: the disk fills up, and the server stops.", "Set max_slot_wal_keep_size (start with 50GB) and reload, or start the publisher with --max-retained-wal and ignore the finding with --ignore."},
		{"wal-limit-small", warning, "max_slot_wal_keep_size is less than max_wal_size: the server may remove WAL that the slot needs at any checkpoint, during a short outage.", "Raise max_slot_wal_keep_size (start with 50GB) and reload."},
		{"standbys-unsynchronised", warning, "The primary does not wait for its standbys before it sends changes. After a failover Kafka may hold transactions that the new primary lacks.", "Set synchronized_standby_slots to the physical slots of the standbys and reload."},
		{"publisher-synchronous", warning, "synchronous_standby_names includes the publisher, perhaps by *. If it becomes a synchronous standby, commits wait until Kafka has them; the first row of a table waits for ever, because the publisher can read the catalog only after that commit.", "Name the standbys in synchronous_standby_names and reload."},
		{"event-triggers-off", warning, "event_triggers is off, so those of pgtee do not fire: DDL is recorded only from notes, or not at all if the setting is that of a role or database, and new tables are captured late.", "Set event_triggers = on and reload."},
		{"clock-skew", warning, "The clocks of the server and of this machine differ by more than 5 seconds. Lag and note times are off by that much.", "Synchronize both clocks with a time server."},
		{"database-sql-ascii", warning, "Text in an SQL_ASCII database may have any encoding; the first value that is not UTF-8 stops the publisher.", "Start the publisher with --source-encoding, and ignore the finding with --ignore."},
		{"subscription-beside", warning, "A logical replication subscription writes into this database. Its rows are published without an author.", "Exclude its tables, or ignore the finding with --ignore."},
		{"transaction-old", warning, "An old transaction, or a forgotten prepared one, makes the server retain all WAL since it began.", "End it."},
		{"timescaledb", warning, "create_hypertable() of TimescaleDB refuses tables that are in a publication.", "Take the table out of its publication (\\d names it) in the same transaction, before the call; ignore the finding with --ignore."},
		{"outbox-replicated", warning, "A publication that is not pgtee's covers schema pgtee: new subscriptions and ALTER SUBSCRIPTION ... REFRESH PUBLICATION fail because the subscriber lacks its tables, and running ones receive the notes, or stop.", "Replicate with a publication that lists schemas or tables. If the subscribers need no REFRESH, give the proxies --outbox message, and ignore the finding with --ignore."},
	}},
	{"Roles", []Entry{
		{"replication-privilege", problem, "The role lacks the privilege to use replication slots.", "Run what check prints: ALTER ROLE … REPLICATION, or its equivalent on a managed service."},
		{"create-privilege", problem, "The role lacks the privilege to create schema pgtee.", "Run GRANT CREATE ON DATABASE … TO the role, as the owner of the database."},
		{"meta-privilege", problem, "The role lacks the privilege to read pgtee.meta, which a publisher needs.", "Run `pgtee setup --grant-publisher ROLE` as the role that ran setup."},
		{"role-expires", warning, "The role's password expires within a week.", "Extend it, or set VALID UNTIL 'infinity'."},
		{"schema-untrusted", problem, "Schema pgtee belongs to an ordinary role. A superuser must not run its functions.", "Run the command as that role; for event triggers drop the schema, and run setup as a superuser."},
		{"schema-owner", warning, "Schema pgtee belongs to an ordinary role. A proxy writes notes only in sessions of that role.", "Give the proxies --trust-owner ROLE, and ignore the finding with --ignore."},
		{"publish-public", warning, "Every role can put events into Kafka with pgtee.publish().", "Run `pgtee setup --grant-publish ROLE,…`."},
		{"snapshot-public", warning, "Every role can have whole tables copied into Kafka.", "Run `pgtee setup --grant-snapshot ROLE,…`."},
	}},
	{"Setup", []Entry{
		{"not-set-up", problem, "Schema pgtee does not exist: nothing is noted or published.", "Run `pgtee setup`."},
		{"schema-copied", problem, "Schema pgtee was copied from another database.", "Run `pgtee setup`."},
		{"schema-older", warning, "The SQL objects are those of an older pgtee.", "Run `pgtee setup`."},
		{"schema-newer", warning, "The SQL objects are those of a newer pgtee.", "Upgrade this program."},
		{"event-triggers", warning, "Event triggers are missing: DDL is recorded only from notes, and new tables are captured late.", "Run `pgtee setup` as a superuser, or as the administrator role of a managed service."},
		{"outbox-altered", problem, "A table of the outbox is missing, has other columns, is unlogged, or is not published: writes through a proxy fail, or are not attributed. Publishing goes on.", "Run `pgtee setup`. A table with other columns is created anew: its notes are in the WAL, but grants on it must be given again."},
		{"routines-missing", problem, "Functions or procedures of schema pgtee are missing: somebody dropped them, or an earlier build made the schema.", "Run `pgtee setup`."},
		{"public-privilege", problem, "PUBLIC lacks a privilege on schema pgtee or its routines: writes of ordinary roles get no notes, and those of open sessions fail.", "Run `pgtee setup` as the role that ran it before."},
		{"publication-missing", problem, "A publication of pgtee is gone. The slot cannot be read without it.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`."},
		{"publication-owner", problem, "A publication of pgtee was given to another role, or another role has created one with its name. That role could change what is published, so it is not used.", "Run what check prints: ALTER PUBLICATION … OWNER TO the owner of schema pgtee. Nothing is lost if nobody has altered it."},
		{"publication-younger", problem, "A publication was re-created after the slot; the slot cannot be read with it.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`."},
		{"publication-altered", problem, "A publication of pgtee was altered.", "Run `pgtee setup`, after which every table is published again."},
		{"publication-narrowed", problem, "A table is in a publication of pgtee with a column list or a row filter, or a partitioned table is listed where only its leaf partitions belong.", "Run `pgtee setup`, after which the table is published again."},
		{"publication-generated", warning, "A publication leaves out generated columns, so some UPDATEs fail.", "Run `pgtee setup`."},
		{"publication-lists-tables", warning, "The publication lists tables one by one: rows of a new table are missing until it is listed.", "Drop it and run `pgtee setup` as a superuser."},
		{"publications-changed", problem, "The publications differ from those with which the stream in Kafka was written.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table again."},
	}},
	{"Slot", []Entry{
		{"slot-missing", problem, "The slot is gone: changes since then are lost to the stream.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table again."},
		{"slot-lost", problem, "The server has removed WAL that the slot needs.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table again. Raise max_slot_wal_keep_size."},
		{"slot-anew", warning, "Setup re-creates the slot: changes since the old one are lost to the stream.", "Run `pgtee repair --accept-divergence`, then start the publisher."},
		{"slot-at-risk", warning, "The slot may at any time lose WAL that it needs (wal_status unreserved).", "Let the publisher catch up now, or raise max_slot_wal_keep_size and reload."},
		{"wal-retained", warning, "The slot retains more than half of what it may before it is lost (max_slot_wal_keep_size, --max-retained-wal SIZE:drop_slot), or more than --max-retained-wal SIZE:warn.", "Check that the publisher is running and Kafka answers; raise max_slot_wal_keep_size if the disk has room."},
		{"slot-dropped", problem, "The slot retained more WAL than --max-retained-wal allows and was dropped.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table again."},
		{"slot-idle-timeout", warning, "The server invalidates slots that are idle for some time.", "Set idle_replication_slot_timeout = 0 and reload."},
		{"slot-busy", problem, "Another publisher uses the slot.", "Stop it, or start this one with --standby."},
		{"slot-blocked", problem, "Older transactions prevent the slot from being created.", "End them, or run setup with a longer --slot-timeout."},
		{"slot-other", problem, "The database is set up for a slot of another name.", "Use that name with --slot, or run `pgtee teardown --slot` with it; the new slot then requires `pgtee repair --accept-divergence`."},
		{"slot-foreign", problem, "The slot belongs to another plugin or database.", "Choose another name with --slot."},
		{"slot-older", problem, "The slot is older than the publications: setup did not create it.", "Choose another name with --slot, or drop the slot if nobody needs it."},
	}},
	{"Tables", []Entry{
		{"table-uncaptured", warning, "UPDATE and DELETE of a table are not published: the table has no usable replica identity.", "Run one of the commands that check prints: a primary key, REPLICA IDENTITY DEFAULT where there is one, or REPLICA IDENTITY FULL."},
		{"table-unlisted", warning, "A table has a replica identity and is in no publication: its UPDATE and DELETE are not published.", "Run `pgtee setup`."},
		{"table-fails", warning, "A table is in a publication and has no identity: its UPDATE and DELETE fail.", "Run `pgtee setup`."},
		{"table-late", warning, "A table was captured late: some of its UPDATEs and DELETEs are not in the stream.", "Nothing: the publisher publishes the table again, unless --on-missed says otherwise."},
		{"table-locked", warning, "A table cannot be added to or removed from a publication while it is locked.", "End the transactions that the log names."},
		{"table-lost-key", warning, "A table has lost its key and has REPLICA IDENTITY FULL now.", "Give it a primary key."},
		{"table-key-generated", warning, "The replica identity has a generated column, which is not in the WAL before PostgreSQL 18: records have no key.", "Make that column a plain one, or take another unique index as REPLICA IDENTITY."},
		{"table-key-changed", warning, "The key of a table has changed, or is no longer known.", "Take a new snapshot of the table with a signal of type resync."},
		{"table-unkeyed", problem, "A table has no key, and --no-allow-unkeyed is given.", "Add a primary key, name a key in the configuration, or exclude the table."},
		{"table-misfit", problem, "The configuration names columns, a key or a filter column that a table lacks.", "Correct the configuration and start again."},
		{"tables-unmatched", warning, "The configuration names tables that do not exist, or are not published.", "Check their spelling."},
		{"changes-missed", problem, "UPDATEs and DELETEs of tables were not captured for some time.", "`pgtee snapshot start --table SCHEMA.TABLE --resync` publishes a table again. If the publisher has halted, start it with --on-missed resync, which does so by itself, or warn."},
		{"changes-resynced", warning, "UPDATEs and DELETEs of tables were not captured for some time, or changes were lost: the tables are published again.", "Nothing; the log says why."},
		{"coverage-unknown", warning, "The publisher cannot read the publications, so uncaptured tables are not reported.", "See the error; the publisher tries again."},
		{"text-encoding", problem, "A row has bytes that are invalid in the encoding of the database.", "Start with --source-encoding and the encoding that the text is in."},
		{"source-encoding", problem, "--source-encoding does not fit the database.", "Name the encoding that SHOW server_encoding prints or, for SQL_ASCII, that of the text."},
		{"transaction-undecodable", problem, "PostgreSQL cannot decode a transaction.", "Drop the slot, run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table again. Report the error to PostgreSQL."},
		{"value-undecodable", problem, "The server cannot send a value in the WAL as UTF-8.", "Correct the row, drop the slot, run `pgtee setup`, `pgtee repair --accept-divergence`, then copy what is missing."},
		{"change-unencodable", problem, "A change cannot be encoded.", "Exclude the table (--exclude-tables), publish it in another form, or report the defect."},
		{"outbox-row-updated", warning, "A row of an outbox table was updated. Its event is in Kafka as it was inserted.", "Insert a new row for a new event."},
		{"table-key-lossy", warning, "Different rows of a table may have the same record key, because the form of a key column does not show all of its value.", "Choose the handling mode or type that the log names, then publish the table again with a signal of type resync."},
		{"filter-needs-full", warning, "A table has a filter, long values, and no whole old rows in the WAL: a row that an UPDATE brings into the filter lacks the values that the statement left unchanged.", "Run `ALTER TABLE … REPLICA IDENTITY FULL`, then publish the table again with a signal of type resync."},
		{"event-table-unfit", warning, "A table matches a pattern of --event-table and lacks the columns of an outbox: it is published like any other table, and no resync repeats its rows.", "Name the outbox tables one by one, or add the columns."},
	}},
	{"History", []Entry{
		{"other-server", problem, "The progress record belongs to another server: one of the two was restored, cloned, or re-pointed.", "Use another --prefix, or run `pgtee repair --accept-divergence`."},
		{"other-database", problem, "The progress record belongs to another database.", "Use another --prefix, or run `pgtee repair --accept-divergence`."},
		{"database-behind", problem, "The database has less history than Kafka: it was restored or rolled back.", "Run `pgtee repair --accept-divergence`."},
		{"history-diverged", problem, "The server took over with less history than Kafka holds.", "Run `pgtee repair --accept-divergence`."},
		{"transactions-lost", problem, "The slot is ahead of Kafka: transactions between them are lost to the stream.", "Run `pgtee repair --accept-divergence`, which publishes every table again."},
		{"progress-lost", problem, "The progress topic is gone, or empty, and the slot has moved.", "Run `pgtee repair --accept-divergence`, which publishes every table again."},
		{"progress-newer", problem, "A newer pgtee wrote the progress record.", "Upgrade this program."},
		{"progress-unreadable", problem, "The progress record cannot be read.", "See what wrote to the progress topic; restore the record, or start over with another --prefix."},
		{"standby-awaited", warning, "The server sends the publisher no changes, because a standby in synchronized_standby_slots does not have them yet.", "Start the standby, or remove its slot from synchronized_standby_slots and reload."},
		{"server-warning", problem, "The server warns on the replication connection that part of the stream is missing.", "Do what the warning says, then start the publisher again."},
	}},
	{"Kafka", []Entry{
		{"kafka-unreachable", problem, "Kafka does not answer, or refuses the login.", "Check that it is running, and that --kafka, --kafka-tls and --kafka-sasl are right."},
		{"kafka-refuses", problem, "Kafka permanently rejects a topic, a record or a transaction.", "Do what the message says."},
		{"kafka-privilege", problem, "The user lacks privileges in Kafka.", "Grant what the message lists: WRITE, READ, DESCRIBE and DESCRIBE_CONFIGS on topics of the prefix (with --heartbeat also on __debezium-heartbeat.PREFIX), CREATE unless they exist, WRITE and DESCRIBE on the transactional id."},
		{"topics-missing", warning, "There are no topics of the prefix yet.", "Check again after the publisher has started."},
		{"topic-not-durable", warning, "A topic may lose what Kafka has confirmed when a broker fails.", "Give it 3 replicas, min.insync.replicas=2 and unclean.leader.election.enable=false."},
		{"topic-message-bytes", warning, "A topic accepts only records smaller than --max-record-bytes.", "Raise max.message.bytes of the topic."},
		{"topic-compacted", warning, "The topic of audit, DDL, transactions or dead letters is compacted: Kafka deletes older records with the same key.", "Set cleanup.policy=delete for the topic."},
		{"progress-topic", problem, "The progress topic is not purely compacted, or has several partitions: the position in it expires, or is ambiguous.", "Set cleanup.policy=compact; with several partitions use another --prefix."},
		{"signal-topic", problem, "The topic of signals has more than one partition.", "Name another topic in --signal-topic."},
		{"signal-topic-unreadable", warning, "The topic of signals cannot be read.", "Grant READ on it."},
		{"topic-collision", problem, "Two tables share a topic.", "Exclude one of them, or give it a topic of its own in the configuration."},
		{"topic-own", warning, "A table has a topic of its own, because the template's topic was not available.", "Choose another one in the configuration (tables: [{match, topic}])."},
		{"prefix-taken", problem, "The prefix belongs to another database.", "Use another --prefix, or run `pgtee repair --accept-divergence` if that database is no longer published."},
		{"prefix-shared", warning, "Another database publishes under the same prefix: tables of the same name share their topics.", "Use another --prefix for one of them."},
		{"transaction-timeout", warning, "The brokers allow shorter transactions than the publisher asks for.", "Raise transaction.max.timeout.ms of the brokers to twice --part-after, or lower --part-after."},
		{"record-too-large", problem, "A record is larger than Kafka accepts, and --record-too-large is halt.", "Raise max.message.bytes of the topic and --max-record-bytes, or start without --record-too-large halt."},
		{"dead-letters", warning, "Changes were too large for a record: the dead-letter topic has them.", "Read what is there; raise max.message.bytes and --max-record-bytes; ignore the finding with --ignore."},
		{"events-refused", warning, "Events of the application went to PREFIX.outbox.refused.", "See their headers; allow the topic with --event-topics."},
		{"spans-undelivered", warning, "The collector of --otlp-endpoint does not take spans. Publishing goes on without them.", "See the error; check --otlp-endpoint, which needs an OTLP/HTTP receiver, and the credentials."},
		{"fenced", warning, "Another publisher has taken over.", "Nothing if that was intended; otherwise stop one of the two."},
		{"publisher-retries", warning, "The publisher failed and tries again.", "See the error; nothing is lost meanwhile."},
		{"query-retries", warning, "`pgtee query` failed and tries again.", "See the error; a run is published whole or not at all."},
		{"query-topic-retention", warning, "The topic of `pgtee query --changes` deletes old records. A row that does not change is published once, and vanishes with them.", "Give the topic cleanup.policy=compact. If rows have vanished already, delete the topic: the next run publishes all rows."},
		{"registry-unreachable", problem, "The schema registry does not answer, or refuses the login.", "Check --schema-registry and its credentials."},
		{"registry-refuses", problem, "The schema registry rejected a request.", "Do what the message says."},
		{"registry-incompatible", problem, "The schema registry rejected a schema as incompatible.", "Set the compatibility of the subject to NONE, start the publisher, then restore the compatibility."},
		{"registry-schema-missing", problem, "The schema registry does not have a schema, and --no-auto-register is given.", "Register it, or start without --no-auto-register."},
	}},
	{"Snapshots", []Entry{
		{"snapshot-stopped", problem, "A snapshot run with `--snapshot only` was stopped.", "Start again with other --snapshot-tables, or with --snapshot never."},
		{"snapshot-table-refused", warning, "A table cannot be read for a snapshot; the rest goes on.", "Do what the message says; it is tried again."},
		{"snapshot-failing", warning, "A snapshot cannot read; the stream goes on.", "See the error; it is tried again."},
		{"snapshot-slow", warning, "The stream changes rows faster than the snapshot copies them, so a part is read again.", "Nothing, unless it lasts for hours: then copy the table at a quieter time."},
		{"snapshot-unmatched", warning, "A snapshot was requested for tables that are not published.", "Check their spelling."},
		{"signal-refused", warning, "A signal was refused.", "See the reason in the log."},
	}},
	{"Proxy", []Entry{
		{"key-missing", problem, "The key file does not exist.", "Copy that of the other process, or create one: (umask 077; openssl rand -hex 32 > FILE)."},
		{"key-malformed", problem, "The key file is malformed: it must have one or two lines of 64 hex digits.", "Create one: (umask 077; openssl rand -hex 32 > FILE)."},
		{"key-readable", warning, "Other users can read the key of the notes, and so forge notes.", "Run chmod 600 on it, and rotate the key."},
		{"outbox-question-refused", warning, "The server refused the query with which the proxy looks for the outbox: the session continues without notes.", "See the SQLSTATE in the log."},
		{"outbox-not-ready", warning, "Sessions of a database get no notes.", "Run `pgtee setup`, or give the proxy --trust-owner, as the log says."},
		{"pooler-behind", warning, "The proxy talks to a pooler, which hides the clients.", "Put the pooler in front of the proxy."},
		{"proxy-behind", warning, "The server of the proxy is another pgtee proxy. That one writes the notes, and names the first as the client.", "Name the server itself in --postgres of the proxy that clients connect to, or let clients connect to the other one."},
		{"note-failed", warning, "The server refused a note, so the client's write failed with it.", "See the SQLSTATE in the log; run `pgtee check`."},
		{"replies-lost", warning, "The server's replies do not match the requests: a session gets no more notes.", "Report the defect with the log."},
		{"logins-waiting", warning, "Logins are waiting because too many are in progress.", "Raise --max-logins, or find out who connects without logging in."},
		{"connections-silent", warning, "Connections that have sent nothing are closed to make room for others.", "Find out who connects; raise --max-logins."},
		{"server-role-unknown", warning, "The role of a server of the cluster is unknown: no session goes there.", "Check that it is running."},
		{"accept-failed", warning, "The proxy cannot accept connections.", "See the error: usually too few file descriptors (LimitNOFILE)."},
		{"sessions-cut", warning, "Sessions did not end within --drain and were cut off.", "Raise --drain and, above it, the time until the process is killed (TimeoutStopSec of systemd, stop_grace_period of Compose, terminationGracePeriodSeconds of Kubernetes), or end long transactions before an upgrade."},
		{"tls-files-refused", warning, "Changed TLS files cannot be used: the former certificate stays.", "See the error; correct the files."},
		{"configuration-refused", warning, "A changed configuration cannot be used: everything stays as it was.", "See the error; correct the file and send SIGHUP again."},
	}},
	{"Operation", []Entry{
		{"console-refused", warning, "Somebody asked the console for a page that only an admin may see.", "Nothing, or give that login the role admin."},
		{"console-login-failed", warning, "Somebody gave the console a wrong name, secret or client certificate.", "Nothing if that was a mistake; otherwise see in the log where it came from, and restrict who can reach the address of --console."},
		{"console-failed", warning, "The console no longer serves its pages. The proxy and the publisher go on.", "Do what the error says, then restart pgtee when clients can be interrupted."},
		{"publishing-stopped", problem, "The publisher has halted and needs an operator.", "Do what the log or /readyz say; it then resumes by itself within half a minute."},
		{"publisher-absent", problem, "Nobody holds the slot: nothing is published, and the server retains WAL.", "Start the publisher; if it is running, it has halted: its log and /readyz say why."},
		{"publisher-behind", warning, "Commits become visible in Kafka late, or not at all while the publisher retries.", "See the log and /readyz of the publisher, and the runbook of PgteeLag."},
		{"false-notes", warning, "Notes were forged, altered, or sent again.", "See the runbook of PgteeFalseNotes."},
		{"unattributed-writes", warning, "Many rows were written without the proxy, so their author is unknown.", "See the runbook of PgteeUnattributedWrites."},
		{"kafka-slow", warning, "Kafka transactions take long.", "See the runbook of PgteeKafkaSlow."},
		{"apply-behind", warning, "The target of pgtee apply is behind Kafka.", "See the runbook of PgteeApplyLag."},
		{"apply-conflict", warning, "Changes did not fit the target of pgtee apply.", "See pgtee.conflicts in the target, and the runbook of PgteeApplyConflicts."},
		{"target-down", problem, "Prometheus cannot scrape pgtee: it is not running or not reachable.", "See the runbook of PgteeDown."},
		{"housekeeping-failed", warning, "The publisher could not check the slot or clean up the outbox.", "See the error; the publisher tries again."},
		{"metrics-page", warning, "The metrics endpoint failed.", "See the error; restart the process."},
		{"check-incomplete", problem, "Something could not be checked.", "See the error, and check again."},
	}},
}
