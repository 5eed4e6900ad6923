-- has_identity(table): may UPDATE and DELETE of this table be published without making them fail?
-- Every leaf partition needs REPLICA IDENTITY FULL or an index that serves as identity; FULL on a
-- partitioned root does not reach its leaves, and a DEFERRABLE key is none. Null if there is no such table.
-- It reads catalogs only, with the conditions of RelationGetIndexList() in relcache.c:
-- pg_get_replica_identity_index() opens the table, and fails if another session drops it meanwhile.
CREATE OR REPLACE FUNCTION pgtee.has_identity(root regclass) RETURNS boolean
LANGUAGE sql STABLE AS $has$
    WITH RECURSIVE leaves AS (
        SELECT c.oid, c.relkind, c.relreplident FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) root
        UNION ALL
        SELECT c.oid, c.relkind, c.relreplident
        FROM leaves AS l
        JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) l.oid AND l.relkind OPERATOR(pg_catalog.=) 'p'
        JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
    )
    SELECT pg_catalog.bool_and(relreplident OPERATOR(pg_catalog.=) 'f' OR EXISTS (
        SELECT FROM pg_catalog.pg_index AS i
        WHERE i.indrelid OPERATOR(pg_catalog.=) leaves.oid
          AND i.indislive AND i.indisvalid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL
          AND (relreplident OPERATOR(pg_catalog.=) 'd' AND i.indisprimary OR relreplident OPERATOR(pg_catalog.=) 'i' AND i.indisreplident)))
    FROM leaves WHERE relkind OPERATOR(pg_catalog.<>) 'p'
$has$;
