package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
	"github.com/pgtee/pgtee/subscriber/apply"
	"github.com/pgtee/pgtee/subscriber/archive"
)

// archiveCommand stores the stream of a publisher in files.
type archiveCommand struct {
	logged
	Kafka         []string `help:"Brokers to contact first." placeholder:"HOST:PORT" group:"Kafka"`
	topicFlags    `group:"Kafka"`
	registryFlags `group:"Kafka"`

	Out           string        `help:"Folder of the archive; created if it does not exist." type:"path" placeholder:"DIR"`
	Slot          string        `help:"Slot of the publisher; needed only if several have used the prefix." placeholder:"NAME"`
	Topics        []string      `help:"Further topics of tables, if their names do not begin with the prefix." placeholder:"TOPIC"`
	DeletedTopics []string      `help:"Continue although these topics, which were read before, were deleted. Records in them that were not archived are missing." placeholder:"TOPIC"`
	Format        string        `help:"Format of the files: ${enum}. jsonl: JSON lines, compressed with zstd." enum:"jsonl,parquet" default:"jsonl" env:"PGTEE_ARCHIVE_FORMAT"`
	From          string        `help:"Where a new archive begins: ${enum}." enum:"beginning,end" default:"beginning"`
	Once          bool          `help:"Exit once everything that is in Kafka at the start has been archived."`
	FileBytes     byteSize      `help:"End a file after the transaction that makes it larger than this." default:"256MB" placeholder:"SIZE"`
	FlushAfter    time.Duration `help:"End a file that is older than this: before the next transaction, or when the publisher's position shows that the last one is complete." default:"1m" placeholder:"TIME"`
	RetainFor     time.Duration `help:"Remove files that ended longer ago than this; 0: never." default:"0" placeholder:"TIME"`
	RetainBytes   byteSize      `help:"Remove the oldest files when all files together are larger than this." placeholder:"SIZE"`
	Metrics       string        `help:"Serve /metrics, /livez and /readyz at this address." placeholder:"HOST:PORT" env:"PGTEE_ARCHIVE_METRICS"`

	Verify string `help:"Check every byte of the archive in this folder, name what is damaged, missing or truncated, and exit." type:"path" placeholder:"DIR"`
	Head   string `help:"With --verify: the hash of a line that the manifest must contain, from an earlier --verify. It detects a manifest that was truncated together with its files." placeholder:"HASH"`
}

// byteSize is a size in PostgreSQL's notation.
type byteSize int64

// UnmarshalText parses a size such as 256MB.
func (s *byteSize) UnmarshalText(text []byte) error {
	n, err := parseSize(string(text))
	*s = byteSize(n)
	return err
}

func (c *archiveCommand) Run(ctx context.Context, term terminal) error {
	if c.Verify != "" {
		return c.verify(term)
	}
	switch {
	case c.Out == "":
		return usage(errors.New("give --out DIR to write an archive, or --verify DIR to check one"))
	case len(c.Kafka) == 0:
		return usage(errors.New("--kafka is missing: give the brokers as HOST:PORT,…"))
	}
	config, err := c.config(ctx, term)
	if err != nil {
		return err
	}
	if c.Metrics != "" {
		server, err := servePage(c.Metrics, archiveMetrics(config), func() (string, bool) {
			state := config.Stats.Values().State
			return state, state == "archiving"
		}, config.Source.Log)
		if err != nil {
			return usage(err)
		}
		defer server.Close()
	}
	if err := archive.Run(ctx, config); err != nil {
		return halted(err)
	}
	v := config.Stats.Values()
	fmt.Fprintf(term.out, "the archive holds everything that committed before %s: %d records in %d files, %s; head %s\n", v.Archived, v.Records, v.Files, bytesOf(uint64(v.Bytes)), v.Head)
	return nil
}

func (c *archiveCommand) config(ctx context.Context, term terminal) (config archive.Config, err error) {
	kafka, err := kafkaFlags{c.Kafka, c.topicFlags}.openAndPing(ctx)
	if err != nil {
		return config, err
	}
	decode, err := c.decoder()
	if err != nil {
		return config, usage(err)
	}
	return archive.Config{
		Source: apply.Config{
			Brokers: kafka.brokers, KafkaOptions: kafka.options, Prefix: c.Prefix, Slot: c.Slot, Topics: c.Topics, DeletedTopics: c.DeletedTopics, Avro: decode,
			FromEnd: c.From == "end", Once: c.Once, Log: c.logger(term.err).Named("archive"),
		},
		Dir: c.Out, Format: archive.Format(c.Format), Bytes: int64(c.FileBytes), After: c.FlushAfter,
		KeepFor: c.RetainFor, Keep: int64(c.RetainBytes), Stats: &archive.Stats{},
	}, nil
}

// verify prints its findings; damage is an error.
func (c *archiveCommand) verify(term terminal) error {
	report, err := archive.Verify(c.Verify, strings.ToLower(c.Head))
	if err != nil {
		return usage(err)
	}
	for _, text := range report.Damage {
		fmt.Fprintf(term.out, "DAMAGED  %s\n", doctor.Clean(text))
	}
	fmt.Fprintf(term.out, "%d lines, %d files, %d bytes, %d records: commits from %s to %s", report.Lines, report.Files, report.Bytes, report.Records, report.Begins, report.Ends)
	if report.Removed > 0 {
		fmt.Fprintf(term.out, "; %d files were removed by the retention", report.Removed)
	}
	fmt.Fprintf(term.out, "\nhead %s\n", report.Head)
	if n := len(report.Damage); n > 0 {
		return fmt.Errorf("the archive in %s is damaged in %d places: see above", c.Verify, n)
	}
	return nil
}

// archiveMetrics returns the metrics of an archive being written.
func archiveMetrics(config archive.Config) []metric {
	labels := prometheus.Labels{"prefix": config.Source.Prefix}
	number := func(name, help string, kind prometheus.ValueType, read func(archive.Values) float64) metric {
		return metric{name, help, kind, func() float64 { return read(config.Stats.Values()) }, labels}
	}
	return []metric{
		number("pgtee_archived_lsn", "LSN before which every committed source transaction is in the archive.", prometheus.GaugeValue, func(v archive.Values) float64 { return float64(v.Archived) }),
		number("pgtee_archive_lag_bytes", "WAL of the source that is in Kafka and not yet in the archive, in bytes.", prometheus.GaugeValue, func(v archive.Values) float64 { return float64(max(v.Published, v.Archived) - v.Archived) }),
		number("pgtee_archived_records_total", "Records written to the archive since it was created.", prometheus.CounterValue, func(v archive.Values) float64 { return float64(v.Records) }),
		number("pgtee_archive_files", "Files in the archive.", prometheus.GaugeValue, func(v archive.Values) float64 { return float64(v.Files) }),
		number("pgtee_archive_bytes", "Size of the files in the archive, in bytes.", prometheus.GaugeValue, func(v archive.Values) float64 { return float64(v.Bytes) }),
	}
}
