package main

import (
	"fmt"
	"time"
)

// forget prepares a transaction that is not ended for a minute, and that creates a table or changes the key of one.
func (g *generator) forget() {
	t := g.forgettable()
	t.busy = true
	g.reach, g.tables = quiet, []*table{t}
	g.do("BEGIN", "BEGIN")
	g.inside = true
	g.lay(t)
	for range 3 {
		g.insert(t)
		g.operate()
	}
	g.makeUsual(t)
	g.inside = false
	gid := fmt.Sprintf("%s_%s_%d", legName, g.name, g.fresh())
	g.do("PREPARE TRANSACTION", "PREPARE TRANSACTION '%s'", gid)
	g.mend("ROLLBACK PREPARED '%s'", gid)
	g.pending = &forgotten{gid: gid, end: pick(g, "COMMIT PREPARED", "COMMIT PREPARED", "ROLLBACK PREPARED"), due: g.clock + forgottenFor, of: t}
}

// forgettable returns a table for which no other session would wait.
func (g *generator) forgettable() *table {
	if old := g.pures[g.random.Intn(len(g.pures))]; old.reach == quiet && g.chance(60) {
		return old
	}
	t := g.newPure(fmt.Sprintf("pure%d", g.fresh()), pick(g, keyed, parted), quiet)
	g.pures = append(g.pures, t)
	return t
}

// settle ends the forgotten transaction.
func (g *generator) settle() {
	f := g.pending
	g.pending = nil
	g.do(f.end, "%s '%s'", f.end, f.gid).late = "42704"
	f.of.busy = false
}

// elsewhere writes rows into tables of the sessions that migrate, and soon gives up if they are locked.
func (g *generator) elsewhere() {
	g.do("SET", "SET lock_timeout = '200ms'")
	g.reach = foreign
	for range 3 + g.random.Intn(6) {
		switch g.random.Intn(4) {
		case 0:
			g.poke()
		case 1:
			g.do("BEGIN", "BEGIN")
			g.writeOpen()
			g.writeOpen()
			g.hold = g.upTo(100 * time.Millisecond)
			end := pick(g, "COMMIT", "COMMIT", "ROLLBACK")
			g.do(end, "%s", end)
		default:
			g.writeOpen()
		}
	}
	g.reach = quiet
	g.do("RESET", "RESET lock_timeout")
}

// writeOpen writes the session's own row into an open table: the keys of different sessions never collide.
func (g *generator) writeOpen() {
	t := fmt.Sprintf("%s.open%d", sessionName(g.random.Intn(migrators)), g.random.Intn(2))
	ids := g.strange[t]
	if len(ids) == 0 || g.chance(40) {
		id := g.base + g.fresh()
		g.strange[t] = append(ids, id)
		g.do("INSERT", "INSERT INTO %s (id, v, n) VALUES (%d, %s, 0)", t, id, g.text())
		return
	}
	if g.chance(25) {
		g.do("DELETE", "DELETE FROM %s WHERE id = %d", t, pick(g, ids...))
		return
	}
	g.do("UPDATE", "UPDATE %s SET n = n + 1 WHERE id = %d", t, pick(g, ids...))
}

// poke writes into a table that may not exist, without changing anything on which its owner relies.
func (g *generator) poke() {
	t := fmt.Sprintf("%s_x.t0", sessionName(g.random.Intn(migrators)))
	if g.chance(50) {
		g.do("UPDATE", "UPDATE %s SET n = n WHERE id = 5", t)
		return
	}
	g.do("DELETE", "DELETE FROM %s WHERE id = -7", t)
}

// roleOf returns the role as which a session logs in: migrations are run by a superuser or by a role that only owns their tables.
func roleOf(session int) string {
	switch {
	case session >= migrators:
		return "app"
	case session/2%2 == 0:
		return "migrator"
	}
	return "postgres"
}

const rolesSQL = `
CREATE ROLE migrator LOGIN;
CREATE ROLE app LOGIN IN ROLE pg_read_all_data, pg_write_all_data;`

// schemaSQL creates the objects of a database before the scripts begin.
const schemaSQL = `
CREATE SCHEMA shared;
GRANT ALL ON SCHEMA shared TO PUBLIC;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO migrator, app', current_database()); END $$;
CREATE SCHEMA work;
CREATE TABLE work.mark (id int PRIMARY KEY);
CREATE SCHEMA history;
CREATE TABLE history.ddl (id bigserial PRIMARY KEY, tag text, object text);
CREATE FUNCTION history.made() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO history.ddl (tag, object) SELECT tg_tag, object_identity FROM pg_event_trigger_ddl_commands();
END $$;
CREATE FUNCTION history.dropped() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO history.ddl (tag, object) SELECT tg_tag, object_identity FROM pg_event_trigger_dropped_objects() WHERE original;
END $$;`

// triggersSQL runs after pgtee setup, because the rows of the history are compared from the first one on; from then on no session alters a
// publication.
const triggersSQL = `
CREATE EVENT TRIGGER history_made ON ddl_command_end EXECUTE FUNCTION history.made();
CREATE EVENT TRIGGER history_dropped ON sql_drop EXECUTE FUNCTION history.dropped();
CREATE FUNCTION history.guard() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'publications are not altered here' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('ALTER PUBLICATION', 'CREATE PUBLICATION', 'DROP PUBLICATION')
EXECUTE FUNCTION history.guard();`

// groundSQL creates the schema of a session and the tables with which its script begins.
func groundSQL(session int) string {
	g := newGenerator(0, session)
	sql := fmt.Sprintf("CREATE SCHEMA %s AUTHORIZATION %s; SET ROLE %s;\n", g.name, roleOf(session), roleOf(session))
	for _, t := range g.pures {
		for _, statement := range t.ground() {
			sql += statement + ";\n"
		}
	}
	return sql + "RESET ROLE;"
}
