package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/integration/harness"
)

// planted are bugs that a run must detect. A run that passes nevertheless proves nothing.
var planted = map[string]harness.Bug{
	"ack-before-commit": {File: "publisher/publisher.go",
		Old: "if err := p.log.Publish(ctx, p.batch, next); err != nil {\n\t\t\t\treturn unpublished(next, err)",
		New: "p.ack(next.EndLSN)\n\t\t\tif err := p.log.Publish(ctx, p.batch, next); err != nil {\n\t\t\t\treturn unpublished(next, err)"},
	"resume-by-row": {File: "publisher/compose.go",
		Old: "if position.holds(tx) {",
		New: "if position.holds(tx) || len(tx.Changes) > 0 && tx.Changes[0].LSN <= position.EndLSN {"},
	"copy-wins": {File: "publisher/snapshot/merge.go", // -snapshots: rows of a chunk revert changes of the stream
		Old: "found && !chunk.Visible.Sees(touched.xid) {",
		New: "found && chunk.Visible.Xmin == 0 && !chunk.Visible.Sees(touched.xid) {"},
	"values-lost": {File: "publisher/snapshot/merge.go", // -snapshots: values are lost that only the row in the chunk has
		Old: "if touched.lacking == nil || touched",
		New: "if touched.lacking == nil || len(touched.lacking) > 0 || touched"},
	"moves-forgotten": {File: "publisher/snapshot/moved.go", // -snapshots: rows are forgotten that move into the range already read
		Old: "(listed || !w.Read) {",
		New: "listed {"},
	"fence-first": {File: "subscriber/apply/session.go", // -apply: the position moves before the rows are written
		Old: "func (t *target) write(ctx context.Context, b *batch, first *progress) (err error) {\n",
		New: "func (t *target) write(ctx context.Context, b *batch, first *progress) (err error) {\n\tif !b.more && !t.inside {\n\t\tif err := t.commit(ctx, b, first); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n"},
	"offsets-late": {File: "subscriber/apply/fence.go", // -apply: rows are committed first, then the position
		Old: "\tpipeline := t.conn.StartPipeline(ctx)\n\tif !t.inside {\n\t\tpipeline.SendQueryParams(\"BEGIN\"",
		New: "\tif t.inside {\n\t\tif err := t.exec(ctx, \"COMMIT; SELECT pg_catalog.pg_sleep(0.05)\"); err != nil {\n\t\t\treturn err\n\t\t}\n\t\tt.inside = false\n\t}\n\tpipeline := t.conn.StartPipeline(ctx)\n\tif !t.inside {\n\t\tpipeline.SendQueryParams(\"BEGIN\""},
	"placeholder-written": {File: "subscriber/apply/decode.go", // -apply: the placeholder for a value that is not in the WAL is written as a value
		Old: "\tcase c.form.isUnavailable(json):\n",
		New: "\tcase c.form.isUnavailable(json) && c.name == \"\":\n"},
	"rows-first": {File: "subscriber/consume/write.go", // -consume: rows are committed first, then the offsets
		Old: "\tpipeline := t.conn.StartPipeline(ctx)\n\tpipeline.SendQueryParams(ownPath, nil, nil, nil, nil)\n",
		New: "\tif err := t.exec(ctx, \"COMMIT; SELECT pg_sleep(0.02); BEGIN\"); err != nil {\n\t\treturn err\n\t}\n\tpipeline := t.conn.StartPipeline(ctx)\n\tpipeline.SendQueryParams(ownPath, nil, nil, nil, nil)\n"},
	"batch-dead": {File: "subscriber/consume/write.go", // -consume: good records in the same batch are given up with a bad one
		Old: "if len(rows) > 1 {",
		New: "if len(rows) > 2 {"},
	"fence-open": {File: "subscriber/consume/fence.go", // -consume: a consumer that has lost a partition continues to write
		Old: "AND c.epoch = n.epoch AND c.next_offset <= n.next_offset",
		New: "AND n.epoch >= 0"},
	"state-apart": {File: "publisher/query/publication.go", // -query: rows are committed first, then the state about them
		Old: "\tif err == nil && p.cfg.Changes {\n\t\terr = p.bury",
		New: "\tif err == nil && !p.begun.IsZero() && p.client.Flush(ctx) == nil {\n\t\terr = p.client.EndTransaction(ctx, kgo.TryCommit)\n\t\tp.begun = time.Time{}\n\t}\n\tif err == nil && p.cfg.Changes {\n\t\terr = p.bury"},
	"position-apart": {File: "publisher/kafka/log.go",
		Old: "if err := l.deliver(ctx, l.client, b, more...); err != nil {\n\t\treturn err\n\t}",
		New: "if err := l.deliver(ctx, l.client, b); err != nil {\n\t\treturn err\n\t}\n\tif err := l.client.EndTransaction(ctx, kgo.TryCommit); err != nil {\n\t\treturn err\n\t}\n\tl.begun = false\n\tif err := l.deliver(ctx, l.client, &record.Batch{}, more...); err != nil {\n\t\treturn err\n\t}"},
}

// bugs returns the bugs to plant in the run.
func (o options) bugs() ([]harness.Bug, error) {
	if o.planted == "" {
		return nil, nil
	}
	bug, known := planted[o.planted]
	if !known {
		return nil, fmt.Errorf("-planted %s: want one of %s", o.planted, strings.Join(slices.Sorted(maps.Keys(planted)), ", "))
	}
	return []harness.Bug{bug}, nil
}
