-- Tables with which the demo compares the topics; the superuser creates them before pgtee setup. All are unlogged, so they are not in the stream
-- themselves.

CREATE SCHEMA ledger;

-- One row per committed row change; when a change is rolled back, its entry is rolled back, too.
CREATE UNLOGGED TABLE ledger.history (
    at          bigint GENERATED ALWAYS AS IDENTITY,
    xid         xid8  NOT NULL,
    tab         text  NOT NULL,
    op          text  NOT NULL, -- as in Debezium: c, u, d
    image       jsonb NOT NULL, -- the new row; for a deleted row its id
    user_name   text  NOT NULL,
    application text  NOT NULL
);

-- The events of the topics, read back.
CREATE UNLOGGED TABLE ledger.events (
    at          bigint GENERATED ALWAYS AS IDENTITY,
    tab         text  NOT NULL,
    op          text  NOT NULL,
    image       jsonb NOT NULL,
    user_name   text, -- null: published without a verified note
    application text
);

-- The records of the audit topic, read back.
CREATE UNLOGGED TABLE ledger.audit (
    xid      text    NOT NULL,
    verified boolean NOT NULL
);

CREATE FUNCTION ledger.record() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO ledger.history (xid, tab, op, image, user_name, application)
    VALUES (pg_current_xact_id(), TG_TABLE_NAME,
            CASE TG_OP WHEN 'INSERT' THEN 'c' WHEN 'UPDATE' THEN 'u' ELSE 'd' END,
            CASE WHEN TG_OP = 'DELETE' THEN jsonb_build_object('id', OLD.id) ELSE to_jsonb(NEW) END,
            session_user, current_setting('application_name'));
    RETURN NULL;
END
$$;
GRANT USAGE ON SCHEMA ledger TO PUBLIC;
