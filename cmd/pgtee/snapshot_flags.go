package main

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// snapshotFlags configure when and how the publisher copies tables.
type snapshotFlags struct {
	Snapshot              string   `help:"What is copied at the start: initial (every table, the first time), never, only (every table, then end), when-needed (as initial, and after changes were lost): ${enum}." enum:"initial,never,only,when-needed" default:"never"`
	SnapshotTables        []string `help:"Globs of schema.table that are copied at the start." placeholder:"GLOB"`
	SnapshotReaders       int      `help:"Connections that read tables." default:"${snapshot_readers}"`
	SnapshotRowsPerSecond int      `name:"snapshot-rows-per-second" help:"Rows that are copied per second; 0: as fast as it goes." default:"0" placeholder:"N"`
	SignalTopic           string   `help:"Obey requests for snapshots that are records of this topic, too, such as PREFIX.signal; their key is the prefix. Who may ask is who may write into it." placeholder:"TOPIC"`
	SnapshotTrustOwner    []string `help:"Roles whose functions may run with the publisher's rights: those that indexes of copied tables call, beside functions of superusers and of the publisher's own role." placeholder:"ROLE"`
	SnapshotMaxLagBytes   int64    `name:"snapshot-max-lag-bytes" help:"Bytes of log that the stream may be behind what was copied; above that the copy waits. 0: no limit." default:"0" placeholder:"BYTES"`
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
