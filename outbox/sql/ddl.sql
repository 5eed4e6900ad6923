-- on_ddl() records each DDL command in the transaction that ran it, and keeps pgtee_identity right: a
-- new table with an identity joins it, a table that lost its identity leaves it in the same statement
-- (else the next UPDATE of that table would fail). It never makes a user's command fail: what goes
-- wrong is caught and reported in the record. DROP commands are on_drop()'s.
CREATE OR REPLACE FUNCTION pgtee.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $ddl$
DECLARE
    objects jsonb;
    touched oid[];
    listed  boolean;
BEGIN
    IF pgtee.ready() IS NULL OR tg_tag = 'REINDEX' THEN -- before PostgreSQL 17 that fired no event trigger
        RETURN;
    END IF;
    SELECT jsonb_agg(jsonb_build_object(
               'command', c.command_tag, 'type', c.object_type, 'schema', coalesce(c.schema_name, ''),
               'name', c.object_identity, 'oid', c.objid::int8, 'dropped', false,
               'columns', CASE WHEN c.object_type IN ('table', 'table column') THEN pgtee.columns(c.objid) END)),
           array_agg(DISTINCT coalesce(i.indrelid, c.objid)) FILTER (WHERE c.object_type IN ('table', 'index', 'table constraint', 'table column'))
    INTO objects, touched
    FROM pg_event_trigger_ddl_commands() AS c
    LEFT JOIN pg_index AS i ON c.object_type = 'index' AND i.indexrelid = c.objid
    WHERE NOT c.in_extension
      AND coalesce(c.schema_name, '') NOT IN ('pg_temp', 'pgtee')
      AND coalesce(c.object_identity, '') !~ ' on pg_temp[.]("[^"]*"|[^ "]*)$' -- a trigger's schema is null
      AND coalesce(c.object_identity, '') !~ '(^| in publication )pgtee_(rows|identity)$';
    IF objects IS NULL THEN
        RETURN;
    END IF;
    listed := pgtee.refresh_identity(touched);
    PERFORM pgtee.record_ddl(tg_tag, objects, listed);
EXCEPTION WHEN OTHERS THEN
    PERFORM pgtee.record_ddl(tg_tag, jsonb_build_array(jsonb_build_object('type', 'error', 'name', sqlerrm)), false);
END
$ddl$;

CREATE OR REPLACE FUNCTION pgtee.on_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $drop$
DECLARE
    objects jsonb;
    listed  boolean := true;
BEGIN
    IF pgtee.ready() IS NULL THEN
        RETURN;
    END IF;
    SELECT jsonb_agg(jsonb_build_object(
               'command', tg_tag, 'type', d.object_type, 'schema', coalesce(d.schema_name, ''),
               'name', d.object_identity, 'oid', d.objid::int8, 'dropped', true))
    INTO objects
    FROM pg_event_trigger_dropped_objects() AS d
    WHERE (d.original OR d.object_type = 'table') AND NOT d.is_temporary
      AND d.object_type NOT IN ('publication relation', 'publication namespace')
      AND coalesce(d.schema_name, '') <> 'pgtee';
    IF objects IS NULL THEN
        RETURN;
    END IF;
    -- Any ALTER or DROP may have taken the index that was a table's identity. A plain table that still has
    -- it is passed over: has_identity() takes 0.1 ms for each of thousands.
    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() AS d WHERE d.object_type = 'index' AND NOT d.is_temporary) THEN
        listed := pgtee.refresh_identity(ARRAY(
            SELECT r.prrelid
            FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid JOIN pg_class AS c ON c.oid = r.prrelid
            WHERE p.pubname = 'pgtee_identity'
              AND (c.relkind = 'p' OR c.relreplident <> 'f' AND NOT EXISTS (
                  SELECT FROM pg_index AS i WHERE i.indrelid = c.oid
                  AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)))));
    END IF;
    IF tg_tag LIKE 'DROP %' THEN -- other commands are recorded by on_ddl(), once
        PERFORM pgtee.record_ddl(tg_tag, objects, listed);
    END IF;
EXCEPTION WHEN OTHERS THEN
    PERFORM pgtee.record_ddl(tg_tag, jsonb_build_array(jsonb_build_object('type', 'error', 'name', sqlerrm)), false);
END
$drop$;

-- refresh_identity(tables) brings these tables in or out of pgtee_identity; false if that failed, as when
-- a lock was not to be had in time: then the publisher has to do it. Other sessions may drop a table meanwhile.
CREATE OR REPLACE FUNCTION pgtee.refresh_identity(tables oid[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $refresh$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT DISTINCT format('%I.%I', n.nspname, c.relname) AS name, pgtee.has_identity(c.oid) AS wanted,
               EXISTS (SELECT FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid
                       WHERE p.pubname = 'pgtee_identity' AND r.prrelid = c.oid) AS present
        FROM unnest(tables) AS touched
        JOIN pg_class AS c ON c.oid = coalesce(pg_partition_root(touched::regclass), touched)
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384
          AND n.nspname NOT IN ('pgtee', 'pg_catalog', 'information_schema')
    LOOP
        CONTINUE WHEN t.wanted IS NOT DISTINCT FROM t.present;
        BEGIN
            IF t.wanted AND NOT t.present THEN
                EXECUTE 'ALTER PUBLICATION pgtee_identity ADD TABLE ONLY ' || t.name;
            ELSIF t.present AND NOT t.wanted THEN
                EXECUTE 'ALTER PUBLICATION pgtee_identity DROP TABLE ONLY ' || t.name;
            END IF;
        EXCEPTION WHEN undefined_table OR invalid_schema_name THEN -- dropped meanwhile
            CONTINUE;
        END;
    END LOOP;
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    IF sqlstate <> '55P03' THEN -- lock_not_available
        RAISE LOG 'pgtee could not bring publication pgtee_identity up to date: %', sqlerrm;
    END IF;
    RETURN false;
END
$refresh$;

CREATE OR REPLACE FUNCTION pgtee.columns(tbl oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $columns$
    SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
        'default', pg_get_expr(d.adbin, d.adrelid))) ORDER BY a.attnum)
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = tbl AND a.attnum > 0 AND NOT a.attisdropped
$columns$;

-- record_ddl() puts one DDL record into the outbox: JSON, the fields of DDLRecord. Always as a row: any
-- client can write a logical message, so a message would prove nothing. The statement is the whole text
-- of the Query, which a script of many commands would repeat in each record: so it is cut.
CREATE OR REPLACE FUNCTION pgtee.record_ddl(tag text, objects jsonb, listed boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $record$
DECLARE
    body text := jsonb_build_object(
        'command', tag, 'statement', left(current_query(), 65536), 'user', session_user, 'pid', pg_backend_pid(),
        'application', current_setting('application_name'), 'objects', objects,
        'listed', listed, 'atomic', true, 'confirmed', true)::text;
BEGIN
    INSERT INTO pgtee.outbox (kind, note) VALUES ('d', body);
END
$record$;
REVOKE ALL ON FUNCTION pgtee.refresh_identity(oid[]), pgtee.record_ddl(text, jsonb, boolean) FROM PUBLIC;
