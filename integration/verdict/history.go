package verdict

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// CheckHistory adds the errors of the topic of truth.history, if that table is published like others: it must have one event per row.
func (v *Verdict) CheckHistory(ctx context.Context, conn *pgx.Conn, records []Record) error {
	var rows int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM truth.history").Scan(&rows); err != nil {
		return err
	}
	repeats := v.checkRepeats(records)
	if missing := rows - (len(records) - repeats); missing != 0 {
		v.Lost += max(missing, 0)
		v.Invented += max(-missing, 0)
		v.detail("truth.history has %d rows, its topic %d events", rows, len(records))
	}
	return nil
}

// checkRepeats counts the event ids that occur more than once in a topic.
func (v *Verdict) checkRepeats(records []Record) (repeats int) {
	seen := map[string]bool{}
	for _, r := range records {
		id := r.EventID()
		if seen[id] {
			repeats++
			v.detail("duplicated: event %s is twice in %s", id, r.Topic)
		}
		seen[id] = true
	}
	v.Duplicated += repeats
	return repeats
}
