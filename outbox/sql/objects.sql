-- The SQL objects of pgtee, one version; `pgtee setup` runs this in one transaction. Everything that runs in a client's session is schema-qualified,
-- including operators.

CREATE SCHEMA IF NOT EXISTS pgtee;
COMMENT ON SCHEMA pgtee IS 'pgtee: notes about writes; made by pgtee setup, removed by pgtee teardown';

-- One row: the server and database for which these objects were created. In a copy of the database (pg_dump, template, clone) the row does not match,
-- and pgtee writes nothing there.
CREATE TABLE IF NOT EXISTS pgtee.meta (
    one               boolean PRIMARY KEY DEFAULT true CHECK (one),
    version           integer NOT NULL,
    system_identifier bigint  NOT NULL,
    database_oid      oid     NOT NULL,
    slot              name,
    consistent_point  pg_lsn,
    generation        integer NOT NULL DEFAULT 1
);
DO $columns$
BEGIN -- even IF NOT EXISTS takes a lock for which all DDL waits
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'pgtee.meta'::regclass AND attname = 'first_xid') THEN
        ALTER TABLE pgtee.meta ADD COLUMN first_xid xid8;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'pgtee.meta'::regclass AND attname = 'secret') THEN
        ALTER TABLE pgtee.meta ADD COLUMN secret bytea; -- of emit(): a role that can read it can sign for pgtee
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = 'pgtee.meta'::regclass AND attname = 'publications') THEN
        ALTER TABLE pgtee.meta ADD COLUMN publications text; -- those with which the slot was created, and their OIDs
    END IF;
END
$columns$;

-- There is no key and no index, because a key triples the cost of a note. pgtee.outbox itself stays empty; its children are used in turn, an hour
-- each, and the publisher truncates them in turn.
CREATE TABLE IF NOT EXISTS pgtee.outbox (
    kind        "char"      NOT NULL, -- 'n' note; other kinds were written by an older pgtee
    at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    note        text,                 -- base64 of the payload
    user_name name,
    role_name   name,
    pid         integer,
    application text,
    sql         bytea                 -- in the client's encoding
);
CREATE TABLE IF NOT EXISTS pgtee.outbox_0 () INHERITS (pgtee.outbox);
CREATE TABLE IF NOT EXISTS pgtee.outbox_1 () INHERITS (pgtee.outbox);
CREATE TABLE IF NOT EXISTS pgtee.outbox_2 () INHERITS (pgtee.outbox);

-- The proxy calls for a note in one of three ways:
--
--   SELECT pgtee.note('PAYLOAD',current_user);          in front of the first statement of a Query; pgtee.sign() if the note is to be signed
--   SELECT CASE WHEN $3 THEN pgtee.sign($1,...            as a prepared statement
--   /*PAYLOAD*/;CALL pgtee.put('K',current_user,...);     further on in a Query, for its note number K
--
-- Every role may call these routines, and the client's statements can read the notes of their Query (current_query()). Therefore a routine writes a
-- note that binds its transaction only if the proxy's own statement calls it: if a function, trigger or DO of the client calls it, PG_CONTEXT has a
-- line for each such caller (and one for a portal with parameters if log_parameter_max_length_on_error is set). A view, or a SQL function that the
-- planner has inlined, has no line. It can use only the note that stands in front of the first statement, and that note has run before. The notes
-- further on are in comments, and put() is a procedure, which no expression can call.

-- actor() returns pgtee.actor in the form that a note contains: byte 1, which no application_name has (pg_clean_ascii in PostgreSQL's common/string.c),
-- and the name in hexadecimal, because it may have line feeds, and characters that the client's encoding lacks.
CREATE OR REPLACE FUNCTION pgtee.actor() RETURNS text
LANGUAGE plpgsql STABLE AS $actor$
BEGIN
    RETURN pg_catalog.concat(pg_catalog.chr(1), pg_catalog.encode(pgtee.utf8(pg_catalog."left"(pg_catalog.current_setting('pgtee.actor', true), 128)), 'hex'));
END
$actor$;

-- note(payload, role) writes one note about the statement that follows it: as a row if the payload's flag says so, otherwise as a logical message.
-- Byte 1 of the payload contains the flags (1 row, 2 the SQL is part of current_query()). In a read-only transaction it does nothing: there is no
-- write to note, and no transaction id is assigned.
--
-- A message contains the names of user and role in UTF-8, as pgtee.utf8() returns them; only names that are not ASCII need it. record_send() and textsend()
-- would convert them to the client's encoding, which may not have their characters.
--
-- A session can name the person for whom it acts: SET pgtee.actor = 'alice'. The name follows application_name in the note, as actor() returns it.
--
-- In each transaction PL/pgSQL prepares every expression again, which costs more than its evaluation. Therefore each path has few expressions, and
-- the path of a message that carries its SQL has the fewest.
CREATE OR REPLACE FUNCTION pgtee.note(payload text, role name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $note$
DECLARE
    stack pg_catalog.text;
    lsn   pg_catalog.pg_lsn; -- not used: PERFORM would run a query, an assignment only evaluates an expression
BEGIN
    IF (pg_catalog.get_byte(pg_catalog.decode(pg_catalog."left"(payload, 4), 'base64'), 1) OPERATOR(pg_catalog.&) 3)
        OPERATOR(pg_catalog.=) 0 THEN
        lsn := CASE WHEN pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off' THEN
            pg_catalog.pg_logical_emit_message(true, 'pgtee', CASE WHEN pg_catalog.concat(session_user, role) OPERATOR(pg_catalog.~) '[^ -~]'
                THEN pgtee.utf8(pg_catalog.format(E'%s\n%s\n%s\n%I\n%s', payload,
                pg_catalog.concat(pg_catalog.current_setting('application_name'),
                    CASE WHEN pg_catalog.current_setting('pgtee.actor', true) OPERATOR(pg_catalog.<>) '' THEN pgtee.actor() END),
                pg_catalog.pg_backend_pid(), session_user, role))
                ELSE pg_catalog.textsend(pg_catalog.format(E'%s\n%s\n%s\n%I\n%s', payload,
                pg_catalog.concat(pg_catalog.current_setting('application_name'),
                    CASE WHEN pg_catalog.current_setting('pgtee.actor', true) OPERATOR(pg_catalog.<>) '' THEN pgtee.actor() END),
                pg_catalog.pg_backend_pid(), session_user, role)) END)
            END;
        RETURN;
    END IF;
    GET DIAGNOSTICS stack = PG_CONTEXT;
    lsn := CASE WHEN pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off'
        AND pg_catalog.octet_length(payload) OPERATOR(pg_catalog.<) 65536 AND (
        CASE WHEN pg_catalog.starts_with(pg_catalog.current_query(), 'SELECT CASE WHEN $3 THEN pgtee.sign($1,current_user)')
        THEN pg_catalog.split_part(stack, pg_catalog.chr(10), 2) OPERATOR(pg_catalog.=) ''
            OR pg_catalog.strpos(pg_catalog.split_part(stack, pg_catalog.chr(10), 2), '$1 = ''') OPERATOR(pg_catalog.>) 0
                AND pg_catalog.split_part(stack, pg_catalog.chr(10), 3) OPERATOR(pg_catalog.=) ''
        ELSE pg_catalog.strpos(stack, pg_catalog.chr(10)) OPERATOR(pg_catalog.=) 0
            AND pg_catalog.strpos(pg_catalog.current_query(), pg_catalog.concat('pgtee.note(''', payload)) OPERATOR(pg_catalog.>) 0 END)
        THEN pgtee.store(payload, role, false) END;
END
$note$;

-- sign(payload, role) is note() for a note that is signed: see store().
CREATE OR REPLACE FUNCTION pgtee.sign(payload text, role name) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $sign$
DECLARE
    stack pg_catalog.text;
    lsn   pg_catalog.pg_lsn;
BEGIN
    GET DIAGNOSTICS stack = PG_CONTEXT;
    lsn := CASE WHEN pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off'
        AND pg_catalog.octet_length(payload) OPERATOR(pg_catalog.<) 65536 AND (
        CASE WHEN pg_catalog.starts_with(pg_catalog.current_query(), 'SELECT CASE WHEN $3 THEN pgtee.sign($1,current_user)')
        THEN pg_catalog.split_part(stack, pg_catalog.chr(10), 2) OPERATOR(pg_catalog.=) ''
            OR pg_catalog.strpos(pg_catalog.split_part(stack, pg_catalog.chr(10), 2), '$1 = ''') OPERATOR(pg_catalog.>) 0
                AND pg_catalog.split_part(stack, pg_catalog.chr(10), 3) OPERATOR(pg_catalog.=) ''
        ELSE pg_catalog.strpos(stack, pg_catalog.chr(10)) OPERATOR(pg_catalog.=) 0
            AND pg_catalog.strpos(pg_catalog.current_query(), pg_catalog.concat('pgtee.sign(''', payload)) OPERATOR(pg_catalog.>) 0 END)
        THEN pgtee.store(payload, role, true) END;
END
$sign$;

-- put(note, role, always, signed) writes the note with this number of the Query that runs now. It is in the comment before the call. The proxy gives a
-- note no number that the client's text contains, so put() fails if the call occurs twice: without their note, rows would be attributed to the statement
-- before. always is false for a note that applies only if the transaction has written.
-- pg_stat_statements stores the text of each utility statement before version 16, so the payload must not be in the statement itself. The result,
-- which is one row as that of note(), shows the proxy that the procedure has ended and that a later error is one of the commit.
--
-- A Query of many writes runs put() for each of them over the whole text. Therefore it searches only with split_part(), and reads the comment from the
-- bytes: functions that count characters take ten times as long. No payload has 16384 bytes.
CREATE OR REPLACE PROCEDURE pgtee.put(INOUT note integer, role name, always boolean, signed boolean)
LANGUAGE plpgsql SECURITY DEFINER AS $put$
DECLARE
    mark    constant pg_catalog.text := pg_catalog.concat('*/;CALL pgtee.put(''', note, ''',');
    query   pg_catalog.text;
    before  pg_catalog.text;
    payload pg_catalog.text;
    stack   pg_catalog.text;
    lsn     pg_catalog.pg_lsn;
BEGIN
    GET DIAGNOSTICS stack = PG_CONTEXT;
    query := CASE WHEN pg_catalog.strpos(stack, pg_catalog.chr(10)) OPERATOR(pg_catalog.=) 0
        AND pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off'
        AND (always OR pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL) THEN pg_catalog.current_query() END;
    before := pg_catalog.split_part(query, mark, 1);
    payload := CASE WHEN pg_catalog.octet_length(before) OPERATOR(pg_catalog.<) pg_catalog.octet_length(query)
        AND pg_catalog.split_part(query, mark, 3) OPERATOR(pg_catalog.=) ''
        THEN pg_catalog.split_part(pg_catalog.encode(pg_catalog.substr(pg_catalog.convert_to(before, pg_catalog.getdatabaseencoding()),
            GREATEST(pg_catalog.octet_length(before) OPERATOR(pg_catalog.-) 16383, 1)), 'escape'), '/*', -1) END;
    IF pg_catalog.octet_length(payload) OPERATOR(pg_catalog.<) 16384 THEN
        lsn := pgtee.store(payload, role, signed);
    ELSIF pg_catalog.octet_length(before) OPERATOR(pg_catalog.<) pg_catalog.octet_length(query) THEN
        RAISE EXCEPTION 'only the proxy calls pgtee.put()' USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$put$;

-- store(payload, role, signed) writes a note for the routines above, which alone may call it: as a row of the outbox or, if the payload's flag does
-- not say so, as a message. Bytes 3-10 of the payload contain offset and length of the statement in
-- current_query(), if flag 2 is set.
--
-- A signed note is a message that only this function can have written, for this transaction: byte 2, HMAC-SHA256 of the rest with the secret of
-- pgtee.meta, as in emit(), then record_send() of the row below. The subtransaction that reads the secret is rolled back, which releases its lock on
-- pgtee.meta. With exit_on_error its end would be that of the session.
CREATE OR REPLACE FUNCTION pgtee.store(payload text, role name, signed boolean) RETURNS pg_catalog.pg_lsn
LANGUAGE plpgsql SET exit_on_error = off AS $store$
DECLARE
    raw     constant pg_catalog.bytea := pg_catalog.decode(pg_catalog."left"(payload, 16), 'base64');
    sender  constant pg_catalog.text := pg_catalog.concat(pg_catalog.current_setting('application_name'),
        CASE WHEN pg_catalog.current_setting('pgtee.actor', true) OPERATOR(pg_catalog.<>) '' THEN pgtee.actor() END);
    query   pg_catalog.bytea;
    secret  pg_catalog.bytea;
    content pg_catalog.bytea;
    slice   pg_catalog.int8;
BEGIN
    IF (pg_catalog.get_byte(raw, 1) OPERATOR(pg_catalog.&) 2) OPERATOR(pg_catalog.<>) 0 THEN
        query := pg_catalog.substr(pg_catalog.textsend(pg_catalog.current_query()),
            (pg_catalog.get_byte(raw, 4) OPERATOR(pg_catalog.<<) 8
             OPERATOR(pg_catalog.|) pg_catalog.get_byte(raw, 5) OPERATOR(pg_catalog.<<) 8
             OPERATOR(pg_catalog.|) pg_catalog.get_byte(raw, 6)) OPERATOR(pg_catalog.+) 1,
            LEAST(pg_catalog.get_byte(raw, 8) OPERATOR(pg_catalog.<<) 8
             OPERATOR(pg_catalog.|) pg_catalog.get_byte(raw, 9) OPERATOR(pg_catalog.<<) 8
             OPERATOR(pg_catalog.|) pg_catalog.get_byte(raw, 10), 65536));
    END IF;
    IF signed THEN
        BEGIN
            SELECT m.secret INTO secret FROM pgtee.meta AS m;
            RAISE SQLSTATE 'PGTEE';
        EXCEPTION WHEN SQLSTATE 'PGTEE' THEN
        END;
        content := pg_catalog.record_send(ROW('n'::pg_catalog.text, payload,
            CASE WHEN session_user::pg_catalog.text OPERATOR(pg_catalog.~) '[^ -~]' THEN pgtee.utf8(session_user::pg_catalog.text)
                ELSE pg_catalog.textsend(session_user::pg_catalog.text) END,
            CASE WHEN role::pg_catalog.text OPERATOR(pg_catalog.~) '[^ -~]' THEN pgtee.utf8(role::pg_catalog.text)
                ELSE pg_catalog.textsend(role::pg_catalog.text) END,
            pg_catalog.pg_backend_pid(), sender, query, pg_catalog.pg_current_xact_id()::pg_catalog.text));
        RETURN pg_catalog.pg_logical_emit_message(true, 'pgtee', pg_catalog.decode('02', 'hex') OPERATOR(pg_catalog.||)
            pg_catalog.sha256(pg_catalog.substr(secret, 65) OPERATOR(pg_catalog.||)
                pg_catalog.sha256(pg_catalog.substr(secret, 1, 64) OPERATOR(pg_catalog.||) content)) OPERATOR(pg_catalog.||) content);
    END IF;
    IF (pg_catalog.get_byte(raw, 1) OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 0 THEN
        RETURN pg_catalog.pg_logical_emit_message(true, 'pgtee', pg_catalog.record_send(ROW(payload,
            CASE WHEN session_user::pg_catalog.text OPERATOR(pg_catalog.~) '[^ -~]' THEN pgtee.utf8(session_user::pg_catalog.text)
                ELSE pg_catalog.textsend(session_user::pg_catalog.text) END,
            CASE WHEN role::pg_catalog.text OPERATOR(pg_catalog.~) '[^ -~]' THEN pgtee.utf8(role::pg_catalog.text)
                ELSE pg_catalog.textsend(role::pg_catalog.text) END,
            pg_catalog.pg_backend_pid(), sender, query)));
    END IF;
    slice := pg_catalog.mod(pg_catalog.trunc(pg_catalog.date_part('epoch', pg_catalog.now()))::pg_catalog.int8
             OPERATOR(pg_catalog./) 3600, 3);
    IF slice OPERATOR(pg_catalog.=) 0 THEN
        INSERT INTO pgtee.outbox_0 (kind, note, user_name, role_name, pid, application, sql)
        VALUES ('n', payload, session_user, role, pg_catalog.pg_backend_pid(), sender, query);
    ELSIF slice OPERATOR(pg_catalog.=) 1 THEN
        INSERT INTO pgtee.outbox_1 (kind, note, user_name, role_name, pid, application, sql)
        VALUES ('n', payload, session_user, role, pg_catalog.pg_backend_pid(), sender, query);
    ELSE
        INSERT INTO pgtee.outbox_2 (kind, note, user_name, role_name, pid, application, sql)
        VALUES ('n', payload, session_user, role, pg_catalog.pg_backend_pid(), sender, query);
    END IF;
    RETURN NULL;
END
$store$;

-- ready() answers the proxy's query: the version of these objects if notes can be written here, 0 if a table or a column that store() needs is gone,
-- null if the objects were created for another server or database. It is called once per database, and again when a note has failed.
CREATE OR REPLACE FUNCTION pgtee.ready() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER AS $ready$
    SELECT CASE WHEN 21 OPERATOR(pg_catalog.=) (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) a.attrelid JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.relnamespace
        WHERE n.nspname OPERATOR(pg_catalog.=) 'pgtee' AND t.relname OPERATOR(pg_catalog.=) ANY ('{outbox_0,outbox_1,outbox_2}'::pg_catalog.name[])
          AND a.attname OPERATOR(pg_catalog.=) ANY ('{kind,note,user_name,role_name,pid,application,sql}'::pg_catalog.name[])) THEN m.version ELSE 0 END
    FROM pgtee.meta AS m, pg_catalog.pg_control_system() AS c, pg_catalog.pg_database AS d
    WHERE m.system_identifier OPERATOR(pg_catalog.=) c.system_identifier
      AND m.database_oid OPERATOR(pg_catalog.=) d.oid
      AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
$ready$;
