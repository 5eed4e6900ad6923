-- Views of this archive for DuckDB. Start it in this folder (duckdb -init views.sql), or: SET file_search_path = 'DIR'; .read DIR/views.sql

-- The valid files: those in the manifest that the retention has not removed.
CREATE OR REPLACE VIEW archive_files AS
WITH lines AS (
  SELECT * FROM read_json('manifest.jsonl', format = 'newline_delimited', maximum_object_size = 67108864,
    columns = {line: 'BIGINT', "at": 'TIMESTAMP', file: 'STRUCT(name VARCHAR, bytes BIGINT, "first" BIGINT, records BIGINT, transactions BIGINT)', removed: 'VARCHAR[]'}))
SELECT file.name AS name, file.bytes AS bytes, file."first" AS "first", file.records AS records, file.transactions AS transactions, "at"
FROM lines WHERE file IS NOT NULL AND file.name NOT IN (SELECT unnest(removed) FROM lines WHERE removed IS NOT NULL);

-- Every record; n increases in the order of the source's commits.
CREATE OR REPLACE VIEW events AS
WITH records AS (
  $READ)
SELECT * EXCLUDE (filename) FROM records WHERE parse_filename(filename) IN (SELECT name FROM archive_files);

-- Every change of a row: its author, the statement, and the row before and after.
CREATE OR REPLACE VIEW history AS
SELECT n, make_timestamp((value->>'$.source.ts_us')::BIGINT) AS committed, value->>'$.source.schema' AS "schema", value->>'$.source.table' AS "table", value->>'$.op' AS op,
  value->>'$.pgtee.session.user' AS "user", value->>'$.pgtee.statement.text' AS statement, (value->>'$.source.txId')::BIGINT AS xid,
  key, value->'$.before' AS "before", value->'$.after' AS "after", topic, id
FROM events WHERE value->>'$.source.table' IS NOT NULL;

-- The rows at the end of the archive, for tables with a key: the last change of each row, unless that change or a later TRUNCATE deleted the row.
CREATE OR REPLACE VIEW current_rows AS
WITH last AS (SELECT * FROM history WHERE key IS NOT NULL QUALIFY row_number() OVER (PARTITION BY topic, key::VARCHAR ORDER BY n DESC) = 1),
  emptied AS (SELECT topic, max(n) AS n FROM history WHERE op = 't' GROUP BY topic)
SELECT last."schema", last."table", last.key, last."after" AS "row", last.committed, last."user", last.n
FROM last LEFT JOIN emptied ON emptied.topic = last.topic
WHERE last.op <> 'd' AND last.n > coalesce(emptied.n, 0);

-- DDL, with the user who ran it.
CREATE OR REPLACE VIEW ddl AS
SELECT n, value->>'$.commit_time' AS committed, value->>'$.command' AS command, value->>'$.statement' AS statement, value->>'$.user' AS "user", id
FROM events WHERE value->>'$.source.table' IS NULL;
