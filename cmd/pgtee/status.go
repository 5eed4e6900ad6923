package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pgtee/pgtee/outbox"

	"github.com/pgtee/pgtee/publisher/kafka"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// statusCommand asks the server and Kafka, not the publisher: it works as well while none runs.
type statusCommand struct {
	logged
	postgresFlags `group:"Connection"`
	databaseFlags `group:"Connection"`
	slotFlags     `group:"Connection"`
	kafkaFlags    `group:"Kafka"`
	JSON          bool `help:"Print a JSON line for each database."`
}

// statusReport is where one database stands. Acked <= Published <= Received, all ends of transactions.
type statusReport struct {
	Database      string     `json:"database"`
	Slot          string     `json:"slot"`
	PID           int32      `json:"active_pid"` // of the walsender; 0: nobody holds the slot
	Server        outbox.LSN `json:"server_lsn"`
	Received      outbox.LSN `json:"received_lsn"`
	Published     outbox.LSN `json:"published_lsn"`
	Acked         outbox.LSN `json:"acked_lsn"`
	LagBytes      int64      `json:"lag_bytes"` // from published to server
	LastCommit    *time.Time `json:"last_commit_time"`
	WALStatus     string     `json:"wal_status"`
	RetainedBytes int64      `json:"retained_wal_bytes"`
	KeepBytes     int64      `json:"max_slot_wal_keep_bytes"` // -1: no limit

	DeadLetters int64             `json:"dead_letter_records"` // in PREFIX.dead-letter, about
	Problems    []string          `json:"problems"`            // why nothing can be published, each with its repair
	Uncaptured  []uncapturedTable `json:"uncaptured"`          // tables of which UPDATE and DELETE are not published
	Snapshots   *snapshot.State   `json:"snapshots"`           // null: there was none
}

type uncapturedTable struct {
	Table  string `json:"table"`
	Reason string `json:"reason"`
}

func (c *statusCommand) Run(ctx context.Context, term terminal) error {
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	cluster, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	for _, s := range sources {
		report, err := statusOf(ctx, s, cluster)
		if err != nil {
			return usage(fmt.Errorf("database %s: %w", s.database, err))
		}
		if c.JSON {
			err = json.NewEncoder(term.out).Encode(report)
		} else {
			report.print(term.out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func statusOf(ctx context.Context, s source, cluster cluster) (statusReport, error) {
	position, err := kafka.LastPosition(ctx, s.publisherConfig(cluster)) // before the slot's own, which it is never behind
	if err != nil {
		return statusReport{}, err
	}
	letters, err := kafka.DeadLetters(ctx, s.publisherConfig(cluster))
	if err != nil {
		return statusReport{}, err
	}
	slot, err := outbox.ReadSlotStatus(ctx, s.connString, s.slot)
	missing := errors.Is(err, outbox.ErrSlotMissing) // which is among the problems
	if err != nil && !missing {
		return statusReport{}, err
	}
	report := statusReport{Database: s.database, Slot: s.slot, PID: slot.PID, Server: slot.Server, Received: slot.Sent, Acked: slot.Acked,
		DeadLetters: letters, WALStatus: slot.WAL, RetainedBytes: slot.Retained, KeepBytes: slot.KeepBytes}
	if position != nil {
		report.Published, report.Snapshots = position.EndLSN, position.Snapshots
		if !position.CommitTime.IsZero() {
			report.LastCommit = &position.CommitTime
		}
	}
	if report.Problems, err = problemsOf(ctx, s); err != nil {
		return statusReport{}, err
	}
	if position != nil && slot.PID == 0 && !missing && position.CheckReach(slot.Server, slot.Acked) != nil {
		// A publisher may have worked between both answers. It does not now.
		if position, err = kafka.LastPosition(ctx, s.publisherConfig(cluster)); err != nil {
			return statusReport{}, err
		}
		if err := position.CheckReach(slot.Server, slot.Acked); err != nil {
			report.Problems = append(report.Problems, err.Error())
		}
	}
	report.Uncaptured = []uncapturedTable{}
	uncaptured, err := outbox.Uncaptured(ctx, s.connString)
	if err != nil && len(report.Problems) == 0 {
		return statusReport{}, err
	}
	for _, u := range uncaptured {
		report.Uncaptured = append(report.Uncaptured, uncapturedTable{u.Table, u.Reason})
	}
	report.LagBytes = max(0, int64(report.Server)-int64(report.Published))
	return report, nil
}

// problemsOf lists what `pgtee check` would call a problem.
func problemsOf(ctx context.Context, s source) ([]string, error) {
	report, err := outbox.Check(ctx, outbox.SetupConfig{ConnString: s.connString, Slot: s.slot})
	if err != nil {
		return nil, err
	}
	problems := []string{}
	for _, f := range report.Findings {
		if f.Severity == outbox.Problem {
			problems = append(problems, f.Text+": "+f.Repair)
		}
	}
	return problems, nil
}

func (r statusReport) print(out io.Writer) {
	held := "nobody holds it: is the publisher running?"
	if r.PID != 0 {
		held = fmt.Sprintf("held by walsender %d", r.PID)
	}
	limit := "no limit"
	if r.KeepBytes >= 0 {
		limit = "of " + sizeText(r.KeepBytes)
	}
	last := "nothing yet"
	if r.LastCommit != nil {
		last = "last transaction committed " + r.LastCommit.UTC().Format(time.RFC3339)
	}
	fmt.Fprintf(out, "%s: slot %s, %s\n", r.Database, r.Slot, held)
	fmt.Fprintf(out, "  server     %s\n", r.Server)
	fmt.Fprintf(out, "  received   %s\n", r.Received)
	fmt.Fprintf(out, "  published  %s  %s behind the server, %s\n", r.Published, sizeText(r.LagBytes), last)
	fmt.Fprintf(out, "  acked      %s\n", r.Acked)
	if r.DeadLetters > 0 {
		fmt.Fprintf(out, "  too large  about %d records in the dead-letter topic: read what is there\n", r.DeadLetters)
	}
	fmt.Fprintf(out, "  log kept   %s, %s, wal_status %s\n", sizeText(r.RetainedBytes), limit, r.WALStatus)
	for _, problem := range r.Problems {
		fmt.Fprintf(out, "  problem    %s\n", problem)
	}
	if n := len(r.Uncaptured); n > 0 {
		fmt.Fprintf(out, "  uncaptured UPDATE and DELETE of %d tables are not published:\n", n)
		for _, u := range r.Uncaptured[:min(n, maxToldTables)] {
			fmt.Fprintf(out, "             %s: %s\n", u.Table, u.Reason)
		}
	}
	if r.Snapshots != nil {
		printSnapshots(out, r.Snapshots)
	}
}

// sizeText writes a size as PostgreSQL does.
func sizeText(bytes int64) string {
	size, unit := float64(bytes), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB"} {
		if size < 1024 {
			break
		}
		size, unit = size/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}
