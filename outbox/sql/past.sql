-- What tables and types were. The publisher may read a change long after it was made: what the log does not say of its table (the key under REPLICA
-- IDENTITY FULL, the order of its columns, what a type is) it asks of the catalog, which may have moved on. So whatever DDL changes of that, or drops, is kept here as it
-- was, until the log before it is published.
--
-- lsn is a place of the log inside of the transaction: what was written to the table before it is of the table as it was, for the command's lock keeps
-- others' writes apart. Unlogged, so that nobody replicates it; a crash or a failover empties it, and what was changed
-- before and is not published by then has to do with what the log says.
CREATE UNLOGGED TABLE IF NOT EXISTS pgtee.was (
    kind        "char" NOT NULL, -- r table, t type
    oid         oid    NOT NULL,
    lsn         pg_lsn NOT NULL,
    description jsonb  NOT NULL,
    PRIMARY KEY (kind, oid, lsn)
);

-- expression(tree) is pg_get_expr(), null for one that names what is gone already.
CREATE OR REPLACE FUNCTION pgtee.expression(tree pg_node_tree) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $expression$
BEGIN
    RETURN pg_get_expr(tree, 0);
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$expression$;

-- describe_tables(oids) and describe_types(oids) are the publisher's own questions to the catalog.
CREATE OR REPLACE FUNCTION pgtee.describe_tables(oids oid[]) RETURNS TABLE (tbl oid, description jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $describe$
#variable_conflict use_column
BEGIN
    RETURN QUERY {{describe_tables}};
END
$describe$;

CREATE OR REPLACE FUNCTION pgtee.describe_types(oids oid[]) RETURNS TABLE (typ oid, description jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $describe$
#variable_conflict use_column
BEGIN
    RETURN QUERY {{describe_types}};
END
$describe$;

-- partitions(oids) tells of these tables, and of the partitions of these, which partitioned table the stream names in their place.
CREATE OR REPLACE FUNCTION pgtee.partitions(oids oid[]) RETURNS TABLE (tbl oid, schema text, name text, root oid, root_name text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $partitions$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE part AS (
        SELECT i.inhrelid AS oid, i.inhparent AS above, 1 AS height FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE c.relispartition AND (i.inhrelid = ANY (oids) OR i.inhparent = ANY (oids))
        UNION
        SELECT p.oid, i.inhparent, p.height + 1 FROM part AS p JOIN pg_inherits AS i ON i.inhrelid = p.above JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE c.relispartition
    )
    SELECT DISTINCT ON (p.oid) p.oid, n.nspname::text, format('%I.%I', n.nspname, c.relname), r.oid, format('%I.%I', rn.nspname, r.relname)
    FROM part AS p JOIN pg_class AS c ON c.oid = p.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_class AS r ON r.oid = p.above JOIN pg_namespace AS rn ON rn.oid = r.relnamespace
    ORDER BY p.oid, p.height DESC;
END
$partitions$;

-- before(tables, types) describes what a command has touched as it was before. That is the snapshot of the command, which functions see that are
-- STABLE all the way from the event trigger: {"tables": {oid: description}, "types": …, "parts": {oid: {"schema", "name", "root"}}}.
CREATE OR REPLACE FUNCTION pgtee.before(touched oid[], dropped_types oid[]) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $before$
DECLARE
    parts jsonb := pgtee.parts(touched);
BEGIN
    RETURN jsonb_build_object(
        'parts', parts,
        'tables', (SELECT jsonb_object_agg(d.tbl, d.description) FROM pgtee.describe_tables(
            touched || ARRAY(SELECT (p.value ->> 'root_oid')::oid FROM jsonb_each(parts) AS p)) AS d),
        'types', (SELECT jsonb_object_agg(d.typ, d.description) FROM pgtee.describe_types(dropped_types) AS d));
END
$before$;

-- parts(tables) is partitions() as JSON: an object, by the OIDs.
CREATE OR REPLACE FUNCTION pgtee.parts(oids oid[]) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $parts$
BEGIN
    RETURN coalesce((SELECT jsonb_object_agg(p.tbl, jsonb_build_object('schema', p.schema, 'name', p.name, 'root', p.root_name, 'root_oid', p.root::int8))
        FROM pgtee.partitions(oids) AS p), '{}');
END
$parts$;

-- remember(before) keeps what of before() is not so any more. In a copy of the database it keeps nothing.
CREATE OR REPLACE FUNCTION pgtee.remember(was jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $remember$
BEGIN
    IF was IS NULL OR was ->> 'tables' IS NULL AND was ->> 'types' IS NULL OR pgtee.key() IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO pgtee.was (kind, oid, lsn, description)
    SELECT 'r', w.key::oid, pg_current_wal_insert_lsn(), w.value
    FROM jsonb_each(nullif(was -> 'tables', 'null')) AS w
    LEFT JOIN pgtee.describe_tables(ARRAY(SELECT k::oid FROM jsonb_object_keys(nullif(was -> 'tables', 'null')) AS k)) AS d ON d.tbl = w.key::oid
    WHERE d.description IS DISTINCT FROM w.value
    UNION ALL
    SELECT 't', w.key::oid, pg_current_wal_insert_lsn(), w.value FROM jsonb_each(nullif(was -> 'types', 'null')) AS w
    ON CONFLICT DO NOTHING;
END
$remember$;

-- past(kind, oid, lsn) is what a table or type was at a place of the log; null if it has not changed since.
CREATE OR REPLACE FUNCTION pgtee.past(kind "char", object oid, place pg_lsn) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $past$
BEGIN
    PERFORM pgtee.demand_publisher();
    RETURN (SELECT w.description FROM pgtee.was AS w WHERE w.kind = $1 AND w.oid = $2 AND w.lsn > $3 ORDER BY w.lsn LIMIT 1);
END
$past$;
