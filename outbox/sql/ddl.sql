-- on_ddl() runs after each DDL command other than DROP, for which there is on_drop(). It corrects the members of the publications and the replica
-- identities, and writes a record of the command in the same transaction. It never makes a user's command fail or wait: errors are caught, and are
-- reported in the record or in the server's log. In a copy of the database nothing is recorded, but identities are still maintained. The settings that
-- determine how names and constants of defaults are printed are not the client's.
CREATE OR REPLACE FUNCTION pgtee.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
    SET quote_all_identifiers = off SET exit_on_error = off SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' AS $ddl$
DECLARE
    touched  oid[]; -- tables that the command has created or altered
    heirs    oid[]; -- and further ones, which it has altered without reporting them
    outlines text[];
    changed  oid[];
    was      jsonb;
    states   jsonb;
BEGIN
    IF tg_tag = 'REINDEX' OR pgtee.inside() THEN -- it fires event triggers only since PostgreSQL 17
        RETURN;
    END IF;
    BEGIN -- this function and those that it calls see the state before the command if they are STABLE, and the present state if they are VOLATILE
        touched := pgtee.touched();
        IF tg_tag = 'ALTER TYPE' OR tg_tag = 'ALTER TABLE' AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = ANY (touched)) THEN
            heirs := pgtee.heirs();
        END IF;
        changed := touched || heirs;
        IF changed <> '{}' THEN
            outlines := pgtee.outlines(changed);
            changed := pgtee.altered(changed, outlines);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE LOG 'pgtee could not find out what % has changed: %', tg_tag, sqlerrm;
        changed := NULL;
    END;
    states := CASE WHEN tg_tag = 'ALTER PUBLICATION' THEN pgtee.corrected(pgtee.options()) ELSE pgtee.capture_after(tg_tag, touched, changed) END; -- first, because ALTER PUBLICATION may discard the session's cached plans: see alter()
    BEGIN
        IF outlines <> '{}' THEN
            was := pgtee.before(touched || heirs, outlines, changed, '{}', tg_tag = 'ALTER TABLE');
        END IF;
        IF tg_tag = 'ALTER TABLE' AND pgtee.is_concurrent() THEN
            was := jsonb_set(was, '{parts}', (was -> 'parts') || pgtee.was_detached(touched));
        ELSIF tg_tag = 'CREATE INDEX' AND current_setting('pgtee.kept', true) <> '' THEN
            was := jsonb_set(was, '{tables}', (was -> 'tables') || pgtee.kept_tables());
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE LOG 'pgtee could not read the definitions from before %: %', tg_tag, sqlerrm;
    END;
    PERFORM pgtee.after_ddl(tg_tag, touched, was, states);
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'pgtee could not record %: %', tg_tag, sqlerrm;
END
$ddl$;

-- touched() returns the tables that the command, which is not a DROP, has created or altered.
CREATE OR REPLACE FUNCTION pgtee.touched() RETURNS oid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $touched$
BEGIN
    RETURN ARRAY(SELECT DISTINCT CASE WHEN c.object_type = 'index' THEN (SELECT i.indrelid FROM pg_index AS i WHERE i.indexrelid = c.objid) ELSE c.objid END
        FROM pg_event_trigger_ddl_commands() AS c
        WHERE c.object_type IN ('table', 'index', 'table constraint', 'table column') AND coalesce(c.schema_name, '') NOT IN ('pg_temp', 'pgtee'));
END
$touched$;

-- heirs() returns the tables that a command has altered, but does not report because it reports only the object that it names: child tables (other than
-- partitions) of an altered table, and tables of an altered composite type.
CREATE OR REPLACE FUNCTION pgtee.heirs() RETURNS oid[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $heirs$
BEGIN
    RETURN ARRAY(
        WITH RECURSIVE heir AS (
            SELECT c.objid AS oid, false AS inherits FROM pg_event_trigger_ddl_commands() AS c
            WHERE c.classid = 'pg_class'::regclass AND c.command_tag IN ('ALTER TABLE', 'ALTER TYPE') AND coalesce(c.schema_name, '') NOT IN ('pg_temp', 'pgtee')
            UNION
            SELECT b.oid, true FROM heir AS h CROSS JOIN LATERAL (
                SELECT i.inhrelid AS oid FROM pg_inherits AS i WHERE i.inhparent = h.oid
                UNION ALL
                SELECT d.objid FROM pg_class AS t JOIN pg_depend AS d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = t.reltype AND d.classid = 'pg_class'::regclass
                WHERE t.oid = h.oid AND t.relkind = 'c') AS b
            JOIN pg_class AS c ON c.oid = b.oid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
        )
        SELECT DISTINCT h.oid FROM heir AS h WHERE h.inherits);
END
$heirs$;

-- options() returns what pgtee's publications publish, each with its name, as of the snapshot of the caller.
CREATE OR REPLACE FUNCTION pgtee.options() RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $options$
BEGIN
    RETURN ARRAY(SELECT concat(p.pubname, ' ', p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot) FROM pg_publication AS p
        WHERE p.oid = ANY (pgtee.listings(NULL)) OR p.pubname = 'pgtee_rows');
END
$options$;

-- corrected(before) is for a client's ALTER PUBLICATION: changes were not published while a publication was altered, or did not list a table. If the command
-- restored what setup configured, it asks the publisher to publish all tables again. Otherwise it returns the tables that the command added, as capture()
-- does, or null. Before the command options() returned the argument.
CREATE OR REPLACE FUNCTION pgtee.corrected(before text[]) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $corrected$
BEGIN
    IF EXISTS (SELECT FROM unnest(pgtee.options()) AS o (option) WHERE option <> ALL (before)
            AND option ~ '^(pgtee_rows tfftf|pgtee_identity(_[0-9]+)? fttft|pgtee_partitioned(_[0-9]+)? tfftt)$') THEN
        PERFORM pgtee.tell_missed(pgtee.all_listed());
        RETURN NULL; -- a record with all tables would be too long
    END IF;
    RETURN (SELECT jsonb_agg(jsonb_build_object('table', t.name, 'root', t.root_name, 'topic', t.topic, 'oid', t.root::int8, 'state', 'listed', 'reason', ''))
        FROM pgtee.tables(ARRAY(SELECT m.prrelid FROM pg_event_trigger_ddl_commands() AS c JOIN pg_publication_rel AS m ON m.oid = c.objid
            WHERE c.object_type = 'publication relation' AND m.prpubid = ANY (pgtee.listings(NULL)))) AS t
        WHERE t.reason IS NULL AND t.tbl <> ALL (pgtee.narrowed()) AND NOT pgtee.is_untouched(t.tbl)); -- narrowed ones are corrected later
END
$corrected$;

-- all_listed() returns all tables as capture() returns those that were listed late.
CREATE OR REPLACE FUNCTION pgtee.all_listed() RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $listed$
BEGIN
    RETURN (SELECT jsonb_agg(DISTINCT jsonb_build_object('topic', t.topic, 'oid', t.root::int8, 'state', 'listed')) FROM pgtee.tables(pgtee.published()) AS t);
END
$listed$;

-- capture_after(tag, touched, changed) calls capture() for the changed tables or, if these are not known, for the touched ones. If the user has set a replica
-- identity, pgtee leaves it as it is from then on: the text of the command says so, which is in the Query or, if a function ran it, in PG_CONTEXT. The text is
-- searched only for a table that has REPLICA IDENTITY FULL now: sweep() forgets the others.
CREATE OR REPLACE FUNCTION pgtee.capture_after(tag text, touched oid[], changed oid[]) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $capture$
DECLARE
    stack text;
BEGIN
    IF tag = 'ALTER TABLE' AND changed IS DISTINCT FROM '{}' AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = ANY (touched) AND c.relreplident = 'f') THEN
        GET DIAGNOSTICS stack = PG_CONTEXT;
        IF concat_ws(' ', left(current_query(), 65536), left(stack, 65536)) ~* 'replica[[:space:]]+identity' THEN
            DELETE FROM pgtee.widened AS w WHERE w.tbl = ANY (touched);
        END IF;
    END IF;
    RETURN pgtee.capture(coalesce(changed, touched), true);
EXCEPTION WHEN OTHERS THEN -- the command is recorded even then
    RETURN jsonb_build_array(jsonb_build_object('table', tag, 'state', 'busy', 'reason', sqlerrm));
END
$capture$;

CREATE OR REPLACE FUNCTION pgtee.after_ddl(tag text, touched oid[], was jsonb, states jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $after$
DECLARE
    objects jsonb;
    renamed oid[]; -- tables whose rows have other names from here on
BEGIN
    SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
               'command', c.command_tag, 'type', c.object_type, 'schema', coalesce(c.schema_name, ''),
               'name', c.object_identity, 'oid', c.objid::int8, 'dropped', false, 'root', was -> 'now' -> c.objid::text ->> 'root',
               'columns', CASE WHEN c.object_type IN ('table', 'table column') THEN pgtee.columns(c.objid) END))) FILTER (WHERE NOT c.in_extension)
    INTO objects
    FROM pg_event_trigger_ddl_commands() AS c
    WHERE coalesce(c.schema_name, '') NOT IN ('pg_temp', 'pgtee')
      AND coalesce(c.object_identity, '') !~ ' on pg_temp[.]("[^"]*"|[^ "]*)$' -- a trigger has no schema_name
      AND coalesce(c.object_identity, '') !~ '(^| in publication )pgtee_(rows|(identity|partitioned)(_[0-9]+)?)$';
    BEGIN -- the command is recorded even if this fails
        IF tag = 'ALTER TABLE' THEN
            IF was -> 'parts' <> was -> 'now' THEN -- the event trigger reports only the partitioned table
                objects := objects || pgtee.moved_partitions(was -> 'parts', was -> 'now');
                IF current_setting('server_version_num')::int < 150000 OR pgtee.is_renamed(was -> 'parts', was -> 'now') THEN
                    renamed := ARRAY(SELECT c.oid FROM pg_class AS c WHERE c.oid = ANY (touched) AND c.relkind = 'p' AND c.relpersistence = 'p');
                END IF;
            END IF;
            IF was -> 'unlogged' <> '[]' THEN -- a table with a key has been listed above; one without needs this state
                states := states || coalesce((SELECT jsonb_agg(s || '{"state": "logged"}') FROM jsonb_array_elements(states) AS s JOIN pg_class AS c ON c.oid = to_regclass(s ->> 'table')
                    WHERE s ->> 'state' = 'uncaptured' AND c.relpersistence = 'p' AND was -> 'unlogged' @> to_jsonb(c.oid::int8)), '[]');
            END IF;
        ELSIF tag = 'ALTER SCHEMA' AND current_setting('server_version_num')::int < 180000 THEN
            renamed := ARRAY(SELECT t.oid FROM pg_event_trigger_ddl_commands() AS c JOIN pg_class AS t ON t.relnamespace = c.objid
                WHERE c.object_type = 'schema' AND c.objid <> 'pgtee'::regnamespace AND t.relkind IN ('r', 'p') AND t.relpersistence = 'p');
        END IF;
        IF cardinality(renamed) > 0 THEN
            IF NOT pgtee.reannounce(renamed) THEN
                states := coalesce(states, '[]') || jsonb_build_object('table', tag, 'state', 'busy', 'reason', 'tables could not be locked: until a publication changes, their rows have the former names');
            END IF;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        states := coalesce(states, '[]') || jsonb_build_object('table', tag, 'state', 'busy', 'reason', sqlerrm);
    END;
    IF was -> 'tables' <> '{}' THEN
        PERFORM pgtee.try_to_remember(tag, was);
    END IF;
    PERFORM pgtee.record_ddl(tag, objects, states);
    IF states IS NOT NULL THEN
        PERFORM pgtee.tell_missed(states);
    END IF;
END
$after$;

-- moved_partitions(before, after) returns the partitions that were attached or detached, as objects of a record. Both arguments are results of parts().
CREATE OR REPLACE FUNCTION pgtee.moved_partitions(before jsonb, after jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $moved$
BEGIN
    RETURN coalesce((SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('command', CASE WHEN a.key IS NULL THEN 'DETACH PARTITION' ELSE 'ATTACH PARTITION' END, 'type', 'table',
            'schema', coalesce(a.value, b.value) ->> 'schema', 'name', coalesce(a.value, b.value) ->> 'name', 'oid', coalesce(a.key, b.key)::int8, 'dropped', false,
            'root', coalesce(a.value, b.value) ->> 'root', 'columns', pgtee.columns(coalesce(a.key, b.key)::oid))))
        FROM jsonb_each(before) AS b FULL JOIN jsonb_each(after) AS a ON a.key = b.key
        WHERE a.key IS NULL AND EXISTS (SELECT FROM pg_class AS c WHERE c.oid = b.key::oid) OR b.key IS NULL), '[]');
END
$moved$;

-- is_renamed(before, after) reports whether the root of any partition has another name now. Both arguments are results of parts().
CREATE OR REPLACE FUNCTION pgtee.is_renamed(before jsonb, after jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $renamed$
BEGIN
    RETURN EXISTS (SELECT FROM jsonb_each(before) AS b JOIN jsonb_each(after) AS a ON a.key = b.key WHERE a.value -> 'root' <> b.value -> 'root');
END
$renamed$;

-- was_detached(touched) returns what parts() returned for the partition that DETACH PARTITION ... CONCURRENTLY has detached. At the end of that command the
-- catalog no longer says what the partition belonged to; only the OIDs that on_alter() kept in the setting pgtee.detaching identify it and its parent.
CREATE OR REPLACE FUNCTION pgtee.was_detached(touched oid[]) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $detached$
BEGIN
    RETURN coalesce((
        SELECT jsonb_build_object(c.oid::text, jsonb_build_object('schema', n.nspname, 'name', format('%I.%I', n.nspname, c.relname),
            'parent', p.oid::int8, 'root', format('%I.%I', rn.nspname, r.relname), 'root_oid', r.oid::int8))
        FROM (SELECT string_to_array(current_setting('pgtee.detaching', true), ' ') AS oids) AS kept
        JOIN pg_class AS c ON c.oid = kept.oids[1]::oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_class AS p ON p.oid = kept.oids[2]::oid AND p.oid = ANY (touched)
        JOIN pg_class AS r ON r.oid = coalesce(pg_partition_root(p.oid), p.oid) JOIN pg_namespace AS rn ON rn.oid = r.relnamespace
        WHERE NOT c.relispartition AND pg_has_role(session_user, c.relowner, 'MEMBER')), '{}');
EXCEPTION WHEN invalid_text_representation THEN -- a client has set pgtee.detaching to something else
    RETURN '{}';
END
$detached$;

CREATE OR REPLACE FUNCTION pgtee.try_to_remember(tag text, was jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $remember$
BEGIN
    PERFORM pgtee.remember(was);
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'pgtee could not store the definitions from before %: %', tag, sqlerrm;
END
$remember$;

CREATE OR REPLACE FUNCTION pgtee.on_drop() RETURNS event_trigger
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
    SET quote_all_identifiers = off SET exit_on_error = off SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' AS $drop$
DECLARE
    touched  oid[];
    types    oid[] := '{}';
    outlines text[];
    was      jsonb;
BEGIN
    IF pgtee.inside() THEN
        RETURN;
    END IF;
    BEGIN -- see on_ddl(), which handles what ALTER TABLE does to its own table
        touched := ARRAY(SELECT o.tbl FROM (
            SELECT CASE d.object_type
                    WHEN 'index' THEN (SELECT i.indrelid FROM pg_index AS i WHERE i.indexrelid = d.objid)
                    WHEN 'table constraint' THEN (SELECT x.conrelid FROM pg_constraint AS x WHERE x.oid = d.objid)
                    ELSE d.objid END AS tbl,
                tg_tag = 'ALTER TABLE' AND d.original AS own
            FROM pg_event_trigger_dropped_objects() AS d
            WHERE d.object_type IN ('table', 'table column', 'index', 'table constraint') AND NOT d.is_temporary AND coalesce(d.schema_name, '') <> 'pgtee') AS o
            WHERE o.tbl IS NOT NULL GROUP BY o.tbl HAVING NOT bool_or(o.own));
        IF tg_tag = 'DROP EXTENSION' OR EXISTS (SELECT FROM pg_event_trigger_dropped_objects() AS d
                WHERE d.classid = 'pg_type'::regclass AND NOT d.is_temporary AND (d.original OR d.normal)) THEN
            types := ARRAY(SELECT d.objid FROM pg_event_trigger_dropped_objects() AS d JOIN pg_type AS t ON t.oid = d.objid LEFT JOIN pg_type AS e ON e.oid = t.typelem
                WHERE d.classid = 'pg_type'::regclass AND NOT d.is_temporary AND NOT EXISTS (
                    SELECT FROM pg_class AS c WHERE c.oid IN (t.typrelid, e.typrelid) AND c.relkind <> 'c')); -- the row type of a table is always published as text
        END IF;
        IF touched <> '{}' OR types <> '{}' THEN
            outlines := pgtee.outlines(touched);
            was := pgtee.before(touched, outlines, pgtee.altered(touched, outlines), types, false);
        ELSIF tg_tag = 'DROP INDEX' AND current_setting('pgtee.kept', true) <> '' THEN
            was := jsonb_build_object('tables', pgtee.kept_tables(), 'types', jsonb_build_object());
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE LOG 'pgtee could not read the definitions from before %: %', tg_tag, sqlerrm;
    END;
    PERFORM pgtee.after_drop(tg_tag, was);
EXCEPTION WHEN OTHERS THEN
    RAISE LOG 'pgtee could not record %: %', tg_tag, sqlerrm;
END
$drop$;

CREATE OR REPLACE FUNCTION pgtee.after_drop(tag text, was jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $after$
DECLARE
    objects jsonb;
    states  jsonb;
BEGIN
    SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
               'command', tag, 'type', d.object_type, 'schema', coalesce(d.schema_name, ''),
               'name', d.object_identity, 'oid', d.objid::int8, 'dropped', true, 'root', was -> 'parts' -> d.objid::text ->> 'root')))
    INTO objects
    FROM pg_event_trigger_dropped_objects() AS d
    WHERE (d.original OR d.object_type = 'table') AND NOT d.is_temporary
      AND d.object_type NOT IN ('publication relation', 'publication namespace')
      AND coalesce(d.schema_name, '') <> 'pgtee';
    -- Any ALTER or DROP may have dropped an index that was a table's replica identity: the index of a constraint (the dropped constraint names its
    -- table), or an index chosen by REPLICA IDENTITY USING INDEX. But DROP TABLE drops indexes of tables that no longer exist, and on_ddl() handles
    -- what ALTER TABLE does to its own table: these commands matter here only if they dropped a column of another table.
    IF tag NOT IN ('ALTER TABLE', 'DROP TABLE', 'DROP MATERIALIZED VIEW')
       AND EXISTS (SELECT FROM pg_event_trigger_dropped_objects() AS d WHERE d.object_type = 'index' AND NOT d.is_temporary)
       OR EXISTS (SELECT FROM pg_event_trigger_dropped_objects() AS d WHERE d.object_type = 'table column' AND NOT d.original) THEN
        BEGIN -- the command is recorded even if this fails
            states := pgtee.capture(ARRAY(
                SELECT to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid FROM pg_event_trigger_dropped_objects() AS d
                WHERE d.object_type = 'table constraint'
                UNION
                SELECT c.oid FROM pg_class AS c WHERE c.relkind IN ('r', 'p') AND c.relreplident = 'i'
                  AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisreplident)
                  AND EXISTS (SELECT FROM pg_event_trigger_dropped_objects() AS d WHERE d.object_type = 'index'
                      AND NOT EXISTS (SELECT FROM pg_event_trigger_dropped_objects() AS k
                          WHERE k.object_type = 'table constraint' AND k.address_names[1] = d.schema_name AND k.address_names[3] = d.object_name))),
                true);
        EXCEPTION WHEN OTHERS THEN
            states := jsonb_build_array(jsonb_build_object('table', tag, 'state', 'busy', 'reason', sqlerrm));
        END;
    END IF;
    IF was IS NOT NULL THEN
        PERFORM pgtee.try_to_remember(tag, was);
    END IF;
    IF tag LIKE 'DROP %' OR states IS NOT NULL THEN -- on_ddl() records other commands, once
        PERFORM pgtee.record_ddl(tag, CASE WHEN tag LIKE 'DROP %' THEN objects END, states);
    END IF;
END
$after$;

-- is_concurrent() reports whether the client's Query may be a CONCURRENTLY command. PostgreSQL refuses such a command in a Query of several statements, so a
-- long text, in which the search would take as long for each of its commands, is none.
CREATE OR REPLACE FUNCTION pgtee.is_concurrent() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $concurrent$
BEGIN
    RETURN octet_length(current_query()) < 65536 AND current_query() ~* '[[:<:]]concurrently[[:>:]]';
END
$concurrent$;

-- on_alter() runs before ALTER TABLE, CREATE INDEX and DROP INDEX, for three commands. It looks at the first 65536 characters of the Query:
--   SET UNLOGGED                       is refused by PostgreSQL for a member of a publication. If the text of the command makes a table unlogged,
--                                      on_alter() removes the table from its publications. If the table stays logged after all, on_ddl() adds it
--                                      again. docs/client-visible.md has the workaround if the text does not name the table, or if another
--                                      transaction has locked the publication.
--   DETACH PARTITION ... CONCURRENTLY    commits before on_ddl() runs, which then finds nothing about the partition in the catalog. on_alter() keeps
--                                      the partition's OID in a setting of the session, which outlives the transaction.
--   CREATE, DROP INDEX CONCURRENTLY    commits before on_ddl() or on_drop() runs. on_alter() keeps the table's description in a setting, which is
--                                      signed, because a client can write it. The transaction itself must not write anything before the command.
CREATE OR REPLACE FUNCTION pgtee.on_alter() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET exit_on_error = off AS $alter$
DECLARE
    stack pg_catalog.text;
    query pg_catalog.text;
    place pg_catalog.int4; -- number of the ALTER TABLE in the query, from 1; null: not known
BEGIN
    IF tg_tag OPERATOR(pg_catalog.<>) 'ALTER TABLE' THEN
        IF pg_catalog.pg_current_xact_id_if_assigned() IS NULL AND pgtee.is_concurrent() THEN -- it is the first command of its transaction
            PERFORM pg_catalog.set_config('pgtee.kept', pgtee.keeping(pg_catalog.current_query()), false);
        ELSIF pg_catalog.current_setting('pgtee.kept', true) OPERATOR(pg_catalog.<>) '' THEN
            PERFORM pg_catalog.set_config('pgtee.kept', '', false);
        END IF;
        RETURN;
    END IF;
    GET DIAGNOSTICS stack = PG_CONTEXT; -- if a function runs the command, the second line has its text; lc_messages determines the words and quotes around it
    query := pg_catalog."left"(pg_catalog.current_query(), 65536);
    IF pg_catalog.concat_ws(' ', query, pg_catalog."left"(stack, 65536)) OPERATOR(pg_catalog.!~*) '[[:<:]](unlogged|concurrently)[[:>:]]' THEN
        RETURN;
    END IF;
    stack := pg_catalog.substring(stack, pg_catalog.concat(pg_catalog.chr(10), '.*'));
    IF stack OPERATOR(pg_catalog.~*) '[[:<:]]alter[[:space:]]+table[[:>:]]' THEN
        query := stack;
    ELSIF query OPERATOR(pg_catalog.~*) '[[:<:]]unlogged[[:>:]]' AND query OPERATOR(pg_catalog.!~) '[$][[:alpha:]_]*[$]' THEN -- a dollar-quoted text may contain further ALTER TABLE commands
        place := pgtee.count_alter();
    END IF;
    IF query OPERATOR(pg_catalog.~*) '[[:<:]](unlogged|concurrently)[[:>:]]' AND NOT pgtee.inside() THEN
        PERFORM pgtee.release(pgtee.made_unlogged(query, place), place IS NULL);
        IF query OPERATOR(pg_catalog.~*) '[[:<:]]concurrently[[:>:]]' THEN
            PERFORM pg_catalog.set_config('pgtee.detaching', pgtee.detaching(query), false);
        END IF;
    END IF;
EXCEPTION WHEN deadlock_detected OR lock_not_available THEN -- release() waited for the lock that the client's command needs
    RAISE;
WHEN OTHERS THEN
    RAISE LOG 'pgtee could not remove tables from its publications: %', sqlerrm;
END
$alter$;

-- count_alter() returns the number, from 1, of the current ALTER TABLE among those of the client's Query.
CREATE OR REPLACE FUNCTION pgtee.count_alter() RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $count$
DECLARE
    query text := extract(epoch FROM statement_timestamp())::text;
    was   text[] := string_to_array(current_setting('pgtee.alters', true), ' ');
    place integer := CASE WHEN was[1] = query AND was[2] ~ '^[0-9]{1,6}$' THEN was[2]::integer ELSE 0 END + 1;
BEGIN
    PERFORM set_config('pgtee.alters', query || ' ' || place, false); -- not for the transaction only: a Query may contain COMMIT
    RETURN place;
END
$count$;

-- detaching(query) returns the OIDs of the partition that a query detaches CONCURRENTLY and of its parent. It looks up names as made_unlogged() does.
CREATE OR REPLACE FUNCTION pgtee.detaching(query text) RETURNS text
LANGUAGE plpgsql STABLE AS $detaching$
DECLARE
    found pg_catalog._text := pg_catalog.regexp_match(pg_catalog."left"(query, 65536),
        pg_catalog.concat('[[:<:]]detach[[:space:]]+partition[[:space:]]+', pgtee.name_pattern(), '[[:space:]]+concurrently[[:>:]]'), 'i');
    part  pg_catalog.oid := pg_catalog.to_regclass(found[1]);
BEGIN
    RETURN pg_catalog.concat(part, ' ', (SELECT i.inhparent FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid OPERATOR(pg_catalog.=) part));
END
$detaching$;

-- keeping(query) returns the signed descriptions, by OID, of the table of a unique index that a query creates or drops CONCURRENTLY, and of its root. It looks
-- up names as made_unlogged() does.
CREATE OR REPLACE FUNCTION pgtee.keeping(query text) RETURNS text
LANGUAGE plpgsql STABLE AS $keeping$
DECLARE
    made    pg_catalog._text := pg_catalog.regexp_match(query, pg_catalog.concat('[[:<:]]create[[:space:]]+unique[[:space:]]+index[[:space:]]+concurrently[[:space:]]+(?:(?:if[[:space:]]+not[[:space:]]+exists[[:space:]]+)?',
        pgtee.name_pattern(), '[[:space:]]+)?on[[:space:]]+(?:only[[:space:]]+)?', pgtee.name_pattern()), 'i');
    dropped pg_catalog._text := pg_catalog.regexp_match(query,
        pg_catalog.concat('[[:<:]]drop[[:space:]]+index[[:space:]]+concurrently[[:space:]]+(?:if[[:space:]]+exists[[:space:]]+)?', pgtee.name_pattern()), 'i');
    tbl     pg_catalog.oid := CASE WHEN made IS NOT NULL THEN pg_catalog.to_regclass(made[2])
        ELSE (SELECT i.indrelid FROM pg_catalog.pg_index AS i WHERE i.indexrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(dropped[1]) AND i.indisunique) END;
BEGIN
    RETURN CASE WHEN tbl IS NOT NULL THEN pgtee.sign_description(pgtee.describe_tables(ARRAY[tbl, pg_catalog.pg_partition_root(tbl)::pg_catalog.oid])::pg_catalog.text) ELSE '' END;
END
$keeping$;

-- sign_description(body) returns the signature of a text, which holds for the statement that runs now, and the text.
CREATE OR REPLACE FUNCTION pgtee.sign_description(body text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $sign$
BEGIN
    RETURN encode(sha256(pgtee.key() || pgtee.utf8(concat(pg_backend_pid(), ' ', extract(epoch FROM statement_timestamp()), ' ', body))), 'hex') || ' ' || body;
END
$sign$;

-- kept_tables() returns the descriptions that on_alter() kept for the command that runs now, by OID.
CREATE OR REPLACE FUNCTION pgtee.kept_tables() RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $kept$
DECLARE
    kept constant text := current_setting('pgtee.kept', true);
BEGIN
    RETURN CASE WHEN kept <> '' AND kept = pgtee.sign_description(substr(kept, 66)) THEN substr(kept, 66)::jsonb ELSE '{}' END;
END
$kept$;

-- name_pattern() returns a regular expression that captures the name of a table, with or without its schema.
CREATE OR REPLACE FUNCTION pgtee.name_pattern() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $pattern$
    SELECT '((?:(?:"(?:[^"]|"")+"|[^[:space:]".;*()]+)[[:space:]]*[.][[:space:]]*)?(?:"(?:[^"]|"")+"|[^[:space:]".;*()]+))'
$pattern$;

-- made_unlogged(query, place) returns the table that the ALTER TABLE with this number in the query makes unlogged; if the number is null, all tables that
-- the query makes unlogged. It looks up names in the client's search_path. Therefore neither this function nor its caller sets search_path, and all names in
-- their code are qualified. The code contains no backslash, whose meaning depends on the session's standard_conforming_strings.
CREATE OR REPLACE FUNCTION pgtee.made_unlogged(query text, place integer) RETURNS oid[]
LANGUAGE plpgsql STABLE AS $unlogged$
DECLARE
    found  pg_catalog._text;
    tables pg_catalog._oid := '{}';
    n      pg_catalog.int4 := 0;
    plain  pg_catalog.text := pg_catalog.regexp_replace(pg_catalog."left"(query, 65536),
        pg_catalog.concat('/[*]([^*]|[*]+[^*/])*[*]+/|''[^'']*''|--[^', pg_catalog.chr(10), ']*'), ' ', 'g'); -- without comments and literals
BEGIN
    FOR found IN
        SELECT pg_catalog.regexp_matches(plain, pg_catalog.concat('[[:<:]]alter[[:space:]]+table[[:space:]]+(?:if[[:space:]]+exists[[:space:]]+)?(?:only[[:space:]]+)?',
            pgtee.name_pattern(), '([^;]*)'), 'gi')
    LOOP
        n := n OPERATOR(pg_catalog.+) 1;
        IF found[2] OPERATOR(pg_catalog.~*) '[[:<:]]set[[:space:]]+unlogged[[:>:]]' AND (place IS NULL OR place OPERATOR(pg_catalog.=) n) THEN
            tables := pg_catalog.array_append(tables, pg_catalog.to_regclass(found[1])::pg_catalog.oid);
        END IF;
    END LOOP;
    RETURN tables;
END
$unlogged$;

-- release(tables, maybe) removes these tables, but not their partitions, from their publications, if the session's user may alter them. It first takes the
-- lock that the command needs: if it took a weaker lock first, and then waited for this one, it would deadlock with sessions that wait in between. If maybe
-- is true, and there are several tables, some may belong to later commands of the query: then it skips locked tables, for which this command must not wait.
CREATE OR REPLACE FUNCTION pgtee.release(oids oid[], maybe boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $release$
DECLARE
    waits boolean := NOT maybe OR cardinality(oids) = 1;
    t     record;
BEGIN
    FOR t IN SELECT m.name, m.tbl FROM pgtee.tables(oids) AS m JOIN pg_class AS c ON c.oid = m.tbl
        WHERE m.listed AND m.tbl = ANY (oids) AND pg_has_role(session_user, c.relowner, 'MEMBER')
    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE %s', t.name, CASE WHEN NOT waits THEN 'NOWAIT' END);
        EXCEPTION WHEN lock_not_available THEN
            IF waits THEN
                RAISE;
            END IF;
            CONTINUE;
        END;
        PERFORM pgtee.delist(t.name, t.tbl);
        PERFORM set_config('pgtee.released', concat_ws(' ', current_setting('pgtee.released', true), t.tbl), true);
    END LOOP;
END
$release$;

CREATE OR REPLACE FUNCTION pgtee.columns(tbl oid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $columns$
BEGIN
    RETURN (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull AND a.attnum <> ALL (ARRAY(
            SELECT v.conkey[1] FROM pg_constraint AS v WHERE v.conrelid = tbl AND v.contype = 'n' AND NOT v.convalidated)),
        'default', CASE WHEN d.adbin IS NULL THEN NULL
            WHEN a.attname ~* 'passw|passp|pwd|secret|token|credential|api_?key|access_key|private_key|jwt' THEN '''<redacted>'''
            WHEN pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%' THEN pg_get_expr(d.adbin, d.adrelid)
            ELSE pgtee.redact(pg_get_expr(d.adbin, d.adrelid)) END)) ORDER BY a.attnum)
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = tbl AND a.attnum > 0 AND NOT a.attisdropped);
END
$columns$;

-- record_ddl() reports one DDL command to the publisher: JSON with the fields of DDLRecord. The statement is the text of the whole Query; it is
-- truncated, because a script of many commands would repeat it in each record. If the command has so many objects that the record would be too long
-- to be read, the columns of the objects are left out.
CREATE OR REPLACE FUNCTION pgtee.record_ddl(tag text, objects jsonb, states jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $record$
DECLARE
    body text;
BEGIN
    IF objects IS NULL AND states IS NULL THEN
        RETURN;
    END IF;
    IF octet_length(objects::text) > 4194304 THEN
        SELECT jsonb_agg(o - 'columns') INTO objects FROM jsonb_array_elements(objects) AS o;
    END IF;
    body := jsonb_build_object(
        'command', tag, 'statement', pgtee.redact(left(current_query(), 65536)), 'user', session_user, 'pid', pg_backend_pid(),
        'application', current_setting('application_name'), 'time_zone', current_setting('TimeZone'), 'date_style', current_setting('DateStyle'), 'objects', coalesce(objects, '[]'), 'capture', coalesce(states, '[]'),
        'listed', NOT coalesce(states @> '[{"state": "busy"}]' OR states @> '[{"state": "failing"}]', false), 'atomic', true, 'confirmed', true)::text;
    PERFORM pgtee.emit('d', body, NULL);
END
$record$;
