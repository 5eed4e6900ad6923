// Has pg and Postgres.js do what they can, and prints all that they have seen: one line per step.
import pg from 'pg'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import copy from 'pg-copy-streams'
import postgres from 'postgres'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'

const steps = {}
let name = '', count = 0
const seen = what => console.log(`${name} ${++count}: ${JSON.stringify(what)}`)

const failure = async run => {
	try {
		await run()
		seen('no failure')
	} catch (e) {
		seen([e.severity, e.code, e.message, e.detail, e.hint, e.position, e.constraint, e.routine, e.line])
	}
}

const result = r => [r.command, r.rowCount, r.rows]

steps.simple = async c => {
	seen(result(await c.query("INSERT INTO t VALUES (1, 'a'), (2, 'é') RETURNING *")))
	seen((await c.query("INSERT INTO t VALUES (3, 'c'); SELECT count(*) FROM t; ; UPDATE t SET v = 'x' WHERE id > 1")).map(result))
	seen(result(await c.query('')))
	seen((await c.query("BEGIN; INSERT INTO t VALUES (4, 'd'); COMMIT; INSERT INTO t VALUES (5, 'e')")).map(result))
	await failure(() => c.query("INSERT INTO t VALUES (1, 'é'); SELECT 'ü' || nosuch"))
	await failure(() => c.query('SELCT'))
	await failure(() => c.query('INSERT INTO u VALUES (1), (1)'))
	await failure(() => c.query('INSERT INTO child VALUES (404)'))
	seen(result(await c.query('SELECT * FROM t ORDER BY id')))
}

steps.extended = async c => {
	for (let n = 0; n < 5; n++) seen(result(await c.query('INSERT INTO t VALUES ($1, $2) RETURNING id', [n, 'extended'])))
	for (let n = 0; n < 5; n++) seen(result(await c.query({ name: 'named', text: 'UPDATE t SET v = $2 WHERE id = $1', values: [n, 'named'] })))
	seen(result(await c.query({ text: 'SELECT id, v FROM t ORDER BY id, v', rowMode: 'array', values: [] })))
	await failure(() => c.query('INSERT INTO t VALUES ($1, $2)', ['x', 'y']))
	await failure(() => c.query({ name: 'bad', text: 'SELCT $1', values: [1] }))
	await failure(() => c.query({ name: 'bad', text: 'INSERT INTO nosuch VALUES ($1)', values: [1] }))
	seen(result(await c.query({ name: 'bad', text: 'INSERT INTO t VALUES ($1, $2)', values: [1, 'good'] })))
	await c.query('DEALLOCATE ALL')
	await failure(() => c.query({ name: 'named', text: 'UPDATE t SET v = $2 WHERE id = $1', values: [1, 'gone'] }))
	seen(result(await c.query({ text: 'INSERT INTO t VALUES ($1, $2) RETURNING *', values: [9, 'binary'], binary: true })))
}

steps.transactions = async c => {
	await c.query('BEGIN')
	await c.query("INSERT INTO t VALUES ($1, 'in')", [10])
	await c.query('SAVEPOINT s')
	await failure(() => c.query('INSERT INTO t VALUES (1/0, $1)', ['bad']))
	await failure(() => c.query('INSERT INTO t VALUES (1, $1)', ['in a failed block']))
	await c.query('ROLLBACK TO s')
	await c.query("INSERT INTO t VALUES ($1, 'in')", [11])
	seen(result(await c.query('COMMIT')))
	await c.query('BEGIN')
	await failure(() => c.query('SELECT 1/0'))
	seen(result(await c.query('COMMIT')))
	await c.query('BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY')
	await failure(() => c.query("INSERT INTO t VALUES (1, 'read only')"))
	await c.query('ROLLBACK')
	seen(result(await c.query("SELECT id FROM t WHERE v = 'in' ORDER BY id")))
}

// All at once: pg sends one after the other, each without waiting for us.
steps.queue = async c => {
	const all = await Promise.allSettled([...Array(50)].map((_, n) => n % 7 == 3 ? c.query('INSERT INTO t VALUES (1/0, $1)', ['bad']) : c.query('INSERT INTO t VALUES ($1, $2) RETURNING id', [n, 'queue'])))
	seen(all.map(r => r.status == 'fulfilled' ? r.value.rows[0].id : r.reason.code))
}

steps.cursors = async c => {
	await c.query("INSERT INTO t SELECT g, 'cursor' FROM generate_series(1, 50) AS g")
	await c.query('BEGIN')
	const cursor = c.query(new Cursor("SELECT id FROM t WHERE v = 'cursor' AND id > $1 ORDER BY id", [10]))
	seen(await cursor.read(3))
	seen(await cursor.read(4))
	await cursor.close()
	const writer = c.query(new Cursor("DELETE FROM t WHERE v = 'cursor' AND id < $1 RETURNING id", [6]))
	seen(await writer.read(2))
	seen(await writer.read(100))
	await writer.close()
	seen(result(await c.query('COMMIT')))
	const rows = []
	for await (const row of c.query(new QueryStream('SELECT id FROM t WHERE v = $1 ORDER BY id', ['cursor'], { batchSize: 7 }))) rows.push(row.id)
	seen(rows)
	const stopped = c.query(new QueryStream('SELECT generate_series(1, 100000) AS n', [], { batchSize: 10 }))
	for await (const row of stopped) if (row.n == 25) break
	seen(result(await c.query("UPDATE t SET v = 'after' WHERE id = $1", [50])))
	await failure(async () => { for await (const row of c.query(new QueryStream('SELECT 1/(3-g) FROM generate_series(1, 5) AS g', [], { batchSize: 1 }))) seen(row) })
}

steps.copies = async c => {
	const lines = [...Array(5000)].map((_, n) => `${n}\tcopied é ${'x'.repeat(n % 50)}\n`)
	const into = c.query(copy.from('COPY t FROM STDIN'))
	await pipeline(Readable.from(lines), into)
	seen(into.rowCount)
	let bytes = 0
	for await (const chunk of c.query(copy.to("COPY (SELECT * FROM t WHERE v LIKE 'copied%') TO STDOUT"))) bytes += chunk.length
	seen(bytes)
	await failure(() => pipeline(Readable.from(['x\ty\n']), c.query(copy.from('COPY t FROM STDIN'))))
	await failure(() => pipeline(Readable.from([]), c.query(copy.from('COPY nosuch FROM STDIN'))))
	seen(result(await c.query('SELECT count(*) FROM t')))
}

steps.events = async c => {
	const heard = []
	c.on('notice', n => heard.push(n.message))
	await c.query("DO $$ BEGIN RAISE NOTICE 'one'; INSERT INTO t VALUES (1, 'do'); END $$")
	await c.query('INSERT INTO noisy VALUES ($1)', [5])
	seen(heard)
	const arrived = new Promise(resolve => c.on('notification', n => n.payload == 'last' && resolve([n.channel, n.payload])))
	await c.query('LISTEN news')
	await c.query("INSERT INTO t VALUES (1, 'notify'); NOTIFY news, 'last'")
	seen(await arrived)
}

steps.cancel = async c => {
	const other = new pg.Client()
	await other.connect()
	const sleeping = failure(() => c.query("INSERT INTO t SELECT 1, pg_sleep(60)::text"))
	await new Promise(resolve => setTimeout(resolve, 500))
	const cancelled = await other.query('SELECT pg_cancel_backend($1)', [c.processID])
	await sleeping
	seen(result(cancelled)) // second always: the two connections' answers come in any order
	await other.end()
	await c.query("SET statement_timeout = '200ms'")
	await failure(() => c.query('SELECT pg_sleep(60)'))
	await failure(() => c.query('SELECT pg_sleep($1)', [60]))
}

steps.types = async c => {
	const values = [[1, 2], { a: 'é' }, new Date(0), Buffer.from([0, 255]), null, true, '123456789012345678901234567890.5']
	seen(result(await c.query('INSERT INTO types VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *', values)))
	seen((await c.query('SELECT * FROM types')).fields.map(f => [f.name, f.dataTypeID, f.format]))
	seen((await c.query('INSERT INTO t VALUES (1, $1) RETURNING length(v)', ['x'.repeat(3000000)])).rows)
}

steps.terminated = async c => {
	const other = new pg.Client()
	await other.connect()
	const ended = new Promise(resolve => c.on('error', e => resolve([e.code, e.message])))
	await other.query('SELECT pg_terminate_backend($1)', [c.processID])
	seen(await ended)
	await other.end()
}

steps.pool = async () => {
	const pool = new pg.Pool({ max: 5 })
	const all = await Promise.all([...Array(100)].map((_, n) => pool.query('INSERT INTO t VALUES ($1, $2) RETURNING id', [n, 'pool'])))
	seen(all.map(r => r.rows[0].id))
	await pool.end()
	const nobody = new pg.Client({ database: 'nosuch' })
	await failure(() => nobody.connect())
}

// Postgres.js pipelines whatever it is given.
steps.postgresjs = async () => {
	const notices = []
	const sql = postgres({ max: 1, onnotice: n => notices.push(n.message) })
	seen((await Promise.all([...Array(100)].map((_, n) => sql`INSERT INTO t VALUES (${n}, 'pipelined') RETURNING id`))).map(r => r[0].id))
	const mixed = await Promise.allSettled([...Array(20)].map((_, n) => n % 5 == 2 ? sql`INSERT INTO t VALUES (${n} / 0, 'bad')` : sql`INSERT INTO t VALUES (${n}, 'mixed') RETURNING id`))
	seen(mixed.map(r => r.status == 'fulfilled' ? r.value[0].id : [r.reason.code, r.reason.position]))
	seen(await sql.begin(tx => [tx`INSERT INTO t VALUES (1, 'begin')`, tx`UPDATE t SET v = 'begun' WHERE v = 'begin' RETURNING *`]))
	await failure(() => sql.begin(async tx => {
		await tx`INSERT INTO t VALUES (2, 'lost')`
		await tx.savepoint(async sp => { await sp`INSERT INTO t VALUES (3, 'saved')` })
		await tx`SELECT 1/0`
	}))
	seen(await sql`SELECT count(*) FROM t WHERE v IN ('begun', 'lost', 'saved')`)
	const rows = []
	await sql`SELECT g FROM generate_series(1, 20) AS g`.cursor(6, part => { rows.push(part.length) })
	seen(rows)
	seen(await sql.unsafe("INSERT INTO t VALUES (1, 'unsafe'); SELECT count(*) FROM t WHERE v = 'unsafe'"))
	seen(await sql`SELECT * FROM t WHERE v = 'begun'`.describe().then(d => d.columns.map(c => c.name)))
	await pipeline(Readable.from(['1\tpostgres.js\n', '2\tpostgres.js\n']), await sql`COPY t FROM STDIN`.writable())
	const slow = sql`INSERT INTO t SELECT 1, pg_sleep(60)::text`
	setTimeout(() => slow.cancel(), 1000)
	await failure(() => slow)
	const heard = new Promise(resolve => sql.listen('news', resolve, () => sql.notify('news', 'heard')))
	seen(await heard)
	await sql`INSERT INTO noisy VALUES (8)`
	seen(notices)
	await sql.end()
}

const schema = `
	CREATE TABLE t (id int, v text); CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED); CREATE TABLE noisy (id int);
	CREATE TABLE types (a int[], j jsonb, ts timestamptz, b bytea, n text, o bool, d numeric);
	CREATE FUNCTION notices() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''row %'', NEW.id; RETURN NEW; END';
	CREATE TRIGGER noisy BEFORE INSERT ON noisy FOR EACH ROW EXECUTE FUNCTION notices();`

process.on('unhandledRejection', e => console.log(`${name} left behind ${e}`))
process.on('uncaughtException', e => console.log(`${name} left behind ${e}`))

const make = new pg.Client()
await make.connect()
await make.query(schema)
await make.end()
for (const [step, run] of Object.entries(steps)) {
	name = step, count = 0
	const c = new pg.Client()
	await c.connect()
	try {
		await Promise.race([run(c), new Promise((_, reject) => setTimeout(() => reject(new Error('takes too long')), 60000).unref())])
		console.log(`${name} done`)
	} catch (e) {
		console.log(`${name} raised ${e}`)
	}
	await Promise.race([c.end().catch(() => {}), new Promise(resolve => setTimeout(resolve, 2000))])
}
process.exit(0)
