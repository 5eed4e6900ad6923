-- publish(topic, key, payload, headers) puts an event of the application into Kafka if and only if the transaction commits. Setup grants it to roles
-- by name. session_user identifies the author. Text is published as UTF-8; a null key or payload is null in Kafka as well. Events that the
-- publisher could not publish are refused here, in the client's own transaction. In a copy of the database nothing is written.
CREATE OR REPLACE FUNCTION pgtee.put_event(topic text, key bytea, payload bytea, headers jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $put$
DECLARE
    size  integer := coalesce(octet_length(key), 0) + coalesce(octet_length(payload), 0) + coalesce(octet_length(headers::text), 0);
    body  text;
BEGIN
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE 'pgtee.publish: not in a read-only transaction' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    IF pgtee.key() IS NULL THEN
        RAISE WARNING 'pgtee.publish: this database is a copy, from which nothing is published'
            USING HINT = 'If it has a publisher of its own, run pgtee setup here.';
        RETURN;
    END IF;
    IF topic IS NULL OR topic !~ '^[A-Za-z0-9._-]{1,180}$' OR topic IN ('.', '..', 'refused') THEN
        RAISE 'pgtee.publish: topic %: use 1 to 180 letters, digits, dots, dashes and underscores, and not "refused"', coalesce(quote_literal(left(topic, 200)), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF size > 900000 THEN
        RAISE 'pgtee.publish: event of % bytes: key, payload and headers may have 900000 together, for Kafka takes records of a megabyte', size
            USING ERRCODE = 'program_limit_exceeded', HINT = 'Store the payload in a table and publish a reference to it.';
    END IF;
    IF jsonb_typeof(headers) NOT IN ('object', 'null') THEN
        RAISE 'pgtee.publish: headers are a JSON %: pass an object of names and values', jsonb_typeof(headers) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF jsonb_typeof(headers) = 'object' THEN
        IF octet_length(headers::text) > 32768 OR (SELECT count(*) FROM jsonb_object_keys(headers)) > 64 THEN
            RAISE 'pgtee.publish: more than 64 headers, or than 32768 bytes of them' USING ERRCODE = 'program_limit_exceeded';
        END IF;
        IF EXISTS (SELECT FROM jsonb_object_keys(headers) AS name WHERE name = '' OR lower(name) LIKE 'pgtee%') THEN
            RAISE 'pgtee.publish: a header needs a name, and names that begin with "pgtee" are the publisher''s' USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END IF;
    body := jsonb_build_object('topic', topic, 'key', encode(key, 'base64'), 'headers',
        (SELECT jsonb_object_agg(h.key, h.value) FROM jsonb_each_text(CASE jsonb_typeof(headers) WHEN 'object' THEN headers END) AS h))::text;
    PERFORM pgtee.emit('e', body, payload);
END
$put$;

CREATE OR REPLACE FUNCTION pgtee.publish(topic text, key text, payload jsonb, headers jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $publish$
    SELECT pgtee.put_event($1, convert_to($2, 'UTF8'), convert_to($3::text, 'UTF8'), $4)
$publish$;
CREATE OR REPLACE FUNCTION pgtee.publish(topic text, key text, payload json, headers jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $publish$
    SELECT pgtee.put_event($1, convert_to($2, 'UTF8'), convert_to($3::text, 'UTF8'), $4)
$publish$;
CREATE OR REPLACE FUNCTION pgtee.publish(topic text, key text, payload text, headers jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $publish$
    SELECT pgtee.put_event($1, convert_to($2, 'UTF8'), convert_to($3, 'UTF8'), $4)
$publish$;
CREATE OR REPLACE FUNCTION pgtee.publish(topic text, key text, payload bytea, headers jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $publish$
    SELECT pgtee.put_event($1, convert_to($2, 'UTF8'), $3, $4)
$publish$;
CREATE OR REPLACE FUNCTION pgtee.publish(topic text, key bytea, payload bytea, headers jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $publish$
    SELECT pgtee.put_event($1, $2, $3, $4)
$publish$;


-- confirmed(xmin) reports whether the events of the transaction that wrote a row are committed in Kafka, so that the application may delete the row from its own
-- outbox table, with its own privileges. A publisher with --event-table advances the horizon. Rows written before first_xid, when the slot was
-- created, are never published, and therefore never confirmed; nor are those in a copy of the database. The horizon is a sequence, because a table would be
-- replicated by others.
--
-- xmin has 32 bits of a transaction id. The full id is the one that is less than 2^30 above the ids that the snapshot knows (the row may be the
-- caller's own) and less than 2^32 below that.
CREATE SEQUENCE IF NOT EXISTS pgtee.horizon MINVALUE 0;

CREATE OR REPLACE FUNCTION pgtee.confirmed(written xid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $confirmed$
    SELECT coalesce(bool_and(CASE WHEN h.is_called AND r.xid >= m.first_xid::text::int8 AND r.xid < h.last_value THEN EXISTS ( -- only then: it reads a file
        SELECT FROM pg_control_system() AS c, pg_database AS d
        WHERE m.system_identifier = c.system_identifier AND m.database_oid = d.oid AND d.datname = current_database()) END), false)
    FROM pgtee.meta AS m, pgtee.horizon AS h,
        (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8 + 1073741824) AS top (xid),
        LATERAL (SELECT top.xid - mod(top.xid - written::text::int8, 4294967296)) AS r (xid)
$confirmed$;

CREATE OR REPLACE FUNCTION pgtee.confirm(through xid8) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $confirm$
BEGIN
    PERFORM pgtee.demand_publisher();
    IF (SELECT NOT is_called OR last_value < through::text::int8 FROM pgtee.horizon) THEN
        PERFORM setval('pgtee.horizon', through::text::int8);
    END IF;
END
$confirm$;
