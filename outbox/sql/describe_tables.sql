-- What the records of tables ($1, an array of their OIDs) stand on: one row for each that is there, as JSON.
--   keys         unique indexes on whole columns that cannot be null: the primary key, the replica identity, then the oldest; of a
--                partitioned table also those that all of its leaves have. INCLUDE columns are payload. An index that belongs to a
--                constraint is as old as that, for REINDEX CONCURRENTLY makes another index
--   identity     columns that the log has of every old row; of leaves, those that all have. null: all columns, in every leaf
--   partitioned  the rows are those of leaves, and old rows have what the leaf's replica identity says
--   not_null, generated, defaults
-- It reads tables only, no caches: so in a STABLE function it shows them as they were when the command began, dropped ones too.
-- pg_get_expr() gets no table, for that it would lock.
WITH RECURSIVE tree AS (
    SELECT c.oid AS root, c.oid, c.relkind, c.relreplident FROM pg_class AS c WHERE c.oid = ANY ($1::oid[])
    UNION ALL
    SELECT t.root, c.oid, c.relkind, c.relreplident
    FROM tree AS t JOIN pg_inherits AS i ON i.inhparent = t.oid JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE t.relkind = 'p' AND (c.relkind = 'p' OR c.relkind = 'r' AND c.relpersistence = 'p')
), indexes AS (
    SELECT t.root, t.oid, t.relkind, i.indisprimary, i.indisreplident,
        coalesce((SELECT min(x.oid) FROM pg_constraint AS x WHERE x.conindid = i.indexrelid AND x.contype IN ('p', 'u')), i.indexrelid) AS age,
        (SELECT jsonb_agg(a.attname ORDER BY k.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.place <= i.indnkeyatts) AS columns,
        i.indimmediate AND (t.relreplident = 'd' AND i.indisprimary OR t.relreplident = 'i' AND i.indisreplident) AS identifies
    FROM tree AS t JOIN pg_index AS i ON i.indrelid = t.oid
    WHERE i.indisunique AND i.indisvalid AND i.indislive AND i.indpred IS NULL AND i.indexprs IS NULL
      AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
          AND (NOT a.attnotnull OR EXISTS (SELECT FROM pg_constraint AS v
              WHERE v.conrelid = a.attrelid AND v.contype = 'n' AND v.conkey = ARRAY[a.attnum] AND NOT v.convalidated)))
), identities AS ( -- of a leaf without any the log has no old row
    SELECT t.root, t.relreplident = 'f' AS whole, i.columns
    FROM tree AS t LEFT JOIN indexes AS i ON i.root = t.root AND i.oid = t.oid AND i.identifies
    WHERE t.relkind = 'r' AND (t.relreplident = 'f' OR i.columns IS NOT NULL)
), keys AS (
    SELECT i.root, 0 AS rank, i.indisprimary AS first, i.indisreplident AS second, i.age, i.columns FROM indexes AS i WHERE i.oid = i.root
    UNION ALL
    SELECT i.root, 1, bool_and(i.indisprimary), bool_and(i.indisreplident), min(i.age), i.columns FROM indexes AS i WHERE i.oid <> i.root AND i.relkind = 'r'
    GROUP BY i.root, i.columns
    HAVING count(DISTINCT i.oid) = (SELECT count(*) FROM tree AS t WHERE t.root = i.root AND t.relkind = 'r')
)
SELECT t.oid, jsonb_build_object(
    'keys', (SELECT jsonb_agg(k.columns ORDER BY k.rank, k.first DESC, k.second DESC, k.age) FROM keys AS k WHERE k.root = t.oid),
    'identity', CASE
        WHEN EXISTS (SELECT FROM identities AS i WHERE i.root = t.oid) AND NOT EXISTS (SELECT FROM identities AS i WHERE i.root = t.oid AND NOT i.whole) THEN NULL
        ELSE coalesce((SELECT jsonb_agg(c.name ORDER BY c.name) FROM (
            SELECT n.name FROM identities AS i CROSS JOIN LATERAL jsonb_array_elements_text(i.columns) AS n (name) WHERE i.root = t.oid AND NOT i.whole
            GROUP BY n.name HAVING count(*) = (SELECT count(*) FROM identities AS o WHERE o.root = t.oid AND NOT o.whole)) AS c), '[]') END,
    'partitioned', t.relkind = 'p',
    'not_null', (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_attribute AS a LEFT JOIN pg_type AS y ON y.oid = a.atttypid
        WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attnotnull OR y.typnotnull)),
    'generated', (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> ''),
    'defaults', (SELECT jsonb_object_agg(a.attname, pg_get_expr(d.adbin, 0)) FROM pg_attribute AS a JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''))
FROM tree AS t WHERE t.oid = t.root
