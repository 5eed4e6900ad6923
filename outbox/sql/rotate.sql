-- Empties the outbox tables that neither this hour nor the last one writes to; a transaction writes
-- into the table of the hour in which it began.
SET lock_timeout = '1s';
DO $rotate$
DECLARE
    hour bigint := pg_catalog.trunc(pg_catalog.date_part('epoch', pg_catalog.now()) / 3600);
    slice bigint := (hour + 1) % 3;
    used boolean;
BEGIN
    EXECUTE 'SELECT EXISTS (SELECT FROM pgtee.outbox_' || slice || ')' INTO used;
    IF used THEN
        EXECUTE 'TRUNCATE pgtee.outbox_' || slice;
    END IF;
    EXECUTE 'SELECT EXISTS (SELECT FROM ONLY pgtee.outbox WHERE at < now() - interval ''2 hours'')' INTO used;
    IF used THEN
        TRUNCATE ONLY pgtee.outbox;
    END IF;
END
$rotate$;
