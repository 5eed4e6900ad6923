package apply

import "maps"

// Mark is a cut through a stream between two commits: everything that committed before EndLSN stands before the offsets.
type Mark struct {
	EndLSN   LSN    `json:"end_lsn"`
	Timeline int32  `json:"timeline"`
	SystemID string `json:"system_id"`
	Database string `json:"database"`
	Slot     string `json:"slot"`

	Offsets map[string][]int64 `json:"offsets"` // by topic and partition, of the next record
	Topics  map[string]string  `json:"topics"`  // ids

	Exact  bool     `json:"exact"`  // Copies are known
	Copies []string `json:"copies"` // ids of the snapshots that go on
	Copied bool     `json:"copied"` // there has been a snapshot
}

// markOf is a cut where a publisher's position says that there is one.
func markOf(p *progress, source stream) Mark {
	m := Mark{
		EndLSN: p.EndLSN, Timeline: p.Timeline, SystemID: p.SystemID, Database: p.Database, Slot: p.Slot,
		Offsets: source.taken(), Topics: maps.Clone(source.topics()), Exact: true,
		Copied: p.hasCopied(),
	}
	for _, c := range p.Snapshots.Copies {
		m.Copies = append(m.Copies, c.ID)
	}
	return m
}

// position is that of a stream that goes on at the mark.
func (m *Mark) position() position {
	return position{end: m.EndLSN, systemID: m.SystemID, timeline: m.Timeline, offsets: maps.Clone(m.Offsets), topics: maps.Clone(m.Topics), fresh: m.SystemID == ""}
}

// progress is the mark as a publisher would have recorded it.
func (m *Mark) progress() *progress {
	p := &progress{Version: newestProgress, Timeline: m.Timeline, EndLSN: m.EndLSN, SystemID: m.SystemID, Database: m.Database, Slot: m.Slot, copied: m.Copied || !m.Exact, inexact: !m.Exact}
	for _, id := range m.Copies {
		p.Snapshots.Copies = append(p.Snapshots.Copies, copyID{id})
	}
	return p
}

// copyID names a snapshot.
type copyID struct{ ID string }
