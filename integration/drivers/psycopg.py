"""Has psycopg do what it can, and prints all that it has seen: one line per step."""
import asyncio, threading, traceback
import psycopg
from psycopg.rows import dict_row

STEPS = []


def step(function):
    STEPS.append(function)
    return function


def seen(what):
    """Prints what a step has seen; the number makes lines that are equal differ."""
    seen.count += 1
    print(f"{seen.step} {seen.count}: {what!r}".replace("\n", "\\n"))


def failure(run):
    """Runs something that fails, and shows all that the server has said of it."""
    try:
        run()
    except psycopg.Error as e:
        d = e.diag
        seen((type(e).__name__, d.sqlstate, d.message_primary, d.message_detail, d.message_hint, d.statement_position, d.constraint_name, d.source_function, d.source_line))
    else:
        seen("no failure")


@step
def plain(conn):
    cur = conn.execute("INSERT INTO t VALUES (1, 'a'), (2, 'é') RETURNING id")
    seen((cur.fetchall(), cur.statusmessage, cur.rowcount))
    cur = conn.execute("INSERT INTO t VALUES (3, 'c'); SELECT count(*) FROM t; UPDATE t SET v = 'x' WHERE id > 1")
    while True:
        seen((cur.statusmessage, cur.rowcount, cur.fetchall() if cur.description else None))
        if not cur.nextset():
            break
    seen(conn.info.transaction_status.name)
    conn.commit()
    seen(conn.execute("SELECT * FROM t ORDER BY id").fetchall())
    conn.rollback()


@step
def parameters(conn):
    for binary in (False, True):
        cur = conn.execute("INSERT INTO t VALUES (%b, %t) RETURNING *" if binary else "INSERT INTO t VALUES (%s, %s) RETURNING *", (10, "ü€" * 100), binary=binary)
        seen(cur.fetchone())
    with conn.cursor(row_factory=dict_row) as cur:
        cur.executemany("INSERT INTO t VALUES (%s, %s) RETURNING id", [(n, "many") for n in range(20, 25)], returning=True)
        seen([(cur.fetchone(), cur.nextset()) for _ in range(5)])
    conn.commit()


@step
def prepared(conn):
    for n in range(12):  # prepared from the sixth on
        seen(conn.execute("UPDATE t SET v = %s WHERE id = %s", (str(n), 1)).rowcount)
    seen(conn.execute("SELECT count(*) FROM t WHERE id = %s", (1,), prepare=True).fetchone())
    conn.commit()
    conn.execute("ALTER TABLE t ADD COLUMN more int DEFAULT 7")
    seen(conn.execute("SELECT * FROM t WHERE id = %s", (1,), prepare=True).fetchall())
    conn.commit()
    conn.execute("DEALLOCATE ALL")
    failure(lambda: [conn.execute("UPDATE t SET v = %s WHERE id = %s", (str(n), 1)) for n in range(3)])
    conn.rollback()
    conn.execute("ALTER TABLE t DROP COLUMN more")
    conn.commit()
    failure(lambda: [conn.execute("SELECT * FROM t WHERE id = %s", (1,), prepare=True) for _ in range(3)])
    conn.rollback()


@step
def pipeline(conn):
    with conn.pipeline() as p:
        curs = [conn.execute("INSERT INTO t VALUES (%s, 'pipe') RETURNING id", (n,)) for n in range(30, 40)]
        p.sync()
        seen([c.fetchone() for c in curs])
        conn.execute("UPDATE t SET v = 'piped' WHERE id = %s", (30,))
        seen(conn.execute("SELECT v FROM t WHERE id = %s", (30,)).fetchone())
    conn.commit()
    failed = []
    def fails():
        with conn.pipeline() as p:
            conn.execute("INSERT INTO t VALUES (40, 'before')")
            bad = conn.execute("INSERT INTO t VALUES (%s, 'bad')", ("x",))
            failed.append(conn.execute("INSERT INTO t VALUES (41, 'after')"))
            p.sync()
    failure(fails)
    seen(conn.info.transaction_status.name)
    conn.rollback()
    conn.autocommit = True
    def several():
        with conn.pipeline() as p:
            conn.execute("INSERT INTO t VALUES (42, 'group 1')"); p.sync()
            conn.execute("INSERT INTO t VALUES (1/0, 'group 2')"); p.sync()
            conn.execute("INSERT INTO t VALUES (44, 'group 3')"); p.sync()
    failure(several)
    with conn.pipeline():
        with conn.transaction():
            conn.execute("INSERT INTO t VALUES (45, 'block')")
            with conn.transaction():
                conn.execute("INSERT INTO t VALUES (46, 'nested')")
        cur = conn.cursor()
        cur.executemany("INSERT INTO t VALUES (%s, 'many')", [(n,) for n in range(50, 150)])
        seen(cur.rowcount)
    seen(conn.execute("SELECT count(*), sum(id) FROM t").fetchone())
    conn.autocommit = False


@step
def savepoints(conn):
    with conn.transaction():
        conn.execute("INSERT INTO t VALUES (60, 'outer')")
        def inner():
            with conn.transaction():
                conn.execute("INSERT INTO t VALUES (61, 'inner')")
                conn.execute("SELECT 1/0")
        failure(inner)
        with conn.transaction(force_rollback=True):
            conn.execute("INSERT INTO t VALUES (62, 'gone')")
    seen(conn.execute("SELECT id FROM t WHERE id BETWEEN 60 AND 62 AND v <> 'many'").fetchall())
    conn.rollback()


@step
def errors_(conn):
    for text in ("SELCT 1", "INSERT INTO t VALUES (1, nosuch)", "SELECT 'é', nosuch", "INSERT INTO u VALUES (1), (1)", "INSERT INTO nosuch VALUES (1)",
                 "INSERT INTO t VALUES (1, 'é'); SELECT 'ü' || nosuch", "UPDATE t SET id = 'é'", "BEGIN; INSERT INTO t VALUES (1/0, '')", "DROP TABLE nosuch", "SELECT pg_catalog.nosuch()"):
        failure(lambda: conn.execute(text))
        failure(lambda: conn.execute("INSERT INTO t VALUES (1, 'in a failed block')"))
        conn.rollback()
    failure(lambda: conn.execute("INSERT INTO t VALUES (%s, %s)", (1, 2, )))
    conn.rollback()
    conn.execute("INSERT INTO child VALUES (404)")
    failure(conn.commit)
    seen(conn.info.transaction_status.name)


@step
def copy(conn):
    with conn.cursor() as cur:
        with cur.copy("COPY t FROM STDIN") as c:
            for n in range(1000):
                c.write_row((200 + n, "copied é" * (n % 9)))
        seen((cur.statusmessage, cur.rowcount))
        with cur.copy("COPY t (id, v) FROM STDIN (FORMAT binary)") as c:
            c.set_types(["int4", "text"])
            c.write_row((2000, "binary"))
        with cur.copy("COPY (SELECT * FROM t WHERE id >= 1190 ORDER BY id) TO STDOUT") as c:
            seen(list(c.rows()))
        def bad():
            with cur.copy("COPY t FROM STDIN") as c:
                c.write(b"x\ty\n")
        failure(bad)
        conn.rollback()
        def own():
            with cur.copy("COPY t FROM STDIN") as c:
                c.write_row((1, "never"))
                raise ZeroDivisionError
        try:
            own()
        except ZeroDivisionError as e:
            seen("stopped")
        seen(conn.info.transaction_status.name)
        conn.rollback()
        seen(cur.execute("SELECT count(*) FROM t").fetchone())
    conn.commit()


@step
def cursors(conn):
    conn.execute("INSERT INTO t SELECT g, 'cursor' FROM generate_series(3000, 3100) AS g")
    with conn.cursor("named", scrollable=True) as cur:
        cur.itersize = 7
        cur.execute("SELECT id FROM t WHERE v = 'cursor' ORDER BY id")
        seen([r[0] for r in cur][:50])
        cur.scroll(-5)
        conn.execute("UPDATE t SET v = 'walked' WHERE id = 3000")
        seen(cur.fetchmany(3))
    with conn.cursor("held", withhold=True) as cur:
        cur.execute("SELECT id FROM t WHERE v = 'walked'")
        conn.commit()
        seen(cur.fetchall())
    seen([r for r in conn.cursor().stream("SELECT id FROM t WHERE id > %s ORDER BY id LIMIT 5", (3000,))])
    seen([r for r in conn.cursor().stream("DELETE FROM t WHERE id > %s RETURNING id", (3098,))])
    with psycopg.ServerCursor(conn, "sc") as cur:
        cur.execute("SELECT 1"); seen(cur.fetchone())
    with psycopg.RawCursor(conn) as cur:
        seen(cur.execute("INSERT INTO t VALUES ($1, $2) RETURNING *", (1, "raw")).fetchone())
    with psycopg.ClientCursor(conn) as cur:
        seen(cur.execute("INSERT INTO t VALUES (%s, %s) RETURNING *", (1, "it's; \\ 'quoted'")).fetchone())
    conn.commit()


@step
def notices(conn):
    heard = []
    conn.add_notice_handler(lambda d: heard.append((d.severity, d.message_primary)))
    conn.execute("DO $$ BEGIN RAISE NOTICE 'one'; INSERT INTO t VALUES (1, 'do'); RAISE WARNING 'two'; END $$")
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS t2 (id int); CREATE TEMP TABLE IF NOT EXISTS t2 (id int); INSERT INTO noisy VALUES (5)")
    conn.commit()
    seen(heard)


@step
def notifications(conn):
    conn.autocommit = True
    conn.execute("LISTEN news")
    with psycopg.connect(autocommit=True) as other:
        other.execute("INSERT INTO t VALUES (1, 'before'); NOTIFY news, 'é'")
        other.execute("SELECT pg_notify('news', 'second')")
    seen([(n.channel, n.payload) for n in conn.notifies(timeout=20, stop_after=2)])
    conn.execute("NOTIFY news, 'own'; INSERT INTO t VALUES (1, 'own')")
    seen([n.payload for n in conn.notifies(timeout=20, stop_after=1)])
    conn.execute("UNLISTEN *")
    conn.autocommit = False


@step
def cancelling(conn):
    threading.Timer(0.5, conn.cancel).start()
    failure(lambda: conn.execute("INSERT INTO t SELECT 1, pg_sleep(60)::text"))
    conn.rollback()
    threading.Timer(0.5, conn.cancel_safe).start()
    failure(lambda: conn.execute("SELECT pg_sleep(60)"))
    conn.rollback()
    conn.execute("SET statement_timeout = 300")
    failure(lambda: conn.execute("SELECT pg_sleep(60)"))
    conn.rollback()


@step
def two_phases(conn):
    x = conn.xid(1, "global", "branch")
    conn.tpc_begin(x); conn.execute("INSERT INTO t VALUES (70, 'two')"); conn.tpc_prepare()
    conn.tpc_commit()
    conn.tpc_begin(x); conn.execute("INSERT INTO t VALUES (71, 'two')"); conn.tpc_prepare(); conn.tpc_rollback()
    seen(conn.execute("SELECT id FROM t WHERE v = 'two'").fetchall())
    conn.commit()


@step
def settings(conn):
    for value in ("LATIN1", "SJIS", "GBK", "UTF8"):
        conn.execute(f"SET client_encoding = '{value}'")
        seen((conn.info.encoding, conn.execute("INSERT INTO t VALUES (1, 'x') RETURNING v").fetchone()))
    for name in ("isolation_level", "read_only", "deferrable"):
        conn.commit()
        setattr(conn, name, psycopg.IsolationLevel.SERIALIZABLE if name == "isolation_level" else True)
        failure(lambda: conn.execute("INSERT INTO t VALUES (1, 'setting')"))
        conn.rollback()
        setattr(conn, name, None)
    conn.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"); conn.commit()
    failure(lambda: conn.execute("INSERT INTO t VALUES (1, 'read only')")); conn.rollback()
    conn.execute("SET standard_conforming_strings = off"); conn.execute("SET default_transaction_read_only = off"); conn.commit()
    seen(conn.execute(r"INSERT INTO t VALUES (1, 'a\'b;c') RETURNING v").fetchall())
    conn.commit()
    conn.autocommit = True; conn.execute("DISCARD ALL"); seen(conn.execute("INSERT INTO t VALUES (%s, 'discarded') RETURNING id", (1,)).fetchone()); conn.autocommit = False
    seen([(k, conn.info.parameter_status(k)) for k in ("server_version", "client_encoding", "TimeZone", "is_superuser", "application_name", "in_hot_standby")])


@step
def functions(conn):
    conn.autocommit = True
    seen(conn.execute("SELECT writes(80), (SELECT count(*) FROM t WHERE id = 80)").fetchone())
    conn.execute("CALL commits()")
    conn.execute("CALL commits()", prepare=True)
    conn.autocommit = False
    failure(lambda: (conn.execute("INSERT INTO t VALUES (1, 'x')"), conn.execute("CALL commits()")))
    conn.rollback()
    seen(conn.execute("SELECT count(*) FROM t WHERE v = 'p'").fetchone())
    conn.rollback()


@step
def asynchronous(conn):
    async def work():
        async with await psycopg.AsyncConnection.connect() as c:
            async with c.pipeline():
                curs = [await c.execute("INSERT INTO t VALUES (%s, 'async') RETURNING id", (n,)) for n in range(90, 95)]
            seen([await cur.fetchone() for cur in curs])
            async with c.cursor().copy("COPY t FROM STDIN") as copy:
                await copy.write_row((95, "async"))
        async with await psycopg.AsyncConnection.connect(autocommit=True) as c:
            task = asyncio.create_task(c.execute("INSERT INTO t SELECT 1, pg_sleep(60)::text"))
            await asyncio.sleep(0.5); task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                seen("cancelled")
            seen(await (await c.execute("SELECT count(*) FROM t WHERE v = 'async'")).fetchone())
    asyncio.run(work())


@step
def large(conn):
    text = "INSERT INTO t VALUES (1, '" + "é" * 300_000 + "') RETURNING length(v)"
    seen(conn.execute(text).fetchone())
    seen(conn.execute("INSERT INTO t VALUES (1, %s) RETURNING length(v)", ("x" * 5_000_000,)).fetchone())
    seen(len(conn.execute("SELECT repeat('x', 20000000)").fetchone()[0]))
    seen(conn.execute("".join(f"INSERT INTO t VALUES ({n}, 'multi');" for n in range(2000)) + "SELECT 1").statusmessage)
    conn.rollback()


SCHEMA = """
DROP TABLE IF EXISTS child, t, u, noisy, parent;
CREATE TABLE t (id int, v text);
CREATE TABLE u (id int PRIMARY KEY);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE noisy (id int);
CREATE OR REPLACE FUNCTION notices() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''row %'', NEW.id; RETURN NEW; END';
CREATE TRIGGER noisy BEFORE INSERT ON noisy FOR EACH ROW EXECUTE FUNCTION notices();
CREATE OR REPLACE FUNCTION writes(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES ($1, ''f'') RETURNING id';
CREATE OR REPLACE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (50, ''p''); COMMIT; INSERT INTO t VALUES (51, ''p''); END';
"""

with psycopg.connect(autocommit=True) as conn:
    conn.execute(SCHEMA)
for function in STEPS:
    seen.step, seen.count = function.__name__, 0
    try:
        with psycopg.connect() as conn:
            function(conn)
        print(function.__name__, "done", flush=True)
    except Exception as e:
        print(function.__name__, "raised", repr(e).replace("\n", "\\n"), flush=True)
        traceback.print_exc()
