package publisher

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

// SnapshotConfig says when tables are copied, and how fast. Zero values have the meaning in brackets.
type SnapshotConfig struct {
	Mode   SnapshotMode
	Tables []string // globs of what the copy at the start is of [every published table]

	// Open connects to where the tables are read. nil: there are no snapshots, and signals are refused.
	Open func() TableReader

	Readers       int   // connections that read at the same time [2]
	RowsPerSecond int   // throttle [none]
	MaxLagBytes   int64 // of log that the stream may be behind what was read; above it nothing more is read [no limit]

	run             string // names the copy of SnapshotOnly: unlike in every other run
	maxHeldBytes    int    // of chunks that wait [32 MiB]
	maxOverlayBytes int    // [64 MiB]
	maxMovedBytes   int    // of keys of moved rows in the progress record [64 KiB]
	longMovedBytes  int    // of those: from there on they are read before the rest of the table [a quarter]
}

// SetDefaults sets what the zero values stand for.
func (c *SnapshotConfig) SetDefaults() {
	c.Mode = cmp.Or(c.Mode, SnapshotNever)
	c.run = cmp.Or(c.run, onlyPrefix+time.Now().UTC().Format("20060102T150405.000"))
	c.Readers = cmp.Or(c.Readers, 2)
	c.maxHeldBytes = cmp.Or(c.maxHeldBytes, 32<<20)
	c.maxOverlayBytes = cmp.Or(c.maxOverlayBytes, 64<<20)
	c.maxMovedBytes = cmp.Or(c.maxMovedBytes, 64<<10)
	c.longMovedBytes = cmp.Or(c.longMovedBytes, c.maxMovedBytes/4)
}

// onlyPrefix begins the name of each copy of SnapshotOnly.
const onlyPrefix = "only-"

// SnapshotMode says what a publisher copies by itself.
type SnapshotMode string

const (
	SnapshotInitial    SnapshotMode = "initial"     // all, the first time that a slot is published: if there is no position
	SnapshotNever      SnapshotMode = "never"       // nothing
	SnapshotOnly       SnapshotMode = "only"        // all, now, and then end
	SnapshotWhenNeeded SnapshotMode = "when-needed" // as initial, and after changes were lost between Kafka and the slot
)

// mends says whether a snapshot of everything makes up for a halt.
func (c *SnapshotConfig) mends(err error) bool {
	return c.Mode == SnapshotWhenNeeded && c.Open != nil && (errors.Is(err, ErrGap) || errors.Is(err, ErrProgressLost))
}

// errSnapshotTaken ends a publisher that was to take one snapshot only.
var errSnapshotTaken = errors.New("the snapshot is taken")

var snapshotModes = []SnapshotMode{SnapshotInitial, SnapshotNever, SnapshotOnly, SnapshotWhenNeeded}

// ParseSnapshotMode reads "initial", "never", "only" or "when-needed".
func ParseSnapshotMode(name string) (SnapshotMode, error) {
	if slices.Contains(snapshotModes, SnapshotMode(name)) {
		return SnapshotMode(name), nil
	}
	return "", fmt.Errorf("snapshot mode %q: want initial, never, only or when-needed", name)
}

// TableReader reads tables in the background. What comes of its tasks, in their order for each, arrives in Results;
// *outbox.TableReader is one, the simulation has another.
type TableReader interface {
	// Begin waits until every transaction that has written its commit record by now is visible to new snapshots.
	Begin(task int)
	// Describe describes tables of the stream as they are now; one that is gone is left out.
	Describe(task int, tables []uint32)
	// List lists the published tables in the order of their OIDs, partitioned ones by their leaves.
	List(task int)
	// Read reads the rows of a span.
	Read(span outbox.Span)
	// Nudge makes the server send the end of its log.
	Nudge(task int)
	Results() <-chan outbox.Reading
	Close()
}
