package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// tableCapture is a table whose UPDATE and DELETE are not published, or are published but must not be.
type tableCapture struct {
	name       string // quoted for SQL
	root       string // quoted for SQL; of a partition
	listed     bool   // it is a member of a publication of its kind
	reason     string // why its UPDATE and DELETE cannot be published; "": they can
	kind       string // pg_class.relkind
	unlogged   bool
	identity   string // pg_class.relreplident
	virtual    bool   // it has a virtual generated column, so REPLICA IDENTITY FULL is impossible
	key        string // the constraint of its primary key, quoted for SQL; "": it has none
	usable     bool   // the primary key can be its replica identity
	usableIfIn bool   // it could be if its generated columns were in the WAL
	grant      string // the command without which the owner of schema pgtee cannot list the table, which has no other reason; "": it can
}

const uncapturedSQL = `
	SELECT t.name, t.root_name, t.listed, coalesce(t.reason, ''), c.relkind, c.relpersistence = 'u', c.relreplident, pgtee.virtual(c.oid),
	       coalesce(quote_ident(k.conname), ''), coalesce(i.good AND NOT i.unsent, false), coalesce(i.good AND i.unsent, false),
	       CASE WHEN t.reason NOT LIKE 'it belongs to %' OR t.reason IS NULL THEN ''
	           WHEN o.rolsuper THEN format('ALTER TABLE %s OWNER TO %I', t.name, pg_get_userbyid(we.nspowner))
	           ELSE format('GRANT %I TO %I', o.rolname, pg_get_userbyid(we.nspowner)) END
	FROM pgtee.tables(pgtee.published()) AS t JOIN pg_class AS c ON c.oid = t.tbl JOIN pg_roles AS o ON o.oid = c.relowner JOIN pg_namespace AS we ON we.nspname = 'pgtee'
	LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'p'
	LEFT JOIN LATERAL (SELECT i.indislive AND i.indisvalid AND i.indimmediate AS good, pgtee.unsent(i.indrelid, (i.indkey::int2[])[0:i.indnkeyatts - 1]) AS unsent
		FROM pg_index AS i WHERE i.indexrelid = k.conindid) AS i ON true
	WHERE t.reason IS NOT NULL OR NOT t.listed ORDER BY t.name`

// readUncaptured lists the selected tables that are not captured, and all tables whose UPDATE fails.
func readUncaptured(ctx context.Context, conn *pgconn.PgConn, selection Selection) (list []tableCapture, err error) {
	got, err := rows(ctx, conn, uncapturedSQL)
	for _, row := range got {
		is := func(i int) bool { return row[i] == "t" }
		t := tableCapture{row[0], row[1], is(2), row[3], row[4], is(5), row[6], is(7), row[8], is(9), is(10), row[11]}
		if t.fails() || selection.includes(t.root) {
			list = append(list, t)
		}
	}
	return list, err
}

// fails reports whether the table's UPDATE and DELETE fail.
func (t tableCapture) fails() bool { return t.listed && t.reason != "" }

// repair says how to get the UPDATE and DELETE of a table published: commands, of which one is enough.
func (t tableCapture) repair() string {
	alter := "ALTER TABLE " + t.name + " "
	full := alter + "REPLICA IDENTITY FULL"
	switch {
	case t.grant != "":
		return t.grant
	case t.kind == "f":
		return "capture it on the server that stores it"
	case t.kind == "p": // ALTER TABLE does not change the persistence of a partitioned table
		return "create it again without UNLOGGED"
	case t.unlogged:
		return alter + "SET LOGGED"
	case t.usable:
		return alter + "REPLICA IDENTITY DEFAULT"
	case t.usableIfIn:
		return full
	}
	again := "ADD PRIMARY KEY (...)"
	if t.key != "" {
		again = fmt.Sprintf("DROP CONSTRAINT %s, %s", t.key, again)
	}
	if t.identity != "d" {
		again += ", REPLICA IDENTITY DEFAULT"
	}
	switch {
	case t.virtual:
		return alter + again
	case t.key != "":
		full += ", with which a deferrable key is not the key of records"
	}
	return alter + again + ", or " + full
}
