package main

// rolesSQL creates the role of all sessions: an ordinary one, to which policies apply.
const rolesSQL = `
CREATE ROLE app LOGIN;
ALTER ROLE app SET search_path = work, public;`

// schemaSQL creates the tables, and all other objects that may write. A row identifies its statement's nonce by n or by its key.
const schemaSQL = `
CREATE SCHEMA made AUTHORIZATION app;
CREATE SCHEMA work;
SET search_path = work, public;
CREATE TABLE entry (n bigint NOT NULL, late boolean NOT NULL DEFAULT false);
CREATE TABLE item (k bigint PRIMARY KEY, n bigint);
CREATE TABLE gone (k bigint PRIMARY KEY, n bigint);
CREATE TABLE trunk (k bigint PRIMARY KEY, n bigint);
CREATE TABLE branch (k bigint REFERENCES trunk ON DELETE CASCADE, j int, n bigint, PRIMARY KEY (k, j));
CREATE TABLE parent (k bigint PRIMARY KEY, owner int UNIQUE, n bigint);
CREATE TABLE leaf (id int PRIMARY KEY, k bigint REFERENCES parent ON UPDATE CASCADE);
CREATE TABLE mark (id int PRIMARY KEY);
INSERT INTO item SELECT s * 10 + j, 0 FROM generate_series(1, 20) s, generate_series(0, 3) j;
INSERT INTO parent SELECT -s, s FROM generate_series(1, 20) s;
INSERT INTO leaf SELECT s * 10 + j, -s FROM generate_series(1, 20) s, generate_series(1, 2) j;

CREATE FUNCTION put(bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work.entry VALUES ($1);
    RETURN $1;
END $$;
CREATE FUNCTION put_sql(bigint) RETURNS bigint LANGUAGE sql AS 'INSERT INTO work.entry VALUES ($1) RETURNING n';
CREATE FUNCTION put_late(bigint) RETURNS bigint LANGUAGE sql AS 'INSERT INTO work.entry VALUES ($1, true) RETURNING n';
CREATE FUNCTION put_both(bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM work.put($1);
    RETURN work.put_sql($1);
END $$;
CREATE FUNCTION put_if_odd(bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN $1 % 2 = 1 THEN work.put($1) END;
END $$;
CREATE FUNCTION put_and_fail(bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN work.put($1) / 0;
END $$;
CREATE FUNCTION look(bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT count(*) FROM work.item WHERE n = $1);
END $$;
CREATE PROCEDURE store(bigint) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work.entry VALUES ($1);
    PERFORM work.put($1);
END $$;
CREATE PROCEDURE store_and_commit(bigint) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work.entry VALUES ($1);
    COMMIT;
    PERFORM work.put($1);
    COMMIT;
    CALL work.store_once($1);
END $$;
CREATE PROCEDURE store_once(bigint) LANGUAGE sql AS 'INSERT INTO work.entry VALUES ($1)';

CREATE FUNCTION handed() RETURNS bigint LANGUAGE sql AS $$SELECT replace(current_setting('attribution.nonce'), '.', '')::bigint$$;
CREATE FUNCTION peek() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM work.put(work.handed());
    RETURN true;
END $$;
CREATE TABLE shelf (k int PRIMARY KEY);
INSERT INTO shelf VALUES (1);
CREATE VIEW peeking AS SELECT k FROM shelf WHERE peek();
CREATE VIEW calling AS SELECT put(handed()) AS n;
CREATE VIEW counting AS SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', work.put(work.handed())::text)');
CREATE TABLE guarded (k int PRIMARY KEY);
INSERT INTO guarded VALUES (1);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON guarded FOR SELECT USING (peek());
CREATE FUNCTION keep(bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM work.put($1);
    RETURN true;
END $$;
CREATE TABLE checked (n bigint NOT NULL);
ALTER TABLE checked ENABLE ROW LEVEL SECURITY;
CREATE POLICY write ON checked FOR INSERT WITH CHECK (keep(n));

CREATE FUNCTION put_plus(bigint, int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN work.put($1) + $2;
END $$;
CREATE OPERATOR <+> (LEFTARG = bigint, RIGHTARG = int, FUNCTION = put_plus);
CREATE TYPE noted AS (n bigint);
CREATE FUNCTION to_noted(bigint) RETURNS noted LANGUAGE plpgsql AS $$
BEGIN
    RETURN ROW(work.put($1))::work.noted;
END $$;
CREATE CAST (bigint AS noted) WITH FUNCTION to_noted(bigint);
CREATE FUNCTION put_noted(noted) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN work.put(($1).n);
END $$;
CREATE DOMAIN kept AS bigint CHECK (keep(VALUE));

CREATE TABLE ruled (n bigint NOT NULL);
CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO work.entry VALUES (NEW.n);
CREATE TABLE watched (n bigint NOT NULL);
CREATE FUNCTION by_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work.entry VALUES (NEW.n);
    RETURN NULL;
END $$;
CREATE FUNCTION by_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO work.entry SELECT n FROM added;
    RETURN NULL;
END $$;
CREATE TRIGGER by_row AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION by_row();
CREATE TRIGGER by_statement AFTER INSERT ON watched REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION by_statement();
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM work.put_late(NEW.n);
    RETURN NULL;
END $$;
CREATE TABLE late (n bigint NOT NULL);
CREATE CONSTRAINT TRIGGER fires_late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fire();
CREATE TABLE soon (n bigint NOT NULL);
CREATE CONSTRAINT TRIGGER fires AFTER INSERT ON soon DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fire();
GRANT USAGE ON SCHEMA work TO app;
GRANT ALL ON ALL TABLES IN SCHEMA work TO app;`
