package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// Archive is a stream that is stored outside Kafka.
type Archive interface {
	// Held returns the marks at its start and end. whole reports whether none of its records have been removed.
	Held() (begins, ends Mark, whole bool)

	// Open reads records in the order of the source's commits up to the end of the archive: at least all records that committed at or after position.
	Open(position LSN) (Records, error)
}

// Records is a sequence of records with their places in Kafka and their headers. Next returns io.EOF after the last one. A record is not modified
// after Next has returned it.
type Records interface {
	Next() (*kgo.Record, error)
	Close() error
}

// fromArchive applies the records of an archive.
func (r *runner) fromArchive(ctx context.Context, t *target) (done bool, err error) {
	begins, ends, whole := r.cfg.Archive.Held()
	first := ends.progress()
	p, err := r.begin(ctx, t, first)
	if err == nil {
		err = reaches(&p, &begins, &ends, whole)
	}
	if err != nil {
		return false, err
	}
	if p.fresh && begins.EndLSN > 0 {
		r.cfg.Log.Warn("the archive does not begin with the topics: rows that nothing in it writes will be missing", zap.Stringer("begins", begins.EndLSN))
	}
	records, err := r.cfg.Archive.Open(p.end)
	if err != nil {
		return false, err
	}
	defer records.Close()
	a := r.assembler(newFiles(r.cfg, records, &p, &ends), t, &p, first)
	a.mark, a.once = first, first.EndLSN
	return r.work(ctx, t, a, first)
}

// reaches returns an error unless the archive has everything after a position.
func reaches(p *position, begins, ends *Mark, whole bool) error {
	if ends.EndLSN == begins.EndLSN {
		return Halt{"the archive is empty", "let `pgtee archive` run until it has written a file"}
	}
	if p.fresh && !whole || !p.fresh && p.end < begins.EndLSN {
		return Halt{fmt.Sprintf("the archive begins at %s, the target is at %s: what committed between them was removed", begins.EndLSN, p.end),
			"restore an older copy of the archive into an empty target"}
	}
	for topic, id := range ends.Topics {
		if known := p.topics[topic]; known != "" && known != id {
			return Halt{fmt.Sprintf("topic %s of the archive is not the one that was applied: it was re-created", topic), "apply the archive into an empty target"}
		}
	}
	return nil
}

// files is the stream of an archive.
type files struct {
	records Records
	ends    *Mark
	ddl     string // name of the DDL topic
	applied map[string][]int64
	offsets map[string][]int64
	origins map[string]*partition // by topic: holds the table hint of its records
	commit  LSN

	next  event
	ready bool
	ended bool
	err   error
}

func newFiles(cfg *Config, records Records, p *position, ends *Mark) *files {
	offsets := map[string][]int64{}
	for topic, list := range p.offsets {
		offsets[topic] = slices.Clone(list)
	}
	return &files{records: records, ends: ends, ddl: topicName(cfg.Prefix, "ddl"), applied: p.offsets, offsets: offsets, origins: map[string]*partition{}}
}

func (f *files) peek() (event, bool) {
	for !f.ready && !f.ended && f.err == nil {
		record, err := f.records.Next()
		switch {
		case errors.Is(err, io.EOF):
			f.ended = true
		case err != nil:
			f.err = err
		case record.Offset >= firstNew(f.applied, record):
			f.err = f.place(record)
		}
	}
	return f.next, f.ready
}

// place makes an event of a record. A row read by a snapshot follows everything published before it.
func (f *files) place(record *kgo.Record) error {
	id, found, err := idOf(record)
	if err != nil || !found {
		return Halt{fmt.Sprintf("%s in the archive: no event id (%v)", placeOf(record), err), "run `pgtee archive --verify` on the folder"}
	}
	from := f.origins[record.Topic]
	if from == nil {
		from = &partition{topic: record.Topic, ddl: record.Topic == f.ddl}
		f.origins[record.Topic] = from
	}
	f.next, f.ready = event{place: id.place, snapshot: id.snapshot, record: record, from: from}, true
	if id.snapshot != nil {
		f.next.commit = max(f.next.commit, f.commit)
	}
	f.commit = f.next.commit
	return nil
}

func (f *files) take() {
	record := f.next.record
	list := f.offsets[record.Topic]
	for len(list) <= int(record.Partition) {
		list = append(list, 0)
	}
	list[record.Partition] = record.Offset + 1
	f.offsets[record.Topic] = list
	f.next, f.ready = event{}, false
}

// firstNew returns the offset from which on records of the partition have not been applied.
func firstNew(offsets map[string][]int64, record *kgo.Record) int64 {
	if list := offsets[record.Topic]; int(record.Partition) < len(list) {
		return list[record.Partition]
	}
	return 0
}

func (f *files) drained() bool {
	_, more := f.peek()
	return !more && f.err == nil
}

func (f *files) taken() map[string][]int64 {
	if f.drained() {
		return maps.Clone(f.ends.Offsets)
	}
	offsets := map[string][]int64{}
	for topic, list := range f.offsets {
		offsets[topic] = slices.Clone(list)
	}
	return offsets
}

func (f *files) topics() map[string]string { return f.ends.Topics }
func (f *files) broken() error             { return f.err }
