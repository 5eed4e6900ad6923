-- pgtee sends its own information for the publisher (DDL records, events, signals) as logical messages, not in a table: if others replicate a table
-- of pgtee, their replication can fail because of it. Any client can write such a message, so these are signed with a secret that only the
-- functions here and the publisher can read.

-- key() returns the secret, or null in a copy of the database, from which nothing is published. The subtransaction that reads the secret is rolled
-- back, which releases its lock on pgtee.meta: otherwise the client would hold the lock. With exit_on_error its end would be that of the session.
CREATE OR REPLACE FUNCTION pgtee.key() RETURNS bytea
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' SET exit_on_error = off AS $key$
DECLARE
    secret bytea;
BEGIN
    SELECT m.secret INTO secret
    FROM pgtee.meta AS m, pg_control_system() AS c, pg_database AS d
    WHERE m.system_identifier = c.system_identifier AND m.database_oid = d.oid AND d.datname = current_database();
    RAISE SQLSTATE 'PGTEE';
EXCEPTION WHEN SQLSTATE 'PGTEE' THEN
    RETURN secret;
END
$key$;

-- utf8(text) returns the bytes of a text in UTF-8. In a SQL_ASCII database, and for a text that is invalid in the database's encoding, as the name of a role
-- that was created in another database may be, it returns the bytes unchanged: the publisher knows how to handle them.
CREATE OR REPLACE FUNCTION pgtee.utf8(text) RETURNS bytea
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET exit_on_error = off AS $utf8$
BEGIN
    RETURN CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN textsend($1) ELSE convert_to($1, 'UTF8') END;
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN decode(replace($1, chr(92), repeat(chr(92), 2)), 'escape'); -- convert_to() would verify the text again
END
$utf8$;

-- emit(kind, body, payload) writes one message; it returns false in a copy of the database. kind is d (DDL record), e (event) or s (signal); body is JSON. Format:
-- byte 1, HMAC-SHA256 of the rest, then record_send() of the row below. Because of the transaction id in it, the message has no effect in any
-- other transaction. The secret is the HMAC key, padded and xored with ipad (64 bytes) and with opad (64 bytes), RFC 2104.
CREATE OR REPLACE FUNCTION pgtee.emit(kind text, body text, payload bytea) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $emit$
DECLARE
    key     bytea := pgtee.key();
    content bytea;
BEGIN
    IF key IS NULL THEN
        RETURN false;
    END IF;
    content := record_send(ROW(kind, pg_current_xact_id()::text, pgtee.utf8(session_user::text), pg_backend_pid(),
        pgtee.utf8(current_setting('application_name')), pgtee.utf8(body), payload));
    PERFORM pg_logical_emit_message(true, 'pgtee', decode('01', 'hex') || sha256(substr(key, 65) || sha256(substr(key, 1, 64) || content)) || content);
    RETURN true;
END
$emit$;
