package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

// Config says when tables are copied, and how fast. Zero values have the meaning in brackets.
type Config struct {
	Mode   Mode
	Tables []string // globs of what the copy at the start is of [every published table]

	// Open connects to where the tables are read. nil: there are no snapshots, and signals are refused.
	Open func() TableReader

	Readers       int   // connections that read at the same time [2]
	RowsPerSecond int   // throttle [none]
	MaxLagBytes   int64 // of log that the stream may be behind what was read; above it nothing more is read [no limit]

	run             string // names the copy of SnapshotOnly: unlike in every other run
	MaxHeldBytes    int    // of chunks that wait [32 MiB]
	MaxOverlayBytes int    // [64 MiB]
	MaxMovedBytes   int    // of keys of moved rows in the progress record [64 KiB]
	LongMovedBytes  int    // of those: from there on they are read before the rest of the table [a quarter]
}

// DefaultReaders is what the zero value of Readers stands for.
const DefaultReaders = 2

// SetDefaults sets what the zero values stand for.
func (c *Config) SetDefaults() {
	c.Mode = cmp.Or(c.Mode, Never)
	c.run = cmp.Or(c.run, onlyPrefix+time.Now().UTC().Format("20060102T150405.000"))
	c.Readers = cmp.Or(c.Readers, DefaultReaders)
	c.MaxHeldBytes = cmp.Or(c.MaxHeldBytes, 32<<20)
	c.MaxOverlayBytes = cmp.Or(c.MaxOverlayBytes, 64<<20)
	c.MaxMovedBytes = cmp.Or(c.MaxMovedBytes, 64<<10)
	c.LongMovedBytes = cmp.Or(c.LongMovedBytes, c.MaxMovedBytes/4)
}

// onlyPrefix begins the id of each copy of mode Only.
const onlyPrefix = "only-"

// Mode says which copies a publisher requests by itself.
type Mode string

const (
	Initial    Mode = "initial"     // all, the first time that a slot is published: if there is no position
	Never      Mode = "never"       // nothing
	Only       Mode = "only"        // all, now, and then end
	WhenNeeded Mode = "when-needed" // as initial, and after changes were lost between Kafka and the slot
)

// Mends reports whether a snapshot of every table makes up for a halt.
func (c *Config) Mends(err error) bool {
	return c.Mode == WhenNeeded && c.Open != nil && (errors.Is(err, halt.ErrGap) || errors.Is(err, halt.ErrProgressLost))
}

// ErrTaken ends a publisher of mode Only after its snapshot.
var ErrTaken = errors.New("the snapshot is taken")

var snapshotModes = []Mode{Initial, Never, Only, WhenNeeded}

// ParseMode reads "initial", "never", "only" or "when-needed".
func ParseMode(name string) (Mode, error) {
	if slices.Contains(snapshotModes, Mode(name)) {
		return Mode(name), nil
	}
	return "", fmt.Errorf("snapshot mode %q: want initial, never, only or when-needed", name)
}

// TableReader reads tables in the background. The results of its tasks arrive in Results, in order for each task. *outbox.TableReader is one,
// the simulation has another.
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
