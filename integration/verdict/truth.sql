-- The ground truth about contents and authors: each row change of a watched table, as a trigger saw it. The history table is unlogged, so that it is not
-- published.
CREATE SCHEMA truth;
CREATE UNLOGGED TABLE truth.history (
    seq         bigserial,
    xid         bigint DEFAULT (pg_current_xact_id()::text::numeric % 4294967296)::bigint, -- top level
    pid         integer DEFAULT pg_backend_pid(),
    user_name   name,
    application text DEFAULT current_setting('application_name'),
    query       text DEFAULT current_query(),
    tbl         text,
    op          "char",
    old         jsonb,
    new         jsonb
);

CREATE FUNCTION truth.record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO truth.history (user_name, tbl, op, old, new)
    VALUES (session_user, tg_table_schema || '.' || tg_table_name, left(tg_op, 1),
        CASE WHEN tg_op <> 'INSERT' THEN to_jsonb(old) END, CASE WHEN tg_op <> 'DELETE' THEN to_jsonb(new) END);
    RETURN NULL;
END
$$;

CREATE FUNCTION truth.record_truncate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO truth.history (user_name, tbl, op) VALUES (session_user, tg_table_schema || '.' || tg_table_name, 'T');
    RETURN NULL;
END
$$;

CREATE PROCEDURE truth.watch(tbl regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER truth AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION truth.record()', tbl);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER truth', tbl);
    EXECUTE format('CREATE TRIGGER truth_truncate AFTER TRUNCATE ON %s EXECUTE FUNCTION truth.record_truncate()', tbl);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER truth_truncate', tbl);
END
$$;

-- commits(start, stop) lists the commit records in a range of the WAL in their order: their xids and start LSNs. last is the end of the range, which is a
-- record boundary. The commit record of a prepared transaction has no xid; its description begins with the xid.
CREATE EXTENSION pg_walinspect;
CREATE FUNCTION truth.commits(start pg_lsn, stop pg_lsn, OUT last pg_lsn, OUT xids bigint[], OUT starts pg_lsn[]) LANGUAGE sql AS $$
    WITH records AS MATERIALIZED (
        SELECT start_lsn, end_lsn, xid, resource_manager = 'Transaction' AND record_type IN ('COMMIT', 'COMMIT_PREPARED') AS commits,
            CASE WHEN resource_manager = 'Transaction' AND record_type = 'COMMIT_PREPARED' THEN split_part(description, ':', 1)::bigint END AS prepared
        FROM pg_get_wal_records_info(start, stop)
    )
    SELECT max(end_lsn), coalesce(array_agg(coalesce(prepared, xid::text::bigint) ORDER BY start_lsn) FILTER (WHERE commits), '{}'),
        coalesce(array_agg(start_lsn ORDER BY start_lsn) FILTER (WHERE commits), '{}')
    FROM records
$$;
