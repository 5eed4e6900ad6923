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
	// RowsPublication carries INSERT and TRUNCATE of all tables; it never makes a write fail. It is not via root: of a partition that
	// DETACH CONCURRENTLY has not finished with, PostgreSQL looks up the root for a publication of all tables and crashes.
	RowsPublication = "pgtee_rows"
	// PartitionedPublication, and those with a number behind it, list the partitioned tables, so that the changes of a partition
	// are published as the root's. They publish INSERT and TRUNCATE, which need no replica identity.
	PartitionedPublication = "pgtee_partitioned"
	// IdentityPublication, and those with a number behind it, carry UPDATE and DELETE of the tables with a
	// usable replica identity. See sql/capture.sql.
	IdentityPublication = "pgtee_identity"

	// identityPublications is how many there are: setup and the publisher use the first, and as many sessions as there are others
	// may each list tables in a transaction that it leaves open. listings() in sql/capture.sql has the same names.
	identityPublications    = 16
	partitionedPublications = 16

	// ourPublications is a condition over pg_publication AS p: of our name, and not made by some other role.
	ourPublications = `p.pubname ~ '^pgtee_(rows|(partitioned|identity)(_([1-9]|1[0-5]))?)$' AND EXISTS (SELECT FROM pg_catalog.pg_roles AS o WHERE o.oid = p.pubowner
		AND (o.rolsuper OR o.oid = (SELECT n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'pgtee')))`
)

var (
	// ErrPublicationMissing is a publication that does not exist: rows may be missing from the stream.
	ErrPublicationMissing = errors.New("publication missing: " + cureSetup)
	// ErrPublicationChanged is a publication that was re-created or altered: rows may be missing.
	ErrPublicationChanged = errors.New("publication changed, rows may be missing from the stream: " + cureSetup)
)

// cureSetup is the one way out of whatever is wrong with publications or slot: setup makes right what there is, and a new slot
// where the old one is of no use; repair has the publisher go on with it.
const cureSetup = "run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table afresh"

// publication is what one of ours publishes, and what it must publish.
type publication struct {
	name      string
	oid       string
	allTables bool
	actions   string // of pubinsert, pubupdate, pubdelete and pubtruncate: "tfft"
	viaRoot   bool
	generated string // pubgencols, PostgreSQL 18: "s" for stored ones
}

// altered reports whether it publishes something else than setup has it publish.
func (p publication) altered() bool {
	want := "tfft"
	if p.identities() {
		want = "fttf"
	}
	return p.actions != want || p.viaRoot != (p.name != RowsPublication)
}

// identities reports whether it is one of UPDATE and DELETE.
func (p publication) identities() bool { return strings.HasPrefix(p.name, IdentityPublication) }

// lacksGenerated reports whether it leaves out stored generated columns, which PostgreSQL 18 can publish.
func (p publication) lacksGenerated(version int) bool {
	return version >= 180000 && p.generated != "s"
}

// options stand behind WITH.
func (p publication) options(version int) string {
	actions := "insert, truncate"
	if p.identities() {
		actions = "update, delete"
	}
	options := fmt.Sprintf("publish = '%s', publish_via_partition_root = %t", actions, p.name != RowsPublication)
	if version >= 180000 { // else REPLICA IDENTITY FULL of a table that has one would make its UPDATE fail
		options += ", publish_generated_columns = stored"
	}
	return options
}

// readPublications lists those of ours that are there.
func readPublications(ctx context.Context, conn *pgconn.PgConn) ([]publication, error) {
	got, err := simpleQuery(ctx, conn, `SELECT p.pubname, p.puballtables, concat(p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate), p.pubviaroot, to_jsonb(p) ->> 'pubgencols', p.oid
		FROM pg_publication AS p WHERE `+ourPublications+` ORDER BY length(p.pubname), p.pubname`)
	if err != nil {
		return nil, fmt.Errorf("look at the publications: %w", err)
	}
	publications := make([]publication, len(got))
	for i, row := range got {
		publications[i] = publication{name: row[0], allTables: row[1] == "t", actions: row[2], viaRoot: row[3] == "t", generated: row[4], oid: row[5]}
	}
	return publications, nil
}

// publicationSQL makes the publications that are missing, and has those that are there publish what they must, in one
// transaction: pgoutput refuses publications that disagree about generated columns.
//
// A publication that was altered has let changes pass by, which the publisher makes good as those of tables that were
// listed late.
func publicationSQL(server *serverState) string {
	var sql strings.Builder
	altered := false
	for _, name := range publicationNames() {
		p, found := server.publication(name)
		switch {
		case !found:
			sql.WriteString(createSQL(server, name))
		case p.altered() || p.lacksGenerated(server.version):
			altered = altered || p.altered()
			fmt.Fprintf(&sql, "ALTER PUBLICATION %s SET (%s);\n", name, p.options(server.version))
		}
	}
	for _, m := range server.narrowed { // sweep() lists it again, as a whole
		fmt.Fprintf(&sql, "ALTER PUBLICATION %s DROP TABLE ONLY %s;\n", m[0], m[1])
	}
	if altered && server.slot != nil && !server.renewsSlot() {
		sql.WriteString(`SELECT pgtee.tell_missed((SELECT pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_object('topic', t.topic, 'state', 'listed'))
	FROM pgtee.tables(pgtee.published()) AS t));` + "\n")
	}
	return sql.String()
}

// identitySQL names our publications and their OIDs, for pgtee.meta: pgoutput asks the catalog as of each row, so a slot is
// of no use for publications that are younger than what it is to send.
const identitySQL = `(SELECT pg_catalog.string_agg(p.pubname || '=' || p.oid, ' ' ORDER BY p.pubname COLLATE "C") FROM pg_catalog.pg_publication AS p WHERE ` + ourPublications + `)`

// renewsSlot reports whether the slot, which an earlier setup made, cannot serve the publications that there are, or those
// that this one makes.
func (s *serverState) renewsSlot() bool {
	return s.slot != nil && s.ready != "" && s.metaSlot != "" && (s.slot.lost() || len(s.missing()) > 0 || len(s.younger()) > 0)
}

// missing lists the publications that the slot needs and that are not there.
func (s *serverState) missing() (names []string) {
	for _, name := range append(publicationNames(), s.slotPublications.names()...) {
		if _, found := s.publication(name); !found && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// younger lists those that were made after the slot.
func (s *serverState) younger() (names []string) {
	for _, p := range s.publications {
		if len(s.slotPublications) > 0 && !slices.Contains(s.slotPublications, p.name+"="+p.oid) {
			names = append(names, p.name)
		}
	}
	return names
}

// slotPublications are those that the slot was made with, each with its OID, as identitySQL has them; none: not known.
type slotPublications []string

func (l slotPublications) names() (names []string) {
	for _, p := range l {
		name, _, _ := strings.Cut(p, "=")
		names = append(names, name)
	}
	return names
}

// publication returns the one of that name, if it is there.
func (s *serverState) publication(name string) (publication, bool) {
	i := slices.IndexFunc(s.publications, func(p publication) bool { return p.name == name })
	if i < 0 {
		return publication{}, false
	}
	return s.publications[i], true
}

// publicationNames are those that there must be.
func publicationNames() []string {
	names := []string{RowsPublication}
	for _, family := range []struct {
		name string
		many int
	}{{IdentityPublication, identityPublications}, {PartitionedPublication, partitionedPublications}} {
		names = append(names, family.name)
		for i := 1; i < family.many; i++ {
			names = append(names, family.name+"_"+strconv.Itoa(i))
		}
	}
	return names
}

// createSQL makes a publication. That of rows is of all tables, where the server lets us make such a one.
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

// outboxTables carry the notes; a publication that lists tables must list them.
var outboxTables = []string{"pgtee.outbox", "pgtee.outbox_0", "pgtee.outbox_1", "pgtee.outbox_2"}

// narrowedSQL lists the members that are published with another column list or row filter (PostgreSQL 15) than in the
// publication of rows, which has none unless somebody made it so: pgoutput refuses that. And the partitioned tables among
// those of identities, where their leaves belong.
const narrowedSQL = `SELECT quote_ident(p.pubname), format('%I.%I', n.nspname, c.relname)
	FROM pg_publication AS p JOIN pg_publication_rel AS m ON m.prpubid = p.oid
	JOIN pg_class AS c ON c.oid = m.prrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
	LEFT JOIN (pg_publication_rel AS r JOIN pg_publication AS q ON q.oid = r.prpubid AND q.pubname = '` + RowsPublication + `') ON r.prrelid = m.prrelid
	WHERE ` + ourPublications + ` AND p.pubname <> '` + RowsPublication + `'
	  AND (c.relkind = 'p' AND p.pubname ~ '^` + IdentityPublication + `' OR to_jsonb(m) ->> 'prattrs' IS DISTINCT FROM to_jsonb(r) ->> 'prattrs'
		OR (to_jsonb(m) ->> 'prqual' IS NULL) <> (to_jsonb(r) ->> 'prqual' IS NULL))`

// publicationHash names the publications that there are, and describes what they send, apart from their tables: the
// first 16 hexadecimal digits of a SHA-256 over name, oid, operations, all tables, via root.
func publicationHash(ctx context.Context, conn *pgconn.PgConn) (hash string, names []string, err error) {
	got, err := simpleQuery(ctx, conn, `SELECT p.pubname, p.oid, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.puballtables, p.pubviaroot
		FROM pg_catalog.pg_publication AS p WHERE `+ourPublications+` ORDER BY p.pubname COLLATE "C"`)
	if err != nil {
		return "", nil, fmt.Errorf("look at the publications: %w", err)
	}
	for _, publication := range got {
		names = append(names, publication[0])
	}
	hash, err = hashPublications(got)
	return hash, names, err
}

// hashPublications takes rows that begin with the name.
func hashPublications(publications [][]string) (string, error) {
	h := sha256.New()
	for _, publication := range publications {
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
