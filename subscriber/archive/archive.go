// Package archive stores a stream as files: whole transactions in the order of the source's commits, each event once, in a folder whose manifest
// lists the valid files. See docs/archive.md.
package archive

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/apply"
)

// LSN is a position in the WAL of the source.
type LSN = apply.LSN

// Halt is an error on which an operator must decide.
type Halt = apply.Halt

// Config says what to read and how to store it.
type Config struct {
	Source  apply.Config // brokers, prefix, slot, topics, Avro, FromEnd, Once, Log; the other fields are not used
	Dir     string
	Format  Format
	Bytes   int64         // approximate size of a file: it ends with the transaction that exceeds it
	After   time.Duration // maximum age of an unfinished file
	KeepFor time.Duration // how long finished files are kept; 0: forever
	Keep    int64         // total size of files to keep, removing the oldest; 0: unlimited
	Stats   *Stats
}

// Format is the format of the files.
type Format string

const (
	JSONLines Format = "jsonl"   // compressed with zstd
	Parquet   Format = "parquet" // compressed with zstd
)

// Run archives until ctx ends, which is not an error, until an operator must act (Halt) or, with Once, until the archive holds what Kafka held at the
// start. After any other error it retries from the end of the manifest.
func Run(ctx context.Context, cfg Config) error {
	folder, err := openFolder(cfg.Dir)
	if err != nil {
		return err
	}
	defer folder.close()
	a := archiver{cfg: &cfg, folder: folder}
	var patience apply.Patience
	for {
		began := time.Now()
		err := a.session(ctx)
		if err == nil || err == ctx.Err() {
			return nil
		}
		cfg.Stats.state("retrying")
		if err := patience.Again(ctx, err, time.Since(began), cfg.Source.Log); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// archiver is the state that outlives a session.
type archiver struct {
	cfg    *Config
	folder *folder
	once   LSN // with Config.Source.Once: the position of Kafka at the start
}

// session is the single path for start and recovery: remove files that the manifest does not name, continue from its end.
func (a *archiver) session(ctx context.Context) error {
	a.cfg.Stats.state("connecting")
	source := a.cfg.Source
	m, err := a.manifest(ctx, source)
	if err != nil {
		return err
	}
	defer m.close()
	if err := a.folder.clean(m); err != nil {
		return err
	}
	if err := a.folder.writeViews(m); err != nil { // an earlier build, or a crash, may have left others, or none
		return err
	}
	source.Slot = m.header.Slot
	events, err := apply.Read(ctx, source, m.mark, m.header.Begins)
	if err != nil {
		return err
	}
	defer events.Close()
	if source.Once && a.once == 0 {
		a.once = events.Published()
	}
	a.cfg.Stats.begin(m)
	a.cfg.Source.Log.Info("archiving", zap.String("dir", a.cfg.Dir), zap.Stringer("from", m.mark.EndLSN), zap.Int64("records", m.records), zap.Stringer("published", events.Published()))
	w := writer{archiver: a, manifest: m, events: events}
	defer w.abandon()
	return w.run(ctx)
}

// manifest opens the manifest of the folder, and starts one if there is none.
func (a *archiver) manifest(ctx context.Context, source apply.Config) (*manifest, error) {
	m, err := openManifest(a.folder)
	if err != nil {
		return nil, err
	}
	if m.header != nil {
		if err := m.header.matches(a.cfg); err != nil {
			m.close()
			return nil, err
		}
		return m, nil
	}
	newest, err := apply.Newest(ctx, source)
	if err == nil {
		header := Header{Prefix: source.Prefix, Slot: newest.Slot, SystemID: newest.SystemID, Database: newest.Database, Format: a.cfg.Format}
		if source.FromEnd {
			header.Begins, header.Start = newest.EndLSN, &newest
		}
		err = m.begin(header)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// matches returns an error if an existing archive does not match the configuration.
func (h *Header) matches(cfg *Config) error {
	switch {
	case h.Prefix != cfg.Source.Prefix:
		return Halt{What: fmt.Sprintf("%s is an archive of prefix %s, not %s", cfg.Dir, h.Prefix, cfg.Source.Prefix), Repair: "name another folder with --out"}
	case cfg.Source.Slot != "" && h.Slot != cfg.Source.Slot:
		return Halt{What: fmt.Sprintf("%s is an archive of slot %s, not %s", cfg.Dir, h.Slot, cfg.Source.Slot), Repair: "name another folder with --out"}
	case h.Format != cfg.Format:
		return Halt{What: fmt.Sprintf("the files of %s are %s, not %s", cfg.Dir, h.Format, cfg.Format), Repair: "continue with --format " + string(h.Format) + ", or name another folder with --out"}
	}
	return nil
}
