-- Signals are requests to the running publisher: those of Debezium, with the same names and data. A signal is a message of kind s,
-- {"id","type","data"}: it has one position in the WAL, reaches whichever publisher holds the slot, and is not lost in a restart. Setup grants these
-- functions to roles by name.
CREATE OR REPLACE FUNCTION pgtee.put_signal(id text, type text, data jsonb) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $put$
DECLARE
    name text := coalesce(id, left(replace(gen_random_uuid()::text, '-', ''), 12));
    body text := jsonb_build_object('id', name, 'type', type, 'data', coalesce(data, '{}'))::text;
BEGIN
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE 'pgtee: no signal from a read-only transaction' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    IF pgtee.key() IS NULL THEN
        RAISE 'pgtee: this database is a copy, from which nothing is published'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'If it has a publisher of its own, run pgtee setup here.';
    END IF;
    IF name !~ '^[A-Za-z0-9._:-]{1,100}$' OR name LIKE 'missed-%' THEN
        RAISE 'pgtee: id %: use 1 to 100 letters, digits, dots, colons, dashes and underscores, and not missed- at its start', quote_literal(left(name, 200))
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF type IS NULL OR type NOT IN ('execute-snapshot', 'resync', 'pause-snapshot', 'resume-snapshot', 'stop-snapshot') THEN
        RAISE 'pgtee: signal %: want execute-snapshot, resync, pause-snapshot, resume-snapshot or stop-snapshot', coalesce(quote_literal(left(type, 200)), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(body) > 900000 THEN
        RAISE 'pgtee: signal of % bytes: 900000 are taken', octet_length(body)
            USING ERRCODE = 'program_limit_exceeded', HINT = 'Ask for fewer tables at a time.';
    END IF;
    PERFORM pgtee.emit('s', body, NULL);
    RETURN name;
END
$put$;

-- snapshot(tables, condition, id) requests a copy of the tables' rows into their topics while the stream continues, and returns the id that
-- identifies the copy. The condition is in the language of the publisher's filters, and applies to each of the tables.
CREATE OR REPLACE FUNCTION pgtee.snapshot(tables regclass[], condition text DEFAULT NULL, id text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $snapshot$
DECLARE
    names jsonb;
    other text;
    part  text;
    quiet text;
BEGIN
    SELECT jsonb_agg(n.nspname || '.' || c.relname ORDER BY t.place),
           min(t.oid::regclass::text) FILTER (WHERE c.oid IS NULL OR c.relkind NOT IN ('r', 'p') OR c.relpersistence <> 'p'
               OR n.nspname IN ('pgtee', 'pg_catalog', 'information_schema')),
           min(t.oid::regclass::text) FILTER (WHERE c.relispartition),
           min(t.oid::regclass::text) FILTER (WHERE NOT EXISTS (SELECT FROM pg_publication AS p
               WHERE p.pubname = 'pgtee_rows' AND (p.puballtables OR EXISTS (SELECT FROM pg_publication_rel AS m WHERE m.prpubid = p.oid AND m.prrelid = c.oid))))
    INTO names, other, part, quiet
    FROM unnest(tables) WITH ORDINALITY AS t(oid, place)
    LEFT JOIN pg_class AS c ON c.oid = t.oid LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace;
    IF names IS NULL OR names @> '[null]' THEN
        RAISE 'pgtee.snapshot: name one table at least: pgtee.snapshot(ARRAY[''public.orders''])' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF other IS NOT NULL THEN
        RAISE 'pgtee.snapshot: % is not a permanent table of yours: nothing of it is published', other USING ERRCODE = 'wrong_object_type';
    END IF;
    IF part IS NOT NULL THEN
        RAISE 'pgtee.snapshot: % is a partition: name the table that it is a part of, and a condition', part USING ERRCODE = 'wrong_object_type';
    END IF;
    IF quiet IS NOT NULL THEN
        RAISE 'pgtee.snapshot: % is not published', quiet USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run pgtee setup, which adds it to publication pgtee_rows.';
    END IF;
    RETURN pgtee.put_signal(id, 'execute-snapshot', jsonb_build_object('type', 'INCREMENTAL', 'data-collections', names, 'additional-conditions',
        (SELECT coalesce(jsonb_agg(jsonb_build_object('data-collection', name, 'filter', condition)), '[]')
         FROM jsonb_array_elements_text(names) AS name WHERE condition IS NOT NULL)));
END
$snapshot$;

-- These functions apply to the snapshot with this id, or to all snapshots without one; a resync is cancelled only by its id. Rows of a cancelled
-- snapshot that are already in Kafka stay there.
CREATE OR REPLACE FUNCTION pgtee.snapshot_pause(id text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $pause$
    SELECT pgtee.put_signal(NULL, 'pause-snapshot', jsonb_build_object('id', $1))
$pause$;
CREATE OR REPLACE FUNCTION pgtee.snapshot_resume(id text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $resume$
    SELECT pgtee.put_signal(NULL, 'resume-snapshot', jsonb_build_object('id', $1))
$resume$;
CREATE OR REPLACE FUNCTION pgtee.snapshot_cancel(id text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $cancel$
    SELECT pgtee.put_signal(NULL, 'stop-snapshot', jsonb_build_object('id', $1))
$cancel$;

-- Programs that write rows into Debezium's signal table write them into this view instead.
CREATE OR REPLACE VIEW pgtee.signal AS SELECT NULL::text AS id, NULL::text AS type, NULL::text AS data WHERE false;
CREATE OR REPLACE FUNCTION pgtee.on_signal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $signal$
BEGIN
    NEW.id := pgtee.put_signal(NEW.id, NEW.type, NEW.data::jsonb);
    RETURN NEW;
END
$signal$;
CREATE OR REPLACE TRIGGER on_signal INSTEAD OF INSERT ON pgtee.signal FOR EACH ROW EXECUTE FUNCTION pgtee.on_signal();
