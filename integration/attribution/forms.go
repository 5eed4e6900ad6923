package main

// forms are all forms. Their rows may have no statement (mayBeUnknown) where the text does not show that it writes, for the first write of a function,
// procedure or DO block in autocommit mode, and at COMMIT.
var forms = []form{
	{name: "INSERT", weight: 8, plain: true, places: anywhere, steps: []step{{sql: "INSERT INTO work.entry VALUES ({n})", rows: 1, bound: true}}},
	{name: "INSERT SELECT", weight: 4, plain: true, places: anywhere, steps: []step{{sql: "INSERT INTO work.entry SELECT {n} FROM generate_series(1, 3)", rows: 3, bound: true}}},
	{name: "INSERT of a function", weight: 3, places: anywhere, steps: []step{{sql: "INSERT INTO work.entry SELECT work.put({n})", rows: 2, bound: true}}},
	{name: "INSERT ON CONFLICT", weight: 3, plain: true, places: anywhere, steps: []step{{sql: "INSERT INTO work.item VALUES ({i}0, {n}) ON CONFLICT (k) DO UPDATE SET n = excluded.n", rows: 1, bound: true}}},
	{name: "UPDATE", weight: 6, plain: true, places: anywhere, steps: []step{{sql: "UPDATE work.item SET n = {n} WHERE k BETWEEN {i}0 AND {i}2", rows: 3, bound: true}}},
	{name: "DELETE", weight: 4, places: anywhere, steps: []step{
		{sql: "INSERT INTO work.gone VALUES ({k}, {m})", rows: 1},
		{sql: "DELETE /* n={n} */ FROM work.gone WHERE k = {k}", rows: 1},
	}},
	{name: "MERGE", weight: 4, plain: true, places: anywhere, steps: []step{
		{sql: "MERGE INTO work.item t USING (VALUES ({i}3), ({i}4)) s (k) ON t.k = s.k WHEN MATCHED THEN UPDATE SET n = {n} WHEN NOT MATCHED THEN INSERT VALUES (s.k, {n})", rows: 2, bound: true},
	}},
	{name: "COPY FROM STDIN", weight: 4, places: anywhere, steps: []step{{sql: "COPY /* n={n} */ work.entry (n) FROM STDIN", rows: 2, data: true}}},
	{name: "WITH INSERT SELECT", weight: 4, places: anywhere, steps: []step{{sql: "WITH a AS (INSERT INTO work.entry VALUES ({n}) RETURNING n) SELECT * FROM a", rows: 1, bound: true}}},
	{name: "no rows", weight: 4, places: anywhere, steps: []step{{sql: "UPDATE work.item SET n = {n} WHERE false", bound: true}}},
	{name: "SELECT", weight: 3, places: anywhere, steps: []step{{sql: "SELECT count(*) FROM work.item WHERE n = {n}", bound: true}}},
	{name: "failing INSERT", weight: 2, places: alone, broken: true, steps: []step{{sql: "INSERT INTO work.entry VALUES ({n} / 0)", bound: true, code: "22012"}}},
	{name: "failing function", weight: 2, places: alone, broken: true, steps: []step{{sql: "SELECT work.put_and_fail({n})", bound: true, code: "22012"}}},

	{name: "function", weight: 10, places: anywhere, mayBeUnknown: autocommit, steps: []step{{sql: "SELECT work.put({n})", rows: 1, bound: true}}},
	{name: "SQL function", weight: 6, places: anywhere, mayBeUnknown: autocommit, steps: []step{{sql: "SELECT * FROM work.put_sql({n})", rows: 1, bound: true}}},
	{name: "function of functions", weight: 4, places: anywhere, mayBeUnknown: autocommit, steps: []step{{sql: "SELECT work.put_both({n})", rows: 2, bound: true}}},
	{name: "two functions", weight: 3, places: anywhere, mayBeUnknown: autocommit, steps: []step{{sql: "SELECT work.put({n}), (SELECT max(g) FROM generate_series(1, 3) g WHERE work.put_sql({n}) > g)", rows: 4, bound: true}}},
	{name: "function that may write", weight: 5, places: anywhere, mayBeUnknown: autocommit, steps: []step{{sql: "SELECT work.put_if_odd({n})", rows: 1, odd: true, bound: true}}},
	{name: "function that reads", weight: 5, places: anywhere, steps: []step{{sql: "SELECT work.look({n})", bound: true}}},
	{name: "EXPLAIN ANALYZE INSERT", weight: 2, places: anywhere, steps: []step{{sql: "EXPLAIN ANALYZE INSERT INTO work.entry VALUES ({n})", rows: 1, bound: true}}},
	{name: "EXPLAIN ANALYZE function", weight: 2, places: anywhere, mayBeUnknown: autocommit, steps: []step{{sql: "EXPLAIN (ANALYZE, COSTS off) SELECT work.put({n})", rows: 1, bound: true}}},
	{name: "CREATE TABLE AS", weight: 1, places: anywhere, steps: []step{
		{sql: "DROP TABLE IF EXISTS made.t{i}"},
		{sql: "CREATE TABLE made.t{i} AS SELECT {n}::bigint AS n, work.put({n}) AS put", rows: 2, bound: true},
	}},
	{name: "SELECT INTO", weight: 1, places: anywhere, steps: []step{
		{sql: "DROP TABLE IF EXISTS made.t{i}"},
		{sql: "SELECT {n}::bigint AS n INTO made.t{i} FROM generate_series(1, 2)", rows: 2, bound: true},
	}},

	{name: "CALL", weight: 5, places: anywhere, mayBeUnknown: autocommit, steps: []step{{sql: "CALL work.store({n})", rows: 2, bound: true}}},
	{name: "CALL with COMMIT", weight: 3, places: alone, mayBeUnknown: alone, steps: []step{{sql: "CALL work.store_and_commit({n})", rows: 3, bound: true}}},
	{name: "DO", weight: 5, places: anywhere, mayBeUnknown: autocommit, steps: []step{{sql: "DO $$ BEGIN INSERT INTO work.entry VALUES ({n}); PERFORM work.put({n}); END $$", rows: 2}}},
	{name: "DO with COMMIT", weight: 2, places: alone, mayBeUnknown: alone, steps: []step{{sql: "DO $$ BEGIN INSERT INTO work.entry VALUES ({n}); COMMIT; PERFORM work.put({n}); END $$", rows: 2}}},
	{name: "fast path", weight: 4, places: alone | inBlock, mayBeUnknown: alone | inBlock, steps: []step{{kind: call, rows: 1}}},

	{name: "view with a condition", weight: 3, places: anywhere, mayBeUnknown: anywhere, steps: []step{setNonce, {sql: "SELECT count(*) FROM work.peeking /* n={n} */", rows: 1}}},
	{name: "view with a column", weight: 3, places: anywhere, mayBeUnknown: anywhere, steps: []step{setNonce, {sql: "TABLE work.calling /* n={n} */", rows: 1}}},
	{name: "view of a text", weight: 3, places: anywhere, mayBeUnknown: anywhere, steps: []step{setNonce, {sql: "TABLE work.counting /* n={n} */", rows: 1}}},
	{name: "policy", weight: 3, places: anywhere, mayBeUnknown: anywhere, steps: []step{setNonce, {sql: "SELECT /* n={n} */ k FROM work.guarded", rows: 1}}},
	{name: "policy of an INSERT", weight: 2, places: anywhere, steps: []step{{sql: "INSERT INTO work.checked VALUES ({n})", rows: 2, bound: true}}},
	{name: "operator", weight: 3, places: anywhere, mayBeUnknown: anywhere, steps: []step{{sql: "SELECT {n}::bigint <+> 1", rows: 1, bound: true}}},
	{name: "cast", weight: 3, places: anywhere, mayBeUnknown: anywhere, steps: []step{{sql: "SELECT {n}::bigint::work.noted", rows: 1, bound: true}}},
	{name: "domain", weight: 3, places: anywhere, mayBeUnknown: anywhere, steps: []step{{sql: "SELECT {n}::bigint::work.kept", rows: 1, bound: true}}},
	{name: "domain of a parameter", weight: 3, places: anywhere, mayBeUnknown: anywhere, steps: []step{{sql: "SELECT {n}::work.kept", rows: 1, bound: true}}},
	{name: "functional notation", weight: 3, places: anywhere, mayBeUnknown: anywhere, steps: []step{{sql: "SELECT (ROW({n}::bigint)::work.noted).put_noted", rows: 1, bound: true}}},
	{name: "rule", weight: 3, places: anywhere, steps: []step{{sql: "INSERT INTO work.ruled VALUES ({n})", rows: 2, bound: true}}},
	{name: "triggers", weight: 4, places: anywhere, steps: []step{{sql: "INSERT INTO work.watched SELECT {n} FROM generate_series(1, 2)", rows: 6, bound: true}}},
	{name: "triggers of COPY", weight: 2, places: anywhere, steps: []step{{sql: "COPY /* n={n} */ work.watched (n) FROM STDIN", rows: 6, data: true}}},
	{name: "ON DELETE CASCADE", weight: 3, places: anywhere, steps: []step{
		{sql: "WITH a AS (INSERT INTO work.trunk VALUES ({k}, {m})) INSERT INTO work.branch SELECT {k}, j, {m} FROM generate_series(1, 2) j", rows: 3},
		{sql: "DELETE /* n={n} */ FROM work.trunk WHERE k = {k}", rows: 3},
	}},
	{name: "ON UPDATE CASCADE", weight: 3, places: anywhere, steps: []step{{sql: "UPDATE work.parent SET k = {k}, n = {n} WHERE owner = {i}", rows: 3}}},
	{name: "deferred trigger", weight: 4, places: anywhere, steps: []step{{sql: "INSERT INTO work.late VALUES ({n})", rows: 1, late: 1, bound: true}}},
	{name: "SET CONSTRAINTS IMMEDIATE", weight: 3, places: inBlock, steps: []step{
		{sql: "INSERT INTO work.soon VALUES ({n})", rows: 1, late: 1, bound: true},
		{kind: gap},
		{sql: "SET CONSTRAINTS /* n={n} */ work.fires IMMEDIATE"},
		{sql: "SET CONSTRAINTS work.fires DEFERRED"},
	}},
	{name: "cursor WITH HOLD", weight: 3, places: alone | inBlock, hold: true, mayBeUnknown: alone | inBlock, steps: []step{
		{sql: "DECLARE c{k} NO SCROLL CURSOR WITH HOLD FOR SELECT work.put_late({n}) FROM generate_series(1, 2)", late: 2, bound: true},
	}},
	{name: "cursor", weight: 4, places: inBlock, mayBeUnknown: first, steps: []step{
		{sql: "DECLARE c{k} NO SCROLL CURSOR FOR SELECT work.put({n}) FROM generate_series(1, 5)", bound: true},
		{kind: gap},
		{sql: "FETCH /* n={n} */ 1 FROM c{k}", rows: 1},
		{kind: gap},
		{sql: "FETCH /* n={n} */ 2 FROM c{k}", rows: 2},
		{kind: gap},
		{sql: "MOVE /* n={n} */ 1 IN c{k}", rows: 1},
		{sql: "CLOSE c{k}"},
	}},
	{name: "PREPARE and EXECUTE", weight: 4, places: anywhere, steps: []step{
		{sql: "PREPARE s{k} (bigint) AS INSERT INTO work.entry VALUES ($1)"},
		{sql: "EXECUTE s{k}({n})", rows: 1},
		{kind: gap},
		{sql: "EXECUTE /* again */ s{k}({n})", rows: 1},
		{sql: "DEALLOCATE s{k}"},
	}},
	{name: "PREPARE of a function", weight: 3, places: anywhere, mayBeUnknown: autocommit, steps: []step{
		{sql: "PREPARE s{k} (bigint) AS SELECT work.put($1)"},
		{kind: gap},
		{sql: "EXECUTE s{k}({n})", rows: 1},
		{sql: "DEALLOCATE s{k}"},
	}},
	{name: "EXECUTE with a function as argument", weight: 3, places: anywhere, mayBeUnknown: autocommit, steps: []step{
		{sql: "PREPARE s{k} (bigint) AS SELECT $1"},
		{kind: gap},
		{sql: "EXECUTE s{k}(work.put({n}))", rows: 1},
		{sql: "DEALLOCATE s{k}"},
	}},
	{name: "statement with a name, again", weight: 3, places: anywhere, steps: []step{
		{kind: openNamed, sql: "INSERT INTO work.entry VALUES ({n})", rows: 1, bound: true},
		{kind: gap},
		{kind: moreNamed, sql: "INSERT INTO work.entry VALUES ({n})", rows: 1, bound: true},
	}},
	{name: "function with a name, again", weight: 3, places: anywhere, mayBeUnknown: autocommit, steps: []step{
		{kind: openNamed, sql: "SELECT work.put({n})", rows: 1, bound: true},
		{kind: gap},
		{kind: moreNamed, sql: "SELECT work.put({n})", rows: 1, bound: true},
	}},
	{name: "suspended portal", weight: 4, places: inBlock | opening | following, mayBeUnknown: opening, steps: []step{
		{kind: openPortal, sql: "SELECT work.put({n}) FROM generate_series(1, 3)", rows: 1, bound: true},
		{kind: gap},
		{kind: morePortal, sql: "SELECT work.put({n}) FROM generate_series(1, 3)", rows: 1, bound: true},
		{kind: morePortal, sql: "SELECT work.put({n}) FROM generate_series(1, 3)", rows: 1, bound: true},
	}},
	{name: "portal bound early", weight: 4, places: inBlock | opening | following, steps: []step{
		{kind: bindPortal, sql: "INSERT INTO work.entry VALUES ({n})", bound: true},
		{kind: gap},
		{kind: runPortal, sql: "INSERT INTO work.entry VALUES ({n})", rows: 1, bound: true},
	}},
}

// setNonce stores the nonce for rows that are written without the text of the next statement.
var setNonce = step{sql: "SET attribution.nonce = '{s}'"}
