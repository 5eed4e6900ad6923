package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// RowsPublication publishes INSERT and TRUNCATE of all tables; it never makes a write fail. It does not publish via the root: for a partition
	// whose DETACH CONCURRENTLY has not finished, PostgreSQL would look up the root for a publication of all tables and crash.
	RowsPublication = "pgtee_rows"
	// PartitionedPublication and its numbered siblings list the partitioned tables, so that changes of a partition are published as changes of its
	// root. They publish INSERT and TRUNCATE, which need no replica identity.
	PartitionedPublication = "pgtee_partitioned"
	// IdentityPublication and its numbered siblings publish UPDATE and DELETE of the tables with a usable replica identity. See sql/capture.sql.
	IdentityPublication = "pgtee_identity"

	// identityPublications and partitionedPublications say how many of these publications there are. Setup and the publisher use the first of each kind.
	// Each of the others serves one session that lists tables in a transaction that stays open.
	identityPublications    = 16
	partitionedPublications = 16

	// ourNames is a condition over pg_publication AS p: the publication has a name of ours.
	ourNames = `p.pubname ~ '^pgtee_(rows|(partitioned|identity)(_([1-9]|1[0-5]))?)$'`
	// ourPublications is a condition over pg_publication AS p: the publication has a name of ours, and its owner is a superuser or owns schema pgtee.
	ourPublications = ourNames + ` AND EXISTS (SELECT FROM pg_catalog.pg_roles AS o WHERE o.oid = p.pubowner
		AND (o.rolsuper OR o.oid = (SELECT n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'pgtee')))`
)

var (
	// ErrPublicationMissing means that a publication does not exist: rows may be missing from the stream.
	ErrPublicationMissing = errors.New("publication missing: " + cureSetup)
	// ErrPublicationChanged means that a publication was recreated or altered: rows may be missing from the stream.
	ErrPublicationChanged = errors.New("publication changed, rows may be missing from the stream: " + cureSetup)
)

// cureSetup is the repair for any defect of the publications or the slot. Setup corrects the publications, and creates a new slot if the old one cannot
// be used; repair makes the publisher resume with that slot.
const cureSetup = "run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table again"

// publication describes what one of pgtee's publications publishes.
type publication struct {
	name      string
	oid       string
	allTables bool
	actions   string // of pubinsert, pubupdate, pubdelete and pubtruncate: "tfft"
	viaRoot   bool
	generated string // pubgencols, PostgreSQL 18: "s" for stored generated columns
}

// altered reports whether the publication differs from what setup creates.
func (p publication) altered() bool {
	want := "tfft"
	if p.identities() {
		want = "fttf"
	}
	return p.actions != want || p.viaRoot != (p.name != RowsPublication)
}

// identities reports whether the publication publishes UPDATE and DELETE.
func (p publication) identities() bool { return strings.HasPrefix(p.name, IdentityPublication) }

// lacksGenerated reports whether the publication leaves out stored generated columns, which PostgreSQL 18 can publish.
func (p publication) lacksGenerated(version int) bool {
	return version >= 180000 && p.generated != "s"
}

// options returns the options for the clause WITH.
func (p publication) options(version int) string {
	actions := "insert, truncate"
	if p.identities() {
		actions = "update, delete"
	}
	options := fmt.Sprintf("publish = '%s', publish_via_partition_root = %t", actions, p.name != RowsPublication)
	if version >= 180000 { // otherwise REPLICA IDENTITY FULL of a table with such a column would make its UPDATE fail
		options += ", publish_generated_columns = stored"
	}
	return options
}

// readPublications returns the existing publications of pgtee.
func readPublications(ctx context.Context, conn *pgconn.PgConn) ([]publication, error) {
	got, err := simpleQuery(ctx, conn, `SELECT p.pubname, p.puballtables, concat(p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate), p.pubviaroot, to_jsonb(p) ->> 'pubgencols', p.oid
		FROM pg_publication AS p WHERE `+ourPublications+` ORDER BY length(p.pubname), p.pubname`)
	if err != nil {
		return nil, fmt.Errorf("read the publications: %w", err)
	}
	publications := make([]publication, len(got))
	for i, row := range got {
		publications[i] = publication{name: row[0], allTables: row[1] == "t", actions: row[2], viaRoot: row[3] == "t", generated: row[4], oid: row[5]}
	}
	return publications, nil
}

// foreignPublications returns the publications with a name of ours that belong to a role that is not to be trusted, each with this role, and with the owner
// of schema pgtee, "" if there is no schema. All names are quoted for SQL.
func foreignPublications(ctx context.Context, conn *pgconn.PgConn) ([][]string, error) {
	got, err := rows(ctx, conn, `SELECT p.pubname, quote_ident(r.rolname),
			coalesce((SELECT quote_ident(o.rolname) FROM pg_namespace AS n JOIN pg_roles AS o ON o.oid = n.nspowner WHERE n.nspname = 'pgtee'), '')
		FROM pg_publication AS p JOIN pg_roles AS r ON r.oid = p.pubowner WHERE `+ourNames+` AND NOT (`+ourPublications+`) ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("read the publications: %w", err)
	}
	return got, nil
}

// reportForeign reports these publications: setup can neither create nor use them.
func (s *serverState) reportForeign(r *Report) {
	for _, p := range s.foreign {
		name, owner, ours := p[0], p[1], p[2]
		repair := fmt.Sprintf("run ALTER PUBLICATION %s OWNER TO %s", name, ours)
		if ours == "" {
			repair = "run DROP PUBLICATION " + name
		}
		r.problem("publication-owner", repair+" as a superuser", "publication %s belongs to %s, who is neither a superuser nor the owner of schema pgtee: it is not used", name, owner)
	}
}

// publicationSQL returns the SQL that creates the missing publications and corrects the existing ones, in one transaction: pgoutput refuses
// publications that disagree about generated columns.
//
// While a publication was altered, changes were not published. The SQL reports this to the publisher in the same way as tables that were listed late.
func publicationSQL(server *serverState) string {
	var sql strings.Builder
	altered := false
	for _, name := range publicationNames() {
		p, found := server.publication(name)
		switch {
		case !found:
			sql.WriteString(createSQL(server, name))
		case p.altered() || p.lacksGenerated(server.version):
			if sql.Len() == 0 {
				sql.WriteString("SELECT pg_catalog.set_config('pgtee.inside', pgtee.token(), true);\n") // no client has altered them
			}
			altered = altered || p.altered()
			fmt.Fprintf(&sql, "ALTER PUBLICATION %s SET (%s);\n", name, p.options(server.version))
		}
		if found && name == RowsPublication && !p.allTables {
			for _, table := range server.unpublishedOutbox() {
				fmt.Fprintf(&sql, "ALTER PUBLICATION %s ADD TABLE ONLY %s;\n", name, table)
			}
		}
	}
	for _, m := range server.narrowed { // sweep() lists the table again, without a column list or row filter
		fmt.Fprintf(&sql, "ALTER PUBLICATION %s DROP %s;\n", m[0], m[1])
	}
	if altered && server.slot != nil && !server.renewsSlot() {
		sql.WriteString("SELECT pgtee.tell_missed(pgtee.all_listed());\n")
	}
	return sql.String()
}

// identitySQL returns pgtee's publications with their OIDs, for pgtee.meta: pgoutput reads the catalog as of each row, so a slot cannot be used with
// publications that are younger than the WAL it has to send.
const identitySQL = `(SELECT pg_catalog.string_agg(p.pubname || '=' || p.oid, ' ' ORDER BY p.pubname COLLATE "C") FROM pg_catalog.pg_publication AS p WHERE ` + ourPublications + `)`

// renewsSlot reports whether setup must re-create the slot, because it cannot be used with the existing publications or with those that this setup
// creates.
func (s *serverState) renewsSlot() bool {
	return s.slot != nil && s.metaSlot != "" && (s.slot.lost() || len(s.missing()) > 0 || len(s.younger()) > 0)
}

// missing returns the publications that the slot needs and that do not exist.
func (s *serverState) missing() (names []string) {
	for _, name := range append(publicationNames(), s.slotPublications.names()...) {
		if _, found := s.publication(name); !found && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// younger returns the publications that were created after the slot.
func (s *serverState) younger() (names []string) {
	for _, p := range s.publications {
		if len(s.slotPublications) > 0 && !slices.Contains(s.slotPublications, p.name+"="+p.oid) {
			names = append(names, p.name)
		}
	}
	return names
}

// slotPublications are the publications with which the slot was created, each with its OID, in the format of identitySQL; none if they are not known.
type slotPublications []string

func (l slotPublications) names() (names []string) {
	for _, p := range l {
		name, _, _ := strings.Cut(p, "=")
		names = append(names, name)
	}
	return names
}

// publication returns the publication of this name, if it exists.
func (s *serverState) publication(name string) (publication, bool) {
	i := slices.IndexFunc(s.publications, func(p publication) bool { return p.name == name })
	if i < 0 {
		return publication{}, false
	}
	return s.publications[i], true
}

// publicationNames returns the publications that must exist.
func publicationNames() []string {
	return slices.Concat([]string{RowsPublication}, siblings(IdentityPublication, identityPublications), siblings(PartitionedPublication, partitionedPublications))
}

// siblings returns the names of a publication and its numbered siblings.
func siblings(name string, many int) []string {
	names := []string{name}
	for i := 1; i < many; i++ {
		names = append(names, name+"_"+strconv.Itoa(i))
	}
	return names
}

// withListings inserts the names of the publications that list tables, as regular expressions, how many there are, and the query for the root of a
// partition.
func withListings(sql string) string {
	pattern := func(name string, many int) string { return "^(" + strings.Join(siblings(name, many), "|") + ")$" }
	return strings.NewReplacer("{{root}}", rootSQL,
		"{{identity}}", pattern(IdentityPublication, identityPublications), "{{identity_count}}", strconv.Itoa(identityPublications),
		"{{partitioned}}", pattern(PartitionedPublication, partitionedPublications), "{{partitioned_count}}", strconv.Itoa(partitionedPublications)).Replace(sql)
}

// createSQL returns the SQL that creates a publication. The publication of rows is FOR ALL TABLES, if the server permits that.
func createSQL(server *serverState, name string) string {
	create := func(target string) string {
		return fmt.Sprintf("CREATE PUBLICATION %s %s WITH (%s);\n", name, target, publication{name: name}.options(server.version))
	}
	const all = "FOR ALL TABLES"
	switch {
	case name != RowsPublication:
		return create("")
	case server.superuser:
		return create(all)
	}
	return "DO $try$ BEGIN\n" + create(all) + "EXCEPTION WHEN insufficient_privilege THEN\n" + create("FOR TABLE ONLY "+strings.Join(outboxTables, ", ONLY ")) + "END $try$;\n"
}

// schemasSQL returns the schemas that are members, which PostgreSQL 15 permits: clients could not update their tables without a key.
const schemasSQL = `SELECT quote_ident(p.pubname), format('TABLES IN SCHEMA %I', n.nspname)
	FROM pg_publication AS p JOIN pg_publication_namespace AS m ON m.pnpubid = p.oid JOIN pg_namespace AS n ON n.oid = m.pnnspid
	WHERE ` + ourPublications + ` AND p.pubname <> '` + RowsPublication + `'`

// narrowedSQL returns the members that are published with another column list or row filter (PostgreSQL 15) than in the publication of rows, which
// has none unless somebody added one: pgoutput refuses such a difference. It also returns partitioned tables in the identity publications, where
// their leaf partitions belong.
const narrowedSQL = `SELECT quote_ident(p.pubname), format('TABLE ONLY %I.%I', n.nspname, c.relname)
	FROM pg_publication AS p JOIN pg_publication_rel AS m ON m.prpubid = p.oid
	JOIN pg_class AS c ON c.oid = m.prrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
	LEFT JOIN (pg_publication_rel AS r JOIN pg_publication AS q ON q.oid = r.prpubid AND q.pubname = '` + RowsPublication + `') ON r.prrelid = m.prrelid
	WHERE ` + ourPublications + ` AND p.pubname <> '` + RowsPublication + `'
	  AND (c.relkind = 'p' AND p.pubname ~ '^` + IdentityPublication + `' OR to_jsonb(m) ->> 'prattrs' IS DISTINCT FROM to_jsonb(r) ->> 'prattrs'
		OR (to_jsonb(m) ->> 'prqual' IS NULL) <> (to_jsonb(r) ->> 'prqual' IS NULL))`

// publicationHash returns the names of the existing publications and a hash of what they publish, apart from their tables: the first 16 hexadecimal
// digits of a SHA-256 over name, oid, operations, all tables, via root and, if they are not the ones that PostgreSQL 18 can publish, generated columns.
func publicationHash(ctx context.Context, conn *pgconn.PgConn) (hash string, names []string, err error) {
	got, err := simpleQuery(ctx, conn, `SELECT p.pubname, p.oid, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.puballtables, p.pubviaroot,
			nullif(pg_catalog.to_jsonb(p) ->> 'pubgencols', 's')
		FROM pg_catalog.pg_publication AS p WHERE `+ourPublications+` ORDER BY p.pubname COLLATE "C"`)
	if err != nil {
		return "", nil, fmt.Errorf("read the publications: %w", err)
	}
	for _, publication := range got {
		names = append(names, publication[0])
	}
	hash, err = hashPublications(got)
	return hash, names, err
}

// hashPublications hashes rows that begin with the name.
func hashPublications(publications [][]string) (string, error) {
	h := sha256.New()
	for _, publication := range publications {
		if last := len(publication) - 1; publication[last] == "" {
			publication = publication[:last]
		}
		fmt.Fprintf(h, "%q\n", publication)
	}
	for _, name := range []string{RowsPublication, IdentityPublication, PartitionedPublication} {
		named := func(publication []string) bool { return publication[0] == name }
		if !slices.ContainsFunc(publications, named) {
			return "", fmt.Errorf("%w (%s)", ErrPublicationMissing, name)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
