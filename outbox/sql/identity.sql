-- has_identity(table): may UPDATE and DELETE of this table be published without making them fail?
-- Every leaf partition needs REPLICA IDENTITY FULL or an index that serves as identity; FULL on a
-- partitioned root does not reach its leaves, and a DEFERRABLE key is none.
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
    SELECT pg_catalog.bool_and(relreplident OPERATOR(pg_catalog.=) 'f' OR pg_catalog.pg_get_replica_identity_index(oid) IS NOT NULL)
    FROM leaves WHERE relkind OPERATOR(pg_catalog.<>) 'p'
$has$;
