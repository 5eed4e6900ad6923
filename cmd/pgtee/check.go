package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
	"github.com/pgtee/pgtee/outbox"
)

type checkCommand struct {
	setupFlags     `embed:""`
	selectionFlags `embed:""`
	topicFlags     `embed:"" group:"Kafka"`
	registryFlags  `embed:"" group:"Records"`

	Kafka          []string      `help:"Also check Kafka: its durability settings, and the privileges of the publisher." placeholder:"HOST:PORT"`
	Key            string        `help:"Also check the file with the key of the notes." placeholder:"FILE"`
	MaxRecord      int32         `name:"max-record-bytes" help:"The publisher's value: topics should accept records of this size." default:"1000012"`
	PartAfter      time.Duration `name:"part-after" help:"The publisher's value: brokers should allow transactions of twice that." default:"5m" placeholder:"TIME"`
	Heartbeat      time.Duration `help:"The publisher's value: unless it is 0, its user should be able to write __debezium-heartbeat.PREFIX." default:"0" placeholder:"TIME"`
	OldTransaction time.Duration `name:"old-transaction" help:"Report transactions older than this." default:"1h" placeholder:"TIME"`
	Ignore         []string      `help:"Ignore findings with these ids." placeholder:"ID"`
	Output         string        `help:"Output format of the findings: ${enum}." enum:"text,json,nagios" default:"text"`
}

func (*checkCommand) Help() string {
	return "Exit codes: 0 all is well; 1 warnings; 2 problems; 3 something could not be checked. With --output nagios it is a plugin for Nagios, Icinga and the like. `pgtee explain ID` explains a finding."
}

func (c *checkCommand) Run(ctx context.Context, term terminal) error {
	for _, id := range c.Ignore {
		if _, known := doctor.Lookup(id); !known {
			return usage(fmt.Errorf("--ignore %s: there is no such finding: pgtee explain lists them", id))
		}
	}
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	report := doctor.Report{Ignored: c.Ignore}
	for _, s := range sources {
		if err := c.checkDatabase(ctx, s, &report); err != nil {
			return err
		}
	}
	if err := c.checkKafka(ctx, sources, &report); err != nil {
		return err
	}
	if err := c.checkRegistry(ctx, &report); err != nil {
		return err
	}
	c.checkKey(&report)
	if err := report.Write(term.out, c.Output); err != nil {
		return err
	}
	return status(report.Status())
}

func (c *checkCommand) checkDatabase(ctx context.Context, s source, report *doctor.Report) error {
	selection, err := c.selection(s)
	if err != nil {
		return usage(err)
	}
	var found outbox.Report
	err = s.ask(ctx, func(ctx context.Context) (err error) {
		found, err = outbox.Check(ctx, outbox.SetupConfig{ConnString: s.connString, Slot: s.slot, Selection: selection, OldTransaction: c.OldTransaction})
		return err
	})
	if err != nil {
		report.Fail(s.database, oneLine(err), err)
	}
	report.Add(s.database, found.Findings...)
	return nil
}

func (c *checkCommand) checkKafka(ctx context.Context, sources []source, report *doctor.Report) error {
	if len(c.Kafka) == 0 {
		return nil
	}
	flags := kafkaFlags{c.Kafka, c.topicFlags}
	cluster, err := flags.open()
	if err != nil {
		return usage(err)
	}
	if err := cluster.ping(ctx); err != nil {
		report.Add("kafka", outbox.Finding{ID: "kafka-unreachable", Severity: outbox.Problem, Text: oneLine(err), Repair: repairOf("kafka-unreachable")})
		return nil
	}
	for _, s := range sources {
		config := s.publisherConfig(cluster)
		config.MaxRecordBytes, config.TransactionTimeout = c.MaxRecord, max(2*c.PartAfter, time.Minute)
		config.Heartbeat = c.Heartbeat
		var origin outbox.System // unknown if that cannot be asked, which checkDatabase has reported
		err := s.ask(ctx, func(ctx context.Context) (err error) {
			origin, err = outbox.Origin(ctx, s.connString, s.slot)
			return err
		})
		if unreachable := (outbox.ConnectError{}); err != nil && !errors.As(err, &unreachable) {
			report.Fail(s.database, oneLine(err), err)
		}
		found, err := doctor.Kafka(ctx, config, origin)
		report.Add("kafka", found...)
		if err != nil {
			report.Fail("kafka", oneLine(err), err)
		}
	}
	return nil
}

func (c *checkCommand) checkRegistry(ctx context.Context, report *doctor.Report) error {
	if len(c.SchemaRegistry) == 0 {
		return nil
	}
	registry, err := c.registry(zap.NewNop())
	if err != nil {
		return usage(err)
	}
	if err := registry.Ping(ctx); err != nil {
		report.Add("registry", outbox.Finding{ID: "registry-unreachable", Severity: outbox.Problem,
			Text: "schema registry " + strings.Join(c.SchemaRegistry, ",") + ": " + oneLine(err), Repair: repairOf("registry-unreachable")})
	}
	return nil
}

func (c *checkCommand) checkKey(report *doctor.Report) {
	if c.Key == "" {
		return
	}
	text, err := os.ReadFile(c.Key)
	if errors.Is(err, fs.ErrNotExist) {
		report.Add("key", outbox.Finding{ID: "key-missing", Severity: outbox.Problem, Text: "--key " + c.Key + ": no such file",
			Repair: fmt.Sprintf("copy that of the other process here, or make one with (umask 077; openssl rand -hex 32 > %s)", c.Key)})
		return
	}
	if err != nil {
		report.Fail("key", oneLine(err), err)
		return
	}
	if _, err := parseKeys(text); err != nil {
		report.Add("key", outbox.Finding{ID: "key-malformed", Severity: outbox.Problem, Text: fmt.Sprintf("--key %s: %v", c.Key, err),
			Repair: fmt.Sprintf("make one with (umask 077; openssl rand -hex 32 > %s)", c.Key)})
	}
	if exposed(c.Key) {
		report.Add("key", outbox.Finding{ID: "key-readable", Severity: outbox.Warning, Text: "others can read " + c.Key + ", and so forge notes",
			Repair: "run chmod 600 " + c.Key + ", and change the key if others may have read it"})
	}
}

func repairOf(id string) string {
	entry, _ := doctor.Lookup(id)
	return entry.Repair
}
