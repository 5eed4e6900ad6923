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
		{"postgres-unreachable", problem, "PostgreSQL does not answer, or refuses the login.", "See whether it runs, and whether host, port, user and password of --postgres and pg_hba.conf are right."},
		{"postgres-pooler", problem, "--postgres names a pooler. Nothing can be replicated through one.", "Name the server itself in --postgres."},
		{"postgres-too-old", problem, "The server is older than PostgreSQL 14.", "Upgrade it."},
		{"server-is-standby", problem, "The server is a standby. Setup has to write.", "Name the primary, or all hosts of the cluster, in --postgres."},
		{"wal-level", problem, "The log does not have what logical decoding needs.", "Set wal_level = logical and restart the server; managed services have a switch of their own, which check names."},
		{"wal-senders-none", problem, "max_wal_senders is 0: nobody may replicate.", "Set it to 10 or so and restart the server."},
		{"wal-senders-exhausted", warning, "All walsenders are at work: the publisher finds none.", "Raise max_wal_senders and restart the server, or end a replication that nobody needs."},
		{"wal-sender-timeout", warning, "The server never gives up on a publisher whose machine is gone. Its slot stays in use, and no other publisher can take over.", "Set wal_sender_timeout to 60s and reload."},
		{"slots-exhausted", problem, "No replication slot is free.", "Raise max_replication_slots and restart the server, or drop a slot that nobody uses."},
		{"wal-unbounded", warning, "Nothing bounds the log that the slot keeps while the publisher or Kafka is away: the disk fills up, and the server stops.", "Set max_slot_wal_keep_size (50GB is a beginning) and reload, or start the publisher with --max-retained-wal."},
		{"standbys-unsynchronised", warning, "The primary does not wait for its standbys before it sends changes. After a failover Kafka may hold transactions that the new primary lacks.", "Set synchronized_standby_slots to the physical slots of the standbys and reload."},
		{"event-triggers-off", warning, "event_triggers is off, so those of pgtee do not fire: DDL is known from notes only, and new tables are captured late.", "Set event_triggers = on and reload."},
		{"clock-skew", warning, "The clocks of the server and of this machine differ by more than 5 seconds. Lag and times of notes are wrong by that.", "Have both machines follow a time server."},
		{"database-sql-ascii", warning, "A database of SQL_ASCII has text of any encoding. The first one that is not UTF-8 stops the publisher.", "Start the publisher with --source-encoding."},
		{"subscription-beside", warning, "A native subscription writes into this database. Its rows are published and name nobody.", "Exclude its tables, or leave the finding out with --ignore."},
		{"transaction-old", warning, "An old transaction, or a prepared one that was forgotten, has the server keep all log since its beginning.", "End it."},
		{"timescaledb", warning, "create_hypertable() of TimescaleDB refuses tables that are in a publication.", "Take the table out of the publication in the same transaction, before the call."},
		{"outbox-replicated", warning, "A publication of others covers the tables of schema pgtee. Its subscribers get the notes, or stop for want of such a table.", "Give the proxies --outbox message."},
	}},
	{"Roles", []Entry{
		{"replication-privilege", problem, "The role may not use replication slots.", "Run what check prints: ALTER ROLE … REPLICATION, or what a managed service has in its place."},
		{"create-privilege", problem, "The role may not create schema pgtee.", "GRANT CREATE ON DATABASE … TO it, as the owner of the database."},
		{"meta-privilege", problem, "The role may not read pgtee.meta. Who may read it can publish.", "Run `pgtee setup --grant-publisher ROLE` as the role that ran setup."},
		{"role-expires", warning, "The password of the role ceases to be valid within a week.", "Prolong it, or set VALID UNTIL 'infinity'."},
		{"schema-untrusted", problem, "Schema pgtee belongs to an ordinary role. A superuser must not run its functions.", "Run the command as that role; for event triggers drop the schema, and run setup as a superuser."},
		{"schema-owner", warning, "Schema pgtee belongs to an ordinary role. A proxy writes notes in sessions of that role only.", "Give the proxies --trust-owner ROLE."},
		{"publish-public", warning, "Every role can put events into Kafka by pgtee.publish().", "Run `pgtee setup --grant-publish ROLE,…`."},
		{"snapshot-public", warning, "Every role can have whole tables copied into Kafka.", "Run `pgtee setup --grant-snapshot ROLE,…`."},
	}},
	{"Setup", []Entry{
		{"not-set-up", problem, "Schema pgtee is not there: nothing is noted or published.", "Run `pgtee setup`."},
		{"schema-copied", problem, "Schema pgtee came with a copy of another database.", "Run `pgtee setup`."},
		{"schema-older", warning, "The SQL objects are those of an older pgtee.", "Run `pgtee setup`."},
		{"schema-newer", warning, "The SQL objects are those of a newer pgtee.", "Upgrade this program."},
		{"event-triggers", warning, "Event triggers are missing: DDL is known from notes only, and new tables are captured late.", "Run `pgtee setup` as a superuser, or as the administrator role of a managed service."},
		{"publication-missing", problem, "A publication of pgtee is gone. The slot cannot be read without it.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`."},
		{"publication-younger", problem, "A publication was made anew after the slot, which cannot be read with it.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`."},
		{"publication-altered", problem, "A publication of pgtee publishes something else than setup had it publish.", "Run `pgtee setup`, which has every table published afresh."},
		{"publication-narrowed", problem, "A table is in a publication of pgtee with a column list, a row filter, or by its root.", "Run `pgtee setup`, which has the table published afresh."},
		{"publication-generated", warning, "A publication leaves out generated columns, so some UPDATEs fail.", "Run `pgtee setup`."},
		{"publication-lists-tables", warning, "The publication lists tables one by one: rows of a new table are missing until it is listed.", "Drop it and run `pgtee setup` as a superuser."},
		{"publications-changed", problem, "The publications are not those with which Kafka was written so far.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table afresh."},
	}},
	{"Slot", []Entry{
		{"slot-missing", problem, "The slot is gone: what was written since is lost to the stream.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table afresh."},
		{"slot-lost", problem, "The server has removed log that the slot needs.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table afresh. Raise max_slot_wal_keep_size."},
		{"slot-anew", warning, "Setup makes the slot anew: what was written since the old one is lost to the stream.", "Run `pgtee repair --accept-divergence`, then start the publisher."},
		{"slot-at-risk", warning, "The slot may lose log that it needs at any time (wal_status unreserved).", "Let the publisher catch up now, or raise max_slot_wal_keep_size and reload."},
		{"wal-retained", warning, "The slot keeps more than half of the log that it may keep.", "See whether the publisher runs and Kafka answers; raise max_slot_wal_keep_size if the disk has room."},
		{"slot-dropped", problem, "The slot kept more log than --max-retained-wal allows and was dropped.", "Run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table afresh."},
		{"slot-idle-timeout", warning, "The server gives up slots that nobody uses for some time.", "Set idle_replication_slot_timeout = 0 and reload."},
		{"slot-busy", problem, "Another publisher uses the slot.", "Stop it, or start this one with --standby."},
		{"slot-blocked", problem, "Older transactions keep the slot from being created.", "End them, or run setup with a longer --slot-timeout."},
		{"slot-other", problem, "The database is set up for a slot of another name.", "Use that name with --slot, or run `pgtee teardown --slot` with it."},
		{"slot-foreign", problem, "The slot belongs to another plugin or database.", "Choose another name with --slot."},
		{"slot-older", problem, "The slot is older than the publications: setup has not made it.", "Choose another name with --slot, or drop the slot if nobody needs it."},
	}},
	{"Tables", []Entry{
		{"table-uncaptured", warning, "UPDATE and DELETE of a table are not published, for it has no replica identity that serves.", "Add a primary key, or set REPLICA IDENTITY FULL."},
		{"table-unlisted", warning, "A table has a replica identity and is in no publication: its UPDATE and DELETE are not published.", "Run `pgtee setup`."},
		{"table-fails", warning, "A table is in a publication and has no identity: its UPDATE and DELETE fail.", "Run `pgtee setup`."},
		{"table-late", warning, "A table was captured late: of its UPDATE and DELETE some are not in the stream.", "Nothing: the publisher publishes the table afresh, unless --on-missed says otherwise."},
		{"table-locked", warning, "A table cannot be brought into, or out of, a publication while somebody locks it.", "End the transactions that the log names."},
		{"table-lost-key", warning, "A table has lost its key and has REPLICA IDENTITY FULL now.", "Give it a primary key."},
		{"table-key-generated", warning, "The replica identity has a generated column, which the log does not have before PostgreSQL 18: records have no key.", "Make that column a plain one, or take another unique index as REPLICA IDENTITY."},
		{"table-key-changed", warning, "The key of a table is another one from here on, or is not known any more.", "Take a new snapshot of the table with a signal of type resync."},
		{"table-unkeyed", problem, "A table has no key, and --no-allow-unkeyed refuses it.", "Add a primary key, name a key in the configuration, or exclude the table."},
		{"table-misfit", problem, "The configuration names columns, a key or a filter that a table does not have.", "Correct the configuration and start again."},
		{"tables-unmatched", warning, "The configuration names tables that are not there, or are not published.", "See whether they are spelt right."},
		{"changes-missed", problem, "UPDATEs and DELETEs of tables were not captured for some time.", "Start with --on-missed resync, which publishes the tables afresh, or warn."},
		{"changes-resynced", warning, "UPDATEs and DELETEs of tables were not captured for some time, or changes were lost: the tables are published afresh.", "Nothing; see why in the log."},
		{"coverage-unknown", warning, "The publisher cannot look at the publications, so tables without capture are not told of.", "See the error; the next turn tries again."},
		{"text-encoding", problem, "A row has bytes that stand for no character in the encoding of the database.", "Start with --source-encoding and the encoding that the text is in."},
		{"source-encoding", problem, "--source-encoding does not fit the database.", "Name the encoding that SHOW server_encoding prints or, for SQL_ASCII, that of the text."},
		{"value-undecodable", problem, "The server cannot send a value of the log as UTF-8.", "Correct the row, drop the slot, run `pgtee setup`, `pgtee repair --accept-divergence`, then copy what is missing."},
		{"change-unencodable", problem, "A change cannot be encoded.", "Exclude the table, or report the defect."},
		{"outbox-row-updated", warning, "A row of an outbox table was updated. Its event is in Kafka as it was inserted.", "Insert a new row for a new event."},
	}},
	{"History", []Entry{
		{"other-server", problem, "The progress record is of another server: one of both was restored, cloned, or re-pointed.", "Use another --prefix, or run `pgtee repair --accept-divergence`."},
		{"other-database", problem, "The progress record is of another database.", "Use another --prefix, or run `pgtee repair --accept-divergence`."},
		{"database-behind", problem, "The database has less history than Kafka: it was set back.", "Run `pgtee repair --accept-divergence`."},
		{"history-diverged", problem, "The server took over with less history than Kafka holds.", "Run `pgtee repair --accept-divergence`."},
		{"transactions-lost", problem, "The slot is ahead of Kafka: transactions between them are lost to the stream.", "Run `pgtee repair --accept-divergence`, which publishes every table afresh."},
		{"progress-lost", problem, "The progress topic is gone, or empty, and the slot has moved.", "Run `pgtee repair --accept-divergence`, which publishes every table afresh."},
		{"progress-newer", problem, "A newer pgtee wrote the progress record.", "Upgrade this program."},
		{"progress-unreadable", problem, "The progress record cannot be read.", "See what wrote to the progress topic; restore the record, or start over with another --prefix."},
		{"server-warning", problem, "The server warns on the replication connection that something of the stream is missing.", "Do what the warning says, then start the publisher again."},
	}},
	{"Kafka", []Entry{
		{"kafka-unreachable", problem, "Kafka does not answer, or refuses the login.", "See whether it runs, and whether --kafka, --kafka-tls and --kafka-sasl are right."},
		{"kafka-refuses", problem, "Kafka refuses a topic, a record or a transaction for good.", "Do what the message says."},
		{"kafka-privilege", problem, "The user lacks rights in Kafka.", "Grant what the message lists: WRITE, READ, DESCRIBE and DESCRIBE_CONFIGS on topics of the prefix, WRITE and DESCRIBE on the transactional id."},
		{"topics-missing", warning, "There are no topics of the prefix yet.", "Check again when the publisher has started."},
		{"topic-not-durable", warning, "A topic may lose what Kafka has confirmed when a broker fails.", "Give it 3 replicas, min.insync.replicas=2 and unclean.leader.election.enable=false."},
		{"topic-message-bytes", warning, "A topic takes smaller records than --max-record-bytes.", "Raise max.message.bytes of the topic."},
		{"topic-compacted", warning, "The topic of audit, DDL, transactions or dead letters is compacted: Kafka deletes records of it that have the same key.", "Set cleanup.policy=delete for the topic."},
		{"progress-topic", problem, "The progress topic is not compacted only, or has several partitions: the position in it expires, or is ambiguous.", "Set cleanup.policy=compact; with several partitions use another --prefix."},
		{"signal-topic", problem, "The topic of signals has more than one partition.", "Name another topic in --signal-topic."},
		{"signal-topic-unreadable", warning, "The topic of signals cannot be read.", "Grant READ on it."},
		{"topic-collision", problem, "Two tables share a topic.", "Exclude one of them, or give it a topic of its own in the configuration."},
		{"topic-own", warning, "A table has a topic of its own, for that of the template was not to be had.", "Choose another one in the configuration (tables: [{match, topic}])."},
		{"prefix-taken", problem, "The prefix belongs to another database.", "Use another --prefix, or run `pgtee repair --accept-divergence` if that database is published no more."},
		{"prefix-shared", warning, "Another database publishes under the same prefix: tables of the same name share their topics.", "Use another --prefix for one of them."},
		{"transaction-timeout", warning, "The brokers allow shorter transactions than the publisher asks for.", "Raise transaction.max.timeout.ms of the brokers to twice --part-after, or lower --part-after."},
		{"record-too-large", problem, "A record is larger than Kafka takes, and --record-too-large is halt.", "Raise max.message.bytes of the topic and --max-record-bytes, or start without --record-too-large halt."},
		{"dead-letters", warning, "Changes were too large for a record: the dead-letter topic has them.", "Read what is there; raise max.message.bytes and --max-record-bytes."},
		{"events-refused", warning, "Events of the application went to PREFIX.outbox.refused.", "See their headers; allow the topic with --event-topics."},
		{"fenced", warning, "Another publisher has taken over.", "Nothing if that was meant; else stop one of both."},
		{"publisher-retries", warning, "The publisher failed and tries again.", "See the error; nothing is lost meanwhile."},
		{"query-retries", warning, "`pgtee query` failed and tries again.", "See the error; a run is published whole or not at all."},
		{"registry-unreachable", problem, "The schema registry does not answer, or refuses the login.", "See whether --schema-registry and its credentials are right."},
		{"registry-refuses", problem, "The schema registry refuses.", "Do what the message says."},
		{"registry-incompatible", problem, "The schema registry refuses a schema as incompatible.", "Set the compatibility of the subject to NONE, start, set it back."},
		{"registry-schema-missing", problem, "The schema registry does not have a schema, and --no-auto-register is given.", "Register it, or start without --no-auto-register."},
	}},
	{"Snapshots", []Entry{
		{"snapshot-stopped", problem, "A snapshot with --snapshot only was stopped.", "Start again with other --snapshot-tables, or with --snapshot never."},
		{"snapshot-table-refused", warning, "A table cannot be read for a snapshot; the rest goes on.", "Do what the message says; it is tried again."},
		{"snapshot-failing", warning, "A snapshot cannot read; the stream goes on.", "See the error; it is tried again."},
		{"snapshot-slow", warning, "Rows are written faster than the snapshot copies them, so a part is read again.", "Nothing, unless it goes on for hours: copy the table when less is written."},
		{"snapshot-unmatched", warning, "A snapshot was asked for of tables that are not published.", "See whether they are spelt right."},
		{"signal-refused", warning, "A signal was refused.", "See the reason in the log."},
	}},
	{"Proxy", []Entry{
		{"key-missing", problem, "The file of the key is not there.", "Copy that of the other process, or make one: (umask 077; openssl rand -hex 32 > FILE)."},
		{"key-malformed", problem, "The file of the key does not hold one or two lines of 64 hex digits.", "Make one: (umask 077; openssl rand -hex 32 > FILE)."},
		{"key-readable", warning, "Other users can read the key of the notes, and so forge them.", "Run chmod 600 on it, and change the key."},
		{"outbox-question-refused", warning, "The server refused the proxy's question for the outbox: the session goes on without notes.", "See the SQLSTATE in the log."},
		{"outbox-not-ready", warning, "Sessions of a database get no notes.", "Run `pgtee setup`, or give the proxy --trust-owner, as the log says."},
		{"pooler-behind", warning, "The proxy talks to a pooler, which hides the clients.", "Put the pooler in front of the proxy."},
		{"note-failed", warning, "The server refused a note, so the client's write failed with it.", "See the SQLSTATE in the log; run `pgtee check`."},
		{"replies-lost", warning, "The server's replies do not match the requests: a session gets no more notes.", "Report the defect with the log."},
		{"logins-waiting", warning, "Clients wait, for too many others have not logged in yet.", "Raise --max-logins, or see who connects without logging in."},
		{"connections-silent", warning, "Connections that say nothing are closed, for others need their place.", "See who connects; raise --max-logins."},
		{"server-role-unknown", warning, "A server of the cluster does not tell its role: no session goes there.", "See whether it runs."},
		{"accept-failed", warning, "The proxy cannot accept connections.", "See the error: most often too few file descriptors (LimitNOFILE)."},
		{"sessions-cut", warning, "Sessions did not end within --drain and were cut off.", "Raise --drain, or end long transactions before an upgrade."},
		{"tls-files-refused", warning, "Changed TLS files cannot be used: the former certificate stays.", "See the error; correct the files."},
		{"configuration-refused", warning, "A changed configuration cannot be used: everything stays as it was.", "See the error; correct the file and send SIGHUP again."},
	}},
	{"Operation", []Entry{
		{"console-refused", warning, "Somebody asked the console for a page that only an admin may see.", "Nothing, or give that login the role admin."},
		{"console-login-failed", warning, "Somebody gave the console a wrong name or password.", "Nothing if that was a slip; else see from where, and let nobody but its users reach the address of --console."},
		{"publishing-stopped", problem, "The publisher waits for somebody to act.", "Do what the log, /readyz or `pgtee status` say; it goes on by itself within half a minute."},
		{"publisher-absent", problem, "Nobody holds the slot: nothing is published, and the server keeps its log.", "Start the publisher."},
		{"publisher-behind", warning, "What is committed is visible in Kafka late.", "See the runbook of PgteeLag."},
		{"unverified-notes", warning, "Notes were forged, altered, or sent again.", "See the runbook of PgteeUnverifiedNotes."},
		{"unattributed-writes", warning, "Many rows do not say who wrote them: they came past the proxy.", "See the runbook of PgteeUnattributedWrites."},
		{"kafka-slow", warning, "Transactions of Kafka take long.", "See the runbook of PgteeKafkaSlow."},
		{"apply-behind", warning, "The target of pgtee apply is behind Kafka.", "See the runbook of PgteeApplyLag."},
		{"apply-conflict", warning, "Changes did not fit to the target of pgtee apply.", "See pgtee.conflicts in the target, and the runbook of PgteeApplyConflicts."},
		{"target-down", problem, "pgtee is not to be scraped: it does not run, or cannot be reached.", "See the runbook of PgteeDown."},
		{"housekeeping-failed", warning, "The publisher could not look at the slot or tidy the outbox.", "See the error; the next turn tries again."},
		{"metrics-page", warning, "The page of metrics has failed.", "See the error; restart the process."},
		{"check-incomplete", problem, "Something could not be looked at.", "See the error, and check again."},
	}},
}
