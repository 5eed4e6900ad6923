package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// encoder writes records to a file. It must not keep a record after the call. add returns the length of the line that it has written; 0: it writes none.
type encoder interface {
	add(number int64, e *apply.Event) (line int, err error)
	close() error
}

// stream is the part of apply.Events that is needed here.
type stream interface {
	Next(context.Context) (e apply.Event, ok bool, err error)
	Whole() bool
	Mark() apply.Mark
	Published() LSN
}

// writer writes events to files, one after another. It runs on one goroutine.
type writer struct {
	*archiver
	manifest *manifest
	events   stream
	open     *openFile // nil: no file is open
	looked   time.Time // when old files were last removed
}

// run archives until ctx ends.
func (w *writer) run(ctx context.Context) error {
	for {
		e, ok, err := w.events.Next(ctx)
		if err != nil {
			return w.end(err, ctx.Err())
		}
		if !ok {
			if done, err := w.caughtUp(); err != nil || done {
				return err
			}
			continue
		}
		if w.open.endsBefore(&e) {
			if stopped := ctx.Err(); stopped != nil || w.open.full(w.cfg) {
				if err := w.commit(); err != nil || stopped != nil {
					return cmp.Or(err, stopped)
				}
			}
		}
		if err := w.add(&e); err != nil {
			return err
		}
	}
}

// caughtUp is called when everything published has been taken: it ends the open file if the file is old enough or the archive is complete. If there is
// no file yet, it records how far the topics were read: Kafka may then delete what is before.
func (w *writer) caughtUp() (done bool, err error) {
	w.cfg.Stats.published(w.events.Published())
	done = w.once > 0 && w.events.Published() >= w.once
	if w.open != nil && (done || w.open.full(w.cfg)) {
		if err := w.commit(); err != nil {
			return false, err
		}
	}
	if w.open == nil && w.manifest.records == 0 && !w.manifest.mark.Exact {
		mark := w.events.Mark()
		if err := w.manifest.append(Line{Mark: &mark}); err != nil {
			return false, err
		}
		w.cfg.Stats.committed(w.manifest)
	}
	if time.Since(w.looked) > time.Minute {
		w.looked = time.Now()
		return done, w.retain()
	}
	return done, nil
}

// end finishes the open file before an orderly stop, if it holds whole transactions.
func (w *writer) end(err, stopped error) error {
	if stopped == nil || !errors.Is(err, stopped) || w.open == nil || !w.events.Whole() {
		return err
	}
	return cmp.Or(w.commit(), err)
}

func (w *writer) add(e *apply.Event) (err error) {
	if w.open == nil {
		if w.open, err = w.create(e.Commit); err != nil {
			return err
		}
	}
	o := w.open
	if !e.Snapshot && (e.Commit != o.last || o.records == 0) {
		o.transactions++
	}
	o.last = e.Commit
	number := o.number + o.records
	o.records++
	line, err := o.encoder.add(number, e)
	if line > objectBytes {
		o.longest = max(o.longest, line)
	}
	return err
}

func (w *writer) create(first LSN) (*openFile, error) {
	file, err := w.folder.create(unfinished + suffixes[w.cfg.Format])
	if err != nil {
		return nil, err
	}
	o := &openFile{file: file, hash: sha256.New(), began: time.Now(), from: w.manifest.mark.EndLSN, number: w.manifest.records + 1, first: first}
	if o.encoder, err = newEncoder(w.cfg.Format, o); err != nil {
		_ = file.Close()
		return nil, err
	}
	return o, nil
}

// commit finishes the open file before the latest event and makes it valid: encode, sync, rename, sync the folder, append a line.
func (w *writer) commit() error {
	o, mark := w.open, w.events.Mark()
	w.open = nil
	if err := o.encoder.close(); err != nil {
		_ = o.file.Close()
		return err
	}
	f := File{
		Name: fileName(w.cfg.Format, o.first, o.last, o.number), Bytes: o.bytes.Load(), SHA256: hex.EncodeToString(o.hash.Sum(nil)),
		First: o.number, Records: o.records, Transactions: o.transactions, From: o.from, Ends: mark, Longest: o.longest,
	}
	if err := w.folder.publish(o.file, f.Name); err != nil {
		return err
	}
	longest := w.manifest.longest
	if err := w.manifest.append(Line{File: &f}); err != nil {
		return err
	}
	if w.manifest.longest > longest {
		if err := w.folder.writeViews(w.manifest); err != nil {
			return err
		}
	}
	w.cfg.Source.Log.Debug("a file is archived", zap.String("file", f.Name), zap.Int64("records", f.Records), zap.Stringer("lsn", mark.EndLSN))
	w.cfg.Stats.committed(w.manifest)
	return w.retain()
}

// retain removes the oldest files as configured, but never the newest. The line about the removal is written first.
func (w *writer) retain() error {
	names := w.manifest.expired(w.cfg, time.Now())
	if len(names) == 0 {
		return nil
	}
	if err := w.manifest.append(Line{Removed: names}); err != nil {
		return err
	}
	for _, name := range names {
		if err := w.folder.remove(name); err != nil {
			return err
		}
	}
	w.cfg.Source.Log.Info("old files are removed according to the retention", zap.Int("files", len(names)), zap.Stringer("begins", w.manifest.begins))
	w.cfg.Stats.committed(w.manifest)
	return nil
}

// expired returns the files that exceed the maximum age or total size.
func (m *manifest) expired(cfg *Config, now time.Time) (names []string) {
	bytes := m.bytes()
	for i := range len(m.files) - 1 {
		f := &m.files[i]
		tooOld := cfg.KeepFor > 0 && now.Sub(m.written[f.Name]) > cfg.KeepFor
		tooMuch := cfg.Keep > 0 && bytes > cfg.Keep
		if !tooOld && !tooMuch {
			break
		}
		names = append(names, f.Name)
		bytes -= f.Bytes
	}
	return names
}

// abandon leaves the open file to the next session, which removes it.
func (w *writer) abandon() {
	if w.open != nil {
		_ = w.open.encoder.close()
		_ = w.open.file.Close()
	}
}

// openFile is a file that is being written.
type openFile struct {
	file         *os.File
	hash         hash.Hash
	bytes        atomic.Int64 // the encoder may write from another goroutine
	encoder      encoder
	began        time.Time
	from         LSN   // end of the archive without this file
	number       int64 // number of its first record
	records      int64
	transactions int64
	longest      int // see File
	first, last  LSN // commit LSNs
}

// Write writes the output of the encoder.
func (o *openFile) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	o.bytes.Add(int64(n))
	o.hash.Write(p[:n])
	if err != nil {
		return n, unwritable(err)
	}
	return n, nil
}

// endsBefore reports whether the file may end before an event: then no transaction has records on both sides.
func (o *openFile) endsBefore(e *apply.Event) bool {
	return o != nil && (e.Commit != o.last || e.Snapshot)
}

// full reports whether the file has reached its maximum size or age.
func (o *openFile) full(cfg *Config) bool {
	return o.bytes.Load() >= cfg.Bytes || time.Since(o.began) >= cfg.After
}
