-- rotate() empties the outbox tables that are used neither in this hour nor in the last one; a transaction writes into the table of the hour in which
-- it began. If another session is reading such a table, a later call truncates it. rotate() also deletes definitions of tables and types that are
-- older than the WAL that the slot retains.
CREATE OR REPLACE FUNCTION pgtee.rotate() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $rotate$
DECLARE
    hour bigint := trunc(date_part('epoch', now()) / 3600);
    slice bigint := (hour + 1) % 3;
    used boolean;
BEGIN
    PERFORM pgtee.demand_publisher();
    DELETE FROM pgtee.was AS w USING pgtee.meta AS m, pg_replication_slots AS s WHERE s.slot_name = m.slot AND w.lsn < s.restart_lsn;
    EXECUTE 'SELECT EXISTS (SELECT FROM pgtee.outbox_' || slice || ')' INTO used;
    IF used THEN
        EXECUTE 'TRUNCATE pgtee.outbox_' || slice;
    END IF;
    SELECT EXISTS (SELECT FROM ONLY pgtee.outbox WHERE at < now() - interval '2 hours') INTO used;
    IF used THEN
        TRUNCATE ONLY pgtee.outbox;
    END IF;
EXCEPTION WHEN lock_not_available THEN
    NULL;
END
$rotate$;

-- demand_publisher() refuses callers that are not publishers. A publisher is a role that may read pgtee.meta. A publisher modifies pgtee's objects only
-- through functions, so that it need not own them.
CREATE OR REPLACE FUNCTION pgtee.demand_publisher() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $demand$
BEGIN
    IF NOT has_table_privilege(session_user, 'pgtee.meta', 'SELECT') THEN
        RAISE 'pgtee: role % is not a publisher', quote_ident(session_user)
            USING ERRCODE = 'insufficient_privilege', HINT = 'Run pgtee setup --grant-publisher ROLE.';
    END IF;
END
$demand$;
