// Package debezium turns changes into the records that Debezium's PostgreSQL connector makes of them, so that
// consumers of those read ours unchanged. Each value has one more field at its end, "pgtee": who wrote the change,
// with which statement.
//
// One change makes the records of writer.go. The value of each is an Envelope over rows, which are made by one
// codec per column (types.go); Config.Framing puts schemas beside them or turns them into Avro. Modes choose
// other forms of values, FlatConfig and the other envelopes other shapes of records.
//
// Where Debezium loses a value, ours keeps it:
//
//   - What has no form in Debezium's type is PostgreSQL's text as a JSON string: NaN and the
//     infinities in numeric, timestamps after the year 294246, text in another style. Under a schema,
//     which has no place for it, the column is null or zero and the text is in the field "values" of
//     the block pgtee.
//   - An array of more dimensions is an array of arrays, and any element may be null.
//   - Columns that Debezium leaves out or makes null are there: composite types, multiranges, tsquery,
//     pg_lsn, xid, regclass, "name" as text, and arrays of money, interval, bit, xml, point, domains.
//   - time[] keeps its microseconds, timetz with seconds in its zone is converted.
//   - NULL stays null; Debezium puts the default of the column there.
//   - TRUNCATE is published (op t), as Debezium does with skipped.operations=none, unless
//     Config.Skip has it.
//   - With REPLICA IDENTITY USING INDEX that does not cover the primary key, the columns of the index
//     are the key of the record, because the log has no others for a delete.
//   - The first number of source.sequence is the end of the transaction's own commit record; Debezium
//     has that of the commit before, which a restart forgets. Both rise in commit order.
//   - All records of a transaction have one transaction id; Debezium's ends in the LSN of each event.
//   - The headers __debezium.newkey and oldkey hold the key's JSON, byte for byte.
//   - The headers __debezium.context.* are there only if Config.RunID is set.
//   - Logical messages that are not transactional belong to no commit and are not published.
//
// testdata/golden/excuses.tsv lists the differences that the captured records show.
//
// The replication connection must have DateStyle ISO, IntervalStyle postgres, extra_float_digits 1 or
// more and lc_monetary C; other styles are published as text.
package debezium
