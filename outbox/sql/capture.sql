-- These publications determine which changes are captured. pgtee_rows publishes INSERT and TRUNCATE of every table. The others list tables:
--   pgtee_identity, pgtee_identity_1, ...        list each table (for a partitioned table, each leaf) that has a usable replica identity, and publish
--                                                its UPDATE and DELETE. PostgreSQL refuses UPDATE and DELETE of a member without one.
--   pgtee_partitioned, pgtee_partitioned_1, ...  list partitioned tables, so that changes of partitions are published as changes of the
--                                                partitioned table.
--
-- ALTER PUBLICATION locks its publication until the transaction ends. Therefore there are several publications of each kind: setup and the publisher
-- use the first one, clients' DDL uses the others. If one is locked, a session uses the next one instead of waiting. The measurements are in
-- outbox/DESIGN.md.

-- listings(kind) returns pgtee's publications that list tables, in order. kind is 'p' (partitioned), 'r' (others) or NULL (both). A publication with
-- such a name but another owner is ignored.
CREATE OR REPLACE FUNCTION pgtee.listings(kind "char") RETURNS oid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $listings$
DECLARE
    found oid[] := ARRAY(SELECT p.oid FROM pg_publication AS p
        WHERE p.pubname ~ CASE kind WHEN 'p' THEN '{{partitioned}}' WHEN 'r' THEN '{{identity}}' ELSE '{{partitioned}}|{{identity}}' END
          AND p.pubowner = (SELECT n.nspowner FROM pg_namespace AS n WHERE n.nspname = 'pgtee')
        ORDER BY length(p.pubname), p.pubname);
BEGIN
    IF cardinality(found) < (CASE kind WHEN 'p' THEN {{partitioned_count}} WHEN 'r' THEN {{identity_count}} ELSE {{partitioned_count}} + {{identity_count}} END) THEN
        RETURN ARRAY(SELECT p.oid FROM pg_publication AS p JOIN pg_roles AS owner ON owner.oid = p.pubowner
            WHERE p.pubname ~ CASE kind WHEN 'p' THEN '{{partitioned}}' WHEN 'r' THEN '{{identity}}' ELSE '{{partitioned}}|{{identity}}' END
              AND (owner.rolsuper OR p.oid = ANY (found)) -- superusers may own some
            ORDER BY length(p.pubname), p.pubname);
    END IF;
    RETURN found;
END
$listings$;

-- for_clients(kind) returns the publications in the order in which clients' DDL tries them. The session's pid determines the first one, and the
-- publisher's own comes last. The order stays the same during a session, so a transaction that creates many tables locks one publication, not all.
CREATE OR REPLACE FUNCTION pgtee.for_clients(kind "char") RETURNS oid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $clients$
DECLARE
    ours  oid[] := pgtee.listings(kind);
    start integer := 2 + pg_backend_pid() % greatest(cardinality(ours) - 1, 1);
BEGIN
    RETURN ours[start:] || ours[2:start - 1] || ours[:1];
END
$clients$;

-- unsent(table, columns) reports whether pgoutput leaves out some of these columns. If so, old rows lack them, and the record of a DELETE does not
-- identify the row.
CREATE OR REPLACE FUNCTION pgtee.unsent(tbl oid, columns int2[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $unsent$
BEGIN
    RETURN current_setting('server_version_num')::int < 180000
        AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = tbl AND a.attnum = ANY (columns) AND a.attgenerated <> '');
END
$unsent$;

-- tables(oids) returns a row for each of these tables and their partitions. listed: the table is a member. reason: why it must not be one; null means
-- that it must be one. For a table that stores rows, the reason is also why its UPDATE and DELETE cannot be published. The function reads only catalogs,
-- with the conditions of RelationGetIndexList() in relcache.c and, for generated columns, of RelationBuildPublicationDesc(). Opening a table instead
-- would fail if another session dropped it meanwhile, and would lock it until the transaction ends. The function is in PL/pgSQL, like everything that
-- runs during a client's DDL, so that a session plans it only once.
CREATE OR REPLACE FUNCTION pgtee.tables(oids oid[])
RETURNS TABLE (tbl oid, root oid, name text, root_name text, topic text, listed boolean, identity "char", reason text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $tables$
#variable_conflict use_column
DECLARE
    reached oid[]; -- their partitions, and the child tables that a command reaches through their parent
    heirs   oid[] := ARRAY(SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = ANY (oids));
    ours    oid[] := pgtee.listings(NULL);
BEGIN
    WHILE cardinality(heirs) > 0 LOOP
        reached := reached || heirs;
        heirs := ARRAY(SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = ANY (heirs));
    END LOOP;
    RETURN QUERY
    SELECT DISTINCT ON (c.oid) c.oid, top.oid, format('%I.%I', n.nspname, c.relname), top.oid::regclass::text,
        CASE WHEN top.oid = c.oid THEN n.nspname || '.' || c.relname
            ELSE (SELECT rn.nspname || '.' || r.relname FROM pg_class AS r JOIN pg_namespace AS rn ON rn.oid = r.relnamespace WHERE r.oid = top.oid) END,
        EXISTS (SELECT FROM pg_publication_rel AS m WHERE m.prrelid = c.oid AND m.prpubid = ANY (ours)),
        c.relreplident,
        coalesce(CASE
            WHEN c.relkind = 'p' AND c.relpersistence = 'u' THEN 'it is unlogged: changes of its partitions are published as their own'
            WHEN c.relkind = 'p' THEN NULL
            WHEN c.relkind = 'f' THEN 'it is a foreign table: its changes are not in this server''s WAL'
            WHEN c.relpersistence = 'u' THEN 'it is unlogged: its changes are not in the WAL'
            WHEN c.relreplident = 'f' AND pgtee.virtual(c.oid)
                THEN 'it has REPLICA IDENTITY FULL and a virtual generated column, which PostgreSQL cannot publish'
            WHEN c.relreplident = 'f' THEN NULL
            WHEN c.relreplident = 'n' THEN 'it has REPLICA IDENTITY NOTHING'
            ELSE (SELECT CASE
                    WHEN bool_or(pgtee.unsent(i.indrelid, (i.indkey::int2[])[0:i.indnkeyatts - 1])) THEN 'its key has a generated column, which PostgreSQL publishes only from version 18 on; REPLICA IDENTITY FULL captures the table'
                    WHEN bool_or(i.indislive AND i.indisvalid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL) THEN NULL
                    WHEN c.relreplident = 'i' THEN 'the index of its REPLICA IDENTITY is gone or not usable'
                    WHEN count(*) > 0 THEN 'its primary key is DEFERRABLE or not valid'
                    ELSE 'it has no primary key' END
                  FROM pg_index AS i
                  WHERE i.indrelid = c.oid AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident))
        END, CASE
            WHEN NOT pg_has_role(we.nspowner, c.relowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_publication_rel AS m WHERE m.prrelid = c.oid AND m.prpubid = ANY (ours))
                THEN format('it belongs to %s, of which %s, the owner of schema pgtee, is not a member', quote_ident(pg_get_userbyid(c.relowner)), quote_ident(pg_get_userbyid(we.nspowner)))
        END)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_namespace AS we ON we.nspname = 'pgtee'
    CROSS JOIN LATERAL (SELECT CASE WHEN c.relispartition THEN {{root}} ELSE c.oid END AS oid) AS top
    WHERE c.oid = ANY (oids || reached) AND c.oid >= 16384 AND n.nspname NOT IN ('pgtee', 'pg_catalog', 'information_schema')
      AND (c.relkind = 'p' AND c.relpersistence <> 't' OR c.relkind = 'r' AND c.relpersistence = 'p' OR c.relkind = 'f' AND c.relispartition
           OR c.relkind = 'r' AND c.relpersistence = 'u' AND (top.oid <> c.oid -- a partition of a table that is not unlogged
               OR EXISTS (SELECT FROM pg_publication_rel AS m WHERE m.prrelid = c.oid)));
END
$tables$;

-- narrowed() returns the members that somebody has given a row filter or a column list in these publications, and that pgtee_rows publishes without one.
CREATE OR REPLACE FUNCTION pgtee.narrowed() RETURNS oid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $narrowed$
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(SELECT m.prrelid FROM pg_publication_rel AS m
        LEFT JOIN (pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid AND p.pubname = 'pgtee_rows') ON r.prrelid = m.prrelid
        WHERE m.prpubid = ANY (pgtee.listings(NULL)) AND (m.prqual IS NOT NULL AND r.prqual IS NULL OR m.prattrs IS NOT NULL AND m.prattrs IS DISTINCT FROM r.prattrs));
END
$narrowed$;

-- published() returns every table whose changes could be in the stream.
CREATE OR REPLACE FUNCTION pgtee.published() RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $published$
    SELECT coalesce(array_agg(oid), '{}') FROM pg_class WHERE relkind IN ('r', 'p', 'f') AND relpersistence <> 't' AND oid >= 16384
$published$;

-- Tables for which pgtee has set REPLICA IDENTITY FULL because they had lost their key. When such a table has a key again, pgtee restores the default
-- identity. This table is unlogged, so that it is not replicated. A crash empties it, and so does setup in a copy of the database, where the OIDs may be
-- those of other tables: then the tables that were in it keep FULL.
CREATE UNLOGGED TABLE IF NOT EXISTS pgtee.widened (tbl oid PRIMARY KEY);

-- alter(command) runs a command of pgtee without firing event triggers of others, because no client sent it. From PostgreSQL 17 on, the setting
-- event_triggers disables them. Before 17, session_replication_role = replica skips triggers that are neither ALWAYS nor REPLICA. That setting discards
-- the session's cached plans, so it is set only if there are such triggers for the tags of these commands. pgtee's own triggers are ALWAYS: they
-- recognise pgtee's commands with inside().
CREATE OR REPLACE FUNCTION pgtee.alter(command text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms' AS $alter$
BEGIN
    PERFORM set_config('pgtee.inside', pgtee.token(), true);
    IF EXISTS (SELECT FROM pg_event_trigger WHERE evtname NOT IN ('pgtee_ddl', 'pgtee_drop', 'pgtee_alter') AND evtenabled = 'O'
            AND (evttags IS NULL OR evttags && ARRAY['ALTER PUBLICATION', 'ALTER TABLE'])) THEN
        PERFORM pgtee.alter_silently(command);
    ELSE
        EXECUTE command;
    END IF;
    PERFORM set_config('pgtee.inside', '', true);
END
$alter$;

-- lock(table) takes the lock that ALTER PUBLICATION takes on a table, or fails immediately.
CREATE OR REPLACE FUNCTION pgtee.lock(name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '1ms' AS $lock$
BEGIN
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', name);
END
$lock$;

-- inside() reports whether alter() is running. A client can set pgtee.inside, but does not know the right value.
CREATE OR REPLACE FUNCTION pgtee.inside() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $inside$
BEGIN
    RETURN coalesce(current_setting('pgtee.inside', true), '') <> '' AND current_setting('pgtee.inside', true) = pgtee.token();
END
$inside$;

-- token() returns a value that only pgtee can compute, another one for each transaction; '' in a copy of the database, where nothing is recorded.
CREATE OR REPLACE FUNCTION pgtee.token() RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $token$
BEGIN
    RETURN coalesce(encode(sha256(pgtee.key() || textsend(pg_current_xact_id()::text)), 'hex'), '');
END
$token$;

CREATE OR REPLACE FUNCTION pgtee.alter_silently(command text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $alter$
BEGIN
    EXECUTE command;
END
$alter$;

DO $silence$
BEGIN -- only a superuser can do this; if another role runs setup, there are no event triggers of pgtee either
    IF NOT current_setting('is_superuser')::boolean THEN
        RETURN;
    ELSIF current_setting('server_version_num')::int >= 170000 THEN
        ALTER FUNCTION pgtee.alter(text) SET event_triggers = off;
    ELSE
        ALTER FUNCTION pgtee.alter_silently(text) SET session_replication_role = replica;
    END IF;
END
$silence$;

-- enlist(table, publications) adds a table to the first of these publications that is not locked; it returns false if all are locked. The table's name
-- is quoted for SQL.
CREATE OR REPLACE FUNCTION pgtee.enlist(name text, publications oid[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $enlist$
DECLARE
    publication oid;
BEGIN
    BEGIN -- if the table itself is locked, it cannot be added to any publication
        PERFORM pgtee.lock(name);
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
    FOREACH publication IN ARRAY publications LOOP
        IF pgtee.alter_member(publication, 'ADD', name) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$enlist$;

-- delist(table) removes a table from its publications; it returns false if one of them stays locked. Unlike enlist() it cannot use another publication,
-- and as long as the table stays a member, clients' UPDATEs of it fail. Therefore it waits for up to a second.
CREATE OR REPLACE FUNCTION pgtee.delist(name text, tbl oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $delist$
DECLARE
    publication oid;
BEGIN
    FOR publication IN SELECT m.prpubid FROM pg_publication_rel AS m WHERE m.prrelid = tbl AND m.prpubid = ANY (pgtee.listings(NULL)) LOOP
        FOR try IN REVERSE 1000..0 LOOP
            IF pgtee.alter_member(publication, 'DROP', name) THEN
                EXIT;
            ELSIF try = 0 THEN
                RETURN false;
            END IF;
        END LOOP;
    END LOOP;
    RETURN true;
END
$delist$;

-- reannounce(tables) makes pgoutput discard what it has cached about tables. pgoutput caches whether it has sent a table's name and, for each partition, which
-- table its changes are published as. The cache becomes wrong if a partitioned table is renamed; up to PostgreSQL 17 also if a schema is renamed; on 14 also
-- if a partition is attached or detached. From 15 to 17 any change of a publication makes pgoutput discard the whole cache. Setting an option locks only the
-- publication's row; changing its members also locks the tables. On other versions every table must be removed and added again, which locks it until the
-- transaction ends: the tables beyond a thousand are left out. reannounce() returns false if any table is left out because of that or of other locks.
CREATE OR REPLACE FUNCTION pgtee.reannounce(tables oid[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $announce$
DECLARE
    publication oid;
BEGIN
    IF current_setting('server_version_num')::int / 10000 NOT IN (15, 16, 17) THEN
        RETURN (SELECT bool_and(pgtee.reannounce_one(t.oid)) FROM unnest(tables[:1000]) AS t (oid)) AND cardinality(tables) <= 1000;
    END IF;
    FOREACH publication IN ARRAY pgtee.for_clients('p') LOOP
        BEGIN
            PERFORM pgtee.alter(format('ALTER PUBLICATION %I SET (publish = ''insert, truncate'')', (SELECT p.pubname FROM pg_publication AS p WHERE p.oid = publication)));
            RETURN true;
        EXCEPTION WHEN lock_not_available THEN -- another transaction has changed it
        END;
    END LOOP;
    RETURN false;
END
$announce$;

-- reannounce_one(table) changes the membership of a table in a publication and changes it back, so that pgoutput reads the table's definition again. It uses any
-- publication that is not locked, because the one that lists the table may be locked. It returns false if all of them are locked, or the table is.
CREATE OR REPLACE FUNCTION pgtee.reannounce_one(tbl oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $announce$
DECLARE
    publication oid;
    actions     text[];
    name        text := (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = tbl);
BEGIN
    FOREACH publication IN ARRAY pgtee.for_clients('p') LOOP
        actions := CASE WHEN EXISTS (SELECT FROM pg_publication_rel AS m WHERE m.prpubid = publication AND m.prrelid = tbl) THEN '{DROP,ADD}' ELSE '{ADD,DROP}' END;
        IF pgtee.alter_member(publication, actions[1], name) AND pgtee.alter_member(publication, actions[2], name) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$announce$;

-- alter_member(publication, action, table) adds or removes a table; action is ADD or DROP. It returns false if the publication or the table is locked.
CREATE OR REPLACE FUNCTION pgtee.alter_member(publication oid, action text, name text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $member$
BEGIN
    PERFORM pgtee.alter(format('ALTER PUBLICATION %I %s TABLE ONLY %s', (SELECT p.pubname FROM pg_publication AS p WHERE p.oid = publication), action, name));
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$member$;

-- identify(table, identity) sets the table's replica identity: FULL or DEFAULT. The command that removed or added the key already holds the table's
-- lock. identify() returns false if the table is locked, or in use by a cursor or a trigger.
CREATE OR REPLACE FUNCTION pgtee.identify(name text, identity text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $identify$
BEGIN
    PERFORM pgtee.alter(format('ALTER TABLE ONLY %s REPLICA IDENTITY %s', name, identity));
    RETURN true;
EXCEPTION WHEN lock_not_available OR object_in_use THEN
    RETURN false;
END
$identify$;

-- capture(oids, by_client) adds each of these tables to one of the publications of its kind, or removes it, as tables() requires. It returns what must be
-- reported, as a JSON array of {"table", "root", "topic", "oid", "state", "reason"}, or null; topic is the root's schema.table without quotes, oid its OID.
-- The states:
--   listed      it became a member: earlier changes are not in the stream (a table that cannot have had any is not reported)
--   widened     it lost its identity, and has REPLICA IDENTITY FULL now: no change is missing
--   restored    it has a key and the default identity again
--   uncaptured  it is not a member, and cannot be one: see reason
--   logged      it was unlogged before, so its rows are not in the stream (on_ddl() adds this state to uncaptured)
--   busy        it must become a member, but all publications are locked: the publisher will add it
--   failing     it is a member, but must not be one: its UPDATE fails until the publisher has corrected this
CREATE OR REPLACE FUNCTION pgtee.capture(oids oid[], by_client boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $capture$
DECLARE
    states jsonb;
BEGIN
    IF cardinality(oids) > 0 THEN
        states := pgtee.capture_each(oids, by_client);
    END IF;
    IF by_client AND current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        states := nullif(coalesce(states, '[]') || coalesce(pgtee.widen_unseen(), '[]'), '[]');
    END IF;
    RETURN states;
END
$capture$;

CREATE OR REPLACE FUNCTION pgtee.capture_each(oids oid[], by_client boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $capture$
DECLARE
    t        record;
    states   jsonb;
    narrowed oid[];
    roots    oid[]; -- partitioned tables with a leaf whose identity changed here
BEGIN
    IF NOT by_client THEN
        narrowed := pgtee.narrowed();
    END IF;
    FOR t IN SELECT m.*, (SELECT CASE c.relkind WHEN 'p' THEN 'p' ELSE 'r' END::"char" FROM pg_class AS c WHERE c.oid = m.tbl) AS kind, NULL AS outcome -- a join would read all of pg_class
        FROM pgtee.tables(oids) AS m WHERE by_client OR m.tbl = ANY (oids) LOOP -- sweep() lists each table that it corrects
        BEGIN
            IF t.reason IS NULL THEN
                IF t.identity = 'f' AND t.kind = 'r' AND EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = t.tbl
                        AND i.indisprimary AND i.indislive AND i.indisvalid AND i.indimmediate AND NOT pgtee.unsent(i.indrelid, (i.indkey::int2[])[0:i.indnkeyatts - 1])) THEN
                    DELETE FROM pgtee.widened AS w WHERE w.tbl = t.tbl;
                    IF FOUND AND pgtee.identify(t.name, 'DEFAULT') THEN
                        t.outcome := 'restored';
                    END IF;
                END IF;
                IF t.tbl = ANY (narrowed) THEN
                    IF pgtee.delist(t.name, t.tbl) THEN
                        t.listed := false;
                    ELSE
                        t.outcome := 'busy';
                    END IF;
                END IF;
                IF NOT t.listed THEN
                    t.outcome := CASE WHEN NOT pgtee.enlist(t.name, CASE WHEN by_client THEN pgtee.for_clients(t.kind) ELSE pgtee.listings(t.kind) END) THEN 'busy'
                        WHEN t.tbl = ANY (narrowed) OR NOT CASE t.kind WHEN 'p' THEN pgtee.is_published_already(t.tbl) ELSE pgtee.is_untouched(t.tbl) END THEN 'listed' END;
                ELSIF NOT by_client AND t.kind = 'r' AND t.outcome IS NULL AND NOT pgtee.is_untouched(t.tbl) THEN
                    t.outcome := 'listed'; -- an earlier call added it, see sweep()
                END IF;
            ELSIF NOT t.listed THEN
                t.outcome := 'uncaptured';
            ELSIF t.identity IN ('d', 'i') AND t.kind = 'r' AND NOT pgtee.virtual(t.tbl) AND pgtee.identify(t.name, 'FULL') THEN
                INSERT INTO pgtee.widened VALUES (t.tbl) ON CONFLICT DO NOTHING;
                t.outcome := 'widened';
            ELSIF pgtee.delist(t.name, t.tbl) THEN
                t.outcome := 'uncaptured';
            ELSIF t.identity = 'n' AND t.kind = 'r' AND NOT pgtee.virtual(t.tbl) AND pgtee.identify(t.name, 'FULL') THEN
                t.outcome := 'widened';
            ELSE
                t.outcome := 'failing';
            END IF;
        EXCEPTION WHEN undefined_table OR invalid_schema_name THEN -- dropped meanwhile by another session
            CONTINUE;
        WHEN OTHERS THEN
            t.outcome := CASE WHEN t.reason IS NULL THEN 'busy' ELSE 'failing' END;
            t.reason := sqlerrm;
        END;
        IF t.outcome IS NOT NULL THEN
            states := coalesce(states, '[]') || jsonb_build_object('table', t.name, 'root', t.root_name, 'topic', t.topic, 'oid', t.root::int8, 'state', t.outcome, 'reason', coalesce(t.reason, ''));
            IF t.outcome IN ('widened', 'restored') AND t.root <> t.tbl AND t.root <> ALL (coalesce(roots, '{}')) THEN
                roots := roots || t.root;
            END IF;
        END IF;
    END LOOP;
    IF roots IS NOT NULL THEN
        PERFORM pgtee.follow(roots);
    END IF;
    RETURN states;
END
$capture$;

-- widen_unseen() completes capture() in a REPEATABLE READ or SERIALIZABLE transaction, whose queries do not see the tables, keys and members that others have
-- created since its first statement. It sets REPLICA IDENTITY FULL for the members without an identity among the tables that this transaction has locked.
-- It returns what must be reported, as capture() does. All functions that it calls read the present catalog.
CREATE OR REPLACE FUNCTION pgtee.widen_unseen() RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $unseen$
DECLARE
    t      record;
    states jsonb;
    full_before boolean;
BEGIN
    FOR t IN SELECT l.relation AS oid, o.object_names AS names, format('%I.%I', o.object_names[1], o.object_names[2]) AS name,
            format('%I.%I', r.object_names[1], r.object_names[2]) AS root
        FROM pg_locks AS l
        CROSS JOIN LATERAL pg_identify_object_as_address('pg_class'::regclass, l.relation, 0) AS o
        CROSS JOIN LATERAL pg_identify_object_as_address('pg_class'::regclass, coalesce(pg_partition_root(l.relation), l.relation), 0) AS r
        WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND o.type = 'table'
    LOOP
        full_before := EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.oid AND c.relreplident = 'f'); -- perhaps no longer
        IF pg_get_replica_identity_index(t.oid) IS NULL AND pgtee.is_member(t.names) AND pgtee.identify(t.name, 'FULL') AND NOT full_before THEN
            states := coalesce(states, '[]') || jsonb_build_object('table', t.name, 'root', t.root, 'state', 'widened', 'reason', 'it has no primary key');
        END IF;
    END LOOP;
    RETURN states;
END
$unseen$;

-- is_member(names) reports whether one of the publications lists a table, also if this transaction cannot see that. names are its schema and its name.
CREATE OR REPLACE FUNCTION pgtee.is_member(names text[]) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $member$
DECLARE
    publication name;
BEGIN
    FOR publication IN SELECT p.pubname FROM pg_publication AS p WHERE p.oid = ANY (pgtee.listings('r')) LOOP
        BEGIN
            PERFORM pg_get_object_address('publication relation', names, ARRAY[publication::text]);
            RETURN true;
        EXCEPTION WHEN undefined_object THEN -- it is in none of that kind so far
        END;
    END LOOP;
    RETURN false;
END
$member$;

-- follow(roots) adapts the replica identity of these partitioned tables to their leaves. The stream contains the root's columns: if all leaves have
-- REPLICA IDENTITY FULL and the root has no key, their old rows are complete only if the root is FULL as well. A root that the command has not locked
-- remains unchanged, since other sessions would have to wait for the lock.
CREATE OR REPLACE FUNCTION pgtee.follow(roots oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $follow$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT c.oid, c.oid::regclass::text AS name, c.relreplident,
            EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate) AS keyed
        FROM pg_class AS c WHERE c.oid = ANY (roots) AND c.relkind = 'p' AND EXISTS (SELECT FROM pg_locks AS l
            WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.relation = c.oid AND l.mode = 'AccessExclusiveLock' AND l.granted)
    LOOP
        IF r.relreplident = 'd' AND NOT r.keyed AND NOT EXISTS (SELECT FROM pgtee.tables(ARRAY[r.oid]) AS leaf JOIN pg_class AS c ON c.oid = leaf.tbl
            WHERE c.relkind <> 'p' AND leaf.identity <> 'f') THEN
            IF pgtee.identify(r.name, 'FULL') THEN
                INSERT INTO pgtee.widened VALUES (r.oid) ON CONFLICT DO NOTHING;
            END IF;
        ELSIF r.relreplident = 'f' AND r.keyed THEN
            DELETE FROM pgtee.widened AS w WHERE w.tbl = r.oid;
            IF FOUND THEN
                PERFORM pgtee.identify(r.name, 'DEFAULT');
            END IF;
        END IF;
    END LOOP;
END
$follow$;

-- virtual(table) reports whether REPLICA IDENTITY FULL is impossible: see tables().
CREATE OR REPLACE FUNCTION pgtee.virtual(tbl oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $virtual$
BEGIN
    RETURN EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = tbl AND a.attgenerated = 'v' AND NOT a.attisdropped);
END
$virtual$;

-- is_untouched(table) reports whether it is certain that the stream has all that happened to a table since it was created: inserted rows, and no update,
-- delete or rewrite. Either the table has no block and has never been vacuumed (reltuples), or this transaction created it. SET LOGGED is a rewrite, and
-- the rows from before it are not in the stream.
CREATE OR REPLACE FUNCTION pgtee.is_untouched(tbl oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $untouched$
BEGIN
    RETURN (SELECT c.relfilenode = c.oid AND c.reltuples = -1 AND pg_relation_size(c.oid) = 0
            OR pgtee.is_new(c.oid) AND current_setting('track_counts')::boolean AND pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid) = 0
                AND (c.relfilenode = c.oid OR pg_stat_get_xact_tuples_inserted(c.oid) = 0)
        FROM pg_class AS c WHERE c.oid = tbl);
END
$untouched$;

-- is_published_already(table) is for a partitioned table that becomes a member. It reports whether certainly none of its changes were published under the
-- names of its partitions: this transaction created it or removed it from its publication, or one of its ancestors is a member.
CREATE OR REPLACE FUNCTION pgtee.is_published_already(tbl oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $published$
BEGIN
    RETURN pgtee.is_new(tbl) OR tbl::text = ANY (string_to_array(coalesce(current_setting('pgtee.released', true), ''), ' '))
        OR EXISTS (SELECT FROM pg_partition_ancestors(tbl) AS a JOIN pg_publication_rel AS m ON m.prrelid = a.relid
            WHERE a.relid <> tbl AND m.prpubid = ANY (pgtee.listings('p')));
END
$published$;

-- is_new(table) reports whether this transaction created a table. The pg_attribute row of a system column is never updated, so its xmin is the
-- transaction (or a subtransaction) that created the table. The id of a subtransaction is greater than that of its transaction. The result is never null:
-- pg_xact_status() returns null for an old transaction, whose status the server has discarded.
CREATE OR REPLACE FUNCTION pgtee.is_new(tbl oid) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $new$
DECLARE
    mine int8 := pg_current_xact_id()::text::int8;
    behind int8 := (SELECT a.xmin::text::int8 FROM pg_attribute AS a WHERE a.attrelid = tbl AND a.attname = 'tableoid') - mine % 4294967296;
BEGIN
    IF behind > 2147483648 THEN
        behind := behind - 4294967296;
    ELSIF behind < -2147483648 THEN
        behind := behind + 4294967296;
    END IF;
    RETURN coalesce(pg_xact_status((mine + behind)::text::xid8) = 'in progress', false);
EXCEPTION WHEN OTHERS THEN -- no transaction can have this id
    RETURN false;
END
$new$;

-- tell_missed(states) asks the publisher to correct the topics of tables whose changes are captured only from now on. The signal is in the WAL
-- exactly where capture begins. It has the tables' OIDs as well, because a table may be renamed before the publisher reads the signal.
CREATE OR REPLACE FUNCTION pgtee.tell_missed(states jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $missed$
DECLARE
    roots jsonb := (SELECT jsonb_object_agg(s ->> 'topic', s -> 'oid') FROM jsonb_array_elements(states) AS s WHERE s ->> 'state' IN ('listed', 'logged'));
    names jsonb := (SELECT jsonb_agg(r) FROM jsonb_object_keys(roots) AS r);
BEGIN
    IF octet_length(roots::text) > 100000 THEN -- the publisher does not read signals of more than a megabyte
        roots := '{}';
        names := '["*.*"]'; -- the publisher knows this as all tables
    END IF;
    IF names IS NOT NULL THEN
        PERFORM pgtee.emit('s', jsonb_build_object('id', 'missed-' || pg_current_xact_id()::text || '-' || left(replace(gen_random_uuid()::text, '-', ''), 6),
            'type', 'resync', 'data', jsonb_build_object('data-collections', names, 'roots', roots))::text, NULL);
    END IF;
END
$missed$;

-- wrong() returns the tables whose membership is wrong: because the event triggers were off, because all publications were locked, or because somebody has
-- set a row filter or column list. Tables that must be removed come first. Otherwise the order is random, so that locked tables do not delay the others.
CREATE OR REPLACE FUNCTION pgtee.wrong() RETURNS oid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $wrong$
DECLARE
    narrowed oid[] := pgtee.narrowed();
BEGIN
    PERFORM pgtee.demand_publisher();
    RETURN ARRAY(
        SELECT t.tbl FROM pgtee.tables(pgtee.published()) AS t JOIN pg_class AS c ON c.oid = t.tbl
        WHERE (t.listed <> (t.reason IS NULL) OR t.tbl = ANY (narrowed)) AND pg_has_role(c.relowner, 'USAGE')
        ORDER BY t.listed DESC, random());
END
$wrong$;

-- sweep(tables) corrects the membership of these tables and reports the result. The publisher (once a second) and setup call it for a few tables at a time, because
-- the transaction keeps the locks on them until it ends. Changes are captured from the commit of this transaction on; other sessions may write until then.
-- The callers therefore call sweep() once more after the commit for the tables it did not report, and it reports those written meanwhile as listed.
CREATE OR REPLACE FUNCTION pgtee.sweep(oids oid[]) RETURNS TABLE (name text, root text, state text, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $sweep$
DECLARE
    states jsonb;
BEGIN
    PERFORM pgtee.demand_publisher();
    states := pgtee.capture(oids, false);
    PERFORM pgtee.tell_missed(states);
    IF EXISTS (SELECT FROM pgtee.widened AS w WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = w.tbl AND c.relreplident = 'f')) THEN
        DELETE FROM pgtee.widened AS w WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = w.tbl AND c.relreplident = 'f');
    END IF;
    RETURN QUERY SELECT s ->> 'table', s ->> 'root', s ->> 'state', s ->> 'reason' FROM jsonb_array_elements(states) AS s;
END
$sweep$;
