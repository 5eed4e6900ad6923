-- The former definitions of tables and types. The publisher may read a change long after it was made. For information that is not in the WAL (the key
-- under REPLICA IDENTITY FULL, the order of its columns, the definition of a type) it reads the catalog, which may have changed since. Therefore any
-- such definition that DDL changes or drops is kept here until the earlier WAL has been published.
--
-- lsn is a position in the WAL inside the transaction of the DDL. Rows that were written to the table before this position have the former definition,
-- because the command's lock excludes other writers. pgtee.was is unlogged, so that it is not replicated. A crash or a failover empties it; for earlier
-- changes that are not yet published, only the information in the WAL is left then.
CREATE UNLOGGED TABLE IF NOT EXISTS pgtee.was (
    kind        "char" NOT NULL, -- r table, t type
    oid         oid    NOT NULL,
    lsn         pg_lsn NOT NULL,
    description jsonb  NOT NULL,
    PRIMARY KEY (kind, oid, lsn)
);

-- expression(tree) returns the result of pg_get_expr(), or null if the expression refers to something that has been dropped.
CREATE OR REPLACE FUNCTION pgtee.expression(tree pg_node_tree) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $expression$
BEGIN
    RETURN pg_get_expr(tree, 0);
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$expression$;

-- describe_table(oid) and describe_type(oid) are the publisher's own catalog queries; null means that the object does not exist.
CREATE OR REPLACE FUNCTION pgtee.describe_table(oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $describe$
BEGIN
    RETURN ({{describe_table}});
END
$describe$;

CREATE OR REPLACE FUNCTION pgtee.describe_type(oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $describe$
BEGIN
    RETURN ({{describe_type}});
END
$describe$;

-- parts(tables, below) returns a JSON object that describes, by OID, those of these tables that are partitions and, if below is true, also the direct
-- partitions of these tables. root is the partitioned table whose name the stream uses for the partition's rows.
CREATE OR REPLACE FUNCTION pgtee.parts(oids oid[], below boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $parts$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = ANY (oids)) AND NOT (below AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = ANY (oids))) THEN
        RETURN '{}';
    END IF;
    RETURN coalesce((
        WITH RECURSIVE part AS (
            SELECT i.inhrelid AS oid, i.inhparent AS parent, i.inhparent AS above, 1 AS height FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
            WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f') AND (i.inhrelid = ANY (oids) OR below AND i.inhparent = ANY (oids))
            UNION
            SELECT p.oid, p.parent, i.inhparent, p.height + 1 FROM part AS p JOIN pg_inherits AS i ON i.inhrelid = p.above JOIN pg_class AS c ON c.oid = i.inhrelid
            WHERE c.relispartition
        )
        SELECT jsonb_object_agg(t.oid, t.part) FROM (
            SELECT DISTINCT ON (p.oid) p.oid, jsonb_build_object('schema', n.nspname, 'name', format('%I.%I', n.nspname, c.relname), 'parent', p.parent::int8,
                'root', format('%I.%I', rn.nspname, r.relname), 'root_oid', r.oid::int8) AS part
            FROM part AS p JOIN pg_class AS c ON c.oid = p.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_class AS r ON r.oid = p.above JOIN pg_namespace AS rn ON rn.oid = r.relnamespace
            ORDER BY p.oid, p.height DESC) AS t), '{}');
END
$parts$;

-- outline(oid) returns a text that changes whenever anything changes on which describe_table() and capture() depend, and takes a tenth of their time.
-- For partitions, and for tables that have partitions or child tables, it returns 'partition'.
CREATE OR REPLACE FUNCTION pgtee.outline(tbl oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $outline$
BEGIN
    RETURN (SELECT CASE WHEN c.relispartition OR c.relhassubclass OR c.relkind = 'p' THEN 'partition' ELSE concat_ws('|', c.relkind, c.relreplident, c.relpersistence,
        (SELECT string_agg(concat_ws(' ', i.indexrelid, i.indkey, i.indnkeyatts, i.indisprimary, i.indisreplident, i.indisvalid, i.indislive, i.indimmediate), ';' ORDER BY i.indexrelid)
            FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique),
        (SELECT string_agg(concat_ws(' ', x.oid, x.contype, x.conindid, x.conkey, x.convalidated), ';' ORDER BY x.oid)
            FROM pg_constraint AS x WHERE x.conrelid = c.oid AND (x.contype IN ('p', 'u') OR x.contype = 'n' AND NOT x.convalidated)),
        (SELECT string_agg(concat_ws(' ', a.attnum, a.attname, a.attnotnull, a.attgenerated, a.atttypid, d.adbin), ';' ORDER BY a.attnum)
            FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON a.atthasdef AND d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              AND (a.attnotnull OR a.atthasdef OR a.attgenerated <> '' OR a.atttypid >= 16384))) END
        FROM pg_class AS c WHERE c.oid = tbl);
END
$outline$;

CREATE OR REPLACE FUNCTION pgtee.outlines(oids oid[]) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $outlines$
BEGIN
    RETURN ARRAY(SELECT pgtee.outline(o.oid) FROM unnest(oids) WITH ORDINALITY AS o (oid, place) ORDER BY o.place);
END
$outlines$;

-- altered(tables, outlines) returns the tables that are new, and those whose description may have changed since they had these outlines.
CREATE OR REPLACE FUNCTION pgtee.altered(oids oid[], outlines text[]) RETURNS oid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $altered$
BEGIN
    RETURN ARRAY(SELECT o.oid FROM unnest(oids, outlines) AS o (oid, outline)
        WHERE o.outline IS NULL OR o.outline = 'partition' OR o.outline LIKE '_|f|%' -- REPLICA IDENTITY FULL: capture() may restore the default identity
            OR pgtee.outline(o.oid) IS DISTINCT FROM o.outline);
END
$altered$;

-- before(tables, outlines, changed, types, below) returns what the tables and types of a command were like before it. It sees the snapshot of the command
-- because it is STABLE, and so is each function on the way to it from the event trigger. outlines are the former ones of the tables, changed is what
-- altered() returned. The result:
--   unlogged the changed tables that were unlogged
--   tables   the former descriptions of these tables, except new ones, and of their roots, if changed_roots() returns them: by OID
--   types    the former descriptions of the dropped types, by OID
--   parts    the result of parts() before the command
--   now      the result of parts() after the command
CREATE OR REPLACE FUNCTION pgtee.before(touched oid[], outlines text[], changed oid[], dropped_types oid[], below boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $before$
DECLARE
    former   oid[]; -- those of the changed tables that are not new
    unlogged jsonb;
    tables   jsonb;
    types    jsonb;
    parts    jsonb;
    now      jsonb;
BEGIN
    IF array_position(outlines, 'partition') IS NOT NULL OR array_position(outlines, NULL) IS NOT NULL THEN
        parts := pgtee.parts(touched, below);
        now := pgtee.parts_now(touched, below);
    END IF;
    IF cardinality(changed) > 0 THEN
        IF array_remove(outlines, NULL) <> '{}' THEN
            former := ARRAY(SELECT o.oid FROM unnest(touched, outlines) AS o (oid, outline) WHERE o.outline IS NOT NULL AND o.oid = ANY (changed));
            IF cardinality(former) > 0 THEN
                tables := pgtee.describe_tables(former);
            END IF;
            IF array_to_string(outlines, ' ') ~ 'partition|[|]u' THEN -- most commands are spared this query
                unlogged := (SELECT coalesce(jsonb_agg(c.oid::int8), '[]') FROM pg_class AS c WHERE c.oid = ANY (changed) AND c.relpersistence = 'u');
            END IF;
        END IF;
        IF now <> '{}' OR parts <> '{}' THEN
            tables := coalesce(tables, '{}');
            tables := tables || pgtee.describe_tables(pgtee.changed_roots(tables, parts || now, touched));
        END IF;
    END IF;
    IF cardinality(dropped_types) > 0 THEN
        types := (SELECT jsonb_object_agg(o, pgtee.describe_type(o)) FROM unnest(dropped_types) AS o);
    END IF;
    RETURN jsonb_build_object('unlogged', coalesce(unlogged, '[]'), 'tables', coalesce(tables, '{}'), 'types', coalesce(types, '{}'),
        'parts', coalesce(parts, '{}'), 'now', coalesce(now, '{}'));
END
$before$;

-- parts_now(tables, below) returns the result of parts() after the command, because it is VOLATILE.
CREATE OR REPLACE FUNCTION pgtee.parts_now(oids oid[], below boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $parts$
BEGIN
    RETURN pgtee.parts(oids, below);
END
$parts$;

-- describe_tables(oids) returns a JSON object with the description of each table that exists, by OID.
CREATE OR REPLACE FUNCTION pgtee.describe_tables(oids oid[]) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $describe$
BEGIN
    RETURN coalesce((WITH d AS MATERIALIZED (SELECT o, pgtee.describe_table(o) AS description FROM (SELECT DISTINCT unnest(oids)) AS u (o))
        SELECT jsonb_object_agg(d.o, d.description) FROM d WHERE d.description IS NOT NULL), '{}');
END
$describe$;

-- changed_roots(tables, parts, touched) returns the partitioned tables whose description may have changed because a leaf was added, removed or changed. The
-- more leaves a partitioned table has, the longer it takes to describe it. Therefore this compares each touched leaf with another leaf of the same parent: if
-- the facts() of the touched leaf are the same as those of the other one, before and after the command, the root's description has not changed.
CREATE OR REPLACE FUNCTION pgtee.changed_roots(tables jsonb, parts jsonb, touched oid[]) RETURNS oid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $changed$
DECLARE
    leaf  record;
    alike jsonb;
    roots oid[] := '{}';
BEGIN
    FOR leaf IN SELECT p.key AS oid, (p.value ->> 'parent')::oid AS parent, (p.value ->> 'root_oid')::oid AS root FROM jsonb_each(parts) AS p
        WHERE p.key::oid = ANY (touched)
    LOOP
        CONTINUE WHEN leaf.root = ANY (touched) OR leaf.root = ANY (roots);
        alike := pgtee.facts(pgtee.describe_table((SELECT i.inhrelid FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
            WHERE i.inhparent = leaf.parent AND i.inhrelid <> ALL (touched) AND c.relkind = 'r' AND c.relpersistence = 'p' LIMIT 1)));
        IF alike IS NULL OR alike IS DISTINCT FROM coalesce(pgtee.facts(tables -> leaf.oid), alike)
            OR alike IS DISTINCT FROM coalesce(pgtee.facts(pgtee.describe_table(leaf.oid::oid)), alike) THEN
            roots := roots || leaf.root;
        END IF;
    END LOOP;
    RETURN roots;
END
$changed$;

-- facts(description) returns the part of a description that contributes to that of a partitioned table.
CREATE OR REPLACE FUNCTION pgtee.facts(description jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $facts$
BEGIN
    RETURN CASE WHEN description IS NOT NULL THEN jsonb_build_array(description -> 'keys', description -> 'identity', description -> 'partitioned') END;
END
$facts$;

-- is_first_key(table, former) reports whether the rows that a table without a key already has belong to its later description: this transaction created
-- the table, as a restored dump does, and has only inserted rows since, which are all there when the key is made, so that they satisfy it; or it has
-- truncated them.
CREATE OR REPLACE FUNCTION pgtee.is_first_key(tbl oid, former jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $first$
BEGIN
    IF former -> 'keys' <> 'null' OR NOT pgtee.is_new(tbl) THEN -- a condition of its own: most commands are spared the planning of the query
        RETURN false;
    END IF;
    RETURN NOT EXISTS (
        WITH RECURSIVE tree AS (
            SELECT c.oid, c.relkind FROM pg_class AS c WHERE c.oid = tbl
            UNION ALL
            SELECT c.oid, c.relkind FROM tree AS t JOIN pg_inherits AS i ON i.inhparent = t.oid JOIN pg_class AS c ON c.oid = i.inhrelid WHERE t.relkind = 'p'
        )
        SELECT FROM tree AS t WHERE t.relkind <> 'p' AND NOT pgtee.is_untouched(t.oid));
END
$first$;

-- remember(before) stores those descriptions in the result of before() that are no longer true. In a copy of the database it stores nothing.
CREATE OR REPLACE FUNCTION pgtee.remember(was jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $remember$
BEGIN
    IF was -> 'tables' = '{}' AND was -> 'types' = '{}' THEN
        RETURN;
    END IF;
    was := jsonb_set(was, '{tables}', coalesce((SELECT jsonb_object_agg(w.key, w.value)
        FROM (SELECT t.key, t.value, pgtee.describe_table(t.key::oid) AS now FROM jsonb_each(was -> 'tables') AS t OFFSET 0) AS w
        WHERE w.now IS NULL OR w.now <> w.value AND NOT pgtee.is_first_key(w.key::oid, w.value)), '{}'));
    IF was -> 'tables' = '{}' AND was -> 'types' = '{}' OR pgtee.key() IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO pgtee.was (kind, oid, lsn, description)
    SELECT 'r', w.key::oid, pg_current_wal_insert_lsn(), w.value FROM jsonb_each(was -> 'tables') AS w
    UNION ALL
    SELECT 't', w.key::oid, pg_current_wal_insert_lsn(), w.value FROM jsonb_each(was -> 'types') AS w WHERE w.value <> 'null'
    ON CONFLICT DO NOTHING;
END
$remember$;

-- past(kind, oid, lsn) returns the definition of a table or type at a position in the WAL; null if it has not changed since.
CREATE OR REPLACE FUNCTION pgtee.past(kind "char", object oid, place pg_lsn) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $past$
BEGIN
    PERFORM pgtee.demand_publisher();
    RETURN (SELECT w.description FROM pgtee.was AS w WHERE w.kind = $1 AND w.oid = $2 AND w.lsn > $3 ORDER BY w.lsn LIMIT 1);
END
$past$;
