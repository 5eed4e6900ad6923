package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// The target checks a deferred constraint at the end of the transaction. Then it is too late to name the change that violates it, and to handle it by the
// policy. Therefore the transaction is written again, and after each change it is found out whether the change leads to the same violation as at the end.
// Another violation may only be due to the order: the row that is referenced comes later.

// violation is the error of a deferred constraint at the end of a transaction.
type violation struct {
	refused *pgconn.PgError
	commit  LSN // of the transaction
}

func (v violation) Error() string { return v.refused.Error() }
func (v violation) Unwrap() error { return v.refused }

type violations []violation

// has reports whether the transaction that commits at a position has violated the constraint in the same way before.
func (list violations) has(refused *pgconn.PgError, commit LSN) bool {
	return slices.ContainsFunc(list, func(v violation) bool { return v.commit == commit && v.is(refused) })
}

// is reports whether an error is the violation of the same constraint by the same row.
func (v violation) is(refused *pgconn.PgError) bool {
	return v.refused.SchemaName == refused.SchemaName && v.refused.TableName == refused.TableName && v.refused.ConstraintName == refused.ConstraintName && v.refused.Detail == refused.Detail
}

// checkDeferred checks the deferred constraints before the end of a transaction.
func (t *target) checkDeferred(ctx context.Context, b *batch) error {
	if t.replica || !t.inside {
		return nil
	}
	err := t.exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE")
	var refused *pgconn.PgError
	if suspected := (suspicion{}); !errors.As(suspect(err), &suspected) || !errors.As(err, &refused) {
		return err
	}
	if refused.ConstraintName != "" && !t.late.has(refused, b.last) {
		return violation{refused, b.last}
	}
	what := refused.Message
	if refused.Detail != "" {
		what += " (" + refused.Detail + ")"
	}
	return Halt{fmt.Sprintf("the target refuses the transaction that commits at %s, at its end: %s", b.last, what), "correct the rows in the target, or make the constraint as the source has it, and start again"}
}

// lateConflict returns the conflict of a change that violates a deferred constraint in the way in which its transaction has violated it at the end; nil if
// there is none. The savepoint of the change is open.
func (t *target) lateConflict(ctx context.Context, b *batch, c *change) (*conflict, error) {
	for _, late := range t.late {
		if late.commit != b.last {
			continue
		}
		violates := t.checkNow
		if c.keys != nil && c.op != 'd' && late.refused.Code == "23503" && c.table.plain == late.refused.SchemaName+"."+late.refused.TableName && hasAll(c.row, c.keys) {
			violates = func(ctx context.Context, late violation) (bool, error) { return t.refersTo(ctx, b, c, late) }
		}
		if found, err := violates(ctx, late); err != nil || found {
			return conflictOf(c, late.refused), err
		}
	}
	return nil, nil
}

// checkNow reports whether the constraint is violated in the same way now.
func (t *target) checkNow(ctx context.Context, late violation) (bool, error) {
	name := postgres.QuoteIdentifier(late.refused.SchemaName) + "." + postgres.QuoteIdentifier(late.refused.ConstraintName)
	err := t.exec(ctx, "SAVEPOINT late; SET CONSTRAINTS "+name+" IMMEDIATE")
	var refused *pgconn.PgError
	if suspected := (suspicion{}); err != nil && (!errors.As(suspect(err), &suspected) || !errors.As(err, &refused)) {
		return false, err
	}
	err = t.exec(ctx, "ROLLBACK TO SAVEPOINT late; RELEASE SAVEPOINT late") // the constraint is deferred again
	return refused != nil && late.is(refused), err
}

// afterChecks runs a command. PostgreSQL refuses to truncate or alter a table while deferred checks of it are pending (55006): then they are made first. At the
// source they were made by then, because the transactions before it had ended, or because the constraint is not deferred there.
func (t *target) afterChecks(ctx context.Context, b *batch, sql string) error {
	if t.replica || !t.inside {
		return t.exec(ctx, sql)
	}
	if err := t.exec(ctx, "SAVEPOINT command"); err != nil {
		return err
	}
	err := t.exec(ctx, sql)
	if postgres.State(err) == "55006" {
		err = t.exec(ctx, "ROLLBACK TO SAVEPOINT command; SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
		if err != nil && !b.careful { // an earlier transaction may have violated the constraint
			return suspect(err)
		}
		if err == nil {
			err = t.exec(ctx, sql)
		}
	}
	if err != nil {
		return err
	}
	return t.exec(ctx, "RELEASE SAVEPOINT command")
}

const foreignKeyQuery = `SELECT pg_catalog.string_agg('t.' || pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.place)
FROM pg_catalog.pg_constraint AS c, pg_catalog.unnest(c.conkey) WITH ORDINALITY AS k(number, place) JOIN pg_catalog.pg_attribute AS a ON a.attnum = k.number
WHERE c.conrelid = $1::pg_catalog.oid AND a.attrelid = c.conrelid AND c.conname = $2`

// refersTo reports whether the row of a change refers to the row that is missing at the end. The constraint could not tell: it names the first row whose
// referenced row is missing now. concat_ws() prints values as the server does in its messages.
func (t *target) refersTo(ctx context.Context, b *batch, c *change, late violation) (bool, error) {
	rows, err := postgres.Query(ctx, t.conn, foreignKeyQuery, c.table.oid, late.refused.ConstraintName)
	if err != nil || len(rows) == 0 || rows[0][0] == "" {
		return false, err
	}
	sql := fmt.Sprintf("SELECT 1 FROM %s AS t, %s WHERE %s AND pg_catalog.strpos(%s, ')=(' || pg_catalog.concat_ws(', ', %s) || ')') > 0",
		c.table.own, unnested(len(c.keys)), sameKey(c.table, c.keys, nil), postgres.QuoteLiteral(late.refused.Detail), rows[0][0])
	result := t.conn.ExecParams(ctx, sql, rowParams(b, nil, c.row, c.keys), nil, binaryFormat, nil).Read()
	return len(result.Rows) > 0, result.Err
}
