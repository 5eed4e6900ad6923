package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pgtee/pgtee/cmd/pgtee/console"
	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/kafka"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// statusCommand queries the server and Kafka, not the publisher: it works even if no publisher runs.
type statusCommand struct {
	logged
	postgresFlags `group:"Connection"`
	databaseFlags `group:"Connection"`
	slotFlags     `group:"Connection"`
	kafkaFlags    `group:"Kafka"`

	selectionFlags `embed:"" group:"Shape of the stream"`

	JSON   bool          `help:"Print a JSON line for each database."`
	Watch  bool          `short:"w" help:"Repeat every two seconds until stopped, also while the state cannot be known."`
	MaxLag time.Duration `help:"Report a publisher that is behind the server by more than this." default:"1m" placeholder:"TIME"`
}

func (*statusCommand) Help() string {
	return "The first line for a database is the verdict. Exit codes: 0 everything is published; 1 something needs attention; 2 nothing is being published."
}

const watchInterval = 2 * time.Second

// statusReport is the state of one database. Acked <= Published <= Received, all end LSNs of transactions.
type statusReport struct {
	Verdict       string     `json:"verdict"`  // ok, warning or problem
	Findings      []string   `json:"findings"` // ids: the problems, otherwise the warnings
	Database      string     `json:"database"`
	Slot          string     `json:"slot"`
	PID           int32      `json:"active_pid"` // of the walsender; 0: the slot is free
	Server        outbox.LSN `json:"server_lsn"`
	Received      outbox.LSN `json:"received_lsn"`
	Published     outbox.LSN `json:"published_lsn"`
	Acked         outbox.LSN `json:"acked_lsn"`
	LagBytes      int64      `json:"lag_bytes"`   // between published and server
	LagSeconds    *float64   `json:"lag_seconds"` // null: nothing was ever published
	LastCommit    *time.Time `json:"last_commit_time"`
	WALStatus     string     `json:"wal_status"`
	RetainedBytes int64      `json:"retained_wal_bytes"`
	KeepBytes     int64      `json:"max_slot_wal_keep_bytes"` // -1: no limit

	DeadLetters int64             `json:"dead_letter_records"` // in PREFIX.dead-letter, approximately
	Problems    []string          `json:"problems"`            // why nothing can be published, each with its repair
	Uncaptured  []uncapturedTable `json:"uncaptured"`          // tables whose UPDATE and DELETE are not published
	Snapshots   *snapshot.State   `json:"snapshots"`           // null: no snapshots

	recorded time.Time // last progress of the publisher
	behind   bool      // by more than --max-lag
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
	for {
		var screen bytes.Buffer
		code, err := c.look(ctx, sources, cluster, &screen)
		switch {
		case c.Watch && ctx.Err() != nil: // which is how --watch ends
			return nil
		case err != nil && ctx.Err() != nil:
			return usage(errors.New("interrupted before the state was known"))
		case err != nil && c.Watch:
			out := io.Writer(&screen)
			if c.JSON {
				out = term.err
			}
			fmt.Fprintf(out, "UNKNOWN: %s\n", oneLine(err))
		case err != nil:
			_, failed := screen.WriteTo(term.out)
			return errors.Join(err, failed)
		}
		if c.Watch && !c.JSON && isTerminal(term.out) {
			fmt.Fprint(term.out, "\x1b[H\x1b[2J") // ECMA-48: cursor home, and erase the screen
		}
		if _, err := screen.WriteTo(term.out); err != nil || !c.Watch {
			return errors.Join(err, status(code))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchInterval):
		}
	}
}

// look writes the state of the databases, and returns the exit code of the worst one. An error is about those whose state cannot be known.
func (c *statusCommand) look(ctx context.Context, sources []source, cluster cluster, out io.Writer) (code int, err error) {
	var failed []error
	for _, s := range sources {
		selection, err := c.selection(s)
		if err != nil {
			return 0, usage(err)
		}
		report, err := statusOf(ctx, s, selection, cluster, c.MaxLag)
		if err != nil {
			failed = append(failed, usage(fmt.Errorf("database %s: %w", s.database, err)))
			continue
		}
		code = max(code, slices.Index(verdicts, report.Verdict))
		if !c.JSON {
			report.print(out)
			continue
		}
		if err := json.NewEncoder(out).Encode(report); err != nil {
			return 0, err
		}
	}
	return code, errors.Join(failed...)
}

// verdicts are the names of the exit codes.
var verdicts = []string{"ok", "warning", "problem"}

// setVerdict sets the verdict and its findings. problems are the ids of problems that prevent publishing, disturbing
// those of problems that do not.
func (r *statusReport) setVerdict(problems, disturbing []string) {
	r.Findings = problems
	if r.PID == 0 && !slices.Contains(problems, "slot-missing") {
		r.Findings = append(r.Findings, "publisher-absent")
	}
	r.Verdict = "problem"
	if len(r.Findings) > 0 {
		return
	}
	for id, found := range map[string]bool{
		"slot-at-risk":     r.WALStatus == "unreserved",
		"wal-retained":     r.KeepBytes >= 0 && r.RetainedBytes > r.KeepBytes/2,
		"table-uncaptured": len(r.Uncaptured) > 0,
		"dead-letters":     r.DeadLetters > 0,
		"publisher-behind": r.behind,
	} {
		if found {
			r.Findings = append(r.Findings, id)
		}
	}
	r.Findings = append(r.Findings, disturbing...)
	slices.Sort(r.Findings)
	r.Findings = slices.Compact(r.Findings)
	if r.Verdict = "ok"; len(r.Findings) > 0 {
		r.Verdict = "warning"
		return
	}
	r.Findings = []string{}
}

// recordTime is longer than a publisher takes to record its position after the server has written WAL without anything to publish.
const recordTime = 12 * time.Second

// statusOf returns the state of a database. If the last record is older than maxLag, the publisher may be behind, or the server was idle until a moment
// ago: then statusOf waits for the next record.
func statusOf(ctx context.Context, s source, selection outbox.Selection, cluster cluster, maxLag time.Duration) (statusReport, error) {
	report, err := statusNow(ctx, s, selection, cluster, maxLag)
	if err != nil || !report.behind || time.Since(report.recorded) <= maxLag {
		return report, err
	}
	for began := time.Now(); time.Since(began) <= recordTime; {
		if err := publisher.Pause(ctx, 500*time.Millisecond); err != nil {
			return statusReport{}, err
		}
		position, err := kafka.LastPosition(ctx, s.publisherConfig(cluster))
		if err != nil {
			return statusReport{}, err
		}
		if now := time.Now(); position.Lag(report.Server, now) <= maxLag || now.Sub(position.At) <= maxLag {
			break
		}
	}
	return statusNow(ctx, s, selection, cluster, maxLag)
}

func statusNow(ctx context.Context, s source, selection outbox.Selection, cluster cluster, maxLag time.Duration) (statusReport, error) {
	position, err := kafka.LastPosition(ctx, s.publisherConfig(cluster)) // read first, because the slot's position never exceeds it
	if err != nil {
		return statusReport{}, err
	}
	letters, err := kafka.DeadLetters(ctx, s.publisherConfig(cluster))
	if err != nil {
		return statusReport{}, err
	}
	var server serverState
	err = s.ask(ctx, func(ctx context.Context) (err error) {
		server, err = serverStateOf(ctx, s, selection)
		return err
	})
	if err != nil {
		return statusReport{}, err
	}
	slot, ids := server.slot, server.ids
	report := statusReport{Database: s.database, Slot: s.slot, PID: slot.PID, Server: slot.Server, Received: slot.Sent, Acked: slot.Acked,
		DeadLetters: letters, WALStatus: slot.WAL, RetainedBytes: slot.Retained, KeepBytes: slot.KeepBytes, recorded: position.At,
		Problems: server.problems, Uncaptured: server.uncaptured}
	if position.Position != nil {
		report.Published, report.Snapshots = position.EndLSN, position.Snapshots
		if !position.CommitTime.IsZero() {
			report.LastCommit = &position.CommitTime
		}
	}
	if position.Position != nil && slot.PID == 0 && !server.slotMissing && position.CheckReach(slot.Server, slot.Acked) != nil {
		// A publisher may have been active between the two queries. It is not active now.
		if position, err = kafka.LastPosition(ctx, s.publisherConfig(cluster)); err != nil {
			return statusReport{}, err
		}
		if err := position.CheckReach(slot.Server, slot.Acked); err != nil {
			report.Problems = append(report.Problems, err.Error())
			ids = append(ids, findingOf(err, "publishing-stopped"))
		}
	}
	report.LagBytes = max(0, int64(report.Server)-int64(report.Published))
	lag := position.Lag(slot.Server, time.Now())
	report.behind = slot.PID != 0 && lag > maxLag
	if position.Position != nil {
		seconds := lag.Seconds()
		report.LagSeconds = &seconds
	}
	report.setVerdict(ids, server.disturbing)
	return report, nil
}

// serverState is what PostgreSQL says about a database.
type serverState struct {
	slot          outbox.SlotStatus
	slotMissing   bool     // which is one of the problems
	problems, ids []string // what `pgtee check` would report as problems that prevent publishing
	disturbing    []string // ids of its problems that do not
	uncaptured    []uncapturedTable
}

func serverStateOf(ctx context.Context, s source, selection outbox.Selection) (state serverState, err error) {
	state.slot, err = outbox.ReadSlotStatus(ctx, s.connString, s.slot)
	state.slotMissing = errors.Is(err, outbox.ErrSlotMissing)
	if err != nil && !state.slotMissing {
		return state, err
	}
	if err := state.check(ctx, s, selection); err != nil {
		return state, err
	}
	uncaptured, err := outbox.Uncaptured(ctx, s.connString, selection)
	if err != nil && len(state.problems) == 0 {
		return state, err
	}
	state.uncaptured = []uncapturedTable{}
	for _, u := range uncaptured {
		state.uncaptured = append(state.uncaptured, uncapturedTable{u.Table, u.Reason})
	}
	return state, nil
}

// check asks what `pgtee check` would report as problems.
func (state *serverState) check(ctx context.Context, s source, selection outbox.Selection) error {
	report, err := outbox.Check(ctx, outbox.SetupConfig{ConnString: s.connString, Slot: s.slot, Selection: selection})
	state.problems = []string{}
	for _, f := range report.Findings {
		switch {
		case f.Severity != outbox.Problem:
		case f.Disturbs:
			state.disturbing = append(state.disturbing, f.ID)
		default:
			state.problems, state.ids = append(state.problems, f.Text+": "+f.Repair), append(state.ids, f.ID)
		}
	}
	return err
}

// sentence returns the verdict in words.
func (r statusReport) sentence() string {
	switch r.Verdict {
	case "ok":
		return fmt.Sprintf("%s is published, %s behind the server", r.Database, console.SizeText(r.LagBytes))
	case "warning":
		return fmt.Sprintf("%s is published, %s behind the server; see to %s", r.Database, console.SizeText(r.LagBytes), strings.Join(r.Findings, ", "))
	}
	return fmt.Sprintf("%s is not published: %s", r.Database, strings.Join(r.Findings, ", "))
}

func (r statusReport) print(out io.Writer) {
	held := "nobody holds it. " + repairOf("publisher-absent")
	if r.PID != 0 {
		held = fmt.Sprintf("held by walsender %d", r.PID)
	}
	limit := "no limit"
	if r.KeepBytes >= 0 {
		limit = "of " + console.SizeText(r.KeepBytes)
	}
	last := "nothing yet"
	if r.LastCommit != nil {
		last = "last transaction committed " + r.LastCommit.UTC().Format(time.RFC3339)
	}
	fmt.Fprintf(out, "%s: %s\n", strings.ToUpper(r.Verdict), r.sentence())
	fmt.Fprintf(out, "  slot       %s, %s\n", r.Slot, held)
	fmt.Fprintf(out, "  server     %s\n", r.Server)
	fmt.Fprintf(out, "  received   %s\n", r.Received)
	fmt.Fprintf(out, "  published  %s  %s behind the server, %s\n", r.Published, console.SizeText(r.LagBytes), last)
	if r.behind {
		fmt.Fprintf(out, "  behind     %s\n", r.behindText())
	}
	fmt.Fprintf(out, "  acked      %s\n", r.Acked)
	if r.DeadLetters > 0 {
		fmt.Fprintf(out, "  too large  about %d records in the dead-letter topic: read what is there\n", r.DeadLetters)
	}
	fmt.Fprintf(out, "  log kept   %s, %s, wal_status %s\n", console.SizeText(r.RetainedBytes), limit, r.WALStatus)
	for _, problem := range r.Problems {
		fmt.Fprintf(out, "  problem    %s\n", doctor.Clean(problem))
	}
	if n := len(r.Uncaptured); n > 0 {
		fmt.Fprintf(out, "  uncaptured UPDATE and DELETE of %d tables are not published:\n", n)
		for _, u := range r.Uncaptured[:min(n, maxLoggedTables)] {
			fmt.Fprintf(out, "             %s: %s\n", doctor.Clean(u.Table), doctor.Clean(u.Reason))
		}
	}
	if r.Snapshots != nil {
		printSnapshots(out, r.Snapshots)
	}
}

func (r statusReport) behindText() string {
	if r.LagSeconds == nil {
		return "nothing was published yet: the log of the publisher and its /readyz say why"
	}
	return fmt.Sprintf("for %s: the log of the publisher and its /readyz say why", time.Duration(*r.LagSeconds)*time.Second)
}
