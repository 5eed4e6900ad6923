package apply

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// sequence is an ascending sequence of a serial or identity column of the target. Names are quoted for SQL, unless they are plain.
type sequence struct {
	name, column, table string
	oid                 string // of the table
	schema, plain       string // of the table, without quotes
	granted             bool   // the user may read and set it
}

const sequencesQuery = `SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(s.relname), pg_catalog.quote_ident(a.attname),
  pg_catalog.quote_ident(tn.nspname) || '.' || pg_catalog.quote_ident(t.relname), t.oid::pg_catalog.text, tn.nspname, t.relname,
  (pg_catalog.has_sequence_privilege(s.oid, 'SELECT') AND pg_catalog.has_sequence_privilege(s.oid, 'UPDATE'))::pg_catalog.text
FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_catalog.pg_namespace AS n ON n.oid = s.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid JOIN pg_catalog.pg_sequence AS q ON q.seqrelid = s.oid
JOIN pg_catalog.pg_class AS t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND q.seqincrement > 0
ORDER BY 3, 1`

// sequences lists the ascending sequences of all serial and identity columns of the target.
func (t *target) sequences(ctx context.Context) (list []sequence, err error) {
	rows, err := postgres.Query(ctx, t.conn, sequencesQuery)
	for _, row := range rows {
		list = append(list, sequence{row[0], row[1], row[2], row[3], row[4], row[5], row[6] == "true"})
	}
	return list, err
}

const sequencesTimeout = 20 * time.Second

// moveSequences advances the sequences of the stream's tables past the existing values, because the WAL does not replicate sequences. This is done at
// the end, when clients may start to write. Earlier runs may have written the rows.
func (r *runner) moveSequences(ctx context.Context) {
	if len(r.topics) == 0 { // nothing was read
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sequencesTimeout)
	defer cancel()
	if err := r.moveAll(ctx); err != nil {
		r.cfg.Log.Warn("the sequences of the target were not advanced: use setval() before other clients write", zap.Error(err))
	}
}

func (r *runner) moveAll(ctx context.Context) error {
	t, err := r.cfg.connect(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	sequences, err := t.sequences(ctx)
	if err != nil {
		return err
	}
	for _, s := range sequences {
		if r.touched[s.oid] == "" && !r.cfg.feeds(r.topics, s.schema, s.plain) {
			continue
		}
		if err := t.exec(ctx, s.move()); err != nil {
			r.cfg.Log.Warn("a sequence of the target was not advanced: use setval() before other clients write", zap.String("table", s.table), zap.String("sequence", s.name), zap.Error(err))
		}
	}
	return nil
}

// move returns the SQL that advances the sequence.
func (s *sequence) move() string {
	return fmt.Sprintf("SELECT pg_catalog.setval(%s::pg_catalog.regclass, m) FROM (SELECT pg_catalog.max(%s) AS m FROM %s) AS t WHERE m >= (SELECT last_value FROM %s)",
		postgres.QuoteLiteral(s.name), s.column, s.table, s.name)
}

// feeds reports whether one of the topics is that of a table which is applied to a table of the target.
func (c *Config) feeds(topics map[string]string, schema, table string) bool {
	feeds := func(from, name string) bool {
		toSchema, toTable := c.mapped(from, name)
		_, found := topics[topicName(c.Prefix, from, name)]
		return found && toSchema == schema && toTable == table && c.includes(from+"."+name)
	}
	if feeds(schema, table) {
		return true
	}
	for from := range c.Map {
		name := table
		if s, t, isTable := strings.Cut(from, "."); isTable {
			from, name = s, t
		}
		if feeds(from, name) {
			return true
		}
	}
	return false
}
