-- Tables of all kinds for the test of snapshots: their rows from before setup are copied, and later written again.
CREATE SCHEMA odd;
CREATE TABLE odd.empty (id int PRIMARY KEY, v text);
CREATE TABLE odd.nothing ();
INSERT INTO odd.nothing DEFAULT VALUES;
CREATE TABLE odd.bare (id int, v text);
INSERT INTO odd.bare SELECT id % 50, 'v' || id FROM generate_series(1, 3000) AS id;
CREATE TABLE odd.bare_full (id int, v text, big text);
ALTER TABLE odd.bare_full REPLICA IDENTITY FULL;
ALTER TABLE odd.bare_full ALTER COLUMN big SET STORAGE EXTERNAL;
INSERT INTO odd.bare_full SELECT id, NULL, repeat('x', 5000) FROM generate_series(1, 40) AS id;
CREATE TABLE odd.indexed (id int, code text NOT NULL, v text);
CREATE UNIQUE INDEX indexed_code ON odd.indexed (code);
ALTER TABLE odd.indexed REPLICA IDENTITY USING INDEX indexed_code;
INSERT INTO odd.indexed SELECT id, 'c' || id, 'v' FROM generate_series(1, 300) AS id;
CREATE TABLE odd.secondary (id int PRIMARY KEY, code text NOT NULL UNIQUE, v text);
ALTER TABLE odd.secondary REPLICA IDENTITY USING INDEX secondary_code_key;
INSERT INTO odd.secondary SELECT id, 'c' || id, 'v' FROM generate_series(1, 300) AS id;
CREATE TABLE odd.identity_nothing (id int PRIMARY KEY, v text);
ALTER TABLE odd.identity_nothing REPLICA IDENTITY NOTHING;
INSERT INTO odd.identity_nothing VALUES (1, 'a'), (2, NULL);
CREATE TABLE odd.deferrable (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
INSERT INTO odd.deferrable VALUES (1, 'a'), (2, NULL);
CREATE TABLE odd.partial (id int NOT NULL, v text NOT NULL);
CREATE UNIQUE INDEX ON odd.partial (id) WHERE id < 5;
CREATE UNIQUE INDEX ON odd.partial (lower(v));
INSERT INTO odd.partial SELECT id, 'v' || id FROM generate_series(1, 20) AS id;

DO $$ BEGIN
    EXECUTE 'CREATE TABLE odd.broad (id int PRIMARY KEY, ' ||
        (SELECT string_agg('c' || n || CASE n % 4 WHEN 0 THEN ' int' WHEN 1 THEN ' bool' WHEN 2 THEN ' text' ELSE ' smallint' END, ', ' ORDER BY n) FROM generate_series(1, 1599) AS n) || ')';
    EXECUTE 'INSERT INTO odd.broad SELECT 1, ' || (SELECT string_agg(CASE n % 4 WHEN 0 THEN '5' WHEN 1 THEN 'true' WHEN 2 THEN '''x''' ELSE '-1' END, ', ' ORDER BY n) FROM generate_series(1, 1599) AS n);
    INSERT INTO odd.broad (id, c1599) VALUES (2, 7);
END $$;

CREATE TABLE odd.generated (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, b text DEFAULT 'd');
INSERT INTO odd.generated (a, b) VALUES (1, 'x'), (NULL, NULL), (3, DEFAULT);
CREATE TABLE odd.dropped (gone int, id int, also text, v text, CONSTRAINT dropped_pkey PRIMARY KEY (id));
INSERT INTO odd.dropped VALUES (1, 1, 'x', 'one');
ALTER TABLE odd.dropped DROP COLUMN gone, DROP COLUMN also;
ALTER TABLE odd.dropped ADD COLUMN later int DEFAULT 7, ADD COLUMN last text;
INSERT INTO odd.dropped VALUES (2, 'two', NULL, 'l');

CREATE TABLE odd.parts (region text, id int, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE odd.parts_eu PARTITION OF odd.parts FOR VALUES IN ('eu') PARTITION BY RANGE (id);
CREATE TABLE odd.parts_eu_low PARTITION OF odd.parts_eu FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE odd.parts_eu_high PARTITION OF odd.parts_eu FOR VALUES FROM (100) TO (MAXVALUE);
CREATE TABLE odd.parts_other (gone int, v text, id int NOT NULL, region text NOT NULL);
ALTER TABLE odd.parts_other DROP COLUMN gone;
ALTER TABLE odd.parts ATTACH PARTITION odd.parts_other DEFAULT;
INSERT INTO odd.parts SELECT CASE WHEN id % 3 = 0 THEN 'us' ELSE 'eu' END, id, 'v' || id FROM generate_series(1, 300) AS id;
CREATE TABLE odd.parent (id int PRIMARY KEY, v text);
CREATE TABLE odd.child (more int) INHERITS (odd.parent);
ALTER TABLE odd.child ADD PRIMARY KEY (id);
INSERT INTO odd.parent VALUES (1, 'parent');
INSERT INTO odd.child VALUES (2, 'child', 5), (3, 'child', NULL);

CREATE TABLE odd.secret (id int PRIMARY KEY, owner text);
INSERT INTO odd.secret VALUES (1, 'a'), (2, 'b');
ALTER TABLE odd.secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON odd.secret USING (owner = 'a');

CREATE TYPE odd.mood AS ENUM ('sad', 'ok', 'glad');
CREATE DOMAIN odd.code AS char(4);
CREATE TABLE odd.keys (a int, b text COLLATE "C", c uuid, d timestamptz, e numeric, f bytea, g date, h boolean, i odd.mood, j odd.code, k float8, l interval, m "char", n name, o bit(3), p inet,
    v text, PRIMARY KEY (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p));
INSERT INTO odd.keys SELECT n % 3, E'\\ \'"' || n, md5(n::text)::uuid, CASE WHEN n % 5 = 0 THEN 'infinity' ELSE '2024-02-29 12:34:56.789123+02'::timestamptz + n * interval '1 day' END,
    CASE WHEN n % 7 = 0 THEN 'NaN' ELSE n / 4.0 END, decode(lpad(to_hex(n), 4, '0'), 'hex'), '0044-03-15 BC'::date + n, n % 2 = 0, (enum_range(NULL::odd.mood))[1 + n % 3], 'c' || n,
    CASE WHEN n % 6 = 0 THEN '-Infinity' ELSE n * 1e-5 END, n * interval '1 month -1 second', chr(40 + n)::"char", ('n' || n)::name, (n % 8)::bit(3), ('10.0.0.' || n)::inet, 'v' || n
FROM generate_series(1, 60) AS n;
CREATE TABLE odd.collated (word text COLLATE "und-x-icu" PRIMARY KEY, v int);
INSERT INTO odd.collated SELECT (ARRAY['ä', 'a', 'A', 'Z', 'z', 'ß', 'é', 'E', '-', '_', 'ﬁ'])[1 + n % 11] || n / 11, n FROM generate_series(1, 900) AS n;
CREATE DOMAIN odd.word AS text COLLATE "und-x-icu" CHECK (value <> '');
CREATE TABLE odd.listed (words odd.word[], moods odd.mood[], n numeric[], v int, PRIMARY KEY (words, moods, n));
INSERT INTO odd.listed SELECT ARRAY['w' || g % 3, 'ä"\,{}']::odd.word[], (enum_range(NULL::odd.mood))[1:g % 4], CASE WHEN g % 2 = 0 THEN '{}' ELSE ARRAY[g::numeric, NULL, 'NaN'] END::numeric[], g
    FROM generate_series(1, 12) AS g;
CREATE TABLE odd.padded (word char(10), id int, PRIMARY KEY (word, id));
INSERT INTO odd.padded VALUES ('a', 1), ('a ', 2), ('', 3), (' a', 4);
CREATE COLLATION odd.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE odd.folding (word text COLLATE odd.folded PRIMARY KEY, v int);
INSERT INTO odd.folding SELECT (ARRAY['A', 'b', 'Ç'])[1 + n % 3] || n, n FROM generate_series(1, 30) AS n;

CREATE SCHEMA "Odd.Schema ""1""";
CREATE TABLE "Odd.Schema ""1"""."Täb""le 'x' $1" ("Id Col" int PRIMARY KEY, "sel""ect" text, "a b" int, "ünï" text, "select" int);
INSERT INTO "Odd.Schema ""1"""."Täb""le 'x' $1" VALUES (1, 'x', 2, 'ü', 3), (2, E'back\\slash\ttab\nline\r\\.', NULL, '', -1), (3, '\.', 0, '\N', 0);
CREATE UNLOGGED TABLE odd.unlogged (id int PRIMARY KEY);
INSERT INTO odd.unlogged VALUES (1);
