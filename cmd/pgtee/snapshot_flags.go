package main

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// snapshotFlags configure when and how the publisher copies tables.
type snapshotFlags struct {
	Snapshot              string   `help:"Which tables to copy at startup: ${enum}. initial: all, when a slot is first published; only: all, then exit; when-needed: like initial, and also after changes were lost." enum:"initial,never,only,when-needed" default:"never"`
	SnapshotTables        []string `help:"Copy only these tables at startup: globs of schema.table." placeholder:"GLOB"`
	SnapshotReaders       int      `help:"Number of connections that read tables." default:"${snapshot_readers}"`
	SnapshotRowsPerSecond int      `name:"snapshot-rows-per-second" help:"Maximum number of rows copied per second; 0: no limit." default:"0" placeholder:"N"`
	SignalTopic           string   `help:"Also accept requests for snapshots from this topic, such as PREFIX.signal; the key of such a record is the prefix. Everybody who can write to the topic can request snapshots." placeholder:"TOPIC"`
	SnapshotTrustOwner    []string `help:"Roles whose functions may run with the publisher's privileges: indexes of copied tables may call them, in addition to functions of superusers and of the publisher's own role." placeholder:"ROLE"`
	SnapshotMaxLagBytes   int64    `name:"snapshot-max-lag-bytes" help:"Bytes of WAL by which the stream may lag behind what was copied; above that the copy waits. 0: no limit." default:"0" placeholder:"BYTES"`
}

func (f snapshotFlags) snapshot(s source, encoding string, rowBytes int) snapshot.Config {
	return snapshot.Config{
		Mode:          snapshot.Mode(f.Snapshot),
		Tables:        f.SnapshotTables,
		Readers:       f.SnapshotReaders,
		RowsPerSecond: f.SnapshotRowsPerSecond,
		MaxLagBytes:   f.SnapshotMaxLagBytes,
		Open: func() snapshot.TableReader {
			return outbox.OpenTableReader(s.connString, encoding, rowBytes, f.SnapshotTrustOwner)
		},
	}
}
