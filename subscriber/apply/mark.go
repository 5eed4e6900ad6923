package apply

import (
	"maps"
	"slices"
	"time"

	"github.com/pgtee/pgtee/publisher/record"
)

// Mark is a cut through a stream between two commits: the records of all transactions that committed before EndLSN precede the offsets.
type Mark struct {
	EndLSN   LSN         `json:"end_lsn"`
	Timeline int32       `json:"timeline"`
	SystemID string      `json:"system_id"`
	Database string      `json:"database"`
	Slot     string      `json:"slot"`
	Cuts     record.Cuts `json:"cuts,omitempty"`

	Offsets map[string][]int64 `json:"offsets"` // of the next record, by topic and partition
	Topics  map[string]string  `json:"topics"`  // topic ids

	Exact  bool     `json:"exact"`  // whether Copies and CommitTime are known
	Copies []string `json:"copies"` // ids of the running snapshots
	Copied bool     `json:"copied"` // there has been a snapshot

	CommitTime time.Time `json:"commit_time,omitzero"` // of the last transaction
	Finished   []copyID  `json:"finished,omitempty"`   // the last snapshots that have ended, newest last
}

// markOf returns the mark at the position of a publisher.
func markOf(p *progress, source stream) Mark {
	m := Mark{
		EndLSN: p.EndLSN, Timeline: p.Timeline, SystemID: p.SystemID, Database: p.Database, Slot: p.Slot, Cuts: p.Cuts,
		Offsets: source.taken(), Topics: maps.Clone(source.topics()), Exact: true,
		Copied: p.hasCopied(), CommitTime: p.CommitTime, Finished: p.Snapshots.Finished,
	}
	for _, c := range p.Snapshots.Copies {
		m.Copies = append(m.Copies, c.ID)
	}
	return m
}

// position returns the position of a stream that continues at the mark.
func (m *Mark) position() position {
	return position{end: m.EndLSN, systemID: m.SystemID, slot: m.Slot, timeline: m.Timeline, cuts: len(m.Cuts), offsets: maps.Clone(m.Offsets), topics: maps.Clone(m.Topics), fresh: m.SystemID == ""}
}

// progress returns the mark in the form in which a publisher would have recorded it.
func (m *Mark) progress() *progress {
	p := &progress{Version: newestProgress, Timeline: m.Timeline, EndLSN: m.EndLSN, SystemID: m.SystemID, Database: m.Database, Slot: m.Slot, Cuts: m.Cuts, CommitTime: m.CommitTime, copied: m.Copied || !m.Exact, inexact: !m.Exact}
	p.Snapshots.Finished = m.Finished
	for _, id := range m.Copies {
		p.Snapshots.Copies = append(p.Snapshots.Copies, copyID{ID: id})
	}
	return p
}

// copyID identifies a snapshot, and says when it ended, by the clock of the publisher.
type copyID struct {
	ID       string    `json:"id"`
	Finished time.Time `json:"finished,omitzero"`
}

// isIn reports whether a snapshot is in a list that was recorded earlier. It may have been running then. An id may be used again.
func (c copyID) isIn(known []copyID) bool {
	return slices.ContainsFunc(known, func(k copyID) bool { return k.ID == c.ID && (k.Finished.IsZero() || k.Finished.Equal(c.Finished)) })
}
