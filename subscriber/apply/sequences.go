package apply

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// sequencesQuery lists the ascending sequences of a table's serial and identity columns.
const sequencesQuery = `SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(s.relname), pg_catalog.quote_ident(a.attname)
FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_catalog.pg_namespace AS n ON n.oid = s.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid JOIN pg_catalog.pg_sequence AS q ON q.seqrelid = s.oid
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND q.seqincrement > 0 AND d.refobjid = $1::pg_catalog.oid`

const sequencesTimeout = 20 * time.Second

// moveSequences advances the sequences of the written tables past the existing values, because the WAL does not replicate sequences. This is done at
// the end, when clients may start to write.
func (r *runner) moveSequences(ctx context.Context) {
	if len(r.touched) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sequencesTimeout)
	defer cancel()
	t, err := r.cfg.connect(ctx)
	if err != nil {
		r.cfg.Log.Warn("the sequences of the target were not moved on", zap.Error(err))
		return
	}
	defer t.close()
	for oid, name := range r.touched {
		if err := t.moveSequencesOf(ctx, oid, name); err != nil {
			r.cfg.Log.Warn("sequences of the target were not moved on: use setval() before others write", zap.String("table", name), zap.Error(err))
		}
	}
}

func (t *target) moveSequencesOf(ctx context.Context, oid, table string) error {
	rows, err := postgres.Query(ctx, t.conn, sequencesQuery, oid)
	if err != nil {
		return err
	}
	for _, row := range rows {
		sql := fmt.Sprintf("SELECT pg_catalog.setval(%s::pg_catalog.regclass, m) FROM (SELECT pg_catalog.max(%s) AS m FROM %s) AS t WHERE m >= (SELECT last_value FROM %s)", quoteText(row[0]), row[1], table, row[0])
		if err := t.exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func quoteText(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
