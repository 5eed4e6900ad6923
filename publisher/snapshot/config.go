package snapshot

import (
	"cmp"
	"errors"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

// Config says when tables are copied, and how fast. The meaning of a zero value is given in brackets.
type Config struct {
	Mode   Mode
	Tables []string // globs of the tables that the copy at the start includes [every published table]

	// Open connects to the database from which the tables are read. nil: there are no snapshots, and signals are refused.
	Open func() TableReader

	Readers       int   // number of connections that read concurrently [2]
	RowsPerSecond int   // limit [none]
	MaxLagBytes   int64 // WAL that the stream may be behind the reads; above it, reading pauses [no limit]

	run             string // id of the copy of mode Only, unique to this run
	MaxHeldBytes    int    // of waiting chunks [32 MiB]
	MaxOverlayBytes int    // [64 MiB]
	MaxMovedBytes   int    // of the keys of moved rows in the progress record [64 KiB]
	LongMovedBytes  int    // size of these keys above which the rows are read before the rest of the table [a quarter]
}

// DefaultReaders is the value used if Readers is zero.
const DefaultReaders = 2

// SetDefaults replaces zero values by the defaults.
func (c *Config) SetDefaults() {
	c.Mode = cmp.Or(c.Mode, Never)
	c.run = cmp.Or(c.run, onlyPrefix+time.Now().UTC().Format("20060102T150405.000"))
	c.Readers = cmp.Or(c.Readers, DefaultReaders)
	c.MaxHeldBytes = cmp.Or(c.MaxHeldBytes, 32<<20)
	c.MaxOverlayBytes = cmp.Or(c.MaxOverlayBytes, 64<<20)
	c.MaxMovedBytes = cmp.Or(c.MaxMovedBytes, 64<<10)
	c.LongMovedBytes = cmp.Or(c.LongMovedBytes, c.MaxMovedBytes/4)
}

// onlyPrefix is the prefix of the id of each copy of mode Only.
const onlyPrefix = "only-"

// Mode says which copies a publisher requests by itself.
type Mode string

const (
	Initial    Mode = "initial"     // all tables, the first time that a slot is published: if there is no position
	Never      Mode = "never"       // no copy
	Only       Mode = "only"        // all tables, now; then the publisher ends
	WhenNeeded Mode = "when-needed" // like initial, and also after changes were lost between Kafka and the slot
)

// Mends reports whether a snapshot of every table repairs the cause of a halt.
func (c *Config) Mends(err error) bool {
	return c.Mode == WhenNeeded && c.Open != nil && (errors.Is(err, halt.ErrGap) || errors.Is(err, halt.ErrProgressLost))
}

// ErrTaken ends a publisher of mode Only when its snapshot is complete.
var ErrTaken = errors.New("the snapshot is taken")

// TableReader reads tables in the background. The results of its tasks arrive in Results, in order for each task. It is implemented by
// *outbox.TableReader and by the simulation.
type TableReader interface {
	// Begin waits until every transaction that has written its commit record by now is visible to new snapshots.
	Begin(task int)
	// Describe describes the tables that the stream names for these ones, as they are now, and says which of these cannot be read. A table that no
	// longer exists is left out.
	Describe(task int, tables []outbox.ListedTable)
	// List lists the published tables in the order of their OIDs, partitioned tables by their leaves.
	List(task int)
	// Read reads the rows of a span.
	Read(span outbox.Span)
	// Nudge makes the server send its current WAL position.
	Nudge(task int)
	Results() <-chan outbox.Reading
	Close()
}
