-- Returns the properties of a table ($1, its OID) on which its records depend, as JSON; no row if the table does not exist.
--   keys         unique indexes on whole columns that cannot be null: the primary key, the replica identity, then the oldest; for a
--                partitioned table also those that all of its leaves have. INCLUDE columns do not count. An index that belongs to a
--                constraint is as old as the constraint, because REINDEX CONCURRENTLY creates a new index. Within a transaction two rows
--                may have the same DEFERRABLE key: it is none if updates are published, which FULL or another index make possible
--   numbers      attribute numbers of the columns in keys, by name: they stay when a column is renamed
--   primary      whether the first of the keys is the primary key
--   identity     columns that the WAL has for every old row; for leaves, those that all of them have. null: all columns, in every leaf
--   partitioned  the rows are those of leaves, and old rows have the columns of the leaf's replica identity
--   not_null, generated, defaults. A NOT NULL that is NOT VALID (PostgreSQL 18) is none: older rows may have NULL
-- The joins by LATERAL and OFFSET 0 use the index of each catalog: the planner expects many rows of a recursive query, and would read the whole catalog.
-- It reads only tables, no caches, so that a STABLE function sees a table as it was when the command began, even if the command drops it. It does not
-- pass the table to pg_get_expr(), which would lock it.
WITH RECURSIVE tree AS (
    SELECT c.oid, c.relkind, c.relreplident FROM pg_class AS c WHERE c.oid = $1::oid
    UNION ALL
    SELECT c.oid, c.relkind, c.relreplident
    FROM tree AS t CROSS JOIN LATERAL (SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = t.oid OFFSET 0) AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE t.relkind = 'p' AND (c.relkind = 'p' OR c.relkind = 'r' AND c.relpersistence = 'p')
), indexes AS (
    SELECT t.oid, t.relkind, i.indisprimary, i.indisreplident,
        coalesce((SELECT min(x.oid) FROM pg_constraint AS x WHERE x.conrelid = i.indrelid AND x.conindid = i.indexrelid AND x.contype IN ('p', 'u')), i.indexrelid) AS age,
        (SELECT jsonb_agg(a.attname ORDER BY k.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.place <= i.indnkeyatts) AS columns,
        i.indimmediate AND (t.relreplident = 'd' AND i.indisprimary OR t.relreplident = 'i' AND i.indisreplident) AS identifies
    FROM tree AS t CROSS JOIN LATERAL (SELECT * FROM pg_index AS i WHERE i.indrelid = t.oid OFFSET 0) AS i
    WHERE i.indisunique AND i.indisvalid AND i.indislive AND i.indpred IS NULL AND i.indexprs IS NULL
      AND (i.indimmediate OR NOT EXISTS (SELECT FROM tree AS leaf WHERE leaf.relkind = 'r' AND leaf.relreplident IN ('f', 'i')))
      AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
          AND (NOT a.attnotnull OR EXISTS (SELECT FROM pg_constraint AS v
              WHERE v.conrelid = a.attrelid AND v.contype = 'n' AND v.conkey = ARRAY[a.attnum] AND NOT v.convalidated)))
), keys AS (
    SELECT 0 AS rank, i.indisprimary AS first, i.indisreplident AS second, i.age, i.columns FROM indexes AS i WHERE i.oid = $1::oid
    UNION ALL
    SELECT 1, bool_and(i.indisprimary), bool_and(i.indisreplident), min(i.age), i.columns FROM indexes AS i WHERE i.oid <> $1::oid AND i.relkind = 'r'
    GROUP BY i.columns HAVING count(DISTINCT i.oid) = (SELECT count(*) FROM tree AS t WHERE t.relkind = 'r')
), identities AS ( -- a table without an identity has no old rows in the WAL
    SELECT count(*) OVER () AS total, i.columns FROM indexes AS i WHERE i.relkind = 'r' AND i.identifies
), attributes AS (
    SELECT a.attname, a.attnum, a.attgenerated <> '' AS generated,
        coalesce(y.typnotnull, false) OR a.attnotnull AND a.attnum <> ALL (ARRAY( -- once for all columns
            SELECT v.conkey[1] FROM pg_constraint AS v WHERE v.conrelid = $1::oid AND v.contype = 'n' AND NOT v.convalidated)) AS not_null,
        CASE WHEN a.attgenerated = '' AND a.atthasdef THEN (SELECT pg_get_expr(d.adbin, 0) FROM pg_attrdef AS d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) END AS expression
    FROM pg_attribute AS a LEFT JOIN pg_type AS y ON y.oid = a.atttypid WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT jsonb_build_object(
    'keys', (SELECT jsonb_agg(k.columns ORDER BY k.rank, k.first DESC, k.second DESC, k.age) FROM keys AS k),
    'numbers', (SELECT jsonb_object_agg(a.attname, a.attnum) FROM attributes AS a WHERE EXISTS (SELECT FROM keys AS k WHERE k.columns ? a.attname::text)),
    'primary', EXISTS (SELECT FROM indexes AS i WHERE i.oid = $1::oid AND i.indisprimary),
    'identity', CASE WHEN NOT EXISTS (SELECT FROM identities) AND EXISTS (SELECT FROM tree AS t WHERE t.relkind = 'r' AND t.relreplident = 'f') THEN NULL
        ELSE coalesce((SELECT jsonb_agg(c.name ORDER BY c.name) FROM (
            SELECT n.name FROM identities AS i CROSS JOIN LATERAL jsonb_array_elements_text(i.columns) AS n (name)
            GROUP BY n.name, i.total HAVING count(*) = i.total) AS c), '[]') END,
    'partitioned', root.relkind = 'p',
    'not_null', (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.not_null) FROM attributes AS a),
    'generated', (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.generated) FROM attributes AS a),
    'defaults', (SELECT jsonb_object_agg(a.attname, a.expression) FILTER (WHERE a.expression IS NOT NULL) FROM attributes AS a))
FROM tree AS root WHERE root.oid = $1::oid
