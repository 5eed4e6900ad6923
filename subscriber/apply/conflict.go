package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/decode"
	"github.com/pgtee/pgtee/subscriber/postgres"
)

// conflict is a change that does not fit the target. kind is PostgreSQL 18's name for it.
type conflict struct {
	kind       string
	code       string // SQLSTATE; "": the server did not report an error
	schema     string // of the constraint
	constraint string
	message    string // error message of the server or, without a code, what happened to the change: "found no row"
	existing   string // JSON of the conflicting row; "": none
	tried      []statement
}

// conflictOf classifies an error reported by the server.
func conflictOf(c *change, refused *pgconn.PgError) *conflict {
	found := &conflict{code: refused.Code, schema: refused.SchemaName, constraint: refused.ConstraintName, message: refused.Message}
	if refused.Detail != "" {
		found.message += " (" + refused.Detail + ")"
	}
	switch refused.Code {
	case "23505", "23P01":
		found.kind = "insert_exists"
		if c.op == 'u' {
			found.kind = "update_exists"
		}
	case "23503":
		found.kind = "foreign_key_violated"
	case "23514":
		found.kind = "check_violated"
	case "23502":
		found.kind = "not_null_violated"
	default:
		found.kind = "refused"
	}
	return found
}

// settle handles a conflict according to the policy of its table. The savepoint of the change is open and has been rolled back to.
func (t *target) settle(ctx context.Context, b *batch, c *change, found *conflict) error {
	if c.table.loading {
		switch found.kind {
		case "update_missing":
			return t.insertMissing(ctx, b, c)
		case "delete_missing":
			return nil // the snapshot reads the table without the row
		}
	}
	if err := t.readExisting(ctx, b, c, found); err != nil {
		return err
	}
	policy := c.table.policy
	if found.kind == "refused" { // not caused by rows
		policy = PolicyError
	}
	switch policy {
	case PolicySkip:
		return t.report(ctx, c, found, "skipped")
	case PolicyOverwrite:
		action, err := t.overwrite(ctx, b, c, found)
		if err != nil {
			return err
		}
		return t.report(ctx, c, found, action)
	}
	return t.halt(ctx, c, found)
}

// halt ends the transaction, records a conflict and returns its error.
func (t *target) halt(ctx context.Context, c *change, found *conflict) error {
	if err := t.rollback(ctx); err != nil {
		return err
	}
	if err := t.record(ctx, c, found, "halted"); err != nil {
		return err
	}
	return t.haltFor(c, found)
}

// insertMissing inserts a row that a snapshot has not delivered yet, if the stream has all its values. Otherwise the snapshot will deliver it.
func (t *target) insertMissing(ctx context.Context, b *batch, c *change) error {
	if !c.whole {
		return nil
	}
	again, err := t.insertWhole(ctx, b, c)
	if err != nil || again == nil {
		return err
	}
	if err := t.exec(ctx, "ROLLBACK TO SAVEPOINT change"); err != nil {
		return err
	}
	return t.settle(ctx, b, c, again)
}

// insertWhole inserts the row of an UPDATE that has found none, and returns the conflict that this causes, nil if there is none.
func (t *target) insertWhole(ctx context.Context, b *batch, c *change) (*conflict, error) {
	known := presentColumns(c.table, c.row)
	again, err := t.try(ctx, c, []statement{{insertSQL(c.table, known), rowParams(b, nil, c.row, known), 1}})
	if again != nil && again.code == "" {
		again = suppressed()
	}
	return again, err
}

var operations = map[byte]string{'c': "INSERT", 'u': "UPDATE", 'd': "DELETE", 'r': "row of a snapshot"}

// line describes a conflict for an operator.
func (f *conflict) line(c *change, cfg *Config) string {
	_, block := c.envelope(context.Background(), cfg)
	what := f.message
	if f.code != "" {
		what = "was refused: " + f.message
	}
	return fmt.Sprintf("conflict %s: %s of %s, key %s, %s; it was written by %s (event %s)", f.kind, operations[c.op], c.table.plain, c.keyText(cfg), what, whoOf(block), headerOf(c.record, headerEventID))
}

// haltFor is the error of a conflict that halts.
func (t *target) haltFor(c *change, found *conflict) error {
	kept := ""
	if t.cfg.Archive != nil {
		kept = ", which is not in the archive"
	}
	rows, policies := "the change", "=skip or =overwrite"
	if found.existing != "" {
		rows = "both rows"
	}
	if c.table.policy == PolicyOverwrite {
		policies = "=skip"
	}
	repair := fmt.Sprintf("correct the row in the target and start again, or start with --on-conflict %s%s; pgtee.conflicts in the target has %s", c.table.source, policies, rows)
	switch {
	case found.kind == "incomplete" && c.finds():
		repair = fmt.Sprintf("copy the row from the source, or from its pieces in topic %[1]s%[3]s, and start with --on-conflict %[2]s=skip until the event is passed; or start with --on-conflict %[2]s=overwrite, which writes the row without those values, and complete the rows that are then listed in pgtee.conflicts",
			topicName(t.cfg.Prefix, "dead-letter"), c.table.source, kept)
	case found.kind == "incomplete":
		repair = fmt.Sprintf("make the change in the target by hand and start with --on-conflict %s=skip until the event is passed; a primary key at the source avoids this, and so does REPLICA IDENTITY FULL for rows that fit a record", c.table.source)
	case found.code == "42501":
		repair = fmt.Sprintf("GRANT it to %s in the target, and start again; `pgtee apply --check` lists what is needed", postgres.QuoteIdentifier(t.user))
	case found.kind == "refused", found.kind == "not_null_violated":
		repair = fmt.Sprintf("make table %s of the target as the source has it, and start again", c.table.plain)
	}
	return Halt{found.line(c, t.cfg), repair}
}

// report writes a conflict to the log and, within the transaction, to the target.
func (t *target) report(ctx context.Context, c *change, found *conflict, action string) error {
	t.cfg.Stats.conflict()
	t.cfg.Log.Warn(found.line(c, t.cfg), zap.String("action", action))
	return t.record(ctx, c, found, action)
}

const recordConflict = `INSERT INTO pgtee.conflicts AS o (stream, event_id, conflict, policy, action, "table", key, incoming, before, existing, "constraint", "user", session, statement, message)
VALUES ($1, $2, $3, $4, $5, $6, $7::pg_catalog.jsonb, $8::pg_catalog.jsonb, $9::pg_catalog.jsonb, $10::pg_catalog.jsonb, $11, $12, $13::pg_catalog.jsonb, $14::pg_catalog.jsonb, $15)
ON CONFLICT (stream, event_id, conflict) DO UPDATE SET times = o.times + 1, last_at = pg_catalog.now(), action = excluded.action, policy = excluded.policy, existing = excluded.existing`

// record writes a conflict to pgtee.conflicts.
func (t *target) record(ctx context.Context, c *change, found *conflict, action string) error {
	e, block := c.envelope(ctx, t.cfg)
	who := whoOf(block)
	user := ""
	if who.Session != nil {
		user = who.Session.User
	}
	key, _ := t.cfg.payloadOf(ctx, c.record.Key)
	params := [][]byte{
		[]byte(t.cfg.stream()), headerOf(c.record, headerEventID), []byte(found.kind), []byte(c.table.policy), []byte(action), []byte(c.table.source), jsonOrNil(key),
		e.after, e.before, jsonOrNil([]byte(found.existing)), []byte(found.constraint), []byte(user),
		orNil(decode.Field(block, "session")), orNil(decode.Field(block, "statement")), []byte(found.message),
	}
	return t.conn.ExecParams(ctx, recordConflict, params, nil, nil, nil).Read().Err
}

func jsonOrNil(text []byte) []byte {
	if len(text) == 0 || !json.Valid(text) {
		return nil
	}
	return text
}

// envelope decodes the record of a change again, including its block pgtee.
func (c *change) envelope(ctx context.Context, cfg *Config) (e envelope, block []byte) {
	value, err := cfg.payloadOf(ctx, c.record.Value)
	if err == nil {
		_ = e.read(value, &hint{})
	}
	return e, blockOf(value)
}

func (c *change) keyText(cfg *Config) string {
	key, _ := cfg.payloadOf(context.Background(), c.record.Key)
	if !json.Valid(key) {
		return "none"
	}
	return string(key)
}

// conflictIn returns the conflict that statements have met, nil if there is none. It returns other errors, after which a retry may succeed.
func (t *target) conflictIn(c *change, list []statement, counts []int64, first int, err error) (*conflict, error) {
	if err != nil {
		var refused *pgconn.PgError
		if suspected := (suspicion{}); !errors.As(suspect(err), &suspected) || !errors.As(err, &refused) {
			return nil, err
		}
		return conflictOf(c, refused), nil
	}
	for i, s := range list {
		if s.rows >= 0 && counts[first+i] != s.rows {
			return missing(c), nil
		}
	}
	return nil, nil
}

// missing returns the conflict of a change that has written no row.
func missing(c *change) *conflict {
	switch c.op {
	case 'd':
		return &conflict{kind: "delete_missing", message: "found no row"}
	case 'u':
		return &conflict{kind: "update_missing", message: "found no row"}
	}
	return suppressed()
}

// suppressed returns the conflict of an INSERT that has written no row.
func suppressed() *conflict {
	return &conflict{kind: "refused", message: "was suppressed by a trigger or rule of the target"}
}
