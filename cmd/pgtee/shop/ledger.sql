-- What the demo compares the topics with, made before pgtee setup by the superuser. All tables are
-- unlogged, so they are not in the stream themselves.

CREATE SCHEMA ledger;

-- One row per row change that committed: a rolled-back change takes its entry along.
CREATE UNLOGGED TABLE ledger.history (
    at          bigint GENERATED ALWAYS AS IDENTITY,
    xid         xid8  NOT NULL,
    tab         text  NOT NULL,
    op          text  NOT NULL, -- as Debezium calls it: c, u, d
    image       jsonb NOT NULL, -- the new row; of a deleted one its id
    user_name   text  NOT NULL,
    application text  NOT NULL
);

-- The events of the topics, read back.
CREATE UNLOGGED TABLE ledger.events (
    at          bigint GENERATED ALWAYS AS IDENTITY,
    tab         text  NOT NULL,
    op          text  NOT NULL,
    image       jsonb NOT NULL,
    user_name   text, -- null: published without a note that could be verified
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
