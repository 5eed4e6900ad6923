-- Views of this archive for DuckDB. Start it in this folder (duckdb -init views.sql), or: SET file_search_path = 'DIR'; .read DIR/views.sql
-- pgtee archive writes this file again whenever it starts.

-- The valid files: those in the manifest that the retention has not removed.
CREATE OR REPLACE VIEW archive_files AS
WITH lines AS (
  SELECT * FROM read_json('manifest.jsonl', format = 'newline_delimited', maximum_object_size = 67108864,
    columns = {line: 'BIGINT', "at": 'TIMESTAMPTZ', file: 'STRUCT(name VARCHAR, bytes BIGINT, "first" BIGINT, records BIGINT, transactions BIGINT)', removed: 'VARCHAR[]'}))
SELECT file.name AS name, file.bytes AS bytes, file."first" AS "first", file.records AS records, file.transactions AS transactions, "at"
FROM lines WHERE file IS NOT NULL AND file.name NOT IN (SELECT unnest(removed) FROM lines WHERE removed IS NOT NULL);

-- Every record; n increases in the order of the source's commits.
CREATE OR REPLACE VIEW events AS
WITH records AS (
  $READ)
SELECT * EXCLUDE (filename) FROM records WHERE parse_filename(filename) IN (SELECT name FROM archive_files);

-- Every change of a row: its author, the statement, and the row before and after.
CREATE OR REPLACE VIEW history AS
SELECT n, make_timestamp((value->>'$.source.ts_us')::BIGINT) AT TIME ZONE 'UTC' AS committed, value->>'$.source.schema' AS "schema", value->>'$.source.table' AS "table", value->>'$.op' AS op,
  value->>'$.pgtee.session.user' AS "user", value->>'$.pgtee.statement.text' AS statement, (value->>'$.source.txId')::BIGINT AS xid,
  key, value->'$.before' AS "before", value->'$.after' AS "after", topic, id
FROM events WHERE value->>'$.source.table' IS NOT NULL;

-- A field of an object, whatever is in its name.
CREATE OR REPLACE MACRO pgtee_field(object, name) AS object->('/' || replace(replace(name, '~', '~0'), '/', '~1'));

-- Whether a record has the placeholder of an unchanged TOAST value in a field of after, or null and the placeholder in pgtee.values.
CREATE OR REPLACE MACRO pgtee_is_unchanged(value, name) AS
  CASE WHEN pgtee_field(value->'$.after', name)::VARCHAR IN ($PLACEHOLDERS) THEN pgtee_field(value->'$.pgtee.values', 'after.' || name) IS NULL
    ELSE coalesce(pgtee_field(value->'$.pgtee.values', 'after.' || name)::VARCHAR = '"__debezium_unavailable_value"', false) END;

-- The rows at the end of the archive, for tables with a key: the last change of each row, unless that change or a later TRUNCATE or resync deleted the row.
-- An unchanged TOAST value is taken from the change that wrote it. incomplete lists the columns for which no such change is in the archive, or whose value
-- was too large for its record (header pgtee-left-out).
CREATE OR REPLACE VIEW current_rows AS
WITH changes AS (SELECT *, value->>'$.op' AS op, key::VARCHAR AS k, value->>'$.source.schema' AS s, value->>'$.source.table' AS t FROM events WHERE value->>'$.source.table' IS NOT NULL),
  emptied AS (SELECT topic, "partition", s, t, max(n) AS n FROM changes WHERE op = 't' GROUP BY ALL),
  latest AS (SELECT * FROM changes WHERE key IS NOT NULL QUALIFY row_number() OVER (PARTITION BY topic, s, t, k ORDER BY n DESC) = 1),
  live AS (
    SELECT latest.*, [c FOR c IN json_keys(latest.value->'$.after') IF pgtee_is_unchanged(latest.value, c)] AS unchanged
    FROM latest LEFT JOIN emptied ON emptied.topic = latest.topic AND emptied."partition" = latest."partition" AND emptied.s = latest.s AND emptied.t = latest.t
    WHERE latest.op <> 'd' AND latest.n > coalesce(emptied.n, 0)),
  gaps AS (SELECT n, topic, s, t, k, unnest(unchanged) AS name FROM live),
  older AS ( -- from the change that has made the row
    SELECT gaps.n AS latest, gaps.name, changes.n, changes.value, changes.headers, max(CASE WHEN changes.op IN ('c', 'r') THEN changes.n END) OVER (PARTITION BY gaps.n) AS first
    FROM gaps JOIN changes ON changes.topic = gaps.topic AND changes.s = gaps.s AND changes.t = gaps.t AND changes.k = gaps.k AND changes.n <= gaps.n AND changes.op <> 'd'),
  written AS (
    SELECT latest, name, CASE WHEN NOT pgtee_is_unchanged(value, name) THEN pgtee_field(value->'$.after', name) END AS found
    FROM older WHERE n >= coalesce(first, 0) AND (NOT pgtee_is_unchanged(value, name) OR (headers->'/pgtee-left-out') IS NOT NULL)
    QUALIFY row_number() OVER (PARTITION BY latest, name ORDER BY n DESC) = 1),
  filled AS (SELECT latest AS n, json_group_object(name, found) AS found, list(name) AS names FROM written WHERE found IS NOT NULL GROUP BY latest)
SELECT live.value->>'$.source.schema' AS "schema", live.value->>'$.source.table' AS "table", live.key,
  CASE WHEN filled.n IS NULL THEN live.value->'$.after'
    ELSE ('{' || array_to_string([to_json(c)::VARCHAR || ':' || coalesce(pgtee_field(filled.found, c), pgtee_field(live.value->'$.after', c))::VARCHAR FOR c IN json_keys(live.value->'$.after')], ',') || '}')::JSON END AS "row",
  make_timestamp((live.value->>'$.source.ts_us')::BIGINT) AT TIME ZONE 'UTC' AS committed, live.value->>'$.pgtee.session.user' AS "user", live.n,
  [c FOR c IN live.unchanged IF NOT list_contains(coalesce(filled.names, []), c)] AS incomplete
FROM live LEFT JOIN filled ON filled.n = live.n;

-- DDL, with the user who ran it.
CREATE OR REPLACE VIEW ddl AS
SELECT n, (value->>'$.commit_time')::TIMESTAMPTZ AS committed, value->>'$.command' AS command, value->>'$.statement' AS statement, value->>'$.user' AS "user", id
FROM events WHERE value->>'$.source.table' IS NULL;
