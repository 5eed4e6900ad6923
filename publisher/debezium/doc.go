// Package debezium turns changes into the records that Debezium's PostgreSQL connector would produce, so that consumers of Debezium's records read
// ours unchanged. Each value has one additional field at its end, "pgtee": who wrote the change, with which statement.
//
// The writer (writer.go) produces the records of one change. The value of each record is an Envelope around rows, and each column of a row has a
// codec (types.go). Config.Framing adds schemas or converts the JSON to Avro. Modes choose other forms of values; FlatConfig and the other envelopes
// choose other shapes of records.
//
// Where Debezium loses a value, this package keeps it:
//
//   - A value that Debezium's type cannot represent is PostgreSQL's text as a JSON string: NaN and the
//     infinities in numeric, timestamps after the year 294246, text in another style. A schema does not
//     allow that: there the column is null or zero, and the text is in the field "values" of the block
//     pgtee.
//   - An array of several dimensions is an array of arrays, and any element may be null.
//   - Columns that Debezium leaves out or makes null are included: composite types, multiranges, tsquery,
//     pg_lsn, xid, regclass, "name" as text, and arrays of money, interval, bit, xml, point, domains.
//   - time[] keeps its microseconds; timetz with seconds in its zone is converted.
//   - NULL stays null; Debezium replaces it with the column's default.
//   - TRUNCATE is published (op t), as Debezium does with skipped.operations=none, unless
//     Config.Skip excludes it.
//   - With a REPLICA IDENTITY USING INDEX that does not cover the primary key, the columns of that index
//     are the record key, because the WAL has no other columns for a delete.
//   - The first number of source.sequence is the end LSN of the transaction's own commit record; Debezium
//     uses that of the preceding commit, which it forgets on a restart. Both increase in commit order.
//   - All records of a transaction have one transaction id; Debezium's ends in the LSN of each event.
//   - The headers __debezium.newkey and oldkey hold the key's JSON, byte for byte.
//   - The headers __debezium.context.* are present only if Config.RunID is set.
//   - Logical messages that are not transactional belong to no commit and are not published.
//
// testdata/golden/excuses.tsv lists the differences found in records captured from Debezium.
//
// The replication connection must set DateStyle ISO, IntervalStyle postgres, extra_float_digits to at least 1 and lc_monetary C; values in other
// styles are published as text.
package debezium
